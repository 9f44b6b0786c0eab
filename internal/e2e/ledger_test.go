package e2e

import (
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/provider/sim"
)

// ledger is the call log by operation and step.
type ledger map[lm.TraceID]map[string]*account

// account is what happened to one step's call, tool or fetch.
type account struct {
	starts, answers, errors int
	events                  []sim.LogEntry
}

// readLedger reads the call log of the fleet.
func (f *fleet) readLedger() ledger {
	f.Helper()
	entries, err := sim.ReadLog(f.calls)
	if err != nil {
		f.Fatal(err)
	}
	l := make(ledger)
	for _, e := range entries {
		_, step, _ := strings.Cut(e.Key, "/")
		if l[e.Trace] == nil {
			l[e.Trace] = make(map[string]*account)
		}
		a := l[e.Trace][step]
		if a == nil {
			a = &account{}
			l[e.Trace][step] = a
		}
		a.events = append(a.events, e)
		switch e.Event {
		case sim.EventStart:
			a.starts++
		case sim.EventEnd:
			a.answers++
		case sim.EventError:
			a.errors++
		}
	}
	return l
}

// repeats is how many calls were begun beyond the first of their step.
func (l ledger) repeats() (n int) {
	for _, steps := range l {
		n += repeatsOf(steps)
	}
	return n
}

// paidTwice is how many calls were answered beyond the first of their step.
func (l ledger) paidTwice() (n int) {
	for _, steps := range l {
		for _, a := range steps {
			n += max(0, a.answers-1)
		}
	}
	return n
}

func repeatsOf(steps map[string]*account) (n int) {
	for _, a := range steps {
		n += a.starts - 1
	}
	return n
}

// checkCalls holds the call log against what was promised (I6): every step was
// answered, a saved one is never begun again, and an operation repeats at most
// the one call that was in flight whenever its claim was cut short.
func (f *fleet) checkCalls(records []lua.Record) {
	f.Helper()
	l := f.readLedger()
	autopsies := f.died()
	for _, r := range records {
		steps := l[r.ID]
		f.checkAnswered(r, steps)
		cuts := handedBack(r)
		for _, a := range autopsies {
			left, held := a.held[r.ID]
			if !held {
				continue
			}
			cuts++
			for name, account := range steps {
				for _, e := range account.events {
					if left.saved[name] && e.Event == sim.EventStart && e.TS > a.at.UnixNano() {
						f.Errorf("%s: step %s was saved when %s, and was begun again by %s:%s", r.ID, name, a, e.Worker, story(r))
					}
				}
			}
		}
		if n := repeatsOf(steps); n > cuts {
			f.Errorf("%s: %d calls were repeated, but its claims were cut short %d times:%s", r.ID, n, cuts, story(r))
		}
	}
}

// handedBack is how often a living worker gave the operation back, or tried it
// again.
func handedBack(r lua.Record) (n int) {
	for _, h := range r.History {
		switch h.Path[len(h.Path)-1] {
		case lm.Reclaimed:
			if h.Reason != "lease" && h.Reason != "presence" {
				n++
			}
		case lm.Retrying:
			n++
		default:
		}
	}
	return n
}

// checkAnswered holds the steps that were called against those that the kind of
// operation has.
func (f *fleet) checkAnswered(r lua.Record, steps map[string]*account) {
	f.Helper()
	ask := f.asked[r.ID]
	if ask.outcome != lm.Succeeded {
		return
	}
	want := 1
	switch {
	case ask.request.Kind == "twostep":
		want = 2
	case ask.request.Model == "sim-tools":
		want = 7
	case ask.request.Kind == "misbehave":
		want = 0
	}
	if len(steps) != want {
		f.Errorf("%s: %d different steps were called, want %d", r.ID, len(steps), want)
	}
	for name, a := range steps {
		if a.answers == 0 {
			f.Errorf("%s: step %s was begun %d times and never answered, and yet the operation succeeded", r.ID, name, a.starts)
		}
	}
}
