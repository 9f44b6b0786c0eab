package fleet

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// quick makes every time of the rules short, so that a random walk in real time
// passes through all of them.
var quick = lua.Breaker{Streak: 3, Least: 6, Window: 120 * time.Millisecond, Base: 4 * time.Millisecond, Cap: 20 * time.Millisecond}

// TestScripts_DoWhatTheGoRulesSay plays random admissions and outcomes against
// Redis and against the ledger, which is told the server's time, and compares
// answers and state after each. Every call is sent twice.
func TestScripts_DoWhatTheGoRulesSay(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	onEach(t, func(t *testing.T, rdb redis.UniversalClient, s *lua.Store) {
		rounds := 15
		if os.Getenv("LIGHTERMAN_E2E") == "full" {
			rounds = 60
		}
		if testing.Short() {
			rounds = 5
		}
		for round := range rounds {
			w := &walk{T: t, s: s, rdb: rdb, rnd: rand.New(rand.NewPCG(seed, uint64(round))), model: fmt.Sprint("m", round), l: newLedger(), other: newLedger(), on: &account{score: 1}, seenKinds: map[string]int{}}
			w.play(120)
			if t.Failed() {
				t.Fatalf("round %d", round)
			}
			for k, n := range w.seenKinds {
				reached[k] += n
			}
		}
	})
	if testing.Short() {
		return // too few to pass through everything
	}
	for _, what := range []string{"OK", "probe", string(ReasonBudget), string(ReasonQuota), string(ReasonErrorThreshold), string(ReasonTokenLimit), string(ReasonRequestLimit), string(ReasonManual), "barred", "opened", "closed", "replay", "lost", "lost and known", "held", "ended"} {
		if reached[what] == 0 {
			t.Errorf("the walks never reached %q: %v", what, reached)
		}
	}
}

var reached = map[string]int{}

type walk struct {
	*testing.T
	s         *lua.Store
	rdb       redis.UniversalClient
	rnd       *rand.Rand
	model     string
	l         *ledger
	other     *ledger // of another model of the backend, which is only refused or served
	on        *account
	open      []inFlight
	held      []inFlight // the ended ones too
	n         int
	seenKinds map[string]int
	limits    lua.Admission
}

type inFlight struct {
	key, owner string
	got        lua.Admitted
}

func (w *walk) play(steps int) {
	r := w.rnd
	w.limits = lua.Admission{BudgetPeriod: string(DailyUTC), QuotaPeriod: string(Monthly), Window: quick.Window}
	maybe := func(n int) int {
		if r.IntN(3) == 0 {
			return n
		}
		return 0
	}
	w.limits.RPM, w.limits.TPM, w.limits.Concurrent = maybe(4+r.IntN(8)), maybe(200+r.IntN(400)), maybe(1+r.IntN(4))
	w.limits.BudgetNano, w.limits.Quota = int64(maybe(3000)), int64(maybe(20))
	for range steps {
		switch r.IntN(15) {
		case 0, 1, 2, 3, 4:
			w.admit()
		case 5, 6, 7, 8, 9:
			w.outcome()
		case 10:
			w.pass(time.Duration(r.IntN(12)) * time.Millisecond)
		case 11:
			w.operate()
		case 12:
			w.lose()
		case 13:
			w.hold()
		case 14:
			w.neighbour()
		}
		w.compare()
		if w.Failed() {
			return
		}
	}
}

// pass waits until the server's clock has moved on.
func (w *walk) pass(d time.Duration) {
	from := w.rdb.Time(ctx).Val()
	for w.rdb.Time(ctx).Val().Sub(from) < d {
	}
}

func (w *walk) admit() {
	a := w.limits
	w.n++
	a.Model, a.Backend, a.Owner, a.Key = w.model, w.model, fmt.Sprint("w", w.rnd.IntN(2)), fmt.Sprint(w.model, "-", w.rnd.IntN(w.n)+w.n/2)
	a.Lease = time.Duration(3+w.rnd.IntN(40)) * time.Millisecond
	a.Tokens, a.CostNano = int64(w.rnd.IntN(120)), int64(w.rnd.IntN(400))
	a.Credential = []string{"", "c1"}[w.rnd.IntN(2)]
	for range 2 {
		got, err := w.s.Admit(ctx, a)
		if err != nil {
			w.Fatal(err)
		}
		want := w.l.admit(got.Now.UnixMilli(), w.on, a)
		want.Now, want.Version = got.Now, got.Version
		if got != want {
			w.Errorf("admit %+v\n got %+v\nwant %+v", a, got, want)
		}
		if !got.OK {
			w.seenKinds[got.Reason]++
			continue
		}
		w.seenKinds["OK"]++
		if got.Probe {
			w.seenKinds["probe"]++
		}
		w.open = append(w.open, inFlight{a.Key, a.Owner, got})
		w.held = append(w.held, inFlight{a.Key, a.Owner, got})
	}
}

// hold prolongs a call, which may have ended.
func (w *walk) hold() {
	if len(w.held) == 0 {
		return
	}
	f := w.held[w.rnd.IntN(len(w.held))]
	limited := w.limits.RPM+w.limits.TPM+w.limits.Concurrent > 0 || w.limits.BudgetNano+w.limits.Quota > 0
	h := lua.Holding{Model: w.model, Key: f.key, Reservation: f.got.Reservation, Lease: time.Duration(3+w.rnd.IntN(20)) * time.Millisecond, Limited: limited}
	for range 2 {
		got, err := w.s.Hold(ctx, h)
		if err != nil {
			w.Fatal(err)
		}
		if ok := w.l.hold(got.Now.UnixMilli(), h); got.OK != ok {
			w.Errorf("hold %+v: %v, want %v", h, got.OK, ok)
		}
		w.seenKinds[map[bool]string{true: "held", false: "ended"}[got.OK]]++
	}
}

func (w *walk) outcome() {
	kinds := []lm.Kind{"", "", "", "", lm.ProviderFailed, lm.ProviderFailed, lm.TimedOut, lm.RateLimited, lm.Overloaded, lm.InvalidRequest, lm.CallCancelled, lm.QuotaExhausted, lm.Unauthorized, lm.ModelNotFound}
	if w.rnd.IntN(2) == 0 { // a lucky round's mix
		kinds = []lm.Kind{"", "", "", lm.ProviderFailed}
	}
	o := Outcome{Kind: kinds[w.rnd.IntN(len(kinds))], RetryAfter: time.Duration(w.rnd.IntN(3)) * 4 * time.Millisecond}
	v := judge(o)
	w.n++
	c := lua.CallOutcome{
		Model: w.model, Backend: w.model, Key: fmt.Sprint(w.model, "=", w.n), Class: v.class, Error: v.faulty, Kind: o.Kind, Epoch: w.l.epoch - int64(w.rnd.IntN(6)/5),
		Cooldown: v.cooldown, Pause: min(v.pause, 10*time.Millisecond), Quarantine: min(v.quarantine, 10*time.Millisecond), Bar: min(v.bar, time.Duration(1+w.rnd.IntN(40))*time.Millisecond),
		Credential: []string{"", "c1"}[w.rnd.IntN(2)], Unlisted: w.rnd.IntN(4) == 0, CostNano: int64(w.rnd.IntN(500)), Waste: []string{"", WasteRetry, WasteCrash}[w.rnd.IntN(3)],
		Usage: lm.Usage{Input: int64(w.rnd.IntN(90)), Output: int64(w.rnd.IntN(30))}, QuotaPeriod: w.limits.QuotaPeriod, BudgetPer: w.limits.BudgetPeriod,
		Breaker: quick, Jitter: float64(w.rnd.IntN(100)) / 1000,
	}
	if w.rnd.IntN(2) == 0 {
		c.Began = w.rdb.Time(ctx).Val().Add(-time.Duration(w.rnd.IntN(15)) * time.Millisecond)
	}
	if len(w.open) > 0 && w.rnd.IntN(5) > 0 {
		i := w.rnd.IntN(len(w.open))
		f := w.open[i]
		w.open = append(w.open[:i], w.open[i+1:]...)
		c.Key, c.Token, c.Reservation, c.Epoch = f.key, lua.ReservationToken(f.got.Reservation), f.got.Reservation, f.got.Epoch
	}
	before, barred := w.l.breaker, w.on.quarantine
	w.record(c)
	if w.on.quarantine > barred {
		w.seenKinds["barred"]++
	}
	if !before.open && w.l.open {
		w.seenKinds["opened"]++
	}
	if before.open && !w.l.open {
		w.seenKinds["closed"]++
	}
}

// record sends an outcome twice.
func (w *walk) record(c lua.CallOutcome) {
	for range 2 {
		got, err := w.s.RecordCall(ctx, c)
		if err != nil {
			w.Fatal(err)
		}
		if replay := !w.l.outcome(got.Now.UnixMilli(), w.on, c); got.Replay != replay {
			w.Errorf("%+v: replay %v, want %v", c, got.Replay, replay)
		} else if replay {
			w.seenKinds["replay"]++
		}
	}
}

// neighbour records a call of the backend's other model: a refusal or a success.
func (w *walk) neighbour() {
	w.n++
	c := lua.CallOutcome{
		Model: w.model + "-other", Backend: w.model, Key: fmt.Sprint(w.model, "~", w.n), Class: lua.ClassOK, Credential: []string{"", "c1"}[w.rnd.IntN(2)], Breaker: quick,
		QuotaPeriod: w.limits.QuotaPeriod, BudgetPer: w.limits.BudgetPeriod,
	}
	if w.rnd.IntN(4) > 0 {
		c.Class, c.Kind, c.Quarantine, c.Bar = lua.ClassNeutral, lm.Unauthorized, 10*time.Millisecond, time.Duration(1+w.rnd.IntN(40))*time.Millisecond
	}
	got, err := w.s.RecordCall(ctx, c)
	if err != nil {
		w.Fatal(err)
	}
	w.other.outcome(got.Now.UnixMilli(), w.on, c)
}

// lose counts a call that a worker made and died of, after some of its tries.
func (w *walk) lose() {
	w.n++
	c := lua.LostCall{
		Model: w.model, Backend: w.model, Key: fmt.Sprint(w.model, "+", w.n), Usage: lm.Usage{Input: int64(w.rnd.IntN(90)), Output: int64(w.rnd.IntN(30))},
		CostNano: int64(w.rnd.IntN(500)), BudgetPer: w.limits.BudgetPeriod,
	}
	before := w.l.cost
	for _, class := range []lua.Class{lua.ClassFail, lua.ClassOK}[w.rnd.IntN(2):] {
		w.record(lua.CallOutcome{
			Model: w.model, Backend: w.model, Key: c.Key + "/" + strconv.Itoa(w.rnd.IntN(lua.LostTries+1)), Class: class, Epoch: w.l.epoch,
			BudgetPer: w.limits.BudgetPeriod, Breaker: quick,
		})
	}
	for range 2 {
		if err := w.s.RecordLost(ctx, c); err != nil {
			w.Fatal(err)
		}
		w.l.lost(w.rdb.Time(ctx).Val().UnixMilli(), w.on, c)
	}
	w.seenKinds[map[bool]string{true: "lost and known", false: "lost"}[w.l.cost == before]]++
}

func (w *walk) operate() {
	what := []string{lua.ModelReset, lua.ModelDisable, lua.ModelEnable, lua.ModelEnable, lua.ModelEnable}[w.rnd.IntN(5)]
	for range 2 {
		if _, err := w.s.OperateModel(ctx, w.model, w.model, what); err != nil {
			w.Fatal(err)
		}
		switch what {
		case lua.ModelReset:
			w.l.reset(w.on)
		default:
			w.l.disabled = what == lua.ModelDisable
		}
	}
}

// compare holds what is in Redis against the ledger.
func (w *walk) compare() {
	st, err := w.s.FleetState(ctx, []string{w.model}, []string{w.model}, nil)
	if err != nil {
		w.Fatal(err)
	}
	m, b := st.Models[0], st.Backends[0]
	open := ""
	if w.l.open {
		open = "open"
	}
	is := func(what, got string, want int64) {
		if n, _ := strconv.ParseInt(got, 10, 64); n != want {
			w.Errorf("%s is %q, want %d", what, got, want)
		}
	}
	if m["circuit"] != open || m["probe_token"] != w.l.probe || m["quarantine_kind"] != w.l.kind || b["quarantine_kind"] != w.on.kind ||
		m["quarantine_credential"] != w.l.credential || m["limited"] != w.l.limited.String() || b["refused_credential"] != w.on.refused.credential || strings.TrimPrefix(b["refused_model"], "{lm:fleet}:model:") != w.on.refused.model {
		w.Errorf("circuit %q probe %q kinds %q %q, want %q %q %q %q", m["circuit"], m["probe_token"], m["quarantine_kind"], b["quarantine_kind"], open, w.l.probe, w.l.kind, w.on.kind)
	}
	for field, want := range map[string]int64{
		"failures": int64(w.l.failures), "opened": int64(w.l.opened), "failed_at": w.l.failedAt, "epoch": w.l.epoch, "open_until": w.l.openUntil, "probe_until": w.l.probeUntil,
		"cooldown_until": w.l.cooldown, "quarantine_until": w.l.quarantine, "quarantine_at": w.l.quarantined, "held_cost": w.l.heldCost, "requests": w.l.requests, "errors": w.l.errors,
		"input": w.l.usage.Input, "output": w.l.usage.Output, "cost": w.l.cost, "waste_retry": w.l.waste[WasteRetry], "waste_crash": w.l.waste[WasteCrash],
		"last_request": w.l.lastRequest, "last_failure": w.l.lastFailure, "budget_used": w.l.budget.sum, "budget_start": w.l.budget.start,
		"quota_used": w.l.quota.sum, "quota_start": w.l.quota.start,
	} {
		is(field, m[field], want)
	}
	for field, want := range map[string]int64{"cooldown_until": w.on.cooldown, "quarantine_until": w.on.quarantine, "refused_until": w.on.refused.until, "requests": w.on.requests, "cost": w.on.cost} {
		is("backend's "+field, b[field], want)
	}
	if score, _ := strconv.ParseFloat(b["score"], 64); b["score"] != "" && math.Abs(score-w.on.score) > 1e-3 {
		w.Errorf("score %v, want %v", score, w.on.score)
	}
	for i, at := range w.l.rate {
		w.triple("b", m["b"+strconv.Itoa(i)], at.slot, at.ok, at.bad)
	}
	for i, at := range w.l.window {
		w.triple("w", m["w"+strconv.Itoa(i)], at.slot, at.requests, at.tokens)
	}
	var holds []string
	for name := range w.l.holds {
		holds = append(holds, name)
	}
	if n := w.rdb.ZCard(ctx, "{lm:fleet}:holds:"+w.model).Val(); int(n) != len(holds) {
		w.Errorf("%d reservations, want %s", n, strings.Join(holds, " "))
	}
}

func (w *walk) triple(what, got string, a, b, c int64) {
	if want := fmt.Sprint(a, " ", b, " ", c); got != want && (got != "" || a != 0) {
		w.Errorf("bucket %s is %q, want %q", what, got, want)
	}
}
