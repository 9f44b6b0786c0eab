package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/provider/sim"
)

// claimAgain is how fast work of a killed worker must run elsewhere.
const claimAgain = demoLease + 1500*time.Millisecond

// prove checks what the story claims, line by line, and fails if one line does
// not hold.
func (d *demo) prove(ctx context.Context) error {
	records, err := d.store.Records(ctx, d.ids)
	if err != nil {
		return err
	}
	counts, err := d.store.Counts(ctx, 0)
	if err != nil {
		return err
	}
	calls, err := sim.ReadLog(d.callLog())
	if err != nil {
		return err
	}
	p := &proof{}
	d.proveCompleted(p, records, counts)
	d.proveCalls(p, calls)
	d.proveTakeover(p, records)
	d.proveDrain(p, records)
	if p.broken > 0 {
		return fmt.Errorf("%d lines of the proof do not hold", p.broken)
	}
	return nil
}

// proof counts lines that do not hold.
type proof struct{ broken int }

func (p *proof) line(holds bool, format string, args ...any) {
	mark := paint(os.Stdout, green, "holds")
	if !holds {
		mark = paint(os.Stdout, red, "BROKEN")
		p.broken++
	}
	fmt.Fprintf(stdout, "  %s  %s\n", mark, fmt.Sprintf(format, args...))
}

func (d *demo) proveCompleted(p *proof, records []lua.Record, counts lua.Counts) {
	completed := 0
	for _, r := range records {
		if r.State == lm.Completed && r.Outcome == lm.Succeeded {
			completed++
		}
	}
	p.line(completed == len(d.ids), "accepted %d = completed %d", len(d.ids), completed)
	ended := counts["succeeded"] + counts["failed"] + counts["cancelled"] + counts["expired"]
	p.line(ended == int64(len(d.ids)), "each ended once: %d terminal records", ended)
	left := counts.Sum("waiting") + counts.Sum("running") + counts.Sum("delayed")
	p.line(left == 0, "nothing left behind: %d waiting, running or to be retried", left)
}

// proveCalls holds the call log against the promise: a call that was answered is
// asked again only if its worker was killed before the answer was saved.
func (d *demo) proveCalls(p *proof, calls []sim.LogEntry) {
	answered := make(map[string]int)
	total, failures := 0, 0
	for _, c := range calls {
		switch c.Event {
		case sim.EventEnd:
			answered[c.Key]++
			total++
		case sim.EventError:
			failures++
		}
	}
	held := make(map[string]bool, len(d.killedHeld))
	for _, id := range d.killedHeld {
		held[string(id)] = true
	}
	twice, foreign := 0, 0
	for key, n := range answered {
		if n == 1 {
			continue
		}
		twice += n - 1
		id, _, _ := cutKey(key)
		if !held[id] || n > 2 {
			foreign++
		}
	}
	p.line(foreign == 0 && twice <= len(d.killedHeld),
		"%d model and tool calls answered (%d more failed as told and were retried); paid twice: %d of the %d in flight at the kill", total, failures, twice, len(d.killedHeld))
}

// cutKey splits a call's key, TRACE/step.
func cutKey(key string) (id, step string, ok bool) {
	for i := range key {
		if key[i] == '/' {
			return key[:i], key[i+1:], true
		}
	}
	return key, "", false
}

func (d *demo) proveTakeover(p *proof, records []lua.Record) {
	held := make(map[lm.TraceID]bool, len(d.killedHeld))
	for _, id := range d.killedHeld {
		held[id] = true
	}
	var took []time.Duration
	for _, r := range records {
		if !held[r.ID] {
			continue
		}
		for _, hop := range r.History {
			if hop.Worker != "" && hop.At.After(d.killedAt) {
				took = append(took, hop.At.Sub(d.killedAt))
				break
			}
		}
	}
	if len(d.killedHeld) == 0 || len(took) == 0 {
		p.line(false, "the killed worker held nothing: the fault was not reached")
		return
	}
	slices.Sort(took)
	slowest := took[len(took)-1]
	p.line(len(took) == len(d.killedHeld) && slowest <= claimAgain,
		"all %d operations of the killed worker went on elsewhere: median %s, slowest %s after the kill (lease %s + 1.5 s allowed)",
		len(took), short(took[len(took)/2]), short(slowest), demoLease)
}

func (d *demo) proveDrain(p *proof, records []lua.Record) {
	handed, crashed := 0, 0
	held := make(map[lm.TraceID]bool, len(d.killedHeld))
	for _, id := range d.killedHeld {
		held[id] = true
	}
	for _, r := range records {
		for _, hop := range r.History {
			if hop.Reason == "drain" {
				handed++
			}
		}
		if r.CrashesTotal > 0 && !held[r.ID] {
			crashed++
		}
	}
	p.line(d.drainErr == nil && crashed == 0, "w2 drained in %s: %d operations handed over, no crash counted outside the killed worker", short(d.drainTook), handed)
}
