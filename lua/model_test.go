package lua

import (
	"errors"
	goflag "flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"pgregory.net/rapid"
)

// TestModel plays random calls of many workers, late and repeated ones included,
// against a model of a few lines: who holds what, in which state, how often it
// was tried and how often it crashed. Every call is sent twice.
func TestModel(t *testing.T) {
	checks, steps := "40", "40"
	if testing.Short() {
		checks = "10"
	}
	if f := goflag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		defer f.Value.Set(f.DefValue) //nolint:errcheck // a value it had
		_ = f.Value.Set(checks)
	}
	if f := goflag.Lookup("rapid.steps"); f.Value.String() == f.DefValue {
		defer f.Value.Set(f.DefValue) //nolint:errcheck // a value it had
		_ = f.Value.Set(steps)
	}
	for _, kind := range []string{"redis", "miniredis"} {
		t.Run(kind, func(t *testing.T) {
			e := newEnv(t, kind, Options{CrashLimit: 2, CrashBound: 4})
			rapid.Check(t, func(rt *rapid.T) {
				e.rdb.FlushAll(ctx)
				must(e, e.s.EnsureGroups(ctx, []Stream{queue, resume}))
				m := &model{env: e, rt: rt, ops: make(map[lm.TraceID]*modelOp), pending: make(map[string]string)}
				rt.Repeat(map[string]func(*rapid.T){
					"enqueue": m.enqueue, "claim": m.claim, "late claim": m.lateClaim, "advance": m.advance, "retry": m.retry,
					"release": m.release, "finish": m.finish, "heartbeat": m.heartbeat, "frame": m.frame, "promote": m.promote,
					"sweep": m.sweep, "revive": m.revive, "": m.check,
				})
				for _, problem := range e.invariants() {
					rt.Error(problem)
				}
			})
			e.lax = true // the last round was looked at above
			e.end()
		})
	}
}

// modelOp is what must be true of one operation.
type modelOp struct {
	id                       lm.TraceID
	state                    lm.State
	outcome                  lm.Outcome
	attempts, crashes, total int
	epoch                    lm.Epoch
	held                     *modelClaim // nil: nobody's
	started                  bool
	entry                    string
	retriedAs                lm.TraceID
}

type modelClaim struct {
	lm.Claim
	op *modelOp
}

type model struct {
	*env
	rt      *rapid.T
	ops     map[lm.TraceID]*modelOp
	claims  []*modelClaim     // all that ever were
	entries []Entry           // all that were ever read
	pending map[string]string // entry: the consumer it is pending with
}

var modelWorkers = []string{"w1", "w2", "w3"}

// everything is the whole keyspace in one round trip.
func (m *model) everything() string {
	v, err := m.rdb.Eval(ctx, `
local keys, out = redis.call('KEYS', '*'), {}
table.sort(keys)
local function add(v)
  if type(v) == 'table' then
    for _, x in ipairs(v) do add(x) end
  else
    out[#out + 1] = tostring(v)
  end
end
for _, k in ipairs(keys) do
  local kind = redis.call('TYPE', k)
  kind = kind.ok or kind
  add(k)
  if kind == 'string' then add(redis.call('GET', k))
  elseif kind == 'hash' then
    local f = redis.call('HKEYS', k)
    table.sort(f)
    for _, x in ipairs(f) do add(x) add(redis.call('HGET', k, x)) end
  elseif kind == 'zset' then add(redis.call('ZRANGE', k, 0, -1, 'WITHSCORES'))
  elseif kind == 'stream' then
    add(redis.call('XRANGE', k, '-', '+'))
    local p = redis.pcall('XPENDING', k, 'workers', '-', '+', 100)
    for _, x in ipairs(p.err and {} or p) do add(x[1]) add(x[2]) end
  end
end
return table.concat(out, ' ')`, nil).Text()
	if err != nil {
		m.rt.Fatal(err)
	}
	return v
}

// twice sends the last script again and holds everything against what it was.
func (m *model) twice() {
	before := m.everything()
	m.again()
	if after := m.everything(); after != before {
		m.rt.Fatalf("a repeated %v changed\n%s\nto\n%s", m.rec.last[1], before, after)
	}
}

func (m *model) anyClaim() *modelClaim {
	if len(m.claims) == 0 {
		m.rt.Skip("no claim yet")
	}
	// The newest ones more often, or hardly anything gets far.
	recent := m.claims[max(0, len(m.claims)-3):]
	if rapid.IntRange(0, 3).Draw(m.rt, "old") == 0 {
		recent = m.claims
	}
	return rapid.SampledFrom(recent).Draw(m.rt, "claim")
}

func (m *model) enqueue(rt *rapid.T) {
	m.rt = rt
	id := lm.TraceID(fmt.Sprintf("0-%d", rapid.IntRange(0, 4).Draw(rt, "id")))
	a := m.accept(Operation{ID: id, Request: request(`1`, func(r *lm.Request) { r.Key = string(id) })})
	if op := m.ops[id]; a.Err != nil || a.Existing != (op != nil) {
		rt.Fatalf("%+v, known: %v", a, op != nil)
	} else if op == nil {
		m.ops[id] = &modelOp{id: id, state: lm.Queued, entry: m.trace(id)["entry"]}
	}
	m.twice()
}

func (m *model) claim(rt *rapid.T) {
	m.rt = rt
	worker := rapid.SampledFrom(modelWorkers).Draw(rt, "worker")
	entries, err := m.s.Read(ctx, worker, []Share{{Stream: resume, Count: 1}, {Stream: queue, Count: 1}}, 1)
	if err != nil {
		rt.Fatal(err)
	}
	for _, entry := range entries {
		m.entries = append(m.entries, entry)
		m.pending[entry.Names()] = worker
		if rapid.IntRange(0, 3).Draw(rt, "stall") > 0 { // else the worker stalls between read and claim
			m.claimEntry(worker, entry)
		}
	}
}

// lateClaim claims some entry that somebody read at some time.
func (m *model) lateClaim(rt *rapid.T) {
	m.rt = rt
	if len(m.entries) == 0 {
		rt.Skip("nothing was read yet")
	}
	m.claimEntry(rapid.SampledFrom(modelWorkers).Draw(rt, "worker"), rapid.SampledFrom(m.entries).Draw(rt, "entry"))
}

func (m *model) claimEntry(worker string, entry Entry) {
	id, _ := entry.Own()
	op := m.ops[id]
	got, err := m.s.Claim(ctx, worker, time.Minute, []Entry{entry})
	if err != nil || got[0].Err != nil {
		m.rt.Fatal(err, got)
	}
	may := m.pending[entry.Names()] == worker && op.entry == entry.Names() && (op.state == lm.Queued || op.state == lm.Reclaimed)
	if may != (got[0].Verdict == ClaimOK) {
		m.rt.Fatalf("%s claims %s of %+v (pending with %q): %s", worker, entry.Names(), *op, m.pending[entry.Names()], got[0].Verdict)
	}
	if may {
		c := &modelClaim{Claim: got[0].Claim, op: op}
		if c.Fence.Epoch <= op.epoch || c.Crashes != op.crashes || c.Attempts != op.attempts || c.CrashesTotal != op.total || got[0].Started != (op.crashes < 2) {
			m.rt.Fatalf("claim %+v started %v of %+v", c.Claim, got[0].Started, *op)
		}
		op.state, op.epoch, op.held, op.started = lm.Claimed, c.Fence.Epoch, c, got[0].Started
		m.claims = append(m.claims, c)
	}
	m.twice()
}

// wrote holds a write's error against what the model expects of it; it reports
// whether the write is in force.
func (m *model) wrote(c *modelClaim, legalPath bool, err error) bool {
	want := error(nil)
	switch {
	case c.op.held != c:
		want = lm.ErrFenced
	case !legalPath:
		want = lm.ErrIllegal
	}
	if !errors.Is(err, want) || want == nil && err != nil {
		m.rt.Fatalf("a write of %s in %s, held %v: %v, want %v", c.op.id, c.op.state, c.op.held == c, err, want)
	}
	m.twice()
	return want == nil
}

func walks(from lm.State, path []lm.State) bool {
	for _, to := range path {
		if !legal(from, to) {
			return false
		}
		from = to
	}
	return true
}

func (m *model) advance(rt *rapid.T) {
	m.rt = rt
	c := m.anyClaim()
	var path []lm.State
	switch rapid.IntRange(0, 3).Draw(rt, "kind") {
	case 0: // anything that is no ending: those are other calls'
		path = rapid.SliceOfN(rapid.SampledFrom([]lm.State{lm.Gathering, lm.Inferring, lm.ToolExecuting, lm.Postprocessing, lm.Delivering}), 0, 2).Draw(rt, "path")
	case 1:
	default:
		after := []lm.State{}
		for _, to := range lm.States() {
			if legal(c.op.state, to) && !slices.Contains([]lm.State{lm.Errored, lm.Reclaimed, lm.Completed, lm.Claimed, lm.Queued}, to) {
				after = append(after, to)
			}
		}
		if len(after) > 0 {
			path = []lm.State{rapid.SampledFrom(after).Draw(rt, "next")}
		}
	}
	step := Advance{Path: path, Start: rapid.Bool().Draw(rt, "start")}
	if rapid.IntRange(0, 3).Draw(rt, "steps") == 0 {
		step.Steps = []lm.Step{{Name: "step:a", Data: []byte("b")}}
	}
	_, err := m.s.Advance(ctx, c.Claim, step)
	if m.wrote(c, walks(c.op.state, path), err) {
		c.op.state = last(path, c.op.state)
		c.op.started = c.op.started || step.Start
		if len(step.Steps) > 0 {
			c.op.crashes = 0
		}
	}
}

// ended is what every end of a claim leaves.
func (o *modelOp) ended(state lm.State, entry string) {
	o.state, o.held, o.started, o.entry = state, nil, false, entry
}

func (m *model) retry(rt *rapid.T) {
	m.rt = rt
	c := m.anyClaim()
	counted := rapid.Bool().Draw(rt, "counted")
	how := aside(0)
	if !counted {
		how.Counted = CountNothing
	}
	if m.wrote(c, walks(c.op.state, how.Path), m.s.Retry(ctx, c.Claim, how)) {
		delete(m.pending, c.op.entry)
		c.op.attempts += flag(counted)
		c.op.ended(lm.Retrying, "")
	}
}

func (m *model) release(rt *rapid.T) {
	m.rt = rt
	c := m.anyClaim()
	if m.wrote(c, true, m.s.Release(ctx, c.Claim, "drain")) {
		m.back(c.op)
	}
}

// back is what a putback leaves.
func (m *model) back(op *modelOp) {
	delete(m.pending, op.entry)
	switch op.state {
	case lm.Queued, lm.Reclaimed:
		op.ended(op.state, m.trace(op.id)["entry"])
	case lm.Delivering:
		op.ended(lm.Queued, m.trace(op.id)["entry"])
	case lm.Delivered:
		op.outcome = lm.Succeeded
		op.ended(lm.Completed, "")
	default:
		op.ended(lm.Reclaimed, m.trace(op.id)["entry"])
	}
}

func (m *model) finish(rt *rapid.T) {
	m.rt = rt
	c := m.anyClaim()
	end := failed(c.Claim)
	if rapid.IntRange(0, 2).Draw(rt, "well") > 0 && slices.Contains([]lm.State{lm.Claimed, lm.Gathering, lm.Inferring, lm.ToolExecuting, lm.Postprocessing, lm.Delivering, lm.Delivered}, c.op.state) {
		end.Path, end.Result = wayTo(c.op.state, lm.Completed), lm.Result{Outcome: lm.Succeeded}
	}
	if m.wrote(c, walks(c.op.state, end.Path), m.s.Finish(ctx, c.Claim, end)) {
		delete(m.pending, c.op.entry)
		c.op.attempts++
		c.op.outcome = end.Result.Outcome
		c.op.ended(lm.Completed, "")
	}
}

func (m *model) heartbeat(rt *rapid.T) {
	m.rt = rt
	c := m.anyClaim()
	beats, err := m.s.Heartbeat(ctx, 0, c.Fence.Owner, []Renewal{{c.ID, c.Fence}})
	if held := c.op.held == c; err != nil || (beats[0] != BeatLost) != held {
		rt.Fatalf("%v %v, held %v", beats, err, held)
	} else if held {
		m.pending[c.op.entry] = c.Fence.Owner
	}
}

func (m *model) frame(rt *rapid.T) {
	m.rt = rt
	c := m.anyClaim()
	m.wrote(c, true, m.s.Frames(ctx, c.Claim, []lm.Frame{{Seq: uint64(rapid.IntRange(1, 5).Draw(rt, "seq")), Type: lm.FrameToken, Data: "x"}}))
}

func (m *model) promote(rt *rapid.T) {
	m.rt = rt
	var ids []lm.TraceID
	want := 0
	for id, op := range m.ops {
		ids = append(ids, id)
		want += flag(op.state == lm.Retrying)
	}
	if len(ids) == 0 {
		rt.Skip("nothing there")
	}
	slices.Sort(ids)
	got := 0
	m.eventually("all is promoted", func() bool { // due in this very millisecond
		n, err := m.s.Promote(ctx, 0, ids)
		got += n
		return err == nil && got == want
	})
	m.twice()
	for _, op := range m.ops {
		if op.state == lm.Retrying {
			op.state, op.entry = lm.Queued, m.trace(op.id)["entry"]
		}
	}
}

// revive retries some operation, ended or not.
func (m *model) revive(rt *rapid.T) {
	m.rt = rt
	var ids []lm.TraceID
	for id := range m.ops {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		rt.Skip("nothing there")
	}
	slices.Sort(ids)
	op := m.ops[rapid.SampledFrom(ids).Draw(rt, "of")]
	as := lm.TraceID(fmt.Sprintf("0-r%d", len(m.ops)))
	got := m.s.Revive(ctx, 0, []Revival{{Failed: m.record(op.id), ID: as}})[0]
	failed := op.state == lm.Completed && op.outcome == lm.Failed
	switch {
	case failed && op.retriedAs != "":
		if got.Err != nil || !got.Existing || got.ID != op.retriedAs {
			rt.Fatalf("a second retry of %+v: %+v", *op, got)
		}
	case failed:
		if got.Err != nil || got.Existing || got.ID != as {
			rt.Fatalf("a retry of %+v: %+v", *op, got)
		}
		op.retriedAs = as
		m.ops[as] = &modelOp{id: as, state: lm.Queued, entry: m.trace(as)["entry"]}
	case !errors.Is(got.Err, ErrNotFailed):
		rt.Fatalf("a retry of %+v: %+v", *op, got)
	}
	m.twice()
}

// sweep takes some entry over for a worker, as after a lease, and puts it back.
func (m *model) sweep(rt *rapid.T) {
	m.rt = rt
	var taken []string
	for entry := range m.pending {
		taken = append(taken, entry)
	}
	if len(taken) == 0 {
		rt.Skip("nothing is pending")
	}
	slices.Sort(taken)
	entry := rapid.SampledFrom(taken).Draw(rt, "entry")
	worker := rapid.SampledFrom(modelWorkers).Draw(rt, "worker")
	read := m.grab(worker, entry)
	m.pending[entry] = worker
	op := m.ops[read[0].Record.ID]
	if op.held != nil && rapid.IntRange(0, 3).Draw(rt, "beat") == 0 { // its owner is there after all
		owner := op.held
		m.heartbeatOf(owner)
		if owner.Fence.Owner != worker {
			m.takeoverWants(worker, read, PutBackSkip)
			return
		}
	}
	want := PutBack
	crashed := op.started && op.state != lm.Delivered
	if crashed {
		op.crashes++
		op.total++
	}
	over := crashed && (op.crashes > 2 || op.total >= 4)
	if over || op.state == lm.Delivered {
		want = PutBackEnded
	}
	m.takeoverWants(worker, read, want)
	if over {
		delete(m.pending, op.entry)
		op.outcome = lm.Failed
		op.ended(lm.Completed, "")
		return
	}
	m.back(op)
}

func (m *model) heartbeatOf(c *modelClaim) {
	if beats, err := m.s.Heartbeat(ctx, 0, c.Fence.Owner, []Renewal{{c.ID, c.Fence}}); err != nil || beats[0] == BeatLost {
		m.rt.Fatalf("%v %v", beats, err)
	}
	m.pending[c.op.entry] = c.Fence.Owner
}

func (m *model) takeoverWants(worker string, read []Taken, want Returned) {
	got, err := m.s.Takeover(ctx, worker, "lease", false, read)
	if err != nil || got[0] != want {
		m.rt.Fatalf("takeover by %s: %v %v, want %s", worker, got, err, want)
	}
	m.twice()
}

// check holds every trace against the model.
func (m *model) check(rt *rapid.T) {
	m.rt = rt
	for _, op := range m.ops {
		r := m.record(op.id)
		owner := ""
		if op.held != nil {
			owner = op.held.Fence.Owner
		}
		got := fmt.Sprint(r.State, r.Outcome, r.Attempts, r.Crashes, r.CrashesTotal, r.Epoch, r.Owner, r.Entry)
		want := fmt.Sprint(op.state, op.outcome, op.attempts, op.crashes, op.total, op.epoch, owner, op.entry)
		if got != want {
			rt.Fatalf("%s is %s, the model says %s", op.id, got, want)
		}
	}
	counts, _ := m.s.Counts(ctx, 0)
	want := make(Counts)
	for _, op := range m.ops {
		switch op.state {
		case lm.Queued, lm.Reclaimed:
			want["waiting:default"]++
		case lm.Retrying:
			want["delayed:default"]++
		case lm.Completed:
			want[string(op.outcome)]++
		default:
			want["running:default"]++
		}
	}
	if countsText(counts) != countsText(want) {
		rt.Fatalf("counts %s, the model says %s", countsText(counts), countsText(want))
	}
	if strings.Contains(countsText(counts), "-") {
		rt.Fatalf("a count is negative: %s", countsText(counts))
	}
}
