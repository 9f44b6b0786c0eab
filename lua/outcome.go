package lua

import (
	"context"
	"crypto/rand"
	"math"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Lifetimes of what the fleet keeps of its models.
const (
	seenKept   = 15 * time.Minute    // of a call's replay key, after its outcome
	modelKept  = 45 * 24 * time.Hour // of an unused model: longer than any deadline and any period
	costKept   = 25 * time.Hour      // of an operation's costs
	tenantKept = 45 * 24 * time.Hour // of a tenant's
)

// hotPatience bounds how long what is recorded of a call is tried again: the
// call itself must not wait for it.
const hotPatience = time.Second

// Class is what an ending says of a model to its breaker.
type Class string

// The classes.
const (
	ClassOK      Class = "ok"
	ClassFail    Class = "fail"
	ClassNeutral Class = "neutral"
)

// Breaker is when a circuit opens and for how long.
type Breaker struct {
	Streak int           // consecutive failures that open it
	Least  int           // calls in the window before a rate of 50 % may
	Window time.Duration // in 12 buckets
	Base   time.Duration // of the first opening; doubles
	Cap    time.Duration
}

// CallOutcome is how one call ended.
type CallOutcome struct {
	Model, Backend string
	Key            string // replay key; empty: only a lost reply is made good
	Class          Class
	Error          bool
	Kind           lm.Kind
	Began          time.Time // by the server's clock, about; zero: unknown
	Epoch          int64     // of the circuit under which the call began
	Token          string    // of its probe

	Cooldown, Pause time.Duration // of the model, of the backend
	Quarantine      time.Duration // of the model
	Bar             time.Duration // quarantine of the backend, if its refusal is not the model's alone
	Credential      string        // hash of the backend's credential
	Unlisted        bool          // the backend's listing refuses it too

	Usage       lm.Usage
	CostNano    int64
	Waste       string
	Reservation string
	QuotaPeriod string
	BudgetPer   string
	Op          lm.TraceID // empty: not counted apart
	Tenant      string     // the same
	Breaker     Breaker
	Jitter      float64 // 0 to 1: of the open time, added
}

// Recorded is the answer of what counts.
type Recorded struct {
	Replay  bool
	Now     time.Time
	Version uint64
}

// RecordCall records one outcome; see outcome.lua. It is tried again for a
// second where contact is lost.
func (s *Store) RecordCall(ctx context.Context, o CallOutcome) (Recorded, error) {
	return s.recorded(ctx, s.outcomeCall(o))
}

func (s *Store) outcomeCall(o CallOutcome) call {
	if o.Key == "" {
		o.Key = rand.Text()
	}
	model := s.keys.model(o.Model)
	return call{
		script: outcomeScript,
		keys: []string{
			model, s.keys.backend(o.Backend), s.keys.version(), s.keys.seen(o.Key), s.keys.holds(o.Model),
			s.keys.optional(o.Op != "", s.keys.costs("op", string(o.Op)), model),
			s.keys.optional(o.Tenant != "", s.keys.costs("tenant", o.Tenant), model),
			s.keys.notices(),
		},
		args: []any{
			string(o.Class), bit(o.Error), string(o.Kind), o.Epoch, o.Token,
			atLeastMS(o.Cooldown), atLeastMS(o.Pause), atLeastMS(o.Quarantine), atLeastMS(o.Bar), o.Credential, bit(o.Unlisted),
			o.Usage.Input, o.Usage.Cached, o.Usage.Output, o.CostNano, o.Waste, o.Reservation, o.QuotaPeriod, o.BudgetPer,
			o.Breaker.Streak, o.Breaker.Least, o.Breaker.Window.Milliseconds(), o.Breaker.Base.Milliseconds(), o.Breaker.Cap.Milliseconds(),
			int(math.Round(1000 * o.Jitter)), seenKept.Milliseconds(), costKept.Milliseconds(), modelKept.Milliseconds(), s.publish(), beganMS(o.Began),
		},
	}
}

// beganMS is a time in ms; 0: it is not known.
func beganMS(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func (s *Store) recorded(ctx context.Context, c call) (Recorded, error) {
	var items []any
	err := again(ctx, hotPatience, func() error {
		v, err := s.run(ctx, c)
		if err != nil {
			return err
		}
		items, err = list(v, 3)
		return err
	})
	if err != nil {
		return Recorded{}, err
	}
	return recordedOf(items), nil
}

func recordedOf(items []any) Recorded {
	return Recorded{Replay: text(items[0]) == "REPLAY", Now: atMS(number(items[1])), Version: uint64(number(items[2]))}
}

func bit(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// atLeastMS rounds up, so that a short wait does not become none.
func atLeastMS(d time.Duration) int64 {
	return int64((max(d, 0) + time.Millisecond - 1) / time.Millisecond)
}
