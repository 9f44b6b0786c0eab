package openai

import (
	"bufio"
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

// errLong is the error of a line, or an event of several, that is too long.
var errLong = lm.Errorf(lm.InvalidRequest, "the answer has a line of more than 16 MiB")

// stream is an answer on its way. It belongs to one goroutine.
type stream struct {
	x       *exchange
	in      provider.EventLines
	hot     template
	scratch []byte
	event   []byte   // the data of an event of which no line was a chunk so far
	failing bool     // the event is called error
	meta    []member // of the chunks, but for what has a field here
	choices []*choice
	usage   wireUsage
	raw     []byte // the usage as it came
	done    bool   // [DONE] came
	grown   bool   // something was said since waitForUsage looked
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
	if x.call.Stream == nil { // it was not asked for, and came all the same
		x.call.Stream = func(lm.Frame) {}
	}
	s := &stream{x: x, in: provider.EventLines{From: body}}
	r := readers.Get().(*bufio.Reader)
	r.Reset(&s.in)
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

// ended reports whether every choice has its finish reason and has said nothing
// since, or [DONE] stands for it.
func (s *stream) ended() bool {
	for _, c := range s.choices {
		if (c.finish == "" || c.open) && !s.done {
			return false
		}
	}
	return len(s.choices) > 0
}

// over reports whether the answer has ended well: what comes then is noise.
func (s *stream) over() bool {
	for _, c := range s.choices {
		if ended(c.finish) != nil {
			return false
		}
	}
	return s.ended()
}

// waitForUsage ends the request a while after the answer has ended. Not where nothing
// but reasoning was said: some servers write a finish reason beside it, and the answer
// follows.
func (s *stream) waitForUsage() {
	grown := s.grown
	s.grown = false
	if s.late != nil && (grown || !s.ended()) {
		s.late.Stop()
		s.late = nil
	}
	if s.late == nil && s.ended() && s.answered() {
		s.late = time.AfterFunc(tail, func() { s.x.enough(errEnough) })
	}
}

// answered reports whether a choice said something beside its reasoning, or no choice
// has reasoned.
func (s *stream) answered() bool {
	reasoned := false
	for _, c := range s.choices {
		if c.text.Len() > 0 || len(c.calls) > 0 {
			return true
		}
		reasoned = reasoned || c.reasoning.Len() > 0
	}
	return !reasoned
}

// read takes line after line until [DONE], the body's end, or an error.
func (s *stream) read(r *bufio.Reader) error {
	var long []byte // the beginning of a line that the reader's buffer does not hold
	for {
		line, err := r.ReadSlice('\n')
		if len(long)+len(line) > maxLine {
			return errLong
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
		if told := s.line(line); told != nil {
			return told
		}
		if err != nil {
			if told := s.dispatch(true); told != nil {
				return told
			}
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
