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
