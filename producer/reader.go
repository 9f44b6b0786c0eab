package producer

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// A reader's blocking read is short, so that Close and the last waiter's leaving
// end it soon, and a read that took much longer than it waits for means that
// this process stood still: what the stream dropped meanwhile is not known.
const (
	block = time.Second
	still = 5 * time.Second
)

// reader follows one notice stream for all who wait on its operations.
type reader struct {
	stream lua.NoticeStream
	ready  chan struct{} // closed when the position is known, or could not be had
	users  int           // entries that rely on it; guarded by the waits' mu
}

// readerLocked is the stream's reader; it is started when there is none.
func (w *waits) readerLocked(s lua.NoticeStream) *reader {
	r := w.readers[s]
	if r == nil {
		r = &reader{stream: s, ready: make(chan struct{})}
		w.readers[s] = r
		w.group.Go(func() { w.read(r) })
	}
	return r
}

// read passes notices on until nobody needs them. After lost contact it takes
// its position anew and has the traces read: the stream may have lost its end,
// and notices may have been lost with it.
func (w *waits) read(r *reader) {
	ready := sync.OnceFunc(func() { close(r.ready) })
	defer ready()
	after, broken, pause := "", false, firstPause
	for w.needed(r) {
		var notices []lua.Notice
		var err error
		asked := time.Now()
		if after == "" {
			after, err = w.store.NoticeEnd(w.ctx, r.stream)
			if err == nil {
				ready()
			}
		} else {
			notices, after, err = w.store.Notices(w.ctx, r.stream, after, w.block)
			if err == nil {
				pause = firstPause
			}
		}
		if err != nil {
			ready()
			after, broken = "", true
			w.pause(w.holdOff(err, pause))
			pause = min(2*pause, lastPause)
			continue
		}
		w.notice(notices)
		if broken || time.Since(asked) > w.block+still {
			broken = false
			w.again(r)
		}
	}
}

// needed reports whether anybody relies on the reader; if not, it has ended, and
// the next who does starts another.
func (w *waits) needed(r *reader) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.users > 0 && !w.closed {
		return true
	}
	delete(w.readers, r.stream)
	return false
}

// holdOff is how long to pause after an error: lost contact is tried again soon;
// what does not pass by itself (the stream's name belongs to something else, a
// missing permission) leaves the waiting to the re-check.
func (w *waits) holdOff(err error, pause time.Duration) time.Duration {
	if lua.IsPassing(err) {
		return pause/2 + rand.N(pause)
	}
	return w.interval
}
