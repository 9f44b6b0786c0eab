package consumer

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// Presence says how soon a worker that died is noticed by the others. Presence is
// a hint that saves waiting: whoever it overlooks is found by the lease.
type Presence struct {
	Off    bool          // this worker looks after nobody; it is still looked after
	Sample time.Duration // between samples while others hold something, default 250 ms
	Grace  time.Duration // for how long one that was seen must be missing, default 500 ms
}

func (p Presence) withDefaults() Presence {
	p.Sample = cmp.Or(p.Sample, 250*time.Millisecond)
	p.Grace = cmp.Or(p.Grace, 500*time.Millisecond)
	return p
}

const (
	idleSamples  = 8                      // an idle fleet is sampled so many times more rarely
	refusedPause = time.Minute            // after a server refused to count
	musterPause  = 500 * time.Millisecond // between reads of the roster, however often it changes
	perWorker    = 100 * time.Millisecond // by which those who do not watch read the roster more rarely
	maxOthers    = 999                    // that one sample counts
)

// watch looks after the other workers until ctx ends, if this one is among the
// watchers: it samples who listens and takes over at once what a dead one left.
func (c *Consumer) watch(ctx context.Context) {
	w := &watch{c: c, judge: newJudge(c.opts.Presence.Grace), heirs: make(map[string]bool), done: make(chan heir, maxHeirs), dead: make(chan string, maxHeirs)}
	ended := make(chan struct{})
	go func() { defer close(ended); w.takeOver(ctx) }()
	defer func() { <-ended }()
	for {
		timer := time.NewTimer(time.Until(w.turn(ctx)))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-c.crew.changed:
			w.musterAt = earlier(w.musterAt, w.mustered.Add(musterPause))
		case <-c.crew.hurry:
			w.sampleAt = time.Now()
		case h := <-w.done:
			w.inherited(h)
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// watch is what one worker knows of the presence of the others; its goroutine
// owns all but the channels.
type watch struct {
	c        *Consumer
	judge    *judge
	mustered time.Time // the last read of the roster
	musterAt time.Time // the next
	sampleAt time.Time // the next sample
	refused  time.Time // samples are refused; none before then
	told     bool      // the watchers know of us

	heirs map[string]bool // owners that are being taken over
	dead  chan string
	done  chan heir
}

// turn does what is due and returns when the next is.
func (w *watch) turn(ctx context.Context) time.Time {
	if !time.Now().Before(w.musterAt) {
		w.muster(ctx)
	}
	if !time.Now().Before(w.sampleAt) {
		w.sampleAt = w.sample(ctx)
		w.c.metrics.Watched.Set(float64(w.judge.present()))
	}
	return earlier(w.musterAt, w.sampleAt)
}

// muster reads the roster. Watchers also take those off it that have been silent
// for long: what they left, if anything, was found by its lease.
func (w *watch) muster(ctx context.Context) {
	c := w.c
	records, now, err := c.store.Roster(ctx)
	w.mustered = time.Now()
	every := 2 * c.opts.Announce
	defer func() { w.musterAt = w.mustered.Add(every*9/10 + rand.N(every/5)) }()
	c.contacts.fleet.note(err)
	if err != nil {
		c.failedTo(ctx, "read the roster", err)
		return
	}
	m := mustered(records, now, c.owner, c.silent(), c.stale())
	if len(m.others) > maxOthers {
		m.others = m.others[:maxOthers]
	}
	c.crew.set(m)
	c.fleet.roster.Store(int64(m.fresh))
	switch {
	case !slices.Contains(m.watchers, c.owner):
		every = max(every, time.Duration(len(m.others))*perWorker)
	case len(m.others) > 0:
		every = c.opts.Announce
		w.sampleAt = earlier(w.sampleAt, w.mustered) // whom we have not seen yet
	}
	if slices.Contains(m.watchers, c.owner) {
		c.failedTo(ctx, "retire", c.store.Retire(ctx, m.stale...))
	}
	if !w.told {
		w.told = true
		c.failedTo(ctx, "tell watchers", c.store.Tell(ctx, lua.WordRoster, except(m.watchers, c.owner)...))
	}
}

// sample takes one sample, has it judged, and returns when the next is due. Who
// watches nobody samples only until it knows whether it could.
func (w *watch) sample(ctx context.Context) time.Time {
	c := w.c
	planned, m := w.sampleAt, c.crew.get()
	watches := len(m.others) > 0 && slices.Contains(m.watchers, c.owner)
	idle := time.Now().Add(idleSamples * c.opts.Presence.Sample)
	l := look{sent: time.Now(), before: c.hearing.now()}
	switch {
	case l.sent.Before(w.refused):
		return w.refused
	case l.before == 0 || !watches && c.crew.isAble():
		w.judge.forget()
		return idle // the subscription signals when it is there
	}
	if !watches {
		m.others = nil
	}
	limited, cancel := context.WithTimeout(ctx, c.opts.Lease/2)
	defer cancel()
	p, err := c.store.Presence(limited, c.owner, m.others)
	l.back, l.after = time.Now(), c.hearing.now()
	if ctx.Err() != nil {
		return idle
	}
	c.contacts.fleet.answered(l.back.Sub(l.sent), err)
	if !planned.IsZero() {
		l.late = l.back.Sub(planned) > c.opts.Presence.Sample
	}
	if err != nil {
		w.judge.forget()
		return w.failed(ctx, err, idle)
	}
	w.refused = time.Time{}
	c.crew.setAble(true)
	l.own, l.contact, l.present, l.deaf = p.Listening[c.owner], c.contacts.fleet.mayTakeOver(), p.Listening, p.Deaf
	for _, owner := range w.judge.take(l, m.others) {
		w.bequeath(owner)
	}
	if len(m.watchers) > 0 && m.watchers[0] == c.owner {
		c.failedTo(ctx, "tidy the board", c.store.Tidy(ctx, p.Over))
	}
	return w.next(l.sent, idle, m.others, p.Busy)
}

// next is when the sample after one is due: soon while others hold something or
// one is missing, and exactly when a verdict can fall.
func (w *watch) next(sent, idle time.Time, others []string, busy map[string]bool) time.Time {
	next := idle
	verdict := w.judge.due()
	if !verdict.IsZero() || slices.ContainsFunc(others, func(o string) bool { return busy[o] }) {
		next = sent.Add(w.c.opts.Presence.Sample)
	}
	if !verdict.IsZero() && verdict.After(sent) {
		next = earlier(next, verdict)
	}
	return next
}

// failed says once that presence is off, where this is no error that passes.
func (w *watch) failed(ctx context.Context, err error, idle time.Time) time.Time {
	if lua.IsPassing(err) {
		w.c.failedTo(ctx, "count who listens", err)
		return idle
	}
	if w.refused.IsZero() {
		w.c.log.Warn().Err(err).Msg("presence is off: Redis does not count who listens; dead workers are noticed by their lease")
	}
	w.c.crew.setAble(false)
	w.refused = time.Now().Add(refusedPause)
	return w.refused
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
