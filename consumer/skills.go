package consumer

import (
	"context"
	"slices"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// Serves is what a worker can run, as it tells the others.
type Serves struct {
	Kinds  []string // that it has a handler for
	Models []string // models and pools that it can call
	Real   bool     // a request that names no model is answered by no simulation
}

// runs reports whether a target that needs an ability can be had here.
func (s *Serves) runs(target string) bool {
	switch class, name := lm.WaitsFor(target); class {
	case lm.WaitKind:
		return slices.Contains(s.Kinds, name)
	case lm.WaitKnown:
		return lm.HasModel(name, s.Models)
	case lm.WaitReal:
		return s.Real
	}
	return false
}

// needsAbility reports whether what is waited for is a worker that can run it.
func needsAbility(target string) bool {
	class, _ := lm.WaitsFor(target)
	return class == lm.WaitKind || class == lm.WaitKnown || class == lm.WaitReal
}

// skillsFresh is how old the list of who can run what may be.
const skillsFresh = time.Second

// skills is who can run what, of this worker and of the others. The roster is read
// for it only while something is there that this worker cannot run.
type skills struct {
	hurry chan struct{} // holds one value when something may be there to be pulled
	tell  chan struct{} // holds one value when able has owners

	mu     sync.Mutex
	own    Serves
	ownAt  time.Time
	others map[string]other // live ones, by owner
	readAt time.Time
	able   map[string]bool // owners to be told that something waits for them
}

// other is what another worker can run, and of which queues.
type other struct {
	Serves
	queues []string
}

func newSkills() *skills {
	return &skills{hurry: make(chan struct{}, 1), tell: make(chan struct{}, 1), able: make(map[string]bool)}
}

// ownSkills is what this worker can run.
func (c *Consumer) ownSkills(now time.Time) Serves {
	if c.opts.Serves == nil {
		return Serves{}
	}
	c.skills.mu.Lock()
	defer c.skills.mu.Unlock()
	if s := c.skills; now.Sub(s.ownAt) > skillsFresh {
		s.own, s.ownAt = c.opts.Serves(), now
	}
	return c.skills.own
}

// elsewhere reports whether a handler's error says that this worker cannot run an
// operation of a queue, and another one lives that can.
func (c *Consumer) elsewhere(queue string, err error) bool {
	return unable(lm.KindOf(err)) && len(c.ableFor(c.writes, lm.AsError(err).For, queue)) > 0
}

// Elsewhere reports whether another worker lives that can run what waits for a target.
func (c *Consumer) Elsewhere(ctx context.Context, target string) bool {
	return len(c.ableFor(ctx, target, "")) > 0
}

// RealElsewhere reports whether another worker lives by which a request that names no
// model is answered by no simulation, as of the last look at the roster.
func (c *Consumer) RealElsewhere() bool {
	if c.opts.Presence.Off { // nobody reads the roster then
		return c.Elsewhere(c.writes, lm.WaitReal)
	}
	return c.crew.get().real
}

// ableFor names the other workers that live and can run what waits for a target, of a
// queue or (empty) of any.
func (c *Consumer) ableFor(ctx context.Context, target, queue string) (owners []string) {
	if !needsAbility(target) {
		return nil
	}
	for owner, o := range c.othersSkills(ctx) {
		if o.runs(target) && (queue == "" || slices.Contains(o.queues, queue)) {
			owners = append(owners, owner)
		}
	}
	return owners
}

// othersSkills reads what the others can run, at most once in skillsFresh. What cannot
// be read now is as it was.
func (c *Consumer) othersSkills(ctx context.Context) map[string]other {
	s := c.skills
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.readAt) < skillsFresh {
		return s.others
	}
	others, err := c.readSkills(ctx)
	s.readAt = time.Now()
	if c.failedTo(ctx, "read who can run what", err); err == nil {
		s.others = others
	}
	return s.others
}

func (c *Consumer) readSkills(ctx context.Context) (map[string]other, error) {
	records, now, err := c.store.Roster(ctx)
	if err != nil {
		return nil, err
	}
	var digests []string
	for _, r := range records {
		digests = append(digests, r.Catalog)
	}
	catalogs, err := c.store.Catalogs(ctx, digests)
	if err != nil {
		return nil, err
	}
	others := make(map[string]other)
	for _, r := range records {
		if r.Owner != c.owner && !r.Draining && now.Sub(r.Seen) <= c.silent() {
			others[r.Owner] = other{Serves: Serves{Kinds: r.Kinds, Models: catalogs[r.Catalog], Real: r.Real}, queues: r.Queues}
		}
	}
	return others, nil
}

// callAble has those pull who can run what waits for a target: this worker itself, and
// the others that can.
func (c *Consumer) callAble(ctx context.Context, target string) {
	if own := c.ownSkills(time.Now()); own.runs(target) {
		signal(c.skills.hurry)
		return
	}
	owners := c.ableFor(ctx, target, "")
	if len(owners) == 0 {
		return
	}
	c.skills.mu.Lock()
	for _, owner := range owners {
		c.skills.able[owner] = true
	}
	c.skills.mu.Unlock()
	signal(c.skills.tell)
}

// tellPause is the least time between two words to those that can run something, so
// that many operations are told of by one.
const tellPause = 20 * time.Millisecond

// tellAble tells workers that something waits for them, until ctx ends. A word that is
// lost costs a tick.
func (c *Consumer) tellAble(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.skills.tell:
		}
		c.skills.mu.Lock()
		var owners []string
		for owner := range c.skills.able {
			owners = append(owners, owner)
		}
		clear(c.skills.able)
		c.skills.mu.Unlock()
		c.failedTo(ctx, "tell who can run what waits", c.store.Tell(ctx, lua.WordWaits, owners...))
		if !pause(ctx, tellPause) {
			return
		}
	}
}

// catalogEvery is when a worker publishes its list of names again, in case that Redis
// has lost it.
const catalogEvery = time.Minute

// skills puts what the worker can run into its record.
func (r *reporter) skills(ctx context.Context) {
	own := r.c.ownSkills(time.Now())
	r.record.Kinds, r.record.Real = own.Kinds, own.Real
	digest := lua.CatalogDigest(own.Models)
	changed := digest != r.record.Catalog
	if changed || time.Since(r.listed) > catalogEvery {
		err := r.c.store.PublishCatalog(ctx, own.Models, changed)
		if r.c.failedTo(ctx, "publish the catalog", err); err == nil {
			r.listed = time.Now()
		}
	}
	r.record.Catalog = digest
}
