package producer

import (
	"context"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// recheck is how often all that is outstanding is looked up by its trace, in
// case a notice was missed.
const recheck = 10 * time.Second

// waits are the operations that a Client's callers wait for, and the goroutines
// that find out: one checker, which reads traces and results, and one reader per
// notice stream. They run while somebody waits; a reader stays on for the rest
// of its blocking read, so that waits in a row share it.
//
// An entry is registered before its trace is read, and its reader's position is
// known before that, so no end is overlooked.
type waits struct {
	store    *lua.Store
	reply    string        // the Client's own reply stream; empty: none
	interval time.Duration // recheck; shorter in tests
	block    time.Duration // block; shorter in tests
	ctx      context.Context
	stop     context.CancelFunc
	wake     chan struct{} // holds a token when the checker should look

	mu      sync.Mutex
	entries map[lm.TraceID]*entry
	due     []lm.TraceID // whose trace is to be read
	noticed []lm.TraceID // said to have ended: the result is to be read
	readers map[lua.NoticeStream]*reader
	round   uint64 // of checks; grows with every one
	running bool   // the checker
	closed  bool
	group   sync.WaitGroup // grows only while not closed
}

// entry is one operation that somebody waits for. Guarded by the waits' mu.
type entry struct {
	places []place
	from   *reader
	due    bool // listed in due
}

// place is one waiter's, with the round it joined in. A check answers only those
// who joined before it began: "not found" may be untrue a moment later.
type place struct {
	waiter *waiter
	round  uint64
}

func newWaits(store *lua.Store, reply string) *waits {
	ctx, stop := context.WithCancel(context.Background())
	return &waits{
		store: store, reply: reply, interval: recheck, block: block, ctx: ctx, stop: stop, wake: make(chan struct{}, 1),
		entries: make(map[lm.TraceID]*entry), readers: make(map[lua.NoticeStream]*reader),
	}
}

// add registers a waiter for those ids that are true, and has their traces read.
func (w *waits) add(by *waiter, ids map[lm.TraceID]bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	for id, open := range ids {
		if !open {
			continue
		}
		e := w.entries[id]
		if e == nil {
			e = &entry{from: w.readerLocked(lua.NoticeStream{Partition: id.Partition(), Client: w.reply})}
			e.from.users++
			w.entries[id] = e
		}
		e.places = append(e.places, place{by, w.round})
		w.dueLocked(id, e)
	}
	if !w.running && len(w.entries) > 0 {
		w.running = true
		w.group.Go(w.check)
	}
	w.kick()
	return nil
}

// remove forgets a waiter that has gone.
func (w *waits) remove(by *waiter, ids map[lm.TraceID]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range ids {
		w.leaveLocked(id, func(p place) bool { return p.waiter == by })
	}
	w.kick()
}

// settle answers an operation to all who joined before the round.
func (w *waits) settle(round uint64, a answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaveLocked(a.result.ID, func(p place) bool {
		if p.round < round {
			p.waiter.tell(a)
		}
		return p.round < round
	})
}

// leaveLocked removes the places that go, and with the last one the entry.
func (w *waits) leaveLocked(id lm.TraceID, goes func(place) bool) {
	e := w.entries[id]
	if e == nil {
		return
	}
	stay := e.places[:0]
	for _, p := range e.places {
		if !goes(p) {
			stay = append(stay, p)
		}
	}
	if e.places = stay; len(stay) == 0 {
		e.from.users--
		delete(w.entries, id)
	}
}

// dueLocked lists an entry for the next check, once.
func (w *waits) dueLocked(id lm.TraceID, e *entry) {
	if !e.due {
		e.due = true
		w.due = append(w.due, id)
	}
}

// again lists operations for another check, those of one reader or, with none
// named, all.
func (w *waits) again(of *reader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, e := range w.entries {
		if of == nil || e.from == of {
			w.dueLocked(id, e)
		}
	}
	w.kick()
}

// notice takes down which of the ended operations somebody waits for.
func (w *waits) notice(notices []lua.Notice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range notices {
		if w.entries[n.ID] != nil {
			w.noticed = append(w.noticed, n.ID)
		}
	}
	if len(w.noticed) > 0 {
		w.kick()
	}
}

func (w *waits) kick() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// close answers ErrClosed to all who wait, and waits for the goroutines.
func (w *waits) close() {
	w.mu.Lock()
	w.closed = true
	for id := range w.entries {
		w.leaveLocked(id, func(p place) bool {
			p.waiter.tell(answer{result: lm.Result{ID: id}, err: ErrClosed})
			return true
		})
	}
	w.mu.Unlock()
	w.stop()
	w.group.Wait()
}

// beside runs f in a goroutine that close waits for; false when it is closed.
func (w *waits) beside(f func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.group.Go(f)
	}
	return !w.closed
}

// pause waits, unless the Client is closed first.
func (w *waits) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.ctx.Done():
	}
}
