package lighterman

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Kind classifies what went wrong, once, at the edge that knows.
type Kind string

// What a provider's answer can mean, and what a handler or the fleet can say.
const (
	RateLimited       Kind = "rate_limited"
	Overloaded        Kind = "overloaded"
	QuotaExhausted    Kind = "quota_exhausted"
	ProviderFailed    Kind = "provider"
	TimedOut          Kind = "timeout"
	StreamInterrupted Kind = "stream_interrupted"
	Unauthorized      Kind = "unauthorized"
	ModelNotFound     Kind = "model_not_found"
	ContextOverflow   Kind = "context_overflow"
	InvalidRequest    Kind = "invalid_request"
	ContentFiltered   Kind = "content_filtered"
	CallCancelled     Kind = "cancelled"

	HandlerFailed    Kind = "handler"           // an error without a kind of its own
	HandlerPanicked  Kind = "panic"             // contained; an attempt of that operation
	PermanentFailure Kind = "permanent"         // Permanent(err)
	AttemptsUsedUp   Kind = "attempts_used_up"  // the last of its attempts failed
	CrashLimit       Kind = "crash_limit"       // too many claims ended without an answer
	TraceLost        Kind = "trace_lost"        // an entry whose trace is gone
	Malformed        Kind = "malformed"         // a foreign entry that cannot be read
	Conflict         Kind = "conflict"          // the same ID or key with another body
	UnknownKind      Kind = "unknown_kind"      // no worker has a handler for it
	UnknownModel     Kind = "unknown_model"     // nobody declares it
	DeadlineExceeded Kind = "deadline_exceeded" // the operation's own deadline
	SchemaTooNew     Kind = "schema_too_new"    // a checkpoint of a newer worker
	CancelRequested  Kind = "cancel_requested"  // by a person or the producer
)

// Permanent reports whether trying the same again cannot help.
func (k Kind) Permanent() bool {
	switch k {
	case Unauthorized, ModelNotFound, ContextOverflow, InvalidRequest, ContentFiltered,
		PermanentFailure, AttemptsUsedUp, CrashLimit, TraceLost, Malformed, Conflict, UnknownKind, UnknownModel, DeadlineExceeded, CancelRequested:
		return true
	default:
		return false
	}
}

// Error is a failure with its kind. RetryAfter is a floor for the next try, zero when
// nobody named one; with Exact it is the wait itself.
type Error struct {
	Kind       Kind
	RetryAfter time.Duration
	Exact      bool
	For        string // of UnknownKind and UnknownModel: what would have to be there, see WaitsFor
	Err        error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Kind)
	}
	return string(e.Kind) + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// MarshalJSON writes {"kind", "message"}.
func (e *Error) MarshalJSON() ([]byte, error) {
	w := wireError{Kind: e.Kind}
	if e.Err != nil {
		w.Message = e.Err.Error()
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Error) UnmarshalJSON(b []byte) error {
	var w wireError
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*e = Error{Kind: w.Kind}
	if w.Message != "" {
		e.Err = errors.New(w.Message)
	}
	return nil
}

type wireError struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message,omitempty"`
}

// Errorf builds an Error; %w wraps.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Err: fmt.Errorf(format, args...)}
}

// Permanent marks an error as one that no retry can mend: the operation goes
// to the dead-letter stream at once. Nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: PermanentFailure, Err: err}
}

// RetryAfter marks a transient error with the time of the next try, counted from now:
// the backoff adds nothing to it. Nil stays nil.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	kind := KindOf(err)
	return &Error{Kind: kind, RetryAfter: d, Exact: d > 0, Err: err}
}

// KindOf is the kind of the first Error in the chain; HandlerFailed for an
// error without one, empty for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return HandlerFailed
}

// AsError gives err the form that is stored: itself when it is an Error, else
// one of kind HandlerFailed.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: HandlerFailed, Err: err}
}

// Parked asks to set an operation aside until a time without spending an
// attempt; see Park.
type Parked struct {
	Until  time.Time
	Reason string
	For    string // what it waits for, see WaitsFor; empty: only for the time
}

func (p *Parked) Error() string {
	return fmt.Sprintf("parked until %s: %s", p.Until.UTC().Format(time.RFC3339), p.Reason)
}

// Park returns the error with which a handler sets its operation aside until a
// time: it holds no slot and no attempt is counted. The reason is shown. The time is by
// the worker's clock, and what is left until then is what Redis counts: a time made by
// time.Now().Add(d) is right though that clock is off, one read from elsewhere is as
// wrong as the clock.
func Park(until time.Time, reason string) error { return &Parked{Until: until, Reason: reason} }

// IllegalState is the ErrIllegal of a trace whose state is known.
type IllegalState struct {
	State State // the trace's, which nothing was changed of
}

func (e *IllegalState) Error() string {
	return ErrIllegal.Error() + ": the trace is in " + e.State.String()
}

// Unwrap returns ErrIllegal.
func (e *IllegalState) Unwrap() error { return ErrIllegal }

// What every write of a claim may answer; callers branch on these.
var (
	ErrFenced   = errors.New("fenced: another claim holds this operation")
	ErrNotFound = errors.New("no such operation")
	ErrIllegal  = errors.New("illegal transition")
	// ErrHandOver is returned by a handler whose worker drains: its stages are
	// checkpointed and another worker is to go on.
	ErrHandOver = errors.New("handed over: the worker drains")
	// ErrCancelRequested ends the work of an operation that somebody cancelled.
	ErrCancelRequested = errors.New("a cancel was requested")
	// ErrExpired ends the work of an operation whose deadline has passed.
	ErrExpired = errors.New("the operation's deadline has passed")
	// ErrOutOfMemory: Redis refused a write because maxmemory is reached; nothing
	// of it was written.
	ErrOutOfMemory = errors.New("redis is out of memory (maxmemory reached)")
	// ErrUnavailable: Redis did not answer for as long as we had patience. The
	// write may have happened.
	ErrUnavailable = errors.New("redis is unavailable")
)
