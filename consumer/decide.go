package consumer

import (
	"errors"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// verb is the way in which a claim ends.
type verb int

const (
	finishSucceeded verb = iota
	finishFailed         // or cancelled: decision.outcome says
	retry                // into the delayed set
	putBack              // to whoever has room
	drop                 // another claim holds the operation: write nothing
)

func (v verb) String() string {
	return [...]string{"succeeded", "failed", "retry", "putback", "drop"}[v]
}

// decision is how a claim ends, and with which words.
type decision struct {
	kind    verb
	outcome lm.Outcome
	failure *lm.Error
	delay   time.Duration
	counted lua.Counted
	reason  string
	waits   string // what the operation waits for; empty: only for the delay
	note    string // of one that is set aside: what its error says, not redacted
}

// newerWaits is how often an operation waits for a worker that can run it, while none
// that lives can.
const newerWaits = 10

// elsewhereWait is when an operation that another worker can run comes back at the
// latest; that one pulls it before.
const elsewhereWait = 30 * time.Second

// decide says how a claim ends after its handler returned err. It is pure but
// for the jitter of the backoff. elsewhere: another worker lives that can run what this
// one cannot.
func decide(claim lm.Claim, err error, elsewhere bool, opts Options) decision {
	var parked *lm.Parked
	kind := lm.KindOf(err)
	switch {
	case err == nil:
		return decision{kind: finishSucceeded, outcome: lm.Succeeded}
	case errors.Is(err, lm.ErrFenced):
		return decision{kind: drop, reason: "fenced"}
	case errors.Is(err, ErrLeaseEnded), errors.Is(err, lm.ErrUnavailable):
		return decision{kind: putBack, reason: "contact"}
	case errors.Is(err, lm.ErrCancelRequested):
		return decision{kind: finishFailed, outcome: lm.Cancelled, reason: string(lm.CancelRequested), failure: lm.Errorf(lm.CancelRequested, "cancelled on request")}
	case errors.Is(err, lm.ErrExpired):
		return decision{kind: finishFailed, outcome: lm.Expired, reason: string(lm.DeadlineExceeded), failure: lm.Errorf(lm.DeadlineExceeded, "its deadline passed")}
	case errors.Is(err, ErrDrained), errors.Is(err, lm.ErrHandOver):
		return decision{kind: putBack, reason: "drain"}
	case errors.As(err, &parked):
		return decision{kind: retry, delay: max(0, time.Until(parked.Until)), counted: lua.CountNothing, reason: code(parked.Reason), note: parked.Reason, waits: parked.For}
	case unable(kind) && elsewhere:
		return decision{kind: retry, delay: elsewhereWait, counted: lua.CountNothing, reason: string(kind), note: err.Error(), waits: lm.AsError(err).For}
	case kind == lm.SchemaTooNew, unable(kind) && claim.SchemaWaits < newerWaits:
		return decision{kind: retry, delay: newerWait(claim.SchemaWaits), counted: lua.CountSchemaWait, reason: string(kind), note: err.Error(), waits: lm.AsError(err).For}
	case kind.Permanent():
		return failed(lm.AsError(err))
	case claim.Attempts+1 >= opts.MaxAttempts:
		return failed(&lm.Error{Kind: lm.AttemptsUsedUp, Err: err})
	}
	delay, exact := retryAfter(err)
	if !exact {
		delay = opts.Backoff.delay(claim.Attempts+1, delay)
	}
	return decision{kind: retry, delay: delay, counted: lua.CountAttempt, reason: string(kind), note: noteOf(kind, err)}
}

// noteOf is an attempt's error with its kind in front.
func noteOf(kind lm.Kind, err error) string {
	text := err.Error()
	if !strings.HasPrefix(text, string(kind)) {
		text = string(kind) + ": " + text
	}
	return text
}

// unable reports whether an error says that this worker cannot run the operation, and
// another one may.
func unable(kind lm.Kind) bool { return kind == lm.UnknownKind || kind == lm.UnknownModel }

func failed(e *lm.Error) decision {
	return decision{kind: finishFailed, outcome: lm.Failed, failure: e, reason: string(e.Kind)}
}

// retryAfter is the wait that an error names; a floor unless exact.
func retryAfter(err error) (wait time.Duration, exact bool) {
	var e *lm.Error
	if errors.As(err, &e) {
		return e.RetryAfter, e.Exact
	}
	return 0, false
}

// code keeps a person's reason short enough for the history, and to one line.
func code(reason string) string {
	reason = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, reason)
	return strings.ToValidUTF8(reason[:min(len(reason), 40)], "")
}
