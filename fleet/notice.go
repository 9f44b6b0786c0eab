package fleet

import (
	"context"
	"sync/atomic"
	"time"
)

// Every change that routing must see is told to all workers by the script that
// makes it (lua/include/notice.lua). A notice is a hint: it can be lost, repeated or
// late, and says nothing but a version. Whoever hears one reads the state anew; the
// poll goes on, less often, and makes up for one that was lost.
//
//	deaf: a look every Options.Poll
//	  |  Hearing(true): look now          ^  Hearing(false): look now
//	  v                                   |
//	hears: a look every heardPoll, a read upon Noticed, noticeEvery apart
const (
	// heardPoll is how often a Manager in use looks while it hears notices: with the
	// look itself it sees what was told by a lost one within a second.
	heardPoll = 900 * time.Millisecond
	// heardIdle is how often an idle one does.
	heardIdle = 30 * time.Second
	// noticeEvery is the least time between two reads because of notices, so that a
	// minute in which much fails costs a worker ten reads a second at most.
	noticeEvery = 100 * time.Millisecond
	// readShare is how many times as long as a read took there is none: where
	// many workers read at once and Redis slows down, all of them read less often.
	readShare = 20
)

// notices are what a Manager has been told.
type notices struct {
	hearing atomic.Bool
	version atomic.Uint64 // the newest that was told and not acted upon; 0 none
	came    chan struct{} // holds one value when Run shall look at version

	// Only Run's goroutine touches these.
	last  time.Time     // when the last read because of a notice ended
	space time.Duration // from then to the next one
}

// Noticed tells a Manager that the fleet's state has reached a version. It never
// blocks and may be called by anybody; Run reads, unless the snapshot is as new
// already, as it is after the Manager's own changes.
func (m *Manager) Noticed(version uint64) {
	if m.opts.Policy == InMemory {
		return // others' changes are not of its truth
	}
	for {
		old := m.notices.version.Load()
		if version <= old {
			return // Run has been told
		}
		if m.notices.version.CompareAndSwap(old, version) {
			signal(m.notices.came)
			return
		}
	}
}

// Hearing tells a Manager whether notices can reach it. Until it is told so it
// polls as if they could not. It never blocks and may be called by anybody.
func (m *Manager) Hearing(up bool) {
	if m.opts.Policy != InMemory && m.notices.hearing.Swap(up) != up {
		signal(m.wake) // what was told until now was not heard
	}
}

// wait is how long a notice that has come waits for its turn. An idle Manager
// reads seldom: it looks anew before it is used.
func (n *notices) wait(now time.Time, idle bool) time.Duration {
	space := n.space
	if idle {
		space = idlePoll
	}
	return max(space-now.Sub(n.last), 0)
}

// catchUp reads what has been told of, if it is not in the snapshot yet. An error
// leaves it to the poll.
func (m *Manager) catchUp(ctx context.Context) {
	version := m.notices.version.Swap(0)
	if version <= m.snapshot.Load().Version {
		return
	}
	began := time.Now()
	_ = m.read(ctx, version)
	m.notices.last = time.Now()
	m.notices.space = min(max(noticeEvery, readShare*m.notices.last.Sub(began)), heardPoll)
}

// every is the time from one look to the next.
func (m *Manager) every(idle bool) time.Duration {
	switch {
	case idle:
		return idlePoll
	case m.notices.hearing.Load():
		return max(m.opts.heard, m.opts.Poll)
	}
	return m.opts.Poll
}
