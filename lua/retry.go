package lua

import (
	"context"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Counted names what a retry counts in the trace.
type Counted string

// What a retry counts.
const (
	CountAttempt    Counted = "attempts"
	CountSchemaWait Counted = "schema_waits"
	CountNothing    Counted = ""
)

// Aside is how a claim is set aside until a time.
type Aside struct {
	Path    []lm.State // from the claim's state to RETRYING
	Delay   time.Duration
	Counted Counted
	Reason  string // a code word, shown in the history
	Route   []string
	Waits   string // what it waits for, as lighterman.WaitsFor says it; empty: only for its time
	Note    string // why the try ended; its first 200 bytes are kept
}

// routeBytes bounds what a trace keeps of the route of a try that was set aside: 4
// fields of 64 bytes, so that a trace that waits stays a listpack.
const routeBytes = 4 * 64

// noteBytes bounds a note: with its attempt and time it fits 4 fields of 64 bytes.
const noteBytes = 200

// kept are the newest notes of a route that fit, a line each; of a longer one its
// beginning.
func kept(route []string) string {
	text := ""
	for i := len(route) - 1; i >= 0; i-- {
		note := line(route[i], routeBytes)
		switch {
		case text == "":
			text = note
		case len(note)+1+len(text) > routeBytes:
			return text
		default:
			text = note + "\n" + text
		}
	}
	return text
}

// line is a text on one line, of at most so many bytes.
func line(text string, most int) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text[:min(len(text), most)], ""))
}

type retryIn struct {
	id    lm.TraceID
	fence *lm.Fence
	at    lm.Attempt
	aside Aside
}

// Retry ends a claim and puts its operation into the delayed set. Errors as
// Finish.
func (s *Store) Retry(ctx context.Context, claim lm.Claim, aside Aside) error {
	return claim.Fence.Write(func(at lm.Attempt) (lm.State, error) {
		in := retryIn{id: claim.ID, fence: claim.Fence, at: at, aside: aside}
		return lm.Retrying, again(ctx, s.opts.Patience, func() error {
			answer, err := s.retries.do(ctx, claim.ID.Partition(), in)
			if err != nil {
				return err
			}
			return refusal(answer)
		})
	})
}

func (s *Store) sendRetries(ctx context.Context, p int, in []retryIn) ([]string, error) {
	c := call{
		script: retryScript,
		keys:   append(make([]string, 0, 3+2*len(in)), s.keys.stats(p), s.keys.delayed(p), s.keys.parked(p)),
		args:   append(make([]any, 0, 2+13*len(in)), len(in), Group),
	}
	for _, r := range in {
		st, _, _ := streamOf(p, r.fence.Entry)
		c.keys = append(c.keys, s.keys.trace(r.id), s.keys.stream(st))
		c.args = append(c.args, string(r.id), r.fence.Owner, int64(r.fence.Epoch), r.fence.Token, r.at.Seq, letters(r.aside.Path),
			r.at.Took.Microseconds(), r.aside.Delay.Milliseconds(), string(r.aside.Counted), r.aside.Reason, kept(r.aside.Route), targetOf(r.aside.Waits),
			line(r.aside.Note, noteBytes))
	}
	return s.answers(ctx, c, len(in))
}
