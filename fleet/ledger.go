package fleet

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// ledger is the account of one model in memory: the rules of admit.lua and
// outcome.lua in Go. It is what policy in-memory keeps in place of Redis, and what
// the scripts are compared with. Not for concurrent use.
type ledger struct {
	breaker
	disabled         bool
	cooldown         int64 // deadlines, ms
	quarantine       int64
	kind, credential string // of the quarantine
	quarantined      int64  // when it began
	limited          limited
	window           [buckets + 1]minute
	holds            map[string]hold
	seen             map[string]call // by replay key
	heldCost         int64
	budget, quota    used
	requests, errors int64
	usage            lm.Usage
	cost             int64
	waste            map[string]int64
	lastRequest      int64
	lastFailure      int64
}

// account is a backend's part.
type account struct {
	cooldown, quarantine int64
	kind, credential     string
	refused              refusal // of a model that stands, or has
	score                float64
	requests, cost       int64
	probed               int64 // the last listing
}

// refusal is that of a credential for one model.
type refusal struct {
	model, credential string
	until             int64
}

// minute is one bucket of the window of requests and tokens.
type minute struct{ slot, requests, tokens int64 }

// limited is the last refusal by a limit, a budget or a quota since the last admission:
// when it ends (0: never), and until when it is shown.
type limited struct {
	reason       Reason
	until, shown int64
}

// limitedShown is for how long a refusal is shown that no time ends: it is a matter of
// its call.
const limitedShown = 10 * time.Minute

// note keeps a refusal by what is declared of the model.
func (l *ledger) note(now int64, reason Reason, until int64) {
	l.limited = limited{reason: reason, until: until, shown: until}
	if until == 0 {
		l.limited.shown = now + limitedShown.Milliseconds()
	}
}

// String is the note as Redis keeps it.
func (n limited) String() string {
	if n.reason == "" {
		return ""
	}
	return fmt.Sprintf("%s %d %d", n.reason, n.until, n.shown)
}

// parseLimited reads such a note; one that cannot be read is none.
func parseLimited(note string) (n limited) {
	if note == "" {
		return limited{}
	}
	if _, err := fmt.Sscan(note, &n.reason, &n.until, &n.shown); err != nil {
		return limited{}
	}
	return n
}

// hold is a reservation; token tells whose call it is.
type hold struct {
	tokens, cost, slot, until int64
}

// call is what is known of a replay key.
type call struct {
	done        bool
	answered    bool // and well
	token       string
	reservation string
	probe       bool
	until, at   int64 // ms: of the admission, of the last change
}

func newLedger() *ledger {
	return &ledger{holds: make(map[string]hold), seen: make(map[string]call), waste: make(map[string]int64)}
}

// admit decides as admit.lua does, and where a limit refuses writes only that down.
func (l *ledger) admit(now int64, on *account, a lua.Admission) lua.Admitted {
	token := lua.CallToken(a.Owner, a.Key)
	known := l.seen[a.Key]
	if known.token == token && known.until > now {
		return lua.Admitted{OK: true, Reservation: known.reservation, Probe: known.probe, Until: atMS(known.until), Epoch: l.epoch}
	}
	l.sweep(now)
	if reason, until := l.refuse(now, on, a, token); reason != "" {
		return lua.Admitted{Reason: string(reason), Until: atMS(until)}
	}
	after, _, probe, _ := l.lease(now, token, a.Lease.Milliseconds())
	l.breaker, l.limited = after, limited{}
	until, slot := now+a.Lease.Milliseconds(), slotOf(now, a.Window)
	name := reservationName(token, a.Tokens, a.CostNano, slot)
	if a.RPM+a.TPM+a.Concurrent > 0 || a.BudgetNano+a.Quota > 0 {
		l.holds[name] = hold{tokens: a.Tokens, cost: a.CostNano, slot: slot, until: until}
		here := &l.window[slot%(buckets+1)]
		if here.slot != slot {
			*here = minute{slot: slot}
		}
		here.requests++
		here.tokens += a.Tokens
		l.heldCost += a.CostNano
		l.quota = l.quota.add(now, Period(a.QuotaPeriod), 1)
	}
	l.seen[a.Key] = call{done: known.done, at: now, token: token, reservation: name, probe: probe, until: until}
	return lua.Admitted{OK: true, Reservation: name, Probe: probe, Until: atMS(until), Epoch: l.epoch}
}

// hold prolongs as hold.lua does; false: the call's outcome is known.
func (l *ledger) hold(now int64, h lua.Holding) bool {
	known, seen := l.seen[h.Key]
	if seen && known.reservation != h.Reservation {
		return false
	}
	until := now + h.Lease.Milliseconds()
	token, tokens, cost, slot := parseReservation(h.Reservation)
	if h.Limited {
		if _, held := l.holds[h.Reservation]; !held {
			l.heldCost += cost
		}
		l.holds[h.Reservation] = hold{tokens: tokens, cost: cost, slot: slot, until: until}
	}
	if l.probe == token {
		l.probeUntil = until
	}
	if seen {
		known.until, known.at = until, now
		l.seen[h.Key] = known
	}
	return true
}

// refuse is the first reason in their order, and until when; 0: for good.
func (l *ledger) refuse(now int64, on *account, a lua.Admission, token string) (Reason, int64) {
	if reason, until := l.usedUp(now, a); reason != "" {
		l.note(now, reason, until)
		return reason, until
	}
	if reason, until := l.aside(now, on, a, token); reason != "" {
		return reason, until
	}
	if reason, until := l.full(now, len(l.holds), a); reason != "" {
		l.note(now, reason, until)
		return reason, until
	}
	if l.disabled {
		return ReasonManual, 0
	}
	return "", 0
}

// usedUp tells what is used up of the running periods.
func (l *ledger) usedUp(now int64, a lua.Admission) (Reason, int64) {
	budget, quota := Period(a.BudgetPeriod), Period(a.QuotaPeriod)
	switch {
	case a.BudgetNano > 0 && a.CostNano > a.BudgetNano:
		return ReasonBudget, 0
	case a.BudgetNano > 0 && l.budget.at(now, budget)+a.CostNano > a.BudgetNano:
		return ReasonBudget, budget.End(atMS(now)).UnixMilli()
	case a.BudgetNano > 0 && l.budget.at(now, budget)+l.heldCost+a.CostNano > a.BudgetNano: // calls under way may leave some of it
		return ReasonBudget, now + 1000
	case a.Quota > 0 && l.quota.at(now, quota)+1 > a.Quota:
		return ReasonQuota, quota.End(atMS(now)).UnixMilli()
	}
	return "", 0
}

// aside tells what sets the model aside.
func (l *ledger) aside(now int64, on *account, a lua.Admission, token string) (Reason, int64) {
	if cold := max(l.cooldown, on.cooldown); cold > now {
		return ReasonQuota, cold
	}
	barred := int64(0)
	if l.credential == "" || l.credential == a.Credential {
		barred = l.quarantine
	}
	if on.credential == a.Credential {
		barred = max(barred, on.quarantine)
	}
	if barred > now {
		return ReasonErrorThreshold, barred
	}
	if _, ok, _, until := l.lease(now, token, 0); !ok {
		return ReasonErrorThreshold, until
	}
	return "", 0
}

// full tells the limits that a call would pass.
func (l *ledger) full(now int64, running int, a lua.Admission) (Reason, int64) {
	live := l.live13(now, a.Window)
	var requests, tokens int64
	for _, m := range live {
		requests += m.requests
		tokens += m.tokens
	}
	width := float64(a.Window.Milliseconds()) / buckets
	freed := func(more int64, of func(minute) int64) int64 {
		for _, m := range live {
			if more -= of(m); more <= 0 {
				return int64(float64(m.slot+buckets+1) * width)
			}
		}
		return now + a.Window.Milliseconds()
	}
	tpm, rpm := int64(a.TPM), int64(a.RPM)
	switch {
	case tpm > 0 && a.Tokens > tpm:
		return ReasonTokenLimit, 0
	case tpm > 0 && tokens+a.Tokens > tpm:
		return ReasonTokenLimit, freed(tokens+a.Tokens-tpm, func(m minute) int64 { return m.tokens })
	case rpm > 0 && requests+1 > rpm:
		return ReasonRequestLimit, freed(requests+1-rpm, func(m minute) int64 { return m.requests })
	case a.Concurrent > 0 && running+1 > a.Concurrent: // who gives a place back brings one of these back
		return ReasonRequestLimit, now + 10_000
	}
	return "", 0
}

// live13 are the buckets of the window and the one that is leaving it, oldest first.
func (l *ledger) live13(now int64, window time.Duration) []minute {
	slot := slotOf(now, window)
	var live []minute
	for i := slot - buckets; i <= slot; i++ {
		if m := l.window[i%(buckets+1)]; m.slot == i {
			live = append(live, m)
		}
	}
	return live
}

// sweep gives back what crashed workers held.
func (l *ledger) sweep(now int64) {
	for _, name := range slices.Sorted(maps.Keys(l.holds)) {
		if h := l.holds[name]; h.until <= now {
			delete(l.holds, name)
			l.heldCost = max(l.heldCost-h.cost, 0)
		}
	}
	if len(l.holds) == 0 {
		l.heldCost = 0
	}
}

// settle gives back what was reserved; the tokens that were used stay.
func (l *ledger) settle(name string, spent int64) {
	h, ok := l.holds[name]
	if !ok {
		return
	}
	delete(l.holds, name)
	l.heldCost = max(l.heldCost-h.cost, 0)
	if m := &l.window[h.slot%(buckets+1)]; m.slot == h.slot {
		m.tokens = max(m.tokens-h.tokens+spent, 0)
	}
}

// outcome records as outcome.lua does; false: a repeat.
func (l *ledger) outcome(now int64, on *account, o lua.CallOutcome) bool {
	if l.seen[o.Key].done {
		l.settle(o.Reservation, 0)
		if l.probe != "" && l.probe == o.Token {
			l.breaker = l.release()
		}
		return false
	}
	l.seen[o.Key] = call{done: true, answered: o.Class == lua.ClassOK, at: now}
	l.lastRequest = now
	l.settle(o.Reservation, o.Usage.Input+o.Usage.Output)
	class := o.Class
	l.breaker, class = l.moment(now, class, o.Kind, o.Epoch, startedMS(o.Began))
	l.breaker = l.record(now, class, o.Epoch, o.Token, int64(math.Round(1000*o.Jitter)), o.Breaker)

	l.cooldown, _ = grow(now, l.cooldown, o.Cooldown)
	on.cooldown, _ = grow(now, on.cooldown, o.Pause)
	var grown bool
	if l.quarantine, grown = grow(now, l.quarantine, o.Quarantine); grown {
		l.kind, l.credential, l.quarantined = string(o.Kind), o.Credential, now
	}
	on.refuse(now, o)

	if o.Error {
		l.errors++
		l.lastFailure = now
	}
	l.requests++
	l.usage = l.usage.Add(o.Usage)
	l.cost += o.CostNano
	if o.Waste != "" {
		l.waste[o.Waste] += o.CostNano
	}
	on.requests++
	on.cost += o.CostNano
	switch class {
	case lua.ClassOK:
		on.score = 0.8*on.score + 0.2
	case lua.ClassFail:
		on.score *= 0.8
	case lua.ClassNeutral, sameMoment:
	}
	if o.Reservation == "" {
		l.quota = l.quota.add(now, Period(o.QuotaPeriod), 1)
	}
	l.budget = l.budget.add(now, Period(o.BudgetPer), o.CostNano)
	return true
}

// refuse bars the backend where a refused credential is not one model's matter: the
// listing is refused too, or another model while the first refusal stands and no
// model has answered since.
func (a *account) refuse(now int64, o lua.CallOutcome) {
	refused := a.refused.model != "" && a.refused.credential == o.Credential
	switch {
	case o.Bar > 0:
		other := refused && a.refused.model != o.Model && a.refused.until > now
		old := a.quarantine
		if a.credential != o.Credential {
			old = 0
		}
		if until, grown := grow(now, old, o.Bar); grown && (o.Unlisted || other) {
			a.quarantine, a.kind, a.credential = until, string(o.Kind), o.Credential
		}
		a.refused = refusal{model: o.Model, credential: o.Credential, until: now + o.Bar.Milliseconds()}
	case refused && o.Class == lua.ClassOK:
		a.refused = refusal{}
	}
}

// lost counts a call whose worker died as lost.lua does; false: a repeat.
func (l *ledger) lost(now int64, on *account, c lua.LostCall) bool {
	name := c.Key + "/lost"
	if l.seen[name].done {
		return false
	}
	answered := false
	for i := range lua.LostTries {
		key := c.Key + "/" + strconv.Itoa(i)
		try := l.seen[key]
		if answered = answered || try.answered; !try.done {
			try.done, try.at = true, now
			l.seen[key] = try
		}
	}
	l.seen[name] = call{done: true, at: now}
	l.waste[WasteCrash] += c.CostNano
	if answered {
		return true
	}
	l.requests++
	l.usage = l.usage.Add(c.Usage)
	l.cost += c.CostNano
	on.requests++
	on.cost += c.CostNano
	l.budget = l.budget.add(now, Period(c.BudgetPer), c.CostNano)
	return true
}

// startedMS is a call's beginning in server ms; 0: unknown.
func startedMS(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// grow makes a deadline later, never earlier.
func grow(now, old int64, by time.Duration) (int64, bool) {
	if ms := int64((by + time.Millisecond - 1) / time.Millisecond); by > 0 && now+ms > old {
		return now + ms, true
	}
	return old, false
}

// reset is what a person does about a cold model.
func (l *ledger) reset(on *account) {
	l.breaker = breaker{epoch: l.epoch + 1}
	l.cooldown, l.quarantine, l.kind, l.credential, l.quarantined, l.limited = 0, 0, "", "", 0, limited{}
	on.cooldown, on.quarantine, on.kind, on.credential, on.refused = 0, 0, "", "", refusal{}
}

// seenFor is how long a replay key is remembered after its call.
const seenFor = 15 * time.Minute
