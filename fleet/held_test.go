package fleet

import (
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

const (
	cHash  = "{lm:fleet}:model:c"
	cHolds = "{lm:fleet}:holds:c"
)

// budgetOnly leaves model c its budget of 1 USD and no other limit.
var budgetOnly = withC(func(s *ModelSpec) { s.Limits, s.Quota = Limits{}, Quota{} })

// TestAdmit_HeldCostOutlivesNoReservation: not the 24 h after which the set of
// reservations once expired, and not more dead workers' calls than one admission takes
// back, also where the held money refuses every admission.
func TestAdmit_HeldCostOutlivesNoReservation(t *testing.T) {
	for _, tt := range []struct {
		name string
		dead int
	}{{"a day without calls", 0}, {"many dead reservations", 3500}} {
		t.Run(tt.name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false, budgetOnly)
				rdb.HSet(ctx, cHash, "held_cost", 7_000_000_000)
				var dead []redis.Z
				for i := range tt.dead {
					dead = append(dead, redis.Z{Score: float64(m.Now().Add(-time.Minute).UnixMilli()), Member: fmt.Sprintf("dead%d:5:2000000:1", i)})
				}
				if tt.dead > 0 {
					rdb.ZAdd(ctx, cHolds, dead...)
				}
				asked := 0
				for ; ; asked++ {
					got := admit(t, m, Admission{Model: "c", Key: "k", Cost: 0.5})
					if got.OK {
						break
					}
					if got.Reason != ReasonBudget || got.Until.After(m.Now().Add(10*time.Second)) || asked > tt.dead/1000 {
						t.Fatalf("admission %d: %+v", asked, got)
					}
				}
				if held := rdb.HGet(ctx, cHash, "held_cost").Val(); held != "500000000" {
					t.Errorf("held_cost %s after %d refusals", held, asked)
				}
				if n := rdb.ZCard(ctx, cHolds).Val(); n != 1 {
					t.Errorf("%d reservations", n)
				}
				if set, hash := rdb.PTTL(ctx, cHolds).Val(), rdb.PTTL(ctx, cHash).Val(); set < hash-time.Second {
					t.Errorf("the reservations are kept for %s, the sum of their costs for %s", set, hash)
				}
			})
		})
	}
}

// TestAdmit_MoneyThatIsOnlyHeldIsWaitedFor: by a second, not by the period.
func TestAdmit_MoneyThatIsOnlyHeldIsWaitedFor(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false, budgetOnly)
		first := admit(t, m, Admission{Model: "c", Key: "1", Cost: 0.9})
		if no := admit(t, m, Admission{Model: "c", Key: "2", Cost: 0.2}); no.OK || no.Reason != ReasonBudget || no.Until.After(m.Now().Add(5*time.Second)) {
			t.Errorf("while another call holds it: %+v", no)
		}
		record(t, m, Outcome{Model: "c", Key: "1", Reservation: first.Reservation, CostUSD: 0.1})
		if got := admit(t, m, Admission{Model: "c", Key: "2", Cost: 0.2}); !got.OK {
			t.Errorf("after it has ended for less: %+v", got)
		}
		record(t, m, Outcome{Model: "c", CostUSD: 0.8})
		if no := admit(t, m, Admission{Model: "c", Key: "3", Cost: 0.2}); no.OK || !no.Until.Equal(DailyUTC.End(m.Now())) {
			t.Errorf("after it was spent: %+v", no)
		}
	})
}

// TestHold_LastsAsLongAsTheCall and no longer: a reservation that is held is not given
// to another call, one that expired is made again with its cost, and the end of the
// call ends both, whatever comes late.
func TestHold_LastsAsLongAsTheCall(t *testing.T) {
	onEach(t, func(t *testing.T, rdb redis.UniversalClient, s *lua.Store) {
		m := manager(t, s, false, withC(func(s *ModelSpec) { s.Limits = Limits{Concurrent: 1} }))
		const brief = 30 * time.Millisecond
		hold := func(h Holding) bool {
			t.Helper()
			h.Model, h.Key = "c", "long"
			return must[bool](t)(m.Hold(ctx, h))
		}
		long := admit(t, m, Admission{Model: "c", Key: "long", Cost: 0.5, For: brief})
		for range 2 {
			if !hold(Holding{Reservation: long.Reservation, For: time.Hour}) {
				t.Fatal("a call that runs holds nothing")
			}
		}
		from := rdb.Time(ctx).Val()
		until(t, "its first lease is over", func() bool { return rdb.Time(ctx).Val().Sub(from) > brief })
		if no := admit(t, m, Admission{Model: "c", Key: "other"}); no.OK {
			t.Fatal("a second call of one at a time")
		}
		if held := rdb.HGet(ctx, cHash, "held_cost").Val(); held != "500000000" {
			t.Errorf("held_cost %s", held)
		}

		// It is stopped until its lease is over and another call has swept it.
		hold(Holding{Reservation: long.Reservation, For: time.Millisecond})
		var other Admitted
		until(t, "its lease ends", func() bool {
			other = admit(t, m, Admission{Model: "c", Key: "other", Cost: 0.25, For: time.Hour})
			return other.OK
		})
		if !hold(Holding{Reservation: long.Reservation, For: time.Hour}) {
			t.Error("a call that runs on does not get its place back")
		}
		if held, n := rdb.HGet(ctx, cHash, "held_cost").Val(), must[int64](t)(s.Running(ctx, "c")); held != "750000000" || n != 2 {
			t.Errorf("held_cost %s, %d running", held, n)
		}

		record(t, m, Outcome{Model: "c", Key: "long", Reservation: long.Reservation, CostUSD: 0.1})
		record(t, m, Outcome{Model: "c", Key: "other", Reservation: other.Reservation})
		if hold(Holding{Reservation: long.Reservation, For: time.Hour}) {
			t.Error("a call that has ended holds something")
		}
		if held, n := rdb.HGet(ctx, cHash, "held_cost").Val(), rdb.ZCard(ctx, cHolds).Val(); held != "0" || n != 0 {
			t.Errorf("after the end: held_cost %s, %d reservations", held, n)
		}
	})
}

// TestHold_AProbe is prolonged for its own call and for no other, and holds nothing of a
// model without limits.
func TestHold_AProbe(t *testing.T) {
	onEach(t, func(t *testing.T, rdb redis.UniversalClient, s *lua.Store) {
		m := manager(t, s, false, func(o *Options) { o.Breaker.Base = time.Millisecond })
		fails(t, m, "a", 5)
		ask := func(key string, d time.Duration) (got Admitted) {
			until(t, "a probe", func() bool {
				got = admit(t, m, Admission{Model: "a", Key: key, For: d})
				return got.OK
			})
			return got
		}
		first := ask("first", time.Millisecond)
		second := ask("second", time.Minute) // the first one's lease is over
		for _, h := range []Holding{{Key: "first", Reservation: first.Reservation}, {Key: "second", Reservation: second.Reservation}} {
			h.Model, h.For = "a", time.Hour
			before := must[int64](t)(rdb.HGet(ctx, "{lm:fleet}:model:a", "probe_until").Int64())
			held := must[bool](t)(m.Hold(ctx, h))
			after := must[int64](t)(rdb.HGet(ctx, "{lm:fleet}:model:a", "probe_until").Int64())
			if grown := after > before+59*60_000-60_000; !held || grown != (h.Key == "second") {
				t.Errorf("%s: held %v, until %d after %d", h.Key, held, after, before)
			}
		}
		if rdb.Exists(ctx, "{lm:fleet}:holds:a").Val() != 0 {
			t.Error("a model without limits has reservations")
		}
		record(t, m, Outcome{Model: "a", Key: "second", Probe: true, Owner: "w1", CircuitEpoch: second.CircuitEpoch, Reservation: second.Reservation, Kind: lm.CallCancelled, Neutral: true})
		if must[bool](t)(m.Hold(ctx, Holding{Model: "a", Key: "second", Reservation: second.Reservation})) || rdb.HGet(ctx, "{lm:fleet}:model:a", "probe_token").Val() != "" {
			t.Error("a probe that was given back is held")
		}
	})
}
