package lua

import (
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

func TestStateVersion(t *testing.T) {
	for word, want := range map[string]uint64{"state 7": 7, "state 18446744073709551615": 1<<64 - 1, "state": 0, "state ": 0, "state x": 0, "state -1": 0, "orders": 0, "": 0} {
		if got, ok := StateVersion(word); got != want || ok != (want > 0) {
			t.Errorf("%q is %d, %v", word, got, ok)
		}
	}
}

// TestNotice_TellsOfEveryGrowthOfTheVersionAndOfNothingElse: every script that
// makes it grow, and each where it does not.
func TestNotice_TellsOfEveryGrowthOfTheVersionAndOfNothingElse(t *testing.T) {
	everywhere(t, func(t *testing.T, s *Store, rdb redis.UniversalClient) {
		l := listen(t, s, "a")
		quick := Breaker{Streak: 1, Least: 20, Window: time.Minute, Base: time.Millisecond, Cap: time.Millisecond}
		version := func() uint64 {
			v, err := s.FleetVersion(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		step := func(what string, grows bool, do func() error) {
			t.Helper()
			before := version()
			if err := do(); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			after := version()
			if after-before > 1 || grows != (after > before) {
				t.Fatalf("%s: the version went from %d to %d", what, before, after)
			}
			if err := s.Tell(ctx, WordOrders, "a"); err != nil { // comes behind what the script told
				t.Fatal(err)
			}
			var told []string
			for {
				word, err := l.Next()
				if err != nil {
					t.Fatal(err)
				}
				if word == WordOrders {
					break
				}
				told = append(told, word)
			}
			if !grows && len(told) > 0 {
				t.Errorf("%s: told %q", what, told)
			} else if grows {
				if len(told) != 1 {
					t.Fatalf("%s: told %q", what, told)
				}
				if v, ok := StateVersion(told[0]); !ok || v != after {
					t.Errorf("%s: told %q, the version is %d", what, told, after)
				}
			}
		}
		outcome := func(o CallOutcome) func() error {
			o.Model, o.Backend = "m", "b"
			if o.Breaker.Streak == 0 {
				o.Breaker = minuteBreaker
			}
			return func() error { _, err := s.RecordCall(ctx, o); return err }
		}
		admit := func(key string, ok bool) func() error {
			return func() error {
				var got Admitted
				var err error
				for end := time.Now().Add(10 * time.Second); time.Now().Before(end); { // until the circuit is half-open
					got, err = s.Admit(ctx, Admission{Model: "m", Backend: "b", Owner: "w", Key: key, Lease: time.Minute, Window: time.Minute})
					if err != nil || got.OK || !ok {
						break
					}
				}
				if err == nil && got.OK != ok {
					t.Fatalf("admitted: %+v", got)
				}
				return err
			}
		}
		count := func(key string) func() error {
			return func() error {
				_, err := s.Count(ctx, []Increments{{Model: "m", Backend: "b", Key: key, Requests: 1, Window: time.Minute, Past: map[int]int64{0: 1}}}, nil)
				return err
			}
		}
		operate := func(what string) func() error {
			return func() error { _, err := s.OperateModel(ctx, "m", "b", what); return err }
		}
		set := func(token string, fence *int64) func() error {
			return func() error {
				_, err := s.SetUnderLock(ctx, token, *fence, "p", map[string]string{"a": "b"})
				return err
			}
		}
		token := CallToken("w", "probe")
		fail := CallOutcome{Class: ClassFail, Error: true}
		with := func(o CallOutcome, change func(*CallOutcome)) CallOutcome { change(&o); return o }

		step("a success", false, outcome(CallOutcome{Key: "1", Class: ClassOK}))
		step("a first failure", true, outcome(with(fail, func(o *CallOutcome) { o.Key = "2" })))
		step("its repeat", false, outcome(with(fail, func(o *CallOutcome) { o.Key = "2" })))
		step("a second failure", false, outcome(with(fail, func(o *CallOutcome) { o.Key = "3" })))
		for failed := rdb.Time(ctx).Val().UnixMilli(); rdb.Time(ctx).Val().UnixMilli() <= failed; { // a count must be younger than the failure
			continue
		}
		step("a counted success", true, count("4"))
		step("its repeat", false, count("4"))
		step("another", false, count("5"))
		step("a cooldown", true, outcome(with(fail, func(o *CallOutcome) { o.Key, o.Class, o.Cooldown = "6", ClassNeutral, time.Hour })))
		step("a shorter one", false, outcome(with(fail, func(o *CallOutcome) { o.Key, o.Class, o.Cooldown = "7", ClassNeutral, time.Minute })))
		step("a refusal", false, admit("8", false))
		step("a reset", true, operate(ModelReset))
		step("an admission", false, admit("9", true))
		step("an opening", true, outcome(with(fail, func(o *CallOutcome) { o.Key, o.Breaker, o.Epoch = "10", quick, 1 })))
		step("a probe", true, admit("probe", true))
		step("its repeat", false, admit("probe", true))
		step("a probe's failure", true, outcome(with(fail, func(o *CallOutcome) { o.Key, o.Breaker, o.Epoch, o.Token = "probe", quick, 2, token })))
		step("a probe under the same key", true, admit("probe", true))
		step("a repeat that gives it back", true, outcome(with(fail, func(o *CallOutcome) { o.Key, o.Breaker, o.Epoch, o.Token = "probe", quick, 3, token })))
		step("a disabling", true, operate(ModelDisable))
		step("an enabling", true, operate(ModelEnable))

		lock, err := s.AcquireLock(ctx, "me", "mine", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		step("a write under the lock", true, set("mine", &lock.Fence))
		step("a refused one", false, set("another's", &lock.Fence))
		step("a session", false, func() error {
			_, err := s.ChangeSession(ctx, "p:h", SessionChange{What: "bind", To: "a", Home: "a", Life: time.Hour})
			return err
		})
	})
}

// TestNotice_OneThatIsRefusedCostsNothing: a user who may not publish writes all
// the same.
func TestNotice_OneThatIsRefusedCostsNothing(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Client().Do(ctx, "acl", "setuser", "mute", "on", ">x", "~*", "resetchannels", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	o := redistest.Options("unix", server.Addr)
	o.Username, o.Password = "mute", "x"
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	s := NewStore(rdb, rdb, Options{})
	if l, err := s.Listen(ctx, "a", time.Minute); err == nil {
		l.Close()
		t.Error("the user may listen: the test is void")
	}
	r, err := s.RecordCall(ctx, CallOutcome{Model: "m", Backend: "b", Key: "k", Class: ClassFail, Cooldown: time.Hour, Breaker: minuteBreaker})
	if err != nil || r.Version != 1 {
		t.Errorf("outcome: %+v %v", r, err)
	}
	if r, err := s.OperateModel(ctx, "m", "b", ModelDisable); err != nil || r.Version != 2 {
		t.Errorf("operate: %+v %v", r, err)
	}
}

// TestNotice_OnAClusterOfThree: the word goes where the workers listen, whichever
// node a client asks first.
func TestNotice_OnAClusterOfThree(t *testing.T) {
	shards := redistest.StartShards(t, 3, 0)
	rdb := shards.Client()
	l := listen(t, NewStore(rdb, rdb, Options{}), "a")
	other := shards.Client()
	r, err := NewStore(other, other, Options{}).OperateModel(ctx, "m", "b", ModelDisable)
	if err != nil {
		t.Fatal(err)
	}
	if word, err := l.Next(); err != nil || word != "state 1" || r.Version != 1 {
		t.Errorf("heard %q, %v after version %d", word, err, r.Version)
	}
}
