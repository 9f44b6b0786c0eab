package e2e

import (
	"strconv"
	"syscall"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider/sim"
)

// priced declares two models that cost money, one of them with reservations.
const priced = `
models:
  - {id: paid, backend: sim, name: sim, price: {input: 1000, output: 2000}}
  - {id: held, backend: sim, name: sim, price: {input: 1000, output: 2000}, limits: {rpm: 100, tpm: 100000, concurrent: 4}, budget: {usd: 1000, period: monthly}}
worker: {drain_timeout: 300ms}
`

// TestWaste_ByCrash: the money for a call whose worker was killed is counted as
// wasted by a crash, once, for operation, tenant and model: whether the worker died
// in the call or behind it. What a drain gives back is no crash.
func TestWaste_ByCrash(t *testing.T) {
	const slow = 30 * time.Second
	for _, tt := range []struct {
		name    string
		victim  crew
		drained bool
		kills   int
	}{
		{"in the call", crew{latency: slow}, false, 1},
		{"in the call, twice", crew{latency: slow}, false, 2},
		{"behind the call", crew{failpoint: "inferred:1"}, false, 1},
		{"drained", crew{latency: slow}, true, 1},
	} {
		for _, model := range []string{"paid", "held"} {
			t.Run(tt.name+"/"+model, func(t *testing.T) {
				t.Parallel()
				f := newFleet(t, time.Second)
				config := f.write(priced)
				f.prices = prices{"paid": {Input: 1000, Output: 2000}, "held": {Input: 1000, Output: 2000}}
				victim := tt.victim
				victim.config = config
				w := f.start(victim)
				id := f.enqueue(1, func(i int) ask {
					return ask{lm.Request{Model: model, Tenant: "acme", Body: chatBody(question(i))}, lm.Succeeded, question(i)}
				})[0]
				for n := range tt.kills {
					if n > 0 {
						w = f.start(victim)
					}
					f.awaitCalls(n + 1)
					if tt.drained {
						w.signal(syscall.SIGTERM)
					} else if victim.failpoint == "" {
						w.signal(syscall.SIGKILL)
					}
					w.exit(patience)
				}
				f.start(crew{config: config, latency: 20 * time.Millisecond})
				f.awaitAll()
				f.check()
				f.checkWaste(id, model, tt.kills, tt.drained)
			})
		}
	}
}

// awaitCalls waits until so many model calls have begun.
func (f *fleet) awaitCalls(n int) {
	f.Helper()
	until(f, patience, strconv.Itoa(n)+" calls to begin", func() bool {
		entries, _ := sim.ReadLog(f.calls) // not there before the first
		begun := 0
		for _, e := range entries {
			if e.Event == sim.EventStart {
				begun++
			}
		}
		return begun >= n
	})
}

// checkWaste holds the costs of one operation that was repeated so often against
// what one of its calls costs.
func (f *fleet) checkWaste(id lm.TraceID, model string, repeats int, drained bool) {
	f.Helper()
	results, err := f.store.Results(f.Context(), []lm.TraceID{id})
	if err != nil {
		f.Fatal(err)
	}
	one := results[0].Usage.Input*1_000_000 + results[0].Usage.Output*2_000_000
	lost := int64(repeats) * one
	if drained {
		lost = 0
	}
	if one == 0 {
		f.Fatal("the call cost nothing: void")
	}
	for _, key := range []string{"{lm:fleet}:cost:op:" + string(id), "{lm:fleet}:cost:tenant:acme", "{lm:fleet}:model:" + model} {
		h, err := f.rdb.HGetAll(f.Context(), key).Result()
		if err != nil {
			f.Fatal(err)
		}
		cost, _ := strconv.ParseInt(h["cost"], 10, 64)
		waste, _ := strconv.ParseInt(h["waste_crash"], 10, 64)
		requests, _ := strconv.Atoi(h["requests"])
		if cost != one+lost || waste != lost || requests != 1+repeats {
			f.Errorf("%s: cost %d, wasted by crash %d in %d requests; one call costs %d, %d were lost: %v", key, cost, waste, requests, one, repeats, h)
		}
	}
}
