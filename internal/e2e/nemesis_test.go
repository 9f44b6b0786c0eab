package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
)

// The nemesis runs a fleet of real processes under load, lets one fault after the
// other happen to its workers, its links and its Redis, heals all, and holds what
// is left against the invariants. Every choice follows from the seed.
//
//	LIGHTERMAN_NEMESIS_RUNS     runs (2), each with the next seed
//	LIGHTERMAN_NEMESIS_SECONDS  of faults in each run (4)
//	LIGHTERMAN_NEMESIS_SEED     the first seed (1)
//	LIGHTERMAN_NEMESIS_FAULTS   names of faults, comma-separated (all)

// TestNemesis: whatever happens to it, a fleet loses nothing, does nothing twice
// and accounts for every call. A fault that did not reach its target is an error.
func TestNemesis(t *testing.T) {
	if testing.Short() {
		t.Skip("process tests are not short")
	}
	runs, seconds, seed := number(t, "RUNS", 2), number(t, "SECONDS", 4), number(t, "SEED", 1)
	met := make(map[string]int)
	for i := range runs {
		t.Run(fmt.Sprintf("seed=%d", seed+i), func(t *testing.T) {
			n := newNemesis(t, uint64(seed+i))
			defer func() {
				for name, times := range n.met {
					met[name] += times
				}
			}()
			n.torment(time.Duration(seconds) * time.Second)
			n.settle()
			n.judge()
			n.checkDrained(n.records(n.all()))
		})
	}
	for _, name := range slices.Sorted(maps.Keys(met)) {
		t.Logf("%-22s met %d times", name, met[name])
	}
	if runs < 12 || os.Getenv("LIGHTERMAN_NEMESIS_FAULTS") != "" {
		return // too few for each to have its turn
	}
	for _, f := range slices.Concat(singleFaults, clusterFaults, sentinelFaults) {
		if met[f.name] == 0 {
			t.Errorf("%s was never met in %d runs: void", f.name, runs)
		}
	}
}

// number reads a setting of the nemesis.
func number(t *testing.T, name string, usual int) int {
	t.Helper()
	return settingFrom(t, "LIGHTERMAN_NEMESIS_"+name, usual)
}

// settingFrom reads a whole number from the environment.
func settingFrom(t *testing.T, variable string, usual int) int {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: want a whole number from 1", variable, s)
	}
	return n
}

// nemesis is one run.
type nemesis struct {
	*fleet
	rng       *rand.Rand
	seed      uint64
	faults    []fault
	met       map[string]int // how often each fault reached its target
	members   []*member
	forgotten int                // operations of earlier rounds, in a soak
	shards    *clusterFleet      // nil but on a cluster
	watched   *redistest.Watched // nil but under sentinels
}

// member is a worker and, on a single server, its link to Redis.
type member struct {
	*worker
	link *redistest.Proxy
}

const (
	nemesisLease   = 2 * time.Second
	nemesisWorkers = 3
	nemesisSlots   = 12
)

// newNemesis starts the fleet of a seed: of every six, one is on a cluster and one
// under sentinels.
func newNemesis(t *testing.T, seed uint64) *nemesis {
	t.Helper()
	n := &nemesis{seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), met: make(map[string]int)}
	switch seed % 6 {
	case 4:
		// A shard that is frozen for less than the time-out is not replaced: its replica
		// would lack the last writes.
		n.shards = newClusterFleet(t, nemesisLease, redistest.StartShards(t, 3, 3, redistest.WithConfig("cluster-node-timeout", "15000")))
		n.fleet, n.faults = n.shards.fleet, clusterFaults
	case 5:
		n.watched = redistest.StartWatched(t)
		n.fleet = newFleetAt(t, nemesisLease, n.watched.URL(), 1, n.watched.Replica.Client())
		n.faults = sentinelFaults
	default:
		// Loading takes a moment, so that clients meet LOADING after a restart.
		n.fleet = newFleet(t, nemesisLease, redistest.WithTCP(), redistest.WithAppendOnly(), redistest.WithConfig("key-load-delay", "500"),
			redistest.WithConfig("busy-reply-threshold", "100"))
		n.faults = singleFaults
	}
	n.faults = chosen(t, n.faults)
	for range nemesisWorkers {
		n.members = append(n.members, n.recruit())
	}
	return n
}

// chosen keeps the faults that LIGHTERMAN_NEMESIS_FAULTS names.
func chosen(t *testing.T, all []fault) []fault {
	t.Helper()
	names := os.Getenv("LIGHTERMAN_NEMESIS_FAULTS")
	if names == "" {
		return all
	}
	var some []fault
	for _, f := range all {
		if slices.Contains(strings.Split(names, ","), f.name) {
			some = append(some, f)
		}
	}
	if len(some) == 0 {
		t.Skipf("none of %s happens to this kind of Redis", names)
	}
	return some
}

// recruit starts a worker, behind a link of its own where there is one server.
func (n *nemesis) recruit() *member {
	n.Helper()
	m := &member{}
	c := crew{own: true, slots: nemesisSlots, latency: 40 * time.Millisecond, presence: true, config: n.write(nemesisConfig)}
	if n.redis != nil {
		m.link = redistest.NewProxy(n, n.redis)
		c.url = m.link.URL()
	}
	m.worker = n.start(c)
	return m
}

// some returns a random member.
func (n *nemesis) some() *member { return n.members[n.rng.IntN(len(n.members))] }

// replace puts a new worker in the place of one that has ended.
func (n *nemesis) replace(m *member) {
	n.Helper()
	i := slices.Index(n.members, m)
	n.members[i] = n.recruit()
}

// torment lets faults happen, in random order and each as often as any other,
// while operations keep coming.
func (n *nemesis) torment(d time.Duration) {
	n.Helper()
	n.enqueue(30, nemesisWork...)
	if !n.awaitRunningFor(4, patience) {
		n.Fatal("nobody works")
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() { n.load(stop) })
	defer load.Wait()
	defer close(stop)
	began := time.Now()
	for order := []fault(nil); time.Since(began) < d; order = order[1:] {
		if len(order) == 0 {
			order = slices.DeleteFunc(slices.Clone(n.faults), func(f fault) bool { return f.once && n.met[f.name] > 0 })
			n.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		}
		n.strike(order[0])
	}
}

// load enqueues a few operations whenever fewer than enough are open.
func (n *nemesis) load(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
		if open, known := n.open(); known && open < 2*nemesisWorkers*nemesisSlots {
			n.accept(12)
		}
	}
}

// open is how many operations have not ended; known is false while Redis cannot
// say.
func (n *nemesis) open() (open int, known bool) {
	records, err := n.store.Records(n.Context(), n.all())
	for _, r := range records {
		if r.State != lm.Completed {
			open++
		}
	}
	return open, err == nil
}

// accept enqueues operations, and asks again for each whose acceptance is unknown.
func (n *nemesis) accept(count int) {
	for range count {
		n.mu.Lock() // nobody may be dissected between the acceptance and our knowing it
		i := n.forgotten + len(n.order)
		a := nemesisWork[i%len(nemesisWork)](i)
		a.request.ID = fmt.Sprintf("n%d", i)
		accepted, err := n.client.Enqueue(n.Context(), a.request)
		for ; err != nil && n.Context().Err() == nil; accepted, err = n.client.Enqueue(n.Context(), a.request) {
			<-time.After(50 * time.Millisecond)
		}
		n.asked[accepted.ID] = a
		n.order = append(n.order, accepted.ID)
		n.mu.Unlock()
	}
}

// strike lets a fault happen, and once more where it met nothing.
func (n *nemesis) strike(f fault) {
	n.Helper()
	for range 3 {
		if !n.awaitRunningFor(4, 10*time.Second) {
			continue // all is done: there is nothing to be hit
		}
		began := time.Now()
		met := f.strike(n)
		n.Logf("seed %d: %s, met: %v, %v", n.seed, f.name, met, time.Since(began).Round(time.Millisecond))
		if met {
			n.met[f.name]++
			return
		}
	}
	n.Errorf("seed %d: %s did not reach its target in three tries: void", n.seed, f.name)
}

// settle waits until all has ended.
func (n *nemesis) settle() {
	n.Helper()
	for _, m := range n.members {
		if m.link != nil {
			m.link.Shape(redistest.Line{})
			m.link.Thaw()
		}
		m.signal(syscall.SIGCONT)
	}
	n.awaitAll()
}

// judge holds what is left against the invariants. Crashes are bounded, not
// counted exactly: a worker that was stopped may have been taken over or not.
func (n *nemesis) judge() {
	n.Helper()
	records := n.records(n.all())
	if len(records) == 0 {
		n.Fatal("no operations: nothing was proved")
	}
	n.checkEnded(records)
	for _, r := range records {
		n.checkHistory(r)
		if cuts := n.cutShort(r); r.CrashesTotal > cuts {
			n.Errorf("seed %d: %s: %d crashes counted, at most %d of its claims were cut short:%s", n.seed, r.ID, r.CrashesTotal, cuts, story(r))
		}
	}
	n.checkLifetimes()
	n.checkRepeats(records)
	n.checkBill()
}

// cutShort is how many claims of an operation were taken over from a worker that was
// killed, stopped or cut off at some time.
func (n *nemesis) cutShort(r lua.Record) (cuts int) {
	hit := make(map[string]bool)
	for _, a := range n.died() {
		hit[a.worker] = true
	}
	owner := ""
	for _, h := range r.History {
		if h.Worker != "" {
			owner = h.Worker
		}
		if (h.Reason == "lease" || h.Reason == "presence") && hit[owner] {
			cuts++
		}
	}
	return cuts
}

// checkRepeats: a step is called again only where a claim, or an attempt, was cut
// short (I6).
func (n *nemesis) checkRepeats(records []lua.Record) {
	n.Helper()
	l := n.readLedger()
	for _, r := range records {
		steps := l[r.ID]
		n.checkAnswered(r, steps)
		if repeats, claims := repeatsOf(steps), claimsOf(r); repeats > claims-1 {
			n.Errorf("seed %d: %s: %d calls were repeated in %d claims:%s", n.seed, r.ID, repeats, claims, story(r))
		}
	}
	n.Logf("seed %d: %d operations, %d faults, calls repeated %d, paid twice %d", n.seed, len(records), sum(n.met), l.repeats(), l.paidTwice())
}

// claimsOf is how often an operation was claimed.
func claimsOf(r lua.Record) (n int) {
	for _, h := range r.History {
		for _, s := range h.Path {
			if s == lm.Claimed {
				n++
			}
		}
	}
	return n
}

func sum(met map[string]int) (n int) {
	for _, times := range met {
		n += times
	}
	return n
}
