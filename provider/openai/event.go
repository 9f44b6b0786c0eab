package openai

import (
	"bytes"
	"encoding/json"
	"errors"

	lm "github.com/lighterman/lighterman"
)

var (
	dataField  = []byte("data:")
	eventField = []byte("event:")
	errorField = []byte("error:")
	doneMark   = []byte("[DONE]")
)

// line takes one line of server-sent events. Error: the API's, or what it says before
// the answer's end cannot be understood. Behind the end nothing is an error.
//
// Each data line is a chunk in nearly all streams, and read at once. One that is none
// begins an event of several lines, which a blank line ends.
func (s *stream) line(line []byte) error {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	data, isData := bytes.CutPrefix(line, dataField)
	if !isData {
		return s.field(line)
	}
	if len(data) > 0 && data[0] == ' ' {
		data = data[1:]
	}
	if piece, ok := s.hot.match(data, &s.scratch); ok {
		s.hot.choice.add(s, s.hot.frame, piece)
		if s.late != nil {
			s.waitForUsage()
		}
		return nil
	}
	return s.data(data)
}

// field takes a line that is no data: a blank one, another field, a comment, or an
// error that is written into the stream without ceremony.
func (s *stream) field(line []byte) error {
	switch {
	case len(line) == 0:
		return s.dispatch(false)
	case line[0] == '{':
		return s.data(line)
	case line[0] != 'e':
	case bytes.HasPrefix(line, eventField):
		s.failing = string(bytes.TrimSpace(line[len(eventField):])) == "error"
	case bytes.HasPrefix(line, errorField): // llama.cpp
		return s.noise(s.failed(line[len(errorField):]))
	}
	return nil
}

// data takes the data of one line.
func (s *stream) data(data []byte) error {
	switch {
	case len(s.event) > 0:
		if len(s.event)+len(data) > maxLine {
			return errLong
		}
		s.event = append(append(s.event, '\n'), data...)
		return nil
	case len(data) == 0:
		return nil
	case data[0] != '{' && bytes.Equal(bytes.TrimSpace(data), doneMark):
		s.done = true
		return nil
	}
	err := s.take(data)
	if errors.Is(err, errScan) {
		s.event, s.hot.choice = append(s.event[:0], data...), nil
		return nil
	}
	return err
}

// dispatch ends an event. cut: the body ended before it did.
func (s *stream) dispatch(cut bool) error {
	failing := s.failing
	s.failing = false
	if len(s.event) == 0 {
		return nil
	}
	data := s.event
	s.event = s.event[:0]
	err := s.take(data)
	switch {
	case !errors.Is(err, errScan):
		return err
	case failing:
		return s.noise(s.failed(data))
	case cut: // that is told as such
		return nil
	}
	return s.noise(lm.Errorf(lm.StreamInterrupted, "a line of the stream is no chunk"))
}

// take takes the data of an event that is whole. Errors: as those of line, or errScan
// where it is no chunk.
func (s *stream) take(data []byte) error {
	over := s.over()
	var err error
	if s.failing && json.Valid(data) {
		err = s.failed(data)
	} else {
		err = s.chunk(data)
	}
	if over && !errors.Is(err, errScan) {
		err = nil
	}
	s.waitForUsage()
	return err
}

// noise is err, and nil behind the answer's end.
func (s *stream) noise(err error) error {
	if s.over() {
		return nil
	}
	return err
}

// failed is an error that the API wrote into the stream.
func (s *stream) failed(data []byte) error {
	told := signals(data)
	told.Streaming = true
	return s.x.classify(told)
}
