package fleet

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

func TestSessionKey_IsScopedAndHidesNames(t *testing.T) {
	keys := map[SessionKey]bool{}
	for _, tenant := range []string{"", "t", "tt"} {
		for _, scope := range []Scope{ScopeThread, ScopeRun} {
			for _, id := range []string{"", "t", "secret-name"} {
				k := NewSessionKey("pool", tenant, scope, id)
				if keys[k] || strings.Contains(string(k), "secret") || !strings.HasPrefix(string(k), "pool:") {
					t.Errorf("key %q", k)
				}
				keys[k] = true
			}
		}
	}
	if got := NewSessionKey("p", "a", ScopeRun, "b"); got != "p:f3129fa5d7bbb5c2173f3a7f053ecbc3" {
		t.Errorf("a key has changed: %s", got)
	}
}

// TestSession_ScriptDoesWhatTheGoRuleSays plays random changes of two processes.
func TestSession_ScriptDoesWhatTheGoRuleSays(t *testing.T) {
	onEach(t, func(t *testing.T, _ redis.UniversalClient, s *lua.Store) {
		rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
		names := []string{"", "a", "b", "c"}
		hits := map[string]int{}
		var want lua.Session
		for range 600 {
			ch := lua.SessionChange{
				What: []string{"bind", "move", "move", "move", "back", "served", "drop"}[rnd.IntN(7)], From: names[rnd.IntN(4)], To: names[1+rnd.IntN(3)], Home: names[1+rnd.IntN(3)],
				Most: rnd.IntN(4) - 1, Life: time.Hour,
			}
			if rnd.IntN(3) == 0 {
				ch.Gen = want.Gen - int64(rnd.IntN(2))
			}
			got, err := s.ChangeSession(ctx, "p:x", ch)
			if err != nil {
				t.Fatal(err)
			}
			before := want
			if want = changed(want, ch, got.Now); got != want {
				t.Fatalf("%+v of %+v\n got %+v\nwant %+v", ch, before, got, want)
			}
			if got.Changed {
				hits[ch.What]++
			} else {
				hits["refused "+ch.What]++
			}
			want.Changed, want.Now = false, time.Time{}
			read, _, err := s.Session(ctx, "p:x")
			if err != nil || read != want {
				t.Fatalf("read %+v %v, want %+v", read, err, want)
			}
		}
		for _, what := range []string{"bind", "move", "back", "served", "drop", "refused bind", "refused move", "refused served"} {
			if hits[what] == 0 {
				t.Errorf("never happened: %s (%v)", what, hits)
			}
		}
	})
}

// TestSession_TwoProcessesFailOverTogetherSwitchOnce: also with other choices.
func TestSession_TwoProcessesFailOverTogetherSwitchOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		one, two := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false), manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
		for i := range 100 {
			key := NewSessionKey("p", "t", ScopeThread, string(rune('0'+i)))
			bound := must[Session](t)(one.ChangeSession(ctx, key, SessionChange{Kind: Bind, To: "a", Home: "a"}))
			if !bound.Changed || bound.Home != "a" {
				t.Fatalf("bound %+v", bound)
			}
			var got [2]Session
			var all sync.WaitGroup
			for j, m := range []*Manager{one, two} {
				all.Go(func() {
					got[j], _ = m.ChangeSession(ctx, key, SessionChange{Kind: Move, From: "a", To: []string{"b", "c"}[j], MaxSwitches: 1})
				})
			}
			all.Wait()
			s := must[Session](t)(one.Session(ctx, key))
			if s.Switches != 1 || s.Home != "a" || got[0].Changed == got[1].Changed || got[0].Active != s.Active || got[1].Active != s.Active {
				t.Fatalf("%+v and %+v, in force %+v", got[0], got[1], s)
			}
			// A stale failure of a does not move it on, and the budget is used up.
			if late := must[Session](t)(two.ChangeSession(ctx, key, SessionChange{Kind: Move, From: "a", To: "b", MaxSwitches: -1})); late.Changed {
				t.Fatalf("a stale failure moved %+v", late)
			}
			if more := must[Session](t)(two.ChangeSession(ctx, key, SessionChange{Kind: Move, From: s.Active, To: "a", MaxSwitches: 1})); more.Changed || more.Active != s.Active {
				t.Fatalf("over budget: %+v", more)
			}
			served := must[Session](t)(two.ChangeSession(ctx, key, SessionChange{Kind: Served, From: s.Active}))
			if served.Switches != 0 || served.IdleSince.Before(s.IdleSince) {
				t.Fatalf("served: %+v", served)
			}
			if home := must[Session](t)(one.ChangeSession(ctx, key, SessionChange{Kind: Move, From: s.Active, FailbackTo: "a"})); home.Active != "a" || home.Switches != 0 || home.Home != "a" {
				t.Fatalf("failback: %+v", home)
			}
		}
	})
}

// TestSession_MovedThereAndBackIsAnotherGeneration: who compares only the member
// takes the old situation for the new one.
func TestSession_MovedThereAndBackIsAnotherGeneration(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
		key := NewSessionKey("p", "", ScopeRun, "r")
		old := must[Session](t)(m.ChangeSession(ctx, key, SessionChange{Kind: Bind, To: "a", Home: "a"}))
		for _, hop := range [][2]string{{"a", "b"}, {"b", "a"}} {
			must[Session](t)(m.ChangeSession(ctx, key, SessionChange{Kind: Move, From: hop[0], To: hop[1], MaxSwitches: -1}))
		}
		if got := must[Session](t)(m.ChangeSession(ctx, key, SessionChange{Kind: Drop, From: "a", Gen: old.Gen})); got.Changed || !got.Exists {
			t.Errorf("a late drop: %+v", got)
		}
		now := must[Session](t)(m.Session(ctx, key))
		if got := must[Session](t)(m.ChangeSession(ctx, key, SessionChange{Kind: Drop, From: "a", Gen: now.Gen})); !got.Changed || got.Exists {
			t.Errorf("drop: %+v", got)
		}
		again := must[Session](t)(m.ChangeSession(ctx, key, SessionChange{Kind: Bind, To: "b", Home: "b"}))
		if again.Gen <= now.Gen {
			t.Errorf("generation %d after %d", again.Gen, now.Gen)
		}
	})
}

func TestSession_LifetimeIsRefreshedByUse(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
		key := NewSessionKey("p", "", ScopeRun, "r")
		must[Session](t)(m.ChangeSession(ctx, key, SessionChange{Kind: Bind, To: "a", Home: "a", Lifetime: time.Minute}))
		name := "lm:session:{" + string(key) + "}"
		if ttl := rdb.PTTL(ctx, name).Val(); ttl <= 0 || ttl > time.Minute {
			t.Fatalf("lifetime %s", ttl)
		}
		must[Session](t)(m.ChangeSession(ctx, key, SessionChange{Kind: Served, From: "a"}))
		if ttl := rdb.PTTL(ctx, name).Val(); ttl < 59*time.Minute {
			t.Errorf("lifetime after use %s", ttl)
		}
		must[Session](t)(m.ChangeSession(ctx, key, SessionChange{Kind: Served, From: "a", Lifetime: 5 * time.Millisecond}))
		until(t, "the session ends", func() bool { return !must[Session](t)(m.Session(ctx, key)).Exists })
		if s := must[Session](t)(m.ChangeSession(ctx, key, SessionChange{Kind: Move, From: "a", To: "b", MaxSwitches: -1})); s.Exists {
			t.Errorf("a failed request made a session: %+v", s)
		}
	})
}

// TestTurn_NoTwoCallsGetTheSame over two processes.
func TestTurn_NoTwoCallsGetTheSame(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		seen := make(map[uint64]bool)
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 2 {
			m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
			for range 4 {
				all.Go(func() {
					for range 100 {
						n, err := m.Turn(ctx, "p")
						mu.Lock()
						if err != nil || seen[n] {
							t.Errorf("turn %d twice, %v", n, err)
						}
						seen[n] = true
						mu.Unlock()
					}
				})
			}
		}
		all.Wait()
		for n := range seen {
			if n > 800+2*turnBlock {
				t.Errorf("turn %d of 800", n)
			}
		}
	})
}
