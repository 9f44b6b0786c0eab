package lighterman

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Epoch is the fencing number of a claim: max(previous + 1, server ms), so it
// grows with every claim and stays under 2^53.
type Epoch int64

// Claim is one worker's right to run one operation, and all that is needed to
// run it. It holds while its lease is renewed; Fence carries what every write
// must show. A Handler gets it by value; the pointers are shared.
type Claim struct {
	ID           TraceID
	Request      Request
	KeyHash      string    // of its idempotency key; empty without one
	Attempts     int       // failed tries before this one
	Crashes      int       // claims that ended without an answer since the last checkpoint
	CrashesTotal int       // in all
	SchemaWaits  int       // times it waited for a newer worker
	Created      time.Time // server time
	ClaimedAt    time.Time // server time
	Checkpoint   Fields    // as stored; empty on a first claim
	Lost         []Epoch   // claims since the last checkpoint that ended in a crash while INFERRING, oldest first
	Fence        *Fence
	Draining     <-chan struct{} // closed when the worker wants it back at the next stage's end; may be nil
	Followed     *atomic.Bool    // somebody reads its frames; may be nil
}

// Fields are a stored checkpoint's hash fields.
type Fields map[string]string

// Step is one field of a checkpoint on its way to Redis, or a StepLine.
type Step struct {
	Name string
	Data []byte
}

// Fence is what a claim's writes show: owner, epoch and token, the entry they
// hold, and a sequence number that lets a lost reply be asked for again. It
// also remembers the state that the last acknowledged write left, and the states
// that writes of unknown outcome may have left. Writes of one claim go one after
// the other; Write sees to that.
type Fence struct {
	Owner string
	Epoch Epoch
	Token string
	Entry string // STREAM/ID, as in the trace

	mu      sync.Mutex
	seq     uint64
	state   State
	maybe   [numStates]bool // states of writes of unknown outcome since the last known one
	entered time.Time       // when state was entered, by this process's clock
}

// NewFence starts a claim's fence in a state, with sequence 0.
func NewFence(owner string, epoch Epoch, token, entry string, state State) *Fence {
	return &Fence{Owner: owner, Epoch: epoch, Token: token, Entry: entry, state: state, entered: time.Now()}
}

// State is the state that the last write of known outcome left.
func (f *Fence) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// Attempt is what a write gets to know of its claim: its sequence number, the
// state it starts from, and how long the claim has been in it.
type Attempt struct {
	Seq  uint64
	From State
	Took time.Duration
}

// Write runs one write with the next sequence number. The write returns the state
// that it leads to, also with an error. The number is spent even on an error,
// because the write may have happened; gaps are allowed.
//
// Where an IllegalState shows that an earlier write of unknown outcome did happen,
// State is its state afterwards, and the caller makes the refused write again from
// there: an answer that was paid for is not lost by a reply that was.
func (f *Fence) Write(write func(Attempt) (State, error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	state, err := write(Attempt{Seq: f.seq, From: f.state, Took: time.Since(f.entered)})
	var illegal *IllegalState
	switch {
	case err == nil:
		f.moveLocked(state)
	case errors.As(err, &illegal):
		if f.maybe[illegal.State] {
			f.moveLocked(illegal.State)
		}
	case errors.Is(err, ErrFenced), errors.Is(err, ErrNotFound), errors.Is(err, ErrIllegal), errors.Is(err, ErrOutOfMemory): // refused
	default:
		f.maybe[state] = true
	}
	return err
}

func (f *Fence) moveLocked(to State) {
	f.maybe = [numStates]bool{}
	if to != f.state {
		f.state, f.entered = to, time.Now()
	}
}
