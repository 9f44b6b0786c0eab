package pipeline_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/router"
)

// account is what one member was asked, as it saw that itself.
type account struct{ calls, errors, tokens int64 }

// countedMembers counts at the provider's side.
type countedMembers struct {
	*members
	mu sync.Mutex
	of map[string]account
}

func (a *countedMembers) Call(ctx context.Context, c lm.Call) (lm.Answer, error) {
	answer, err := a.members.Call(ctx, c)
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.of[c.Model]
	seen.calls++
	seen.tokens += answer.Usage.Input
	if err != nil {
		seen.errors++
	}
	a.of[c.Model] = seen
	return answer, err
}

// routed is a caller of a pool of a and b, which both cost 1 USD for a token of input.
// b has limits, a budget and a quota.
func (w *world) routed(to router.Provider, policy fleet.SyncPolicy) (pipeline.Caller, *fleet.Manager) {
	w.Helper()
	rdb := w.dial()
	dollar := fleet.Price{Input: 1e6}
	spec := fleet.Spec{
		Models: []fleet.ModelSpec{
			{ID: "a", Backend: "one", Name: "a", Price: dollar},
			{ID: "b", Backend: "two", Name: "b", Price: dollar, Limits: fleet.Limits{RPM: 1000, Concurrent: 100}, Budget: fleet.Budget{USD: 1e6, Period: fleet.Monthly}, Quota: fleet.Quota{Requests: 1e6, Period: fleet.Monthly}},
		},
		Pools: []fleet.PoolSpec{{
			ID: "pool", Members: []fleet.Member{{Model: "a", Weight: 1, Role: fleet.RoleMember}, {Model: "b", Weight: 1, Role: fleet.RoleMember}},
			Routing: fleet.Routing{Home: fleet.HomeFirstHealthy}, Switch: fleet.Switch{OnCircuitOpen: true, OnQuota: true, OnPermanent: true},
		}},
	}
	truth, err := fleet.New(lua.NewStore(rdb, rdb, lua.Options{}), fleet.Options{Spec: spec, Policy: policy})
	if err != nil {
		w.Fatal(err)
	}
	if err := truth.Load(ctx); err != nil {
		w.Fatal(err)
	}
	return router.New(router.Options{
		Snapshot: truth.Snapshot, Now: truth.Now, Sessions: truth, Outcomes: truth, Providers: map[string]router.Provider{"one": to, "two": to},
	}), truth
}

// Each call of an embedding that goes to another member counts there, under any policy:
// requests, errors, tokens, cost, budget and quota.
func TestEmbed_CallsOfAnotherMemberCount(t *testing.T) {
	for _, policy := range []fleet.SyncPolicy{fleet.Immediate, fleet.Periodic} {
		t.Run(string(policy), func(t *testing.T) {
			each(t, func(w *world) {
				m := &countedMembers{members: newMembers("a", "b"), of: map[string]account{}}
				m.before = func(c lm.Call, n int, _ string) {
					m.fail("b", nil)
					switch {
					case n == 4:
						m.fail("a", lm.Errorf(lm.Unauthorized, "HTTP 401"))
					case c.Model == "b" && c.Key[len(c.Key)-1] == '5' && c.Try == 0:
						m.fail("b", lm.Errorf(lm.ProviderFailed, "HTTP 500"))
					}
				}
				caller, truth := w.routed(m, policy)
				id := w.enqueue(embedRequest(13, "model", "pool"))
				result := w.finish(w.embedder(2, func(r *rig) { r.opts.Caller = caller }), w.claim(id))
				if got := w.oneModel(w.list(result), 13); got != "b" {
					w.Fatalf("answered by %s", got)
				}
				if err := truth.Save(ctx); err != nil {
					w.Fatal(err)
				}
				w.checkAccounts(m.of, id)
			})
		})
	}
}

// checkAccounts holds what the fleet counted against what the members saw.
func (w *world) checkAccounts(of map[string]account, id lm.TraceID) {
	w.Helper()
	var calls, tokens int64
	for name, seen := range of {
		if seen.calls < 4 {
			w.Errorf("%s was asked %d times: this proves nothing", name, seen.calls)
		}
		calls, tokens = calls+seen.calls, tokens+seen.tokens
		want := map[string]int64{"requests": seen.calls, "errors": seen.errors, "input": seen.tokens, "cost": seen.tokens * 1e9}
		if name == "b" {
			want["budget_used"], want["quota_used"], want["held_cost"] = want["cost"], seen.calls, 0
		}
		w.checkCounts("{lm:fleet}:model:"+name, want)
	}
	w.checkCounts("{lm:fleet}:cost:op:"+string(id), map[string]int64{"requests": calls, "input": tokens, "cost": tokens * 1e9})
}

func (w *world) checkCounts(key string, want map[string]int64) {
	w.Helper()
	h := w.rdb.HGetAll(ctx, key).Val()
	for field, n := range want {
		if got, _ := strconv.ParseInt(h[field], 10, 64); got != n {
			w.Errorf("%s: %s is %d, want %d", key, field, got, n)
		}
	}
}
