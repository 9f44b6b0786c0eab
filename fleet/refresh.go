package fleet

import (
	"context"
	"slices"
	"time"

	"github.com/lighterman/lighterman/lua"
)

const (
	// idleAfter is how many times Options.Poll without a question make a Manager
	// idle; it then looks once in idlePoll.
	idleAfter = 20
	idlePoll  = 10 * time.Second
	// oldest is when a snapshot in use is read anew though nothing has changed:
	// its counters have.
	oldest = 10 * time.Second
	// readPatience bounds one look.
	readPatience = 2 * time.Second
)

// Snapshot is what is known now. It never waits for Redis; while Run runs and the
// Manager is in use it is at most a poll old. After a pause use Fresh.
func (m *Manager) Snapshot() *Snapshot {
	if !m.used.Load() {
		m.used.Store(true)
		if m.idle.Swap(false) {
			signal(m.wake)
		}
	}
	return m.snapshot.Load()
}

// Last is Snapshot that does not count as use: for whoever only shows what is known, and
// of an idle Manager may be old.
func (m *Manager) Last() *Snapshot { return m.snapshot.Load() }

// signal wakes Run, at once or when it comes to it.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Fresh sees to it that the snapshot is at most a second old: at the start of an
// operation, when nobody may have asked for long. Mostly it costs nothing, else
// one cheap command.
func (m *Manager) Fresh(ctx context.Context) error { return m.fresh(ctx, time.Second) }

// fresh is Fresh for another age.
func (m *Manager) fresh(ctx context.Context, age time.Duration) error {
	m.used.Store(true)
	if m.opts.clock().Sub(m.base.Load().checked) < age {
		return nil
	}
	return m.poll(ctx, false)
}

// Load reads the state. What nobody has used yet is there with nothing in it.
func (m *Manager) Load(ctx context.Context) error { return m.read(ctx, 0) }

// Run keeps the snapshot fresh, saves counters as the policy says and keeps the
// record of the pools' rotations, until ctx ends; then it saves what is left and
// gives up the lock, if it holds it.
func (m *Manager) Run(ctx context.Context) error {
	r := run{m: m, pools: rotations{settled: make(map[string]string)}}
	every := m.opts.Poll
	look, due := time.NewTimer(every), time.NewTimer(every)
	due.Stop()
	defer look.Stop()
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return m.end()
		case <-m.notices.came:
			due.Reset(m.notices.wait(time.Now(), r.idle()))
			continue
		case <-due.C:
			r.heard(ctx)
			continue
		case <-look.C:
			r.quiet += every
		case <-m.wake:
		}
		r.look(ctx)
		every = m.every(r.idle())
		look.Reset(every)
	}
}

// run is what Run remembers. It belongs to its goroutine.
type run struct {
	m       *Manager
	quiet   time.Duration // for which nobody has asked for the snapshot
	failing bool
	pools   rotations
	synced  time.Time // local time of the last Sync
}

func (r *run) idle() bool { return r.quiet > idleAfter*r.m.opts.Poll }

// look is a turn of the poll.
func (r *run) look(ctx context.Context) {
	m := r.m
	if m.used.Swap(false) {
		r.quiet = 0
	}
	err := m.poll(ctx, r.idle())
	if err == nil {
		err = m.Sync(ctx)
		r.synced = time.Now()
	}
	if err != nil && !r.failing && ctx.Err() == nil {
		m.opts.Log.Warn().Err(err).Msg("fleet state not read; the last snapshot stays")
	}
	r.failing = err != nil
	if err == nil {
		m.keepRotations(ctx, &r.pools)
	}
	if r.idle() {
		m.idle.Store(true)
	}
}

// heard acts on notices. Successes that wait while a model fails are saved soon
// after, but no oftener than by a Manager that hears nothing; rotations are left to
// the poll, whose turns are not at the same moment in all workers.
func (r *run) heard(ctx context.Context) {
	r.m.catchUp(ctx)
	if now := time.Now(); now.Sub(r.synced) >= r.m.opts.Poll {
		_ = r.m.Sync(ctx) // the next poll reports it
		r.synced = now
	}
}

// end is what a Manager does last.
func (m *Manager) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if h := m.lock.Load(); h != nil {
		_ = m.ReleaseLock(ctx, h) // it expires by itself
	}
	return m.Save(ctx)
}

// poll compares versions, and reads where they differ or, in use, the snapshot is
// old. An idle Manager that hears notices does so seldom.
func (m *Manager) poll(ctx context.Context, idle bool) error {
	if !idle && m.opts.clock().Sub(m.base.Load().local) > oldest {
		return m.read(ctx, 0)
	}
	if idle && m.notices.hearing.Load() && m.opts.clock().Sub(m.base.Load().checked) < heardIdle {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	asked := m.opts.clock()
	version, err := m.at.FleetVersion(ctx)
	if err != nil {
		return err
	}
	if version != m.snapshot.Load().Version {
		return m.read(ctx, 0)
	}
	m.checked(asked)
	return nil
}

func (m *Manager) checked(at time.Time) {
	old := m.base.Load()
	b := *old
	b.checked = at
	m.base.CompareAndSwap(old, &b) // else a read was faster, and newer
}

// behind reads anew where an answer showed a version beyond the snapshot's. An
// error is left to the next poll.
func (m *Manager) behind(ctx context.Context, version uint64) {
	if version > m.snapshot.Load().Version {
		_ = m.read(ctx, version)
	}
}

// read makes a new snapshot; least is a version that is enough (0: read in any case).
func (m *Manager) read(ctx context.Context, least uint64) error {
	m.reads.Lock()
	defer m.reads.Unlock()
	if least > 0 && m.snapshot.Load().Version >= least {
		return nil // somebody was faster
	}
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	asked := m.opts.clock()
	st, err := m.state(ctx)
	if err != nil {
		return err
	}
	got := m.opts.clock()
	snap := newSnapshot(st.raw.Version, st.raw.Now, st.stock, st.models, st.records)
	for i := range snap.Pools {
		snap.Pools[i].record = st.pools[snap.Pools[i].Spec.ID]
	}
	m.snapshot.Store(snap)
	m.base.Store(&reading{server: st.raw.Now, local: asked.Add(got.Sub(asked) / 2), checked: asked})
	return nil
}

// names are the models that there are, their backends and the pools.
func (s *Spec) names() (models, backends, pools []string) {
	for _, b := range s.Backends {
		backends = append(backends, b.ID)
	}
	for _, m := range s.Models {
		models = append(models, m.ID)
		if !slices.Contains(backends, m.Backend) {
			backends = append(backends, m.Backend)
		}
	}
	for _, p := range s.Pools {
		pools = append(pools, p.ID)
	}
	return models, backends, pools
}

// observed is the state by name.
type observed struct {
	raw      lua.FleetState
	models   map[string]ModelState
	backends map[string]hash
	pools    map[string]hash
	fields   map[string]hash // of the models
	stock    *inventory
	records  map[string]lua.Observation // of the listings, by backend
}

func (m *Manager) state(ctx context.Context) (observed, error) {
	stock := m.stock()
	models, backends, pools := stock.spec.names()
	raw, err := m.at.FleetState(ctx, models, backends, pools)
	if err != nil {
		return observed{}, err
	}
	now, records, err := m.takeStock(ctx, raw)
	if err != nil {
		return observed{}, err
	}
	if !now.sameModels(stock) { // some were discovered, or are gone
		models, backends, pools = now.spec.names()
		if raw, err = m.at.FleetState(ctx, models, backends, pools); err != nil {
			return observed{}, err
		}
	}
	o := observed{raw: raw, models: make(map[string]ModelState), backends: make(map[string]hash), pools: make(map[string]hash), fields: make(map[string]hash), stock: now, records: records}
	for i, b := range backends {
		o.backends[b] = raw.Backends[i]
	}
	for i, p := range pools {
		o.pools[p] = raw.Pools[i]
	}
	for i, spec := range now.spec.Models {
		o.fields[spec.ID] = raw.Models[i]
		o.models[spec.ID] = modelState(raw.Models[i], o.backends[spec.Backend], m.concerns(spec.Backend, records), raw.Now, m.breaker)
	}
	return o, nil
}

// Save saves all counters that are pending, also those of a save whose answer was
// lost: that batch is sent again under its own keys.
func (m *Manager) Save(ctx context.Context) error {
	m.pending.saving.Lock()
	defer m.pending.saving.Unlock()
	for more := true; more; {
		b := m.pending.take()
		if b == nil {
			break
		}
		models, spent := b.increments(m.Now().UnixMilli(), m)
		version, err := m.at.Count(ctx, models, spent)
		if err != nil {
			return err
		}
		more = m.pending.landed()
		m.behind(ctx, version)
	}
	now := m.opts.clock()
	m.lastSync.Store(&now)
	return nil
}

// Sync saves where the policy says that it is time. Under Periodic that is when
// the interval has passed, or when a model with pending successes has begun to fail.
func (m *Manager) Sync(ctx context.Context) error {
	if m.opts.Policy != Periodic {
		return nil
	}
	if m.opts.clock().Before(m.nextSync()) && !m.failing() {
		return nil
	}
	return m.Save(ctx)
}

// failing reports whether successes wait that would end another worker's streak.
func (m *Manager) failing() bool {
	s := m.snapshot.Load()
	for i := range s.Models {
		if s.Models[i].State.Failures > 0 && m.pending.has(s.Models[i].Spec.ID) {
			return true
		}
	}
	return false
}

func (m *Manager) nextSync() time.Time {
	last := m.lastSync.Load()
	if last == nil {
		return time.Time{}
	}
	return last.Add(m.opts.Interval)
}

// Status is how far counters have been saved.
func (m *Manager) Status() SyncStatus {
	s := SyncStatus{Policy: m.opts.Policy, Hearing: m.notices.hearing.Load()}
	s.PendingChanges, s.Lost = m.pending.count()
	if last := m.lastSync.Load(); last != nil {
		s.LastSync = *last
	}
	if m.opts.Policy == Periodic {
		s.NextSync = m.nextSync()
	}
	if who := m.lockSeen.Load(); who != nil {
		s.LockOwner = *who
	}
	if h := m.lock.Load(); h != nil && h.Held() {
		s.Locked, s.LockOwner = true, h.Owner
	}
	return s
}
