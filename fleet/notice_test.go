package fleet

import (
	"fmt"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// hears tells m what comes over a subscription of its own, as a worker's consumer
// does, until the subscription breaks or the test ends.
func hears(t testing.TB, m *Manager, s *lua.Store) {
	t.Helper()
	l, err := s.Listen(ctx, m.opts.Owner, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	m.Hearing(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer m.Hearing(false)
		for {
			word, err := l.Next()
			if err != nil {
				return
			}
			if v, ok := lua.StateVersion(word); ok {
				m.Noticed(v)
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

// seldom makes a Manager that hears notices see nothing by its poll, and one that
// does not by it at once.
func seldom(o *Options) { o.heard, o.Poll = time.Hour, 10*time.Millisecond }

// reads counts the full reads of testSpec's state that a server has answered.
func reads(t *testing.T, rdb redis.UniversalClient) int64 {
	t.Helper()
	return redisCalls(t, rdb, "hgetall") / int64(len(testSpec().Models)+3+len(testSpec().Pools)) // models, two backends, pools, and what backends were seen to have
}

func disabled(m *Manager, id string) bool { return m.Snapshot().Model(id).State.Disabled }

// TestNotice_AChangeIsReadAtOnce, whoever made it, with a poll that would not find it.
func TestNotice_AChangeIsReadAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, _ redis.UniversalClient, s *lua.Store) {
		m, other := manager(t, s, true, seldom), manager(t, s, false)
		hears(t, m, s)
		until(t, "it hears", func() bool { return m.Status().Hearing })
		record(t, other, Outcome{Model: "a", Kind: lm.RateLimited, RetryAfter: time.Hour})
		until(t, "a cooldown is seen", func() bool { return m.Snapshot().Model("a").State.CooldownUntil.After(m.Now()) })
		for i := range 5 {
			word, want := lua.ModelDisable, i%2 == 0
			if !want {
				word = lua.ModelEnable
			}
			if err := other.Operate(ctx, "b", word); err != nil {
				t.Fatal(err)
			}
			until(t, word+" is seen", func() bool { return disabled(m, "b") == want })
		}
		fails(t, other, "a", 5)
		until(t, "an opening is seen", func() bool { return m.Snapshot().Model("a").State.Circuit == CircuitOpen })
	})
}

// TestNotice_WhoNoLongerHearsPolls: its subscription is killed, and what is told
// then reaches it all the same.
func TestNotice_WhoNoLongerHearsPolls(t *testing.T) {
	server := redistest.Start(t)
	m, other := manager(t, storeOn(t, server), true, seldom), manager(t, storeOn(t, server), false)
	hears(t, m, storeOn(t, server))
	until(t, "it hears", func() bool { return m.Status().Hearing })
	if err := server.Client().Do(ctx, "client", "kill", "type", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	until(t, "it does not", func() bool { return !m.Status().Hearing })
	if err := other.Operate(ctx, "a", lua.ModelDisable); err != nil {
		t.Fatal(err)
	}
	until(t, "the poll has found it", func() bool { return disabled(m, "a") })
}

// TestNotice_ALostOneIsMadeGoodByThePoll: it believes to hear, and nothing comes.
func TestNotice_ALostOneIsMadeGoodByThePoll(t *testing.T) {
	server := redistest.Start(t)
	m, other := manager(t, storeOn(t, server), true, func(o *Options) { o.heard, o.Poll = 20*time.Millisecond, 10*time.Millisecond }), manager(t, storeOn(t, server), false)
	m.Hearing(true)
	for _, id := range []string{"a", "b", "c"} {
		if err := other.Operate(ctx, id, lua.ModelDisable); err != nil {
			t.Fatal(err)
		}
		until(t, "it is seen", func() bool { return disabled(m, id) })
	}
}

// TestNotice_ABurstIsFewReads: a thousand changes are seen, the last one too, by
// no more reads than the time allows.
func TestNotice_ABurstIsFewReads(t *testing.T) {
	server := redistest.Start(t)
	m := manager(t, storeOn(t, server), true, func(o *Options) { o.heard, o.Poll = time.Hour, time.Second })
	hears(t, m, storeOn(t, server))
	until(t, "it hears and its pool is recorded", func() bool { return m.Status().Hearing && m.Snapshot().Pool("p").record["active"] != "" })
	s, rdb := storeOn(t, server), server.Client()
	const changes = 1000
	last := m.Snapshot().Version
	before, began := reads(t, rdb), time.Now()
	for i := range changes {
		word := lua.ModelDisable
		if i%2 == 1 {
			word = lua.ModelEnable
		}
		r, err := s.OperateModel(ctx, "a", "one", word)
		if err != nil {
			t.Fatal(err)
		}
		last = r.Version
	}
	until(t, "the last change is seen", func() bool { return m.Snapshot().Version >= last })
	took := time.Since(began)
	n := reads(t, rdb) - before
	t.Logf("%d changes in %s: %d reads", changes, took.Round(time.Millisecond), n)
	if most := int64(took/noticeEvery) + 2; n > most || n == 0 {
		t.Errorf("%d reads, want at most %d", n, most)
	}
}

// TestNotice_OfWhatIsKnownCostsNothing: its own changes, which it has read by then,
// and words that are repeated, late or of a lost server.
func TestNotice_OfWhatIsKnownCostsNothing(t *testing.T) {
	server := redistest.Start(t)
	m := manager(t, storeOn(t, server), true, func(o *Options) { o.heard, o.Poll = time.Hour, time.Second })
	hears(t, m, storeOn(t, server))
	until(t, "it hears and its pool is recorded", func() bool { return m.Status().Hearing && m.Snapshot().Pool("p").record["active"] != "" })
	rdb := server.Client()
	before := reads(t, rdb)
	const own = 50
	for i := range own {
		record(t, m, Outcome{Model: "a", Kind: lm.RateLimited, RetryAfter: time.Duration(i+1) * time.Minute, Key: fmt.Sprint(i)})
	}
	heeded := func() bool { return m.notices.version.Load() == 0 }
	until(t, "it has heeded its own", heeded)
	version := m.Snapshot().Version
	for range 3 {
		m.Noticed(version)
		m.Noticed(1)
		until(t, "it has heeded the repeats", heeded)
	}
	if n := reads(t, rdb) - before; n != own {
		t.Errorf("%d reads for %d changes of its own", n, own)
	}
	m.Noticed(version + 1_000_000) // of a server that forgot: one read
	until(t, "it is read", func() bool { return reads(t, rdb)-before == own+1 })
	// And it is not deaf to those that follow.
	if err := manager(t, storeOn(t, server), false).Operate(ctx, "b", lua.ModelDisable); err != nil {
		t.Fatal(err)
	}
	until(t, "the next one is seen", func() bool { return disabled(m, "b") })
}

// TestNotice_ALostReplyTellsTwiceAtMost: the script ran, its reply did not arrive,
// and the repeat changes nothing more.
func TestNotice_ALostReplyTellsTwiceAtMost(t *testing.T) {
	server := redistest.Start(t, redistest.WithTCP())
	proxy := redistest.NewProxy(t, server)
	rdb := proxy.Client()
	by := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
	m := manager(t, storeOn(t, server), true, seldom)
	hears(t, m, storeOn(t, server))
	record(t, by, Outcome{Model: "a", Key: "warm"})
	version := by.Snapshot().Version
	proxy.LoseReply("evalsha")
	record(t, by, Outcome{Model: "a", Key: "k", Kind: lm.RateLimited, RetryAfter: time.Hour})
	if proxy.Lost() != 1 || by.Snapshot().Version > version+2 { // the other one is the pool's record
		t.Fatalf("%d lost, version %d after %d", proxy.Lost(), by.Snapshot().Version, version)
	}
	until(t, "it is seen", func() bool { return m.Snapshot().Model("a").State.CooldownUntil.After(m.Now()) })
	if n := m.Snapshot().Model("a").State.Requests; n != 2 {
		t.Errorf("%d requests", n)
	}
}

// TestNotice_SuccessesTellNothing.
func TestNotice_SuccessesTellNothing(t *testing.T) {
	server := redistest.Start(t)
	m := manager(t, storeOn(t, server), false)
	for i := range 200 {
		record(t, m, Outcome{Model: "a", Key: fmt.Sprint(i)})
	}
	if n := redisCalls(t, server.Client(), "publish"); n != 0 {
		t.Errorf("%d words for 200 successes", n)
	}
	fails(t, m, "a", 1)
	if n := redisCalls(t, server.Client(), "publish"); n != 1 {
		t.Errorf("%d words for a failure", n)
	}
}

// TestNotice_AnIdleManagerReadsSeldom: the first of many at once, the others not
// before it is used, and no look of its own in between.
func TestNotice_AnIdleManagerReadsSeldom(t *testing.T) {
	server := redistest.Start(t)
	m := manager(t, storeOn(t, server), true, func(o *Options) { o.heard, o.Poll = 5*time.Millisecond, 2*time.Millisecond })
	until(t, "its pool is recorded", func() bool { return m.snapshot.Load().Pool("p").record["active"] != "" })
	hears(t, m, storeOn(t, server))
	until(t, "it is idle", m.idle.Load)
	rdb, other := server.Client(), manager(t, storeOn(t, server), false)
	if err := other.Operate(ctx, "a", lua.ModelDisable); err != nil {
		t.Fatal(err)
	}
	until(t, "the first is read", func() bool { return m.snapshot.Load().Model("a").State.Disabled })
	before := reads(t, rdb)
	for i := range 20 {
		if err := other.Operate(ctx, "b", map[bool]string{true: lua.ModelEnable, false: lua.ModelDisable}[i%2 == 0]); err != nil {
			t.Fatal(err)
		}
	}
	own := int64(20) // other's reads of its own changes
	if n := reads(t, rdb) - before; n != own {
		t.Errorf("%d reads beside the other's", n-own)
	}
	looks := redisCalls(t, rdb, "get")
	if err := m.poll(ctx, true); err != nil || redisCalls(t, rdb, "get") != looks {
		t.Errorf("an idle one that hears looks: %v", err)
	}
	m.notices.hearing.Store(false)
	if err := m.poll(ctx, true); err != nil || redisCalls(t, rdb, "get") == looks {
		t.Errorf("an idle one that hears nothing does not look: %v", err)
	}
	m.notices.hearing.Store(true)
	m.Snapshot() // the first question wakes it
	until(t, "all are seen", func() bool { return m.snapshot.Load().Model("b").State.Disabled })
}

// TestNotice_SuccessesThatWaitAreSavedSoonAfterAFailure, and no oftener than by a
// Manager that polls.
func TestNotice_SuccessesThatWaitAreSavedSoonAfterAFailure(t *testing.T) {
	server := redistest.Start(t)
	m, other := manager(t, storeOn(t, server), false, policy(Periodic)), manager(t, storeOn(t, server), false)
	if err := m.Save(ctx); err != nil {
		t.Fatal(err)
	}
	record(t, m, Outcome{Model: "a"})
	fails(t, other, "a", 1)
	r := run{m: m, synced: time.Now().Add(time.Hour)}
	m.Noticed(other.Snapshot().Version)
	r.heard(ctx)
	if m.Snapshot().Model("a").State.Failures != 1 || m.Status().PendingChanges != 1 {
		t.Errorf("it saved again too soon: %+v", m.Status())
	}
	r.synced = time.Now().Add(-m.opts.Poll)
	r.heard(ctx)
	if m.Status().PendingChanges != 0 {
		t.Errorf("it has not saved: %+v", m.Status())
	}
}

// TestNotice_Pace: how long a notice waits, and how often is looked.
func TestNotice_Pace(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		last  time.Duration // ago
		space time.Duration
		idle  bool
		want  time.Duration
	}{
		{time.Hour, 0, false, 0}, {time.Hour, 0, true, 0},
		{30 * time.Millisecond, 100 * time.Millisecond, false, 70 * time.Millisecond}, {100 * time.Millisecond, 100 * time.Millisecond, false, 0},
		{time.Second, 100 * time.Millisecond, true, 9 * time.Second},
	} {
		n := notices{last: now.Add(-row.last), space: row.space}
		if got := n.wait(now, row.idle); got != row.want {
			t.Errorf("%+v: %s", row, got)
		}
	}
	m := manager(t, nil, false, policy(InMemory))
	m.Hearing(true)
	m.Noticed(9)
	if m.Status().Hearing || m.notices.version.Load() != 0 || m.every(false) != 500*time.Millisecond {
		t.Error("a Manager with a truth of its own heeds others' notices")
	}
	n := manager(t, nil, false, policy(InMemory))
	n.opts.Policy = Immediate
	n.Noticed(9)
	if n.Noticed(3); n.notices.version.Load() != 9 {
		t.Error("a late word took the place of a newer one")
	}
	for _, up := range []bool{true, false} { // either way there is something to look for
		n.Hearing(up)
		n.Hearing(up)
		if len(n.wake) != 1 || n.Status().Hearing != up {
			t.Fatalf("hearing %v: woken %d times", up, len(n.wake))
		}
		<-n.wake
		if n.Hearing(up); len(n.wake) != 0 {
			t.Error("woken by no news")
		}
	}
	m.notices.hearing.Store(true)
	if a, b := m.every(false), m.every(true); a != heardPoll || b != idlePoll || heardPoll >= time.Second {
		t.Errorf("looks every %s, idle %s", a, b)
	}
}

// TestNotice_ASlowReadSpacesTheNext: where Redis is slow everybody reads less often.
func TestNotice_ASlowReadSpacesTheNext(t *testing.T) {
	server := redistest.Start(t)
	m := manager(t, storeOn(t, server), false)
	server.Stop()
	var cont sync.WaitGroup
	cont.Go(func() {
		<-time.After(150 * time.Millisecond)
		server.Cont()
	})
	m.Noticed(m.Snapshot().Version + 1)
	m.catchUp(ctx)
	cont.Wait()
	if m.notices.space != heardPoll {
		t.Errorf("after a read of 150 ms the next one is %s away", m.notices.space)
	}
	until(t, "a fast read", func() bool {
		m.Noticed(m.Snapshot().Version + 1)
		m.catchUp(ctx)
		return m.notices.space == noticeEvery
	})
}
