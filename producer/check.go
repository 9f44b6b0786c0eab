package producer

import (
	"fmt"
	"math/rand/v2"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// chunk is the most traces or results that one round trip reads.
const chunk = 500

// Bounds of the pause after lost contact, doubling and with jitter.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// work is what the checker takes on at a time: operations whose result is to be
// read because a notice came, or whose trace is.
type work struct {
	noticed []lm.TraceID
	due     []lm.TraceID
	readers map[*reader]bool // whose position is to be known before due is read
	round   uint64
}

// check answers waiters until nobody waits.
func (w *waits) check() {
	every := time.NewTicker(w.interval)
	defer every.Stop()
	pause := firstPause
	for {
		job, more := w.next()
		if !more {
			return
		}
		if len(job.noticed)+len(job.due) == 0 {
			select {
			case <-w.wake:
			case <-every.C:
				w.again(nil)
			case <-w.ctx.Done():
			}
			continue
		}
		lost := w.fetch(job.noticed, job.round, nil)
		if !lost {
			lost = w.look(job)
		} else {
			w.retry(job.due)
		}
		if !lost {
			pause = firstPause
			continue
		}
		w.pause(pause/2 + rand.N(pause))
		pause = min(2*pause, lastPause)
	}
}

// next takes up to a chunk of each list; more is false when nobody waits, and
// the checker has then ended.
func (w *waits) next() (job work, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.entries) == 0 {
		w.running, w.due, w.noticed = false, nil, nil
		return work{}, false
	}
	w.round++
	job.round = w.round
	n := min(len(w.noticed), chunk)
	job.noticed, w.noticed = w.noticed[:n:n], w.noticed[n:]
	job.readers = make(map[*reader]bool)
	for len(w.due) > 0 && len(job.due) < chunk {
		id := w.due[0]
		w.due = w.due[1:]
		if e := w.entries[id]; e != nil && e.due { // else gone, or gone and come back
			e.due = false
			job.due = append(job.due, id)
			job.readers[e.from] = true
		}
	}
	return job, true
}

// retry lists operations for another check of their traces.
func (w *waits) retry(ids []lm.TraceID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if e := w.entries[id]; e != nil {
			w.dueLocked(id, e)
		}
	}
}

// look reads the traces of what is due, answers what is not there and has the
// results of the ended ones read. It reports whether contact was lost; then all
// of them are due again.
func (w *waits) look(job work) (lost bool) {
	for r := range job.readers {
		select {
		case <-r.ready:
		case <-w.ctx.Done():
			return false
		}
	}
	return w.inParts(job.due, job.round, func(ids []lm.TraceID) (bool, error) {
		records, err := w.store.Records(w.ctx, ids)
		if err != nil {
			return false, err
		}
		var ended []lm.TraceID
		outcomes := make(map[lm.TraceID]lm.Outcome)
		for _, r := range records {
			switch r.State {
			case lm.None:
				w.settle(job.round, answer{lm.Result{ID: r.ID}, fmt.Errorf("%s: %w", r.ID, lm.ErrNotFound)})
			case lm.Completed:
				ended = append(ended, r.ID)
				outcomes[r.ID] = r.Outcome
			default:
				w.listen(r)
			}
		}
		return w.fetch(ended, job.round, outcomes), nil
	})
}

// fetch reads results and answers with them. One that is missing is due by its
// trace, or, where outcomes says that the trace was just read, is gone. It
// reports whether contact was lost; then all of them are due again.
func (w *waits) fetch(ids []lm.TraceID, round uint64, outcomes map[lm.TraceID]lm.Outcome) (lost bool) {
	return w.inParts(ids, round, func(ids []lm.TraceID) (bool, error) {
		results, err := w.store.Results(w.ctx, ids)
		if err != nil {
			return false, err
		}
		for _, r := range results {
			switch {
			case r.Outcome != "":
				w.settle(round, answer{result: r})
			case outcomes == nil:
				w.retry([]lm.TraceID{r.ID})
			default:
				r.Outcome = outcomes[r.ID]
				w.settle(round, answer{r, fmt.Errorf("%s: %w", r.ID, ErrResultGone)})
			}
		}
		return false, nil
	})
}

// inParts does a read of some operations. One that fails for a reason that does
// not pass is done again in halves, so that one operation whose keys somebody
// spoiled fails alone.
func (w *waits) inParts(ids []lm.TraceID, round uint64, read func([]lm.TraceID) (bool, error)) (lost bool) {
	if len(ids) == 0 || w.ctx.Err() != nil {
		return false
	}
	lost, err := read(ids)
	switch {
	case err == nil:
		return lost
	case lua.IsPassing(err):
		w.retry(ids)
		return true
	case len(ids) == 1:
		w.settle(round, answer{lm.Result{ID: ids[0]}, fmt.Errorf("wait for %s: %w", ids[0], err)})
		return false
	}
	half := len(ids) / 2
	first := w.inParts(ids[:half], round, read)
	return w.inParts(ids[half:], round, read) || first
}

// listen moves an operation that another producer enqueued to the partition's
// own notices, because ours will not be told of it.
func (w *waits) listen(r lua.Record) {
	if r.Reply == w.reply {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[r.ID]
	if e == nil || e.from.stream.Client == "" || w.closed {
		return
	}
	e.from.users--
	e.from = w.readerLocked(lua.NoticeStream{Partition: r.ID.Partition()})
	e.from.users++
	w.dueLocked(r.ID, e) // it may have ended before that reader's position
}
