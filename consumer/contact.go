package consumer

import (
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// contact remembers whether this worker reaches one Redis server. After contact was lost it
// takes over nothing for one lease: everybody's leases ran out meanwhile, and
// those who live must be given the time to say so.
type contact struct {
	lease time.Duration

	mu     sync.Mutex
	lost   bool
	sitOut time.Time // no takeover before

	told  time.Duration // the server's time when it was last told
	heard time.Time     // when that was, by the monotonic clock; zero: never
}

// contacts are those of the partitions: one for all on one server, and on a cluster,
// whose servers may be lost one by one, one each. The fleet's own slot has one too.
type contacts struct {
	fleet      *contact
	partitions []*contact
}

func newContacts(lease time.Duration, partitions int, sharded bool) contacts {
	c := contacts{fleet: newContact(lease), partitions: make([]*contact, partitions)}
	for p := range c.partitions {
		c.partitions[p] = c.fleet
		if sharded {
			c.partitions[p] = newContact(lease)
		}
	}
	return c
}

// contactWith is the contact with the server of a partition.
func (c *Consumer) contactWith(partition int) *contact { return c.contacts.partitions[partition] }

func newContact(lease time.Duration) *contact { return &contact{lease: lease} }

// note takes the error of a command; nil is a sign of life.
func (c *contact) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && (lua.IsPassing(err) || lua.IsDenied(err)):
		c.lost = true
	case err == nil && c.lost:
		c.lost = false
		c.sitOut = time.Now().Add(c.lease)
	}
}

// late takes how much longer than it should an answer took. Redis, or this
// process, stood still meanwhile, which is lost contact too: what the answer
// says of idle times may be true of everybody.
func (c *contact) late(d time.Duration) {
	if d > c.lease/2 {
		c.note(lm.ErrUnavailable)
	}
}

// clock takes the server's time, which an answer told just now. Idle times are reckoned
// by it: where it went ahead by much more than passed here, everybody looks idle, and
// those who live must be given a lease to say so.
func (c *contact) clock(server time.Duration, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.heard.IsZero() && server-c.told-now.Sub(c.heard) > c.lease/2 {
		c.sitOut = now.Add(c.lease)
	}
	c.told, c.heard = server, now
}

// answered takes a command's error and how much longer than it should it took.
func (c *contact) answered(late time.Duration, err error) {
	c.late(late)
	c.note(err)
}

// mayTakeOver reports whether takeovers are safe now.
func (c *contact) mayTakeOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.lost && !time.Now().Before(c.sitOut)
}
