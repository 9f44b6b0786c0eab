package fleet

import (
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// with is an option that gives the backends of testSpec credentials.
func with(credential string) func(*Options) {
	return func(o *Options) { o.Credentials = map[string]string{"one": credential, "two": credential} }
}

// eachManager runs f with a Manager over Redis of all kinds, and in memory.
func eachManager(t *testing.T, f func(t *testing.T, m *Manager)) {
	t.Helper()
	eachTruth(t, func(t *testing.T, s *lua.Store) { f(t, manager(t, s, false, with("k1"), inMemoryWithout(s))) })
}

// standings are why each model is set aside, and whose matter that is.
func standings(m *Manager, ids ...string) (all []string) {
	for _, id := range ids {
		u := m.Snapshot().Model(id).Usability(m.Now())
		all = append(all, id+" "+string(u.Reason)+" "+string(u.Scope))
	}
	return all
}

func wantStanding(t *testing.T, m *Manager, want ...string) {
	t.Helper()
	got := standings(m, "a", "b", "c")
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}

const (
	aAlone  = "a quarantine model"
	bAlone  = "b quarantine model"
	aBarred = "a quarantine backend"
	bBarred = "b quarantine backend"
	aFree   = "a  "
	bFree   = "b  "
	cFree   = "c  "
)

func TestRefusal_OfOneModelLeavesTheOthers(t *testing.T) {
	eachManager(t, func(t *testing.T, m *Manager) {
		record(t, m, Outcome{Model: "a", Kind: lm.Unauthorized})
		record(t, m, Outcome{Model: "a", Kind: lm.Unauthorized})
		wantStanding(t, m, aAlone, bFree, cFree)
		if v := model(t, m, "a"); v.Until.Sub(m.Now()) < 14*time.Minute || v.QuarantineKind != string(lm.Unauthorized) {
			t.Errorf("%+v", v)
		}
		if a := admit(t, m, Admission{Model: "a", Key: "1"}); a.OK || a.Reason != ReasonErrorThreshold {
			t.Errorf("admitted all the same: %+v", a)
		}
		if a := admit(t, m, Admission{Model: "b", Key: "2"}); !a.OK {
			t.Errorf("the other is not admitted: %+v", a)
		}
	})
}

func TestRefusal_OfASecondModelBarsTheBackend(t *testing.T) {
	eachManager(t, func(t *testing.T, m *Manager) {
		record(t, m, Outcome{Model: "a", Kind: lm.Unauthorized})
		record(t, m, Outcome{Model: "b", Kind: lm.Unauthorized})
		s := must[SystemState](t)(m.System(ctx))
		if s.Providers[0].AuthValid || !s.Providers[1].AuthValid {
			t.Errorf("%+v", s.Providers)
		}
		wantStanding(t, m, aBarred, bBarred, cFree)
		// Either of them brings the backend back.
		if err := m.Operate(ctx, "b", lua.ModelReset); err != nil {
			t.Fatal(err)
		}
		wantStanding(t, m, aAlone, bFree, cFree)
		record(t, m, Outcome{Model: "b", Kind: lm.Unauthorized}) // the first refusal was reset with the backend's
		wantStanding(t, m, aAlone, bAlone, cFree)
	})
}

// A model that answered since shows that the credential is good.
func TestRefusal_BetweenSuccessesIsEachModelsOwn(t *testing.T) {
	eachManager(t, func(t *testing.T, m *Manager) {
		record(t, m, Outcome{Model: "a", Kind: lm.Unauthorized})
		record(t, m, Outcome{Model: "b"})
		record(t, m, Outcome{Model: "b", Kind: lm.Unauthorized})
		wantStanding(t, m, aAlone, bAlone, cFree)
		if s := must[SystemState](t)(m.System(ctx)); !s.Providers[0].AuthValid {
			t.Errorf("%+v", s.Providers[0])
		}
	})
}

func TestRefusal_ANewCredentialLifts(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		old := manager(t, s, false, with("k1"))
		record(t, old, Outcome{Model: "a", Kind: lm.Unauthorized})
		next := manager(t, s, false, with("k2"))
		wantStanding(t, next, aFree, bFree, cFree)
		if a := admit(t, next, Admission{Model: "a", Key: "1"}); !a.OK {
			t.Errorf("not admitted with the new one: %+v", a)
		}
		if a := admit(t, old, Admission{Model: "a", Key: "2"}); a.OK {
			t.Error("admitted with the old one")
		}
		record(t, next, Outcome{Model: "b", Kind: lm.Unauthorized}) // the first was of another credential
		wantStanding(t, next, aFree, bAlone, cFree)
	})
}

// What a worker of the version before has written names no credential, and holds.
func TestRefusal_OfAnOlderWorkerHolds(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false, with("k1"))
		rdb.HSet(ctx, "{lm:fleet}:model:a", "quarantine_until", time.Now().Add(time.Hour).UnixMilli(), "quarantine_kind", "model_not_found")
		if err := m.Load(ctx); err != nil {
			t.Fatal(err)
		}
		wantStanding(t, m, aAlone, bFree)
		if a := admit(t, m, Admission{Model: "a", Key: "1"}); a.OK {
			t.Error("admitted")
		}
	})
}

// A listing that is refused too says that the credential is bad for all.
func TestRefusal_OfAListingTooBarsTheBackend(t *testing.T) {
	eachTruth(t, func(t *testing.T, s *lua.Store) {
		y := newYard(t, "one", "two")
		m, r := y.worker(s, inMemoryWithout(s))
		y.now(r)
		y.shelves["one"].set(broken(failure(lm.Unauthorized)))
		y.now(r) // once: its models still get their calls
		y.expect(m, "a-one=ok b-two=ok")
		if err := m.Record(ctx, Outcome{Model: "a-one", Backend: "one", Kind: lm.Unauthorized}); err != nil {
			t.Fatal(err)
		}
		if p := provided(t, m, "one"); p.AuthValid {
			t.Errorf("%+v", p)
		}
		if u := m.Snapshot().Model("a-one").Usability(m.Now()); u.Scope != AsideBackend || u.Reason != ReasonQuarantine {
			t.Errorf("%+v", u)
		}
		if err := m.Record(ctx, Outcome{Model: "b-two", Backend: "two", Kind: lm.Unauthorized}); err != nil {
			t.Fatal(err)
		}
		if p := provided(t, m, "two"); !p.AuthValid {
			t.Errorf("its listing is good: %+v", p)
		}
	})
}
