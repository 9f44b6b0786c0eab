package openai

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

const (
	maxLine = 16 << 20              // bytes of one line of a stream: images come in one
	tail    = 5 * time.Second       // for the usage, after the answer has ended
	drain   = 50 * time.Millisecond // for the body's end, after [DONE]
)

var errEnough = errors.New("the answer has ended, and what follows it is late")

// stream is an answer on its way. It belongs to one goroutine.
type stream struct {
	x       *exchange
	hot     template
	scratch []byte
	meta    []member // of the chunks, but for what has a field here
	choices []*choice
	usage   wireUsage
	raw     []byte // the usage as it came
	done    bool   // [DONE] came
	late    *time.Timer
}

// member is a field that nobody here knows, as it came.
type member struct {
	name  string
	value []byte
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 32<<10) }}

// stream reads a streamed answer and hands its frames on.
func (x *exchange) stream(body io.Reader) (lm.Answer, error) {
	s := &stream{x: x}
	r := readers.Get().(*bufio.Reader)
	r.Reset(body)
	err := s.read(r)
	r.Reset(nil)
	readers.Put(r)
	if s.late != nil {
		s.late.Stop()
	}
	var told *lm.Error
	switch {
	case errors.As(err, &told):
		return lm.Answer{}, told
	case s.ended():
		return s.answer()
	case err == nil || errors.Is(err, io.EOF):
		return lm.Answer{}, provider.Truncated()
	}
	return lm.Answer{}, provider.Failure(x.ctx, err, true)
}

// ended reports whether every choice has its finish reason, or [DONE] stands for it.
func (s *stream) ended() bool {
	for _, c := range s.choices {
		if c.finish == "" && !s.done {
			return false
		}
	}
	return len(s.choices) > 0
}

// read takes line after line until [DONE], the body's end, or an error.
func (s *stream) read(r *bufio.Reader) error {
	var long []byte // the beginning of a line that the reader's buffer does not hold
	for {
		line, err := r.ReadSlice('\n')
		if len(long)+len(line) > maxLine {
			return lm.Errorf(lm.InvalidRequest, "the answer has a line of more than 16 MiB")
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, line...)
			continue
		}
		if long != nil {
			line, long = append(long, line...), nil
		}
		if cause := s.x.ctx.Err(); cause != nil && !s.ended() {
			return provider.Failure(s.x.ctx, cause, true)
		}
		if told := s.line(line, err == nil); told != nil {
			return told
		}
		if err != nil {
			return err
		}
		if s.done {
			s.drain(r)
			return nil
		}
	}
}

// drain reads to the body's end, which comes with [DONE] or a moment later: only a
// connection that was read to its end is used again.
func (s *stream) drain(r *bufio.Reader) {
	late := time.AfterFunc(drain, func() { s.x.enough(errEnough) })
	defer late.Stop()
	_, _ = r.Discard(r.Size()) // whatever is there, the answer is whole
}

var (
	dataField = []byte("data:")
	doneMark  = []byte("[DONE]")
)

// line takes one line of server-sent events. whole: it ended with a line break; the
// last one of a stream that was cut need not be JSON.
func (s *stream) line(line []byte, whole bool) error {
	data, isData := bytes.CutPrefix(line, dataField)
	if !isData {
		if len(line) == 0 || line[0] != '{' {
			return nil // a comment, another field, or the blank line between events
		}
		data = line // an error that is written into the stream without ceremony
	}
	for len(data) > 0 && (data[len(data)-1] == '\n' || data[len(data)-1] == '\r') {
		data = data[:len(data)-1]
	}
	if len(data) > 0 && data[0] == ' ' {
		data = data[1:]
	}
	if piece, ok := s.hot.match(data, &s.scratch); ok {
		s.hot.choice.add(s, s.hot.frame, piece)
		return nil
	}
	if len(data) == 0 {
		return nil
	}
	if bytes.Equal(data, doneMark) {
		s.done = true
		return nil
	}
	err := s.chunk(data)
	if errors.Is(err, errScan) {
		if !whole {
			return nil // the cut is told as such
		}
		return lm.Errorf(lm.StreamInterrupted, "a line of the stream is no chunk")
	}
	if s.late == nil && s.ended() {
		s.late = time.AfterFunc(tail, func() { s.x.enough(errEnough) })
	}
	return err
}
