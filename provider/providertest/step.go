package providertest

import "time"

// Step is how the server answers one request. The zero value is a good answer with
// the default reply.
type Step struct {
	Reply  *Reply        // what the model says; nil: DefaultReply
	Answer *Response     // in place of a model's answer, streamed or not
	Stream []Piece       // in place of the format's stream, with HTTP 200
	Before time.Duration // silence before the answer's first byte, headers included
	Every  time.Duration // between two pieces
	Drip   bool          // the pieces are single bytes
	End    End           // how it ends
	Limit  int           // bytes of the body that come before an End that is not EndWhole
	Huge   int64         // bytes without a line break that come after the first piece, or in place of a whole answer
}

// End is how an answer ends.
type End int

// The ends.
const (
	EndWhole  End = iota // after all of it
	EndEOF               // cut after Limit bytes, cleanly: a stream looks finished to HTTP
	EndReset             // cut after Limit bytes by a connection reset
	EndSilent            // nothing comes after Limit bytes; the connection stays until the client leaves
)

// Say is a step in which the model says r.
func Say(r Reply) Step { return Step{Reply: &r} }

// Fail is a step with an error answer.
func Fail(e ErrorCase) Step { return Step{Answer: &e.Response} }

// Fault is a step with a stream that goes wrong.
func Fault(f FaultCase) Step { return Step{Stream: f.Pieces} }

// Cut is a step whose answer ends after n bytes of its body.
func Cut(n int, end End) Step { return Step{Limit: n, End: end} }

// Late is a step whose answer begins after d.
func Late(d time.Duration) Step { return Step{Before: d} }

// SlowLoris is a step whose answer comes a byte at a time.
func SlowLoris(every time.Duration) Step { return Step{Drip: true, Every: every} }

// Garbage is a step that answers 200 with what is no API's answer.
func Garbage() Step {
	return Step{Answer: &Response{Body: "<html>\x00\xff\xfe{]}\r\n\r\ndata: {\"cho\n\ndata: ]]\n\n</html>"}}
}

// HugeLine is a step that sends n bytes without a line break.
func HugeLine(n int64) Step { return Step{Huge: n} }
