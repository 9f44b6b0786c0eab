package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("b%02d", i)
	}
	return names
}

// TestReconcile_HungBackendsDelayNobody: of 50 backends 5 hang, one of them deaf to
// its context. The cycle takes the timeout and at most 10 % more, and what the
// others say is recorded long before.
func TestReconcile_HungBackendsDelayNobody(t *testing.T) {
	server := redistest.Start(t)
	y := newYard(t, numbered(50)...)
	for i, b := range numbered(50) {
		if i%10 == 3 {
			y.shelves[b].set(func(s *shelf) { s.hangs = true })
		}
	}
	y.shelves["b03"].set(func(s *shelf) { s.deaf = true })
	m, r := y.worker(storeOn(t, server))
	timeout := 5 * time.Second
	if full {
		timeout = 10 * time.Second
	}
	r.askers.timeout = timeout
	began := time.Now()
	var early time.Duration
	var all sync.WaitGroup
	all.Go(func() {
		until(t, "45 are recorded", func() bool {
			got, _, err := m.at.Observations(ctx)
			return err == nil && len(got) == 45
		})
		early = time.Since(began)
	})
	report, err := r.Cycle(ctx)
	took := time.Since(began)
	all.Wait()
	if err != nil || len(report.Listed) != 50 {
		t.Fatalf("%+v %v", report, err)
	}
	bound := timeout + timeout/10
	t.Logf("a cycle over 50 backends of which 5 hang: %s, timeout %s (+%.1f %%); the other 45 recorded after %s",
		took.Round(time.Millisecond), timeout, 100*float64(took-timeout)/float64(timeout), early.Round(time.Millisecond))
	if took > bound || took < timeout {
		t.Errorf("took %s, want %s to %s", took, timeout, bound)
	}
	if early > timeout*4/5 {
		t.Errorf("those that do not hang waited %s", early)
	}
	for _, l := range report.Listed {
		if hung := l.Backend[2] == '3'; hung != (l.Kind == lm.TimedOut) {
			t.Errorf("%+v", l)
		}
	}
	for b, s := range y.shelves {
		if s.left <= 0 || s.left > timeout {
			t.Errorf("%s was given %s", b, s.left)
		}
	}
	// The deaf one is not asked again while it is at it.
	looks := y.shelves["b03"].looked()
	r.askers.timeout = 50 * time.Millisecond
	y.now(r, "b03")
	if n := y.shelves["b03"].looked() - looks; n != 0 {
		t.Errorf("a lister under way was asked %d more times", n)
	}
	if got := drifts(m); strings.Count(got, "=ok") != 45 {
		t.Errorf("%s", got)
	}
}

// TestReconcile_OnceAnIntervalInAFleetOf50: 50 Managers on one Redis, each running
// its Reconciler, list every backend once per interval.
func TestReconcile_OnceAnIntervalInAFleetOf50(t *testing.T) {
	server := redistest.Start(t)
	y := newYard(t, numbered(6)...)
	y.spec.Observe.Interval = 2 * time.Second
	const workers, intervals = 50, 4
	shared := storeOn(t, server)
	running, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	for i := range workers {
		_, r := y.worker(shared, func(o *Options) { o.Owner = fmt.Sprint("w", i) })
		all.Go(func() { r.Run(running) })
	}
	until(t, "each was listed once", func() bool { return y.total() >= 6 })
	rdb := server.Client()
	began, looks := time.Now(), y.total()
	before := commandsOf(t, rdb)
	until(t, fmt.Sprint(intervals, " intervals"), func() bool { return y.total() >= looks+6*intervals })
	took, n := time.Since(began), commandsOf(t, rdb)-before
	stop()
	all.Wait()
	most := int(took/y.spec.Observe.Interval) + 1
	for b, s := range y.shelves {
		if got := s.looked() - looks/6; got > most {
			t.Errorf("%s was listed %d times in %s, want at most %d", b, got, took, most)
		}
	}
	t.Logf("%d workers, 6 backends, interval %s: %d listings in %s, %.2f per backend and interval; %.2f commands per worker and interval", workers, y.spec.Observe.Interval,
		y.total()-looks, took.Round(time.Millisecond), float64(y.total()-looks)/6/(float64(took)/float64(y.spec.Observe.Interval)), float64(n)/workers/(float64(took)/float64(y.spec.Observe.Interval)))
	if each := float64(n) / workers / intervals; each > 8 {
		t.Errorf("%.1f commands per worker and interval: most of them need only ask", each)
	}
	if took < time.Duration(intervals-1)*y.spec.Observe.Interval {
		t.Errorf("%d intervals took %s", intervals, took)
	}
}

func commandsOf(t *testing.T, rdb *redis.Client) int {
	t.Helper()
	for line := range strings.Lines(rdb.Info(ctx, "stats").Val()) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "total_commands_processed:"); ok {
			n := 0
			_, _ = fmt.Sscan(v, &n)
			return n
		}
	}
	t.Fatal("INFO says nothing of commands")
	return 0
}

// TestReconcile_TwoRace: both see it due, one lists, the other finds it done.
func TestReconcile_TwoRace(t *testing.T) {
	server := redistest.Start(t)
	for round := range 20 {
		y := newYard(t, fmt.Sprint("one", round), fmt.Sprint("two", round))
		gate := make(chan struct{})
		for _, s := range y.shelves {
			s.set(func(s *shelf) { s.gate = gate })
		}
		_, a := y.worker(storeOn(t, server))
		mb, b := y.worker(storeOn(t, server))
		reports := make(chan Report, 2)
		for _, r := range []*Reconciler{a, b} {
			go func() {
				// The one waits for the lock, so that it comes after the other for sure.
				report, err := r.cycle(ctx, r.m.AcquireLock, r.older(time.Minute))
				if err != nil {
					t.Error(err)
				}
				reports <- report
			}()
		}
		until(t, "one is at it", func() bool { return y.total() == 2 })
		if report, err := b.Cycle(ctx); round%2 == 0 && (err != nil || !report.Busy) {
			t.Errorf("beside it: %+v %v", report, err)
		}
		close(gate)
		n := len((<-reports).Listed) + len((<-reports).Listed)
		if n != 2 || y.total() != 2 {
			t.Fatalf("round %d: %d listed, %d looks", round, n, y.total())
		}
		if got := drifts(mb); strings.Count(got, "=ok") != 2 && mb.Load(ctx) == nil && strings.Count(drifts(mb), "=ok") != 2 {
			t.Errorf("%s", got)
		}
	}
}

// TestReconcile_WhoLosesTheLockWritesNothing: it hangs in the middle of its cycle
// while another takes over, and stops; the other's word stands.
func TestReconcile_WhoLosesTheLockWritesNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		y := newYard(t, "one", "two")
		slow := make(chan struct{})
		y.shelves["two"].set(func(s *shelf) { s.gate = slow })
		m, r := y.worker(s, lockOptions("one", time.Minute, time.Minute))
		ended := make(chan error, 1)
		go func() { _, err := r.Cycle(ctx); ended <- err }()
		until(t, "its first answer is written", func() bool { return len(must[[]lua.Observation](t)(m.CachedLists(ctx))) == 1 })
		rdb.Del(ctx, "{lm:fleet}:lock") // it has expired; it cannot know
		y2 := newYard(t, "one", "two")
		y2.shelves["two"].set(stocks("newer"))
		_, other := y2.worker(s, lockOptions("two", time.Minute, time.Minute))
		y2.now(other)
		before := must[[]lua.Observation](t)(m.CachedLists(ctx))
		list := rdb.Get(ctx, rdb.Keys(ctx, "*:prov:two:*").Val()[0]).Val()
		close(slow) // and now it answers
		if err := <-ended; !errors.Is(err, ErrLockLost) {
			t.Errorf("it ended with %v", err)
		}
		after := must[[]lua.Observation](t)(m.CachedLists(ctx))
		if fmt.Sprint(after) != fmt.Sprint(before) || rdb.Get(ctx, rdb.Keys(ctx, "*:prov:two:*").Val()[0]).Val() != list || !strings.Contains(list, "newer") {
			t.Errorf("%v\nafter %v", before, after)
		}
	})
}

// TestReconcile_LosingTheLockEndsTheListings: they do not go on for nothing.
func TestReconcile_LosingTheLockEndsTheListings(t *testing.T) {
	server := redistest.Start(t)
	y := newYard(t, "one")
	y.shelves["one"].set(func(s *shelf) { s.hangs = true })
	m, r := y.worker(storeOn(t, server), lockOptions("one", 300*time.Millisecond, time.Minute))
	r.askers.timeout = time.Minute
	ended := make(chan error, 1)
	go func() { _, err := r.Cycle(ctx); ended <- err }()
	until(t, "it lists", func() bool { return y.total() == 1 })
	server.Client().Del(ctx, "{lm:fleet}:lock") // its renewal will hear of it
	began := time.Now()
	if err := <-ended; !errors.Is(err, ErrLockLost) || time.Since(began) > 40*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	if got := must[[]lua.Observation](t)(m.CachedLists(ctx)); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	r.askers.wait()
}

// TestReconcile_DiesBetweenListAndWrite: nothing of it is there, and with the end
// of its lock another lists.
func TestReconcile_DiesBetweenListAndWrite(t *testing.T) {
	server := redistest.Start(t)
	if err := helper(t, server, "cutoff").Run(); err == nil {
		t.Fatal("it did not die")
	}
	s := storeOn(t, server)
	if l := must[lua.Lock](t)(s.LockHolder(ctx)); !l.Held || l.Owner != "cutoff" {
		t.Fatalf("%+v: it died too early or too late", l)
	}
	y := newYard(t, "one")
	m, r := y.worker(s)
	if got := must[[]lua.Observation](t)(m.CachedLists(ctx)); len(got) != 0 {
		t.Errorf("half a cycle: %+v", got)
	}
	if report, err := r.Cycle(ctx); err != nil || !report.Busy {
		t.Errorf("while its lock holds: %+v %v", report, err)
	}
	until(t, "another lists", func() bool { report, err := r.Cycle(ctx); return err == nil && len(report.Listed) == 1 })
	y.expect(m, "a-one=ok")
}

// cutoffHelper dies when its backend has answered, before it can write.
func cutoffHelper(url string, _ []string) error {
	m, err := helperManager(url, Options{Owner: "cutoff", LockLife: lockLifeOfHelper})
	if err != nil {
		return err
	}
	m.opts.Spec = Spec{Backends: []BackendSpec{{ID: "one", Provider: "openai", URL: "http://one"}}}
	m.at = diesAtTheWrite{m.at}
	r := NewReconciler(m, ReconcilerOptions{Listers: map[string]Lister{"one": &shelf{names: "a"}}})
	_, err = r.Cycle(ctx)
	return fmt.Errorf("it lived: %w", err)
}

// TestReconcile_ANudgeFindsItAtOnce, debounced, while the interval is far away.
func TestReconcile_ANudgeFindsItAtOnce(t *testing.T) {
	server := redistest.Start(t)
	y := newYard(t, "one")
	y.spec.Observe.Interval = time.Hour
	y.shelves["one"].set(stocks("other"))
	m, r := y.worker(storeOn(t, server))
	running, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { r.Run(running) })
	defer all.Wait()
	defer stop()
	until(t, "the first look", func() bool { return drifts(m) == "a-one=model_missing one/other=model_undeclared" })
	y.shelves["one"].set(stocks("a other"))
	began := time.Now()
	until(t, "it is found", func() bool { r.Nudge(); return strings.HasPrefix(drifts(m), "a-one=ok") })
	if took := time.Since(began); took < 3*time.Second || y.shelves["one"].looked() != 2 {
		t.Errorf("found after %s and %d looks; another look within 5 s of the first is one too many", took, y.shelves["one"].looked())
	}
	t.Logf("a model that appeared was found %s after the first look", time.Since(began).Round(time.Millisecond))
}

// TestReconcile_AppearsWithinAnInterval without anybody's asking.
func TestReconcile_AppearsWithinAnInterval(t *testing.T) {
	server := redistest.Start(t)
	y := newYard(t, "one")
	y.spec.Observe.Interval = 500 * time.Millisecond
	y.shelves["one"].set(broken(failure(lm.ProviderFailed)))
	m, r := y.worker(storeOn(t, server))
	running, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { r.Run(running) })
	defer all.Wait()
	defer stop()
	until(t, "it is looked for", func() bool { return drifts(m) == "a-one=unreachable" })
	y.shelves["one"].set(broken(nil))
	until(t, "it is there", func() bool { return drifts(m) == "a-one=ok" })
}

// TestReconciler_ProbeAtTheStart looks at all, due or not, and asks the probe
// first; what it fails with is the backend's failure.
func TestReconciler_ProbeAtTheStart(t *testing.T) {
	server := redistest.Start(t)
	y := newYard(t, "one", "two")
	y.shelves["two"].set(func(s *shelf) { s.probe = failure(lm.Unauthorized) })
	m, r := y.worker(storeOn(t, server))
	y.now(r)
	if y.shelves["one"].probes != 0 {
		t.Error("a cycle probes")
	}
	if err := r.Probe(ctx); err != nil || y.total() != 2 {
		t.Errorf("looked at within 5 s: %v, %d looks", err, y.total())
	}
	if _, err := m.ForgetLists(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Probe(ctx); err != nil || y.shelves["one"].probes != 1 || y.shelves["one"].looked() != 2 || y.shelves["two"].looked() != 1 {
		t.Errorf("%v: %+v, %+v", err, y.shelves["one"], y.shelves["two"])
	}
	if p := provided(t, m, "two"); p.Failing != lm.Unauthorized {
		t.Errorf("%+v", p)
	}
	if _, err := r.Now(ctx, "nobody"); !errors.Is(err, lm.ErrNotFound) {
		t.Errorf("a backend without a lister: %v", err)
	}
}

// TestReconcile_CredentialIsNowhere: not in a key, a value or a log, though the
// backend's address has one in it and the provider sends ours back in its error.
func TestReconcile_CredentialIsNowhere(t *testing.T) {
	const canary = "sk-canary-7f3a91"
	server := redistest.Start(t)
	rdb := server.Client()
	var log bytes.Buffer
	y := newYard(t, "one", "two")
	y.spec.Backends[0].URL = "https://user:" + canary + "@models.example"
	y.shelves["two"].set(broken(lm.Errorf(lm.Unauthorized, "key %s is not valid", canary)))
	m, r := y.worker(storeOn(t, server), func(o *Options) {
		o.Log = zerolog.New(&log).Level(zerolog.TraceLevel)
		o.Credentials = map[string]string{"one": "hash-one", "two": "hash-two"}
	})
	for range 3 {
		y.now(r)
	}
	y.shelves["two"].set(func(s *shelf) { s.panics = true })
	y.now(r)
	system := fmt.Sprintf("%+v", must[SystemState](t)(m.System(ctx)))
	dump := dumpOf(t, rdb)
	for where, text := range map[string]string{"Redis": dump, "the log": log.String(), "the state": system} {
		if strings.Contains(text, canary) || strings.Contains(text, "models.example") {
			t.Errorf("the credential or address is in %s:\n%s", where, text)
		}
	}
	if !strings.Contains(dump, "prov:one") || !strings.Contains(log.String(), "backend not listed") || !strings.Contains(system, "unauthorized") && !strings.Contains(system, "provider") {
		t.Errorf("the canary had nowhere to sing:\n%s\n%s", dump, log.String())
	}
	if strings.Contains(dump, "hash-one") {
		t.Error("even the hash is kept as it is")
	}
}

// dumpOf is every key with its value, as text.
func dumpOf(t *testing.T, rdb *redis.Client) string {
	t.Helper()
	var b strings.Builder
	for _, key := range rdb.Keys(ctx, "*").Val() {
		fmt.Fprintln(&b, key)
		switch rdb.Type(ctx, key).Val() {
		case "hash":
			fmt.Fprintln(&b, rdb.HGetAll(ctx, key).Val())
		case "string":
			fmt.Fprintln(&b, rdb.Get(ctx, key).Val())
		default:
			t.Errorf("%s is a %s", key, rdb.Type(ctx, key).Val())
		}
	}
	return b.String()
}
