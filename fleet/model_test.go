package fleet

import (
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// rules are what the model check explores: the package's, or a mutant's.
type rules struct {
	lease  func(b breaker, now int64, token string, life int64) (breaker, bool, bool)
	record func(b breaker, now int64, class lua.Class, epoch int64, token string, began int64) breaker
}

// tiny has times of one to four ticks, so that all states can be visited.
var tiny = lua.Breaker{Streak: 2, Least: 1 << 30, Window: 12 * time.Second, Base: time.Millisecond, Cap: 2 * time.Millisecond}

const leaseTicks = 2

// then keeps the times of failures and beginnings above 0, which means none.
const then = 1000

func theRules() rules {
	return rules{
		lease: func(b breaker, now int64, token string, life int64) (breaker, bool, bool) {
			after, ok, probe, _ := b.lease(now, token, life)
			return after, ok, probe
		},
		record: func(b breaker, now int64, class lua.Class, epoch int64, token string, began int64) breaker {
			b.failedAt += then
			b, class = b.moment(now+then, class, lm.ProviderFailed, epoch, began+then)
			b.failedAt -= then
			return b.record(now, class, epoch, token, 0, tiny)
		},
	}
}

// world is one state of the exploration: the shared circuit and three workers.
// Times and epochs are relative, so that equal situations are one state.
type world struct {
	circuit breaker
	workers [3]agent
}

type agent struct {
	calling bool
	probe   bool
	epoch   int64 // of the circuit, relative to the shared one
	left    int64 // of its lease, in ticks
	began   int64
}

// normal makes times relative to now, which is always 0, and forgets what makes
// no difference: deadlines that have passed, epochs older than one back.
func (w world) normal() world {
	base := w.circuit.epoch
	w.circuit.epoch = 0
	w.circuit.openUntil = max(w.circuit.openUntil, 0)
	w.circuit.probeUntil = max(w.circuit.probeUntil, 0)
	w.circuit.opened = min(w.circuit.opened, 3)
	w.circuit.failures = min(w.circuit.failures, 3)
	w.circuit.rate = [buckets]bucket{}
	past := min(w.circuit.failedAt+1, 0) // what lies behind the last failure is told apart by that alone
	w.circuit.failedAt -= past
	for i := range w.workers {
		a := &w.workers[i]
		a.epoch = max(a.epoch-base, -2)
		if a.began -= past; a.began < w.circuit.failedAt {
			a.began = w.circuit.failedAt - 1
		} else {
			a.began = min(a.began, 0)
		}
		if !a.calling {
			*a = agent{}
		}
	}
	return w
}

func token(i int) string { return string(rune('a' + i)) }

// step is one event of one worker, or of time.
type step struct {
	what string
	to   world
}

// next lists every event that can happen in a state.
func (w world) next(r rules) (steps []step) {
	for i := range w.workers {
		a := w.workers[i]
		add := func(what string, change func(*world)) {
			to := w
			change(&to)
			steps = append(steps, step{fmt.Sprint(token(i), " ", what), to.normal()})
		}
		if !a.calling {
			add("asks", func(to *world) {
				after, ok, probe := r.lease(w.circuit, 0, token(i), leaseTicks)
				if ok {
					to.circuit = after
					to.workers[i] = agent{calling: true, probe: probe, epoch: after.epoch, left: leaseTicks, began: 0}
				}
			})
			continue
		}
		for _, class := range []lua.Class{lua.ClassOK, lua.ClassFail, lua.ClassNeutral} {
			add(string(class), func(to *world) {
				to.circuit = r.record(w.circuit, 0, class, a.epoch, token(i), a.began)
				to.workers[i] = agent{}
			})
		}
		add("crashes", func(to *world) { to.workers[i] = agent{} })
	}
	return append(steps, step{"a tick passes", w.tick()})
}

func (w world) tick() world {
	w.circuit.openUntil--
	w.circuit.probeUntil--
	w.circuit.failedAt--
	for i := range w.workers {
		w.workers[i].left = max(w.workers[i].left-1, 0)
		w.workers[i].began--
	}
	return w.normal()
}

// explore visits every state that can be reached from rest, and answers the first
// that breaks a promise, with the way there; empty: none does.
func explore(r rules) (problem string, states int) {
	type seen struct {
		from world
		by   string
	}
	start := world{}.normal()
	all := map[world]seen{start: {}}
	back := map[world][]world{}
	queue := []world{start}
	way := func(w world) (text string) {
		for w != start {
			text = all[w].by + "; " + text
			w = all[w].from
		}
		return text
	}
	for len(queue) > 0 {
		w := queue[0]
		queue = queue[1:]
		if p := w.broken(r); p != "" {
			return p + " after: " + way(w), len(all)
		}
		for _, s := range w.next(r) {
			p := closedByOthers(w, s)
			if p == "" {
				p = countedTwice(w, s)
			}
			if p != "" {
				return p + " after: " + way(w) + s.what, len(all)
			}
			back[s.to] = append(back[s.to], w)
			if _, known := all[s.to]; !known {
				all[s.to] = seen{w, s.what}
				queue = append(queue, s.to)
			}
		}
	}
	// From everywhere there is a way back to rest.
	home := map[world]bool{start: true}
	for queue = []world{start}; len(queue) > 0; queue = queue[1:] {
		for _, w := range back[queue[0]] {
			if !home[w] {
				home[w] = true
				queue = append(queue, w)
			}
		}
	}
	for w := range all {
		if !home[w] {
			return "no way back to rest after: " + way(w), len(all)
		}
	}
	return "", len(all)
}

// broken says which promise a state breaks.
func (w world) broken(r rules) string {
	probes := 0
	for _, a := range w.workers {
		if a.calling && a.probe && a.left > 0 && a.epoch == 0 {
			probes++
		}
	}
	if probes > 1 {
		return fmt.Sprintf("%d probes at once", probes)
	}
	// No wedge: whatever was in flight, time alone lets a newcomer call.
	later := w
	for range int(tiny.Cap.Milliseconds()) + leaseTicks + 1 {
		later = later.tick()
	}
	if _, ok, _ := r.lease(later.circuit, 0, "z", leaseTicks); !ok {
		return "wedged"
	}
	return ""
}

// closedByOthers: an open circuit is closed by nobody but its probe, and given
// back at once by a neutral ending of it.
func closedByOthers(w world, s step) string {
	i := int(s.what[0] - 'a')
	if s.what == "a tick passes" {
		return ""
	}
	a := w.workers[i]
	mine := a.probe && a.epoch == 0 && w.circuit.probe == token(i)
	if w.circuit.open && !s.to.circuit.open && (!mine || s.what[2:] != "ok") {
		return "closed by a result that is not its probe's"
	}
	if a.calling && mine && w.circuit.open && s.what[2:] == "neutral" && s.to.circuit.probe != "" {
		return "a neutral ending kept the probe"
	}
	return ""
}

// countedTwice: a failure of a call that was under way when the last one counted
// neither counts in the row nor opens a closed circuit, and any other does.
func countedTwice(w world, s step) string {
	if s.what == "a tick passes" || s.what[2:] != "fail" {
		return ""
	}
	a := w.workers[int(s.what[0]-'a')]
	if w.circuit.open || a.epoch != 0 {
		return ""
	}
	with := w.circuit.failedKind != "" && a.began < w.circuit.failedAt
	moved := s.to.circuit.open || s.to.circuit.failures != w.circuit.failures
	switch {
	case with && moved:
		return "one moment counted twice"
	case !with && !moved:
		return "a failure did not count"
	}
	return ""
}

// TestBreakerModel: in every interleaving of three workers' calls, results,
// crashes and expiries there is at most one probe, and no wedge.
func TestBreakerModel_OneProbeNoWedge(t *testing.T) {
	problem, states := explore(theRules())
	if problem != "" {
		t.Fatal(problem)
	}
	if states < 1000 {
		t.Errorf("only %d states: the model explores nothing", states)
	}
	t.Logf("%d states", states)
}

// TestBreakerModel_FindsMutants: rules that break a promise are found out.
func TestBreakerModel_FindsMutants(t *testing.T) {
	good := theRules()
	mutants := map[string]rules{
		"everybody may probe": {record: good.record, lease: func(b breaker, now int64, token string, life int64) (breaker, bool, bool) {
			b.probe = ""
			return good.lease(b, now, token, life)
		}},
		"a lease never ends": {record: good.record, lease: func(b breaker, now int64, token string, life int64) (breaker, bool, bool) {
			if b.open && b.openUntil <= now && b.probe != "" && b.probe != token {
				return b, false, false
			}
			return good.lease(b, now, token, life)
		}},
		"a neutral ending keeps the probe": {lease: good.lease, record: func(b breaker, now int64, class lua.Class, epoch int64, token string, began int64) breaker {
			if class == lua.ClassNeutral {
				return b
			}
			return good.record(b, now, class, epoch, token, began)
		}},
		"late results count": {lease: good.lease, record: func(b breaker, now int64, class lua.Class, _ int64, token string, began int64) breaker {
			if b.open && class == lua.ClassOK {
				b.probe = token
			}
			return good.record(b, now, class, b.epoch, token, began)
		}},
		"any result of an open circuit is its probe's": {lease: good.lease, record: func(b breaker, now int64, class lua.Class, epoch int64, token string, began int64) breaker {
			if b.open && b.probe != "" {
				token = b.probe
			}
			return good.record(b, now, class, epoch, token, began)
		}},
		"each failure counts": {lease: good.lease, record: func(b breaker, now int64, class lua.Class, epoch int64, token string, _ int64) breaker {
			return good.record(b, now, class, epoch, token, b.failedAt)
		}},
		"none but the first counts": {lease: good.lease, record: func(b breaker, now int64, class lua.Class, epoch int64, token string, _ int64) breaker {
			return good.record(b, now, class, epoch, token, b.failedAt-1)
		}},
		"open for ever": {record: good.record, lease: func(b breaker, now int64, token string, life int64) (breaker, bool, bool) {
			if b.open {
				return b, false, false
			}
			return good.lease(b, now, token, life)
		}},
	}
	for name, r := range mutants {
		if problem, states := explore(r); problem == "" {
			t.Errorf("%s: not found in %d states", name, states)
		} else {
			t.Logf("%s: %s", name, problem)
		}
	}
}
