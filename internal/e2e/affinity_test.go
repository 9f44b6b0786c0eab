package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/provider/sim"
)

// caching declares a pool of four members with prompt caches; the home strategy
// and faults are filled in.
const caching = `
models:
  - {id: a, backend: sim, name: sim}
  - {id: b, backend: sim, name: sim}
  - {id: c, backend: sim, name: sim}
  - {id: d, backend: sim, name: sim}
pools:
  - id: chat
    members: [{model_id: a}, {model_id: b}, {model_id: c}, {model_id: d}]
    routing: {home: %s}
%s`

// fails sets b aside for the rest of a run, with the first call that the process
// with this fault makes of it.
const fails = `
sim:
  faults: [{model: b, kind: rate_limited, count: 1, retry_after: 1h}]
`

// turnsOf is how often each conversation of the affinity runs goes on.
const turnsOf = 8

// TestPool_AffinityYieldOfAFleet: many processes together find as much in their
// providers' prompt caches as one process that makes all calls and so knows
// everything, and far more than round robin or chance, while one member is taken
// away and comes back and another one fails.
//
// The simulator's caches are each process's own, which a provider's are not. So
// what was cached is found by replaying the call log against one cache for all
// processes; the input tokens are those of the results' usage, and where there is
// one process the replay must agree with its usage to the token.
func TestPool_AffinityYieldOfAFleet(t *testing.T) {
	size, threads := rounds(4, 8), rounds(40, 120)
	sticky := func(r *lm.Request, thread, _ int) { r.Thread = fmt.Sprint("t", thread) }
	one := affinityOf(t, 1, threads, "deterministic", sticky)
	all := affinityOf(t, size, threads, "deterministic", sticky)
	inTurn := affinityOf(t, size, threads, "round_robin", func(*lm.Request, int, int) {})
	// A label of its own for each call homes it anywhere.
	chance := affinityOf(t, size, threads, "deterministic", func(r *lm.Request, thread, turn int) { r.Agent = fmt.Sprint("by chance ", thread, turn) })
	t.Logf("cached over input tokens, %d conversations of %d turns: one process %.1f %%, %d processes %.1f %%, round robin %.1f %%, by chance %.1f %%",
		threads, turnsOf, 100*one, size, 100*all, 100*inTurn, 100*chance)
	if all < one-0.02 || all > one+0.02 {
		t.Errorf("%d processes yield %.3f, one %.3f: want them within 0.02", size, all, one)
	}
	if all < inTurn+0.1 || all < chance+0.1 {
		t.Errorf("sessions yield %.3f, round robin %.3f, chance %.3f: want sessions well ahead", all, inTurn, chance)
	}
}

// affinityOf is the yield of a fleet of so many processes, over conversations whose
// turns all come one after the other. to says how a turn's call is addressed.
func affinityOf(t *testing.T, size, threads int, home string, to func(r *lm.Request, thread, turn int)) float64 {
	f := newFleet(t, 20*time.Second)
	good := f.write(fmt.Sprintf(caching, home, ""))
	bad := f.write(fmt.Sprintf(caching, home, fails))
	start := func(config string) *worker {
		return f.start(crew{config: config, slots: 4, latency: 2 * time.Millisecond})
	}
	first := start(good)
	for range size - 2 {
		start(good)
	}
	for turn := range turnsOf {
		switch turn {
		case 3:
			f.operate(lua.ModelDisable)
		case 5:
			f.operate(lua.ModelEnable)
			if size == 1 { // the one that follows is to be the only one
				first.signal(syscall.SIGTERM)
				if code := first.exit(patience); code != 0 {
					t.Fatalf("a worker that was to stop ended with %d", code)
				}
			}
			start(bad)
		}
		f.enqueue(threads, func(i int) ask {
			thread := i - turn*threads
			r := lm.Request{Model: "chat", Body: conversation(thread, turn+1)}
			to(&r, thread, turn)
			return ask{request: r, outcome: lm.Succeeded}
		})
		f.awaitAll()
	}
	return f.yield(threads, size == 1)
}

// operate disables or enables member a, which every worker knows within a second.
func (f *fleet) operate(what string) {
	f.Helper()
	if _, err := f.store.OperateModel(f.Context(), "a", "sim", what); err != nil {
		f.Fatal(err)
	}
}

// yield replays the call log: a member's cache holds of a conversation what it
// has answered of it. alone says that one process at a time made the calls; until
// the second one started its own cache was the provider's.
func (f *fleet) yield(threads int, alone bool) float64 {
	f.Helper()
	results, err := f.store.Results(f.Context(), f.all())
	if err != nil {
		f.Fatal(err)
	}
	entries, err := sim.ReadLog(f.calls)
	if err != nil {
		f.Fatal(err)
	}
	served, failed := make(map[lm.TraceID]string), 0
	for _, e := range entries {
		switch e.Event {
		case sim.EventEnd:
			served[e.Trace] = memberOf(e)
		case sim.EventError:
			failed++
		}
	}
	held := make(map[string]int64) // bytes by member and conversation
	var used, found lm.Usage
	var byA [turnsOf]int
	for i, r := range results {
		if r.Outcome != lm.Succeeded || served[r.ID] == "" {
			f.Fatalf("%s: %+v", r.ID, r)
		}
		turn, at := i/threads, fmt.Sprint(served[r.ID], i%threads)
		if alone && turn < 5 && r.Usage.Cached != held[at]/4 {
			f.Errorf("turn %d of conversation %d: %d tokens cached, the replay says %d", turn, i%threads, r.Usage.Cached, held[at]/4)
		}
		if served[r.ID] == "a" {
			byA[turn]++
		}
		found.Cached += held[at] / 4
		used = used.Add(r.Usage)
		held[at] = messageBytes(f.asked[r.ID].request.Body)
	}
	f.Logf("served by the member that was away in turns 3 and 4: %v; %d failed calls", byA, failed)
	if failed == 0 || byA[4] > byA[2]/2 {
		f.Fatal("no member has failed, or none was away: void")
	}
	return float64(found.Cached) / float64(used.Input)
}

// messageBytes is the size of a conversation's messages as they are written.
func messageBytes(body []byte) (n int64) {
	var b struct{ Messages []json.RawMessage }
	_ = json.Unmarshal(body, &b) // of our own making
	for _, m := range b.Messages {
		n += int64(len(m))
	}
	return n
}

// conversation is a thread's first so many turns; no two threads share a word
// that a cache would know.
func conversation(thread, turns int) json.RawMessage {
	messages := make([]map[string]string, turns)
	for i := range messages {
		messages[i] = map[string]string{"role": "user", "content": fmt.Sprintf("thread %d turn %d ", thread, i) + strings.Repeat("and so on ", 40)}
	}
	b, _ := json.Marshal(map[string]any{"messages": messages}) // strings only
	return b
}
