package fleet

import (
	"context"
	"errors"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// TestLost_IsWasteByCrashOnce of operation, tenant and model, under every policy:
// by the success that repeats the call, and by no failure.
func TestLost_IsWasteByCrashOnce(t *testing.T) {
	onEach(t, func(t *testing.T, rdb redis.UniversalClient, s *lua.Store) {
		for _, p := range []SyncPolicy{Immediate, Periodic} {
			t.Run(string(p), func(t *testing.T) {
				rdb.Del(ctx, "{lm:fleet}:model:a", "{lm:fleet}:backend:one", "{lm:fleet}:cost:op:0-x"+string(p), "{lm:fleet}:cost:tenant:"+string(p))
				m := manager(t, s, false, policy(p))
				op := lm.TraceID("0-x" + string(p))
				repeat := Outcome{
					Model: "a", Key: string(op) + "/s/3/0", Op: op, Tenant: string(p), Usage: used100(0), CostUSD: 0.25, Lost: []string{string(op) + "/s/1", string(op) + "/s/2"},
				}
				failure := repeat
				failure.Kind, failure.Key, failure.CostUSD, failure.Usage = lm.ProviderFailed, string(op)+"/s/3/9", 0, lm.Usage{}
				record(t, m, failure)
				record(t, m, repeat)
				repeat.Key = string(op) + "/s/4/0" // that worker died too before the answer was saved
				repeat.Lost = append(repeat.Lost, string(op)+"/s/3")
				record(t, m, repeat)
				if err := m.Save(ctx); err != nil {
					t.Fatal(err)
				}
				if v := model(t, m, "a"); v.CostUSD != 1 || v.Waste[WasteCrash] != 0.75 || v.Requests != 5 {
					t.Errorf("model: %d requests, cost %v, waste %v", v.Requests, v.CostUSD, v.Waste)
				}
				for what, name := range map[string]string{"op": string(op), "tenant": string(p)} {
					if h := must[map[string]string](t)(s.Costs(ctx, what, name)); h["cost"] != "1000000000" || h["waste_crash"] != "750000000" || h["requests"] != "5" || h["input"] != "400" {
						t.Errorf("%s: %v", what, h)
					}
				}
			})
		}
	})
}

// TestLost_InMemory counts as Redis does.
func TestLost_InMemory(t *testing.T) {
	m, _ := alone(t)
	o := Outcome{Model: "a", Key: "0-x/s/2/0", CostUSD: 0.25, Lost: []string{"0-x/s/1"}}
	record(t, m, o)
	record(t, m, o)
	if v := model(t, m, "a"); v.CostUSD != 0.5 || v.Waste[WasteCrash] != 0.25 {
		t.Errorf("cost %v, waste %v", v.CostUSD, v.Waste)
	}
}

// TestLost_AnErrorIsTold: the log hears of a loss that Redis did not take.
func TestLost_AnErrorIsTold(t *testing.T) {
	m, _ := alone(t)
	down := errors.New("down")
	m.at = lossless{m.at, down}
	if err := m.Record(ctx, Outcome{Model: "a", Backend: "one", Key: "k", Lost: []string{"0-x/s/1"}}); !errors.Is(err, down) {
		t.Errorf("%v", err)
	}
}

type lossless struct {
	truth
	err error
}

func (l lossless) RecordLost(context.Context, lua.LostCall) error { return l.err }
