package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	truth "github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/provider/sim"
)

// The accounting oracle. The call log is the provider's own bill: every call that it
// got, of which member, and what each answer was charged for. The fleet's counters, the
// operations' costs and their results must say the same.

// prices are those of the declared models. A worker calls them NAME@ID at the simulator, so
// that the log tells them apart.
type prices map[string]truth.Price

// sums are the counts of a model, a backend, a tenant or an operation. Money is in
// nano-USD, tokens are those of answers.
type sums struct{ requests, input, cached, output, cost, crash int64 }

func (s sums) add(o sums) sums {
	return sums{s.requests + o.requests, s.input + o.input, s.cached + o.cached, s.output + o.output, s.cost + o.cost, s.crash + o.crash}
}

// bill is what the provider's log comes to.
type bill struct {
	models map[string]sums     // by the declared model
	ops    map[lm.TraceID]sums // the declared models' part
	spoken map[lm.TraceID]sums // by any model: each step by its last answer, as results count
	mixed  map[lm.TraceID]bool // answered for one step by several members
}

// stepOf is a step's call of one operation.
type stepOf struct {
	id  lm.TraceID
	key string
}

// billOf reads a log. A call that neither ended nor failed died with its worker: it
// counts as its repeat does. All answers of a step but the last were wasted by a crash,
// and so were the calls that died.
func billOf(entries []sim.LogEntry, by prices) bill {
	b := bill{models: map[string]sums{}, ops: map[lm.TraceID]sums{}, spoken: map[lm.TraceID]sums{}, mixed: map[lm.TraceID]bool{}}
	begun, failed, answers := map[stepOf]int{}, map[stepOf][]sim.LogEntry{}, map[stepOf][]sim.LogEntry{}
	for _, e := range entries {
		at := stepOf{e.Trace, e.Key}
		switch {
		case strings.HasPrefix(e.Model, "tool:") || e.Model == "testworker":
		case e.Event == sim.EventStart:
			begun[at]++
		case e.Event == sim.EventError:
			failed[at] = append(failed[at], e)
		case e.Usage != nil:
			answers[at] = append(answers[at], e)
		}
	}
	for at, said := range answers {
		last := said[len(said)-1]
		b.spoken[at.id] = b.spoken[at.id].add(charged(last, by, false))
		for i, e := range said {
			b.mixed[at.id] = b.mixed[at.id] || e.Model != last.Model
			wasted := i < len(said)-1 && e.Model == last.Model
			b.count(at.id, e.Model, charged(e, by, wasted), by)
		}
		for range begun[at] - len(said) - len(failed[at]) {
			b.count(at.id, last.Model, charged(last, by, true), by)
		}
	}
	for at, list := range failed {
		for _, e := range list {
			b.count(at.id, e.Model, sums{requests: 1}, by)
		}
	}
	return b
}

func (b *bill) count(id lm.TraceID, name string, s sums, by prices) {
	if _, model, _ := strings.Cut(name, "@"); by[model] != (truth.Price{}) {
		b.models[model] = b.models[model].add(s)
		b.ops[id] = b.ops[id].add(s)
	}
}

// charged is what one answer comes to.
func charged(e sim.LogEntry, by prices, wasted bool) sums {
	_, model, _ := strings.Cut(e.Model, "@")
	p, u := by[model], *e.Usage
	if p.CachedInput == 0 {
		p.CachedInput = p.Input
	}
	s := sums{requests: 1, input: u.Input, cached: u.Cached, output: u.Output}
	s.cost = int64((float64(u.Input-u.Cached)*p.Input+float64(u.Cached)*p.CachedInput+float64(u.Output)*p.Output)*1000 + 0.5)
	if wasted {
		s.crash = s.cost
	}
	return s
}

// books are what the fleet says.
type books struct {
	models  map[string]map[string]string     // their hashes
	ops     map[lm.TraceID]map[string]string // their costs
	held    map[string]int64                 // reservations
	results map[lm.TraceID]lm.Usage          // of succeeded operations
}

// differences are where the books are not as the bill is, one line each.
func differences(b bill, is books, by prices) (lines []string) {
	differ := func(what string, got, want int64) {
		if got != want {
			lines = append(lines, fmt.Sprintf("%s is %d, want %d", what, got, want))
		}
	}
	hash := func(what string, h map[string]string, want sums) {
		for _, f := range []struct {
			field string
			want  int64
		}{{"requests", want.requests}, {"input", want.input}, {"cached", want.cached}, {"output", want.output}, {"cost", want.cost}, {"waste_crash", want.crash}} {
			n, _ := strconv.ParseInt(h[f.field], 10, 64)
			differ(what+": "+f.field, n, f.want)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(by)) {
		h := is.models[id]
		hash(id, h, b.models[id])
		for _, field := range []string{"budget_used", "quota_used"} {
			used, counted := h[field]
			n, _ := strconv.ParseInt(used, 10, 64)
			if want := map[string]int64{"budget_used": b.models[id].cost, "quota_used": b.models[id].requests}[field]; counted {
				differ(id+": "+field, n, want)
			}
		}
		held, _ := strconv.ParseInt(h["held_cost"], 10, 64)
		if is.held[id] == 0 {
			differ(id+": held_cost without a reservation", held, 0)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.ops)) {
		hash(string(id), is.ops[id], b.ops[id])
	}
	for _, id := range slices.Sorted(maps.Keys(is.results)) {
		u, want := is.results[id], b.spoken[id]
		if b.mixed[id] { // an embedding counts what it has thrown away too
			continue
		}
		differ(string(id)+": calls of its result", int64(u.Calls), want.requests)
		differ(string(id)+": input of its result", u.Input, want.input)
		differ(string(id)+": output of its result", u.Output, want.output)
	}
	return lines
}

// checkBill holds the books of the fleet and of all operations against the bill.
func (f *fleet) checkBill() {
	f.Helper()
	entries, err := sim.ReadLog(f.calls)
	if err != nil {
		f.Fatal(err)
	}
	b := billOf(entries, f.prices)
	is := books{models: map[string]map[string]string{}, ops: map[lm.TraceID]map[string]string{}, held: map[string]int64{}, results: map[lm.TraceID]lm.Usage{}}
	for id := range f.prices {
		is.models[id] = f.rdb.HGetAll(f.Context(), "{lm:fleet}:model:"+id).Val()
		is.held[id] = f.rdb.ZCard(f.Context(), "{lm:fleet}:holds:"+id).Val()
	}
	for id := range b.ops {
		is.ops[id] = f.rdb.HGetAll(f.Context(), "{lm:fleet}:cost:op:"+string(id)).Val()
	}
	results, err := f.store.Results(f.Context(), f.all())
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range results {
		if r.Outcome == lm.Succeeded {
			is.results[r.ID] = r.Usage
		}
	}
	for _, line := range differences(b, is, f.prices) {
		f.Error("the books and the provider's bill differ: " + line)
	}
}

// TestBill_FindsWhatIsCountedWrong: a call counted twice, not at all, or of the wrong
// member, money that stays held, and a result that says too much.
func TestBill_FindsWhatIsCountedWrong(t *testing.T) {
	by := prices{"a": {Input: 1, Output: 2}, "b": {Input: 10, Output: 20}}
	used := &sim.Used{Input: 100, Output: 10}
	log := []sim.LogEntry{
		{Event: sim.EventStart, Trace: "0-x", Key: "0-x/turn:1", Model: "sim@a"}, // died with its worker
		{Event: sim.EventStart, Trace: "0-x", Key: "0-x/turn:1", Model: "sim@a"},
		{Event: sim.EventEnd, Trace: "0-x", Key: "0-x/turn:1", Model: "sim@a", Usage: used},
		{Event: sim.EventStart, Trace: "0-x", Key: "0-x/turn:2", Model: "sim@a"},
		{Event: sim.EventError, Trace: "0-x", Key: "0-x/turn:2", Model: "sim@a"},
		{Event: sim.EventStart, Trace: "0-x", Key: "0-x/turn:2", Model: "sim@b"},
		{Event: sim.EventEnd, Trace: "0-x", Key: "0-x/turn:2", Model: "sim@b", Usage: used},
		{Event: sim.EventStart, Trace: "0-x", Key: "0-x/tool:1", Model: "tool:lookup"},
	}
	right := func() books {
		return books{
			models: map[string]map[string]string{
				"a": {"requests": "3", "input": "200", "output": "20", "cost": "240000", "waste_crash": "120000", "quota_used": "3"},
				"b": {"requests": "1", "input": "100", "output": "10", "cost": "1200000", "budget_used": "1200000", "held_cost": "0"},
			},
			ops:     map[lm.TraceID]map[string]string{"0-x": {"requests": "4", "input": "300", "output": "30", "cost": "1440000", "waste_crash": "120000"}},
			held:    map[string]int64{},
			results: map[lm.TraceID]lm.Usage{"0-x": {Calls: 2, Input: 200, Output: 20}},
		}
	}
	if lines := differences(billOf(log, by), right(), by); lines != nil {
		t.Fatal(lines)
	}
	for name, wrong := range map[string]func(is books){
		"counted twice":   func(is books) { is.models["b"]["requests"], is.models["b"]["cost"] = "2", "2400000" },
		"not counted":     func(is books) { clear(is.models["b"]) },
		"only the money":  func(is books) { is.models["b"]["budget_used"] = "0" },
		"the wrong one":   func(is books) { is.models["a"], is.models["b"] = is.models["b"], is.models["a"] },
		"waste forgotten": func(is books) { delete(is.ops["0-x"], "waste_crash") },
		"held for ever":   func(is books) { is.models["a"]["held_cost"] = "1" },
		"a result's call": func(is books) { is.results["0-x"] = lm.Usage{Calls: 3, Input: 300, Output: 30} },
	} {
		is := right()
		wrong(is)
		if lines := differences(billOf(log, by), is, by); len(lines) == 0 {
			t.Errorf("%s: not found", name)
		} else {
			t.Logf("%s: %s", name, strings.Join(lines, "; "))
		}
	}
}

// TestBill_AnEmbeddingGoesToAnotherMember: the first member's quota ends after three
// batches, and the second one's calls count there in full.
func TestBill_AnEmbeddingGoesToAnotherMember(t *testing.T) {
	t.Parallel()
	f := newFleet(t, time.Second)
	f.prices = prices{"a": {Input: 1000}, "b": {Input: 2000}}
	config := f.write(`
models:
  - {id: a, backend: sim, name: sim-embed, price: {input: 1000}, quota: {requests: 3, period: monthly}}
  - {id: b, backend: sim, name: sim-embed, price: {input: 2000}, budget: {usd: 1000, period: monthly}, quota: {requests: 1000, period: monthly}}
pools:
  - {id: vectors, members: [{model_id: a}, {model_id: b, role: failover_only}], routing: {home: first_healthy}, switch: {on_quota: true}}
pipeline: {embed_batch: 2}
`)
	f.start(crew{config: config})
	body, err := json.Marshal(map[string]any{"input": strings.Fields("a b c d e f g h i j k l m")})
	if err != nil {
		t.Fatal(err)
	}
	f.enqueue(1, func(int) ask {
		return ask{lm.Request{Kind: "embed", Model: "vectors", Body: body}, lm.Succeeded, "embedding"}
	})
	f.awaitAll()
	f.checkBill()
	entries, err := sim.ReadLog(f.calls)
	if err != nil {
		t.Fatal(err)
	}
	if b := billOf(entries, f.prices); b.models["a"].requests != 3 || b.models["b"].requests != 7 {
		t.Errorf("%+v: this proves nothing", b.models)
	}
}
