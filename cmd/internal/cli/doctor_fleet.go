package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lighterman/lighterman/lua"
)

const (
	goneFor     = time.Hour        // a consumer that has been idle for so long is dead
	servedBy    = 30 * time.Second // a consumer that read since then serves its queue
	maxSkew     = time.Second
	doctorShare = 0.25 // of Redis's time: somebody waits for it
)

// fleet checks what the fleet's keys tell.
func (d *doctor) fleet(ctx context.Context) {
	workers, now, err := d.s.Roster(ctx)
	if err != nil {
		d.unknown("LM010", "workers", err)
	}
	d.presence(ctx, workers, now)
	d.keyspace(ctx)
	d.queues(ctx, workers, now)
	d.roster(ctx, workers, now)
	d.clock(ctx)
	d.rights(ctx)
	d.cluster(ctx)
	d.backends(ctx)
	d.skills(ctx, workers, now)
	slices.SortStableFunc(d.findings, func(a, b finding) int { return strings.Compare(a.Code, b.Code) })
}

func (d *doctor) presence(ctx context.Context, workers []lua.WorkerRecord, now time.Time) {
	const code, check = "LM007", "presence"
	if err := d.s.ProbeCounting(ctx); err != nil {
		d.say(code, check, sevWarning, "a script cannot count listeners here: "+cause(err),
			"allow PUBSUB to the user, or use a server that has it in scripts; else a killed worker is noticed after its lease and not within a second")
		return
	}
	var blind []string
	for _, w := range workers {
		if !w.Presence && now.Sub(w.Seen) < silentAfter && now.Sub(w.Started) > silentAfter {
			blind = append(blind, w.Owner)
		}
	}
	if len(blind) > 0 {
		d.say(code, check, sevWarning, "look after nobody: "+strings.Join(blind, ", "),
			"worker.presence is off there, or their subscription is refused; a killed worker is noticed by those that do, else after its lease")
		return
	}
	d.say(code, check, sevOK, "a script can count listeners, and every worker looks after the others", "")
}

// keyspace looks for what only a pass over all keys finds, and repairs it.
func (d *doctor) keyspace(ctx context.Context) {
	pass, err := d.s.Clean(ctx, lua.Janitor{Act: d.fix, Share: doctorShare})
	if err != nil {
		d.unknown("LM008", "orphans", err)
		return
	}
	if n := pass.Orphans(); n > 0 {
		d.say("LM008", "orphans", sevError, fmt.Sprintf("%d operation(s) that no worker would find: %s", n, names(pass.Mended)), "").fixable(d.fix)
	} else {
		d.say("LM008", "orphans", sevOK, fmt.Sprintf("none among %d open operation(s)", pass.Open), "")
	}
	if pass.Refused > 0 {
		d.say("LM021", "foreign keys", sevError, fmt.Sprintf("%d operation(s) with a key of another type or without permission", pass.Refused),
			"somebody else writes under this prefix: give Lighterman one of its own, and delete the key")
	}
	if len(pass.Drift) > 0 {
		words := make([]string, len(pass.Drift))
		for i, x := range pass.Drift {
			words[i] = fmt.Sprintf("partition %d %s: counted %d, there are %d", x.Partition, x.Field, x.Counted, x.Real)
		}
		d.say("LM017", "counts", sevWarning, strings.Join(words, "; "),
			"the janitor sets it right within the hour, when nothing moves").fixable(d.fix)
	} else {
		d.say("LM017", "counts", sevOK, "agree, or the fleet is busy", "")
	}
	if n := pass.Expired + pass.Asked; n > 0 {
		d.say("LM018", "age", sevInfo, fmt.Sprintf("%d operation(s) older than limits.max_age", n), "the janitor ends them within the hour").fixable(d.fix)
	}
	if pass.Strays > 0 {
		d.say("LM019", "strays", sevInfo, fmt.Sprintf("%d key(s) whose trace is gone", pass.Strays), "the janitor gives them a lifetime within the hour").fixable(d.fix)
	}
}

func names(mended []lua.Mended) string {
	var words []string
	for _, m := range mended[:min(3, len(mended))] {
		words = append(words, fmt.Sprintf("%s (%s, %s)", m.ID, m.State, strings.ToLower(string(m.What))))
	}
	if len(mended) > 3 {
		words = append(words, "...")
	}
	return strings.Join(words, ", ")
}

// queueFacts is what is known of a queue over all partitions.
type queueFacts struct {
	waiting int64
	stalled time.Duration
	served  bool
}

// queues checks consumers, what is stalled, who serves what, and pauses.
func (d *doctor) queues(ctx context.Context, workers []lua.WorkerRecord, now time.Time) {
	facts := make(map[string]*queueFacts)
	var dead, deadPending, forgotten int
	lease := d.cfg.Worker.Lease.Std()
	var errs error
	for p := range d.s.Partitions() {
		counts, err := d.s.Counts(ctx, p)
		errs = errors.Join(errs, err)
		for _, q := range counts.Queues() {
			if facts[q] == nil {
				facts[q] = &queueFacts{}
			}
			facts[q].waiting += counts["waiting:"+q]
			for _, resume := range []bool{false, true} {
				st := lua.Stream{Partition: p, Queue: q, Resume: resume}
				stalled, err := d.s.StalledFor(ctx, st, 3*lease)
				consumers, err2 := d.s.Consumers(ctx, st)
				errs = errors.Join(errs, err, err2)
				facts[q].stalled = max(facts[q].stalled, stalled)
				var gone []string
				for _, c := range consumers {
					switch {
					case c.Idle <= servedBy:
						facts[q].served = facts[q].served || d.tellsIdle()
					case c.Idle > goneFor && c.Pending > 0:
						deadPending++
					case c.Idle > goneFor:
						dead++
						gone = append(gone, c.Name)
					}
				}
				if d.fix && len(gone) > 0 {
					n, err := d.s.Forget(ctx, st, gone[:min(100, len(gone))])
					errs = errors.Join(errs, err)
					forgotten += n
				}
			}
		}
	}
	for _, w := range workers {
		for _, q := range w.Queues {
			if facts[q] != nil && now.Sub(w.Seen) < silentAfter {
				facts[q].served = true
			}
		}
	}
	if errs != nil {
		d.unknown("LM009", "consumers", errs)
		return
	}
	d.consumers(dead, deadPending, forgotten)
	d.stalled(facts)
	d.unserved(facts, len(workers) == 0)
	d.paused(ctx)
}

func (d *doctor) consumers(dead, deadPending, forgotten int) {
	const code, check = "LM009", "consumers"
	if dead+deadPending == 0 {
		d.say(code, check, sevOK, "none is dead", "")
	}
	if dead > 0 {
		d.say(code, check, sevInfo, fmt.Sprintf("%d dead, with nothing pending", dead), "any worker's census removes them within minutes").fixable(d.fix && forgotten >= dead)
	}
	if deadPending > 0 {
		d.say(code, check, sevWarning, fmt.Sprintf("%d dead, with entries pending", deadPending), "start a worker: its sweep takes them over (never DELCONSUMER: that drops them)")
	}
}

func (d *doctor) stalled(facts map[string]*queueFacts) {
	const code, check = "LM011", "sweep"
	var stuck []string
	for _, q := range slices.Sorted(maps.Keys(facts)) {
		if facts[q].stalled > 0 {
			stuck = append(stuck, fmt.Sprintf("%s: idle for %s", q, short(facts[q].stalled)))
		}
	}
	if len(stuck) == 0 {
		d.say(code, check, sevOK, "no entry is idle for three leases", "")
		return
	}
	d.say(code, check, sevError, "entries that nobody sweeps: "+strings.Join(stuck, ", "), "start a worker; if some run, see their logs for `sweep` and `tick`")
}

// tellsIdle reports whether this server keeps the idle times of consumers; the
// embedded one does not.
func (d *doctor) tellsIdle() bool { return d.nodes[0].Info["redis_version"] != "" }

func (d *doctor) unserved(facts map[string]*queueFacts, nobody bool) {
	const code, check = "LM012", "served"
	var alone []string
	for _, q := range slices.Sorted(maps.Keys(facts)) {
		if facts[q].waiting > 0 && !facts[q].served {
			alone = append(alone, fmt.Sprintf("%s: %d waiting", q, facts[q].waiting))
		}
	}
	if len(alone) == 0 {
		d.say(code, check, sevOK, "every queue with work has a worker", "")
		return
	}
	if nobody && !d.tellsIdle() {
		d.say(code, check, sevUnknown, "this server does not tell who reads", "")
		return
	}
	d.say(code, check, sevError, "no worker serves "+strings.Join(alone, ", "), "start a worker with this queue in `queues`")
}

func (d *doctor) paused(ctx context.Context) {
	const code, check = "LM013", "paused"
	orders, err := d.s.Orders(ctx)
	if err != nil {
		d.unknown(code, check, err)
		return
	}
	if len(orders.Paused) == 0 {
		d.say(code, check, sevOK, "no queue", "")
		return
	}
	d.say(code, check, sevInfo, strings.Join(slices.Sorted(maps.Keys(orders.Paused)), ", "), "lighterman resume QUEUE")
}

// roster checks who has announced himself.
func (d *doctor) roster(ctx context.Context, workers []lua.WorkerRecord, now time.Time) {
	roll, err := d.s.TidyRoster(ctx, d.fix)
	if err != nil {
		d.unknown("LM010", "workers", err)
		return
	}
	var silent []string
	for _, w := range workers {
		if now.Sub(w.Seen) > silentAfter && !slices.Contains(roll.Workers, w.Owner) {
			silent = append(silent, fmt.Sprintf("%s (%s ago)", w.Owner, short(now.Sub(w.Seen))))
		}
	}
	switch {
	case len(silent) > 0:
		d.say("LM010", "workers", sevWarning, "silent: "+strings.Join(silent, ", "), "dead or cut off: what they held is taken over; they leave the roster after a day")
	default:
		d.say("LM010", "workers", sevOK, fmt.Sprintf("%d on the roster, none silent", len(workers)-len(roll.Workers)), "")
	}
	if len(roll.Workers) > 0 {
		d.say("LM010", "workers", sevInfo, fmt.Sprintf("%d record(s) silent for a day", len(roll.Workers)), "").fixable(d.fix)
	}
	if len(roll.Drains) > 0 {
		d.say("LM020", "orders", sevInfo, fmt.Sprintf("%d drain order(s) for workers that are gone", len(roll.Drains)), "").fixable(d.fix)
	}
}

func (d *doctor) clock(ctx context.Context) {
	const code, check = "LM014", "clock"
	skew, err := d.s.Skew(ctx)
	switch {
	case err != nil:
		d.unknown(code, check, err)
	case skew.Abs() > maxSkew:
		d.say(code, check, sevWarning, fmt.Sprintf("the server's clock is %s off this machine's", skew.Round(time.Millisecond)), "let NTP slew both: deadlines and starts are given by one and kept by the other")
	default:
		d.say(code, check, sevOK, "agrees within a second", "")
	}
}

func (d *doctor) rights(ctx context.Context) {
	const code, check = "LM015", "rights"
	denied, err := d.s.Denied(ctx)
	switch {
	case err != nil:
		d.unknown(code, check, err)
	case len(denied) > 0:
		d.say(code, check, sevError, "the user may not run: "+strings.Join(denied, " "), "ACL SETUSER as in docs/redis.md")
	default:
		d.say(code, check, sevOK, "all that the scripts need", "")
	}
}

func (d *doctor) cluster(ctx context.Context) {
	const code, check = "LM016", "cluster"
	state, err := d.s.ClusterState(ctx)
	spread, err2 := d.s.Spread(ctx)
	if err := errors.Join(err, err2); err != nil {
		d.unknown(code, check, err)
		return
	}
	if state == "" {
		return
	}
	var words []string
	most := 0
	for _, addr := range slices.Sorted(maps.Keys(spread)) {
		words = append(words, fmt.Sprintf("%s: %d", addr, spread[addr]))
		most = max(most, spread[addr])
	}
	what := "partitions " + strings.Join(words, ", ")
	switch even := d.s.Partitions()/len(d.nodes) + 1; {
	case state != "ok":
		d.say(code, check, sevError, "cluster_state:"+state, "see CLUSTER INFO and CLUSTER NODES: a slot is not served")
	case len(d.nodes) > 1 && (len(spread) < len(d.nodes) || most > 2*even):
		d.say(code, check, sevWarning, fmt.Sprintf("uneven over %d masters: %s", len(d.nodes), what), "use 64 partitions, which is fixed at the first start")
	default:
		d.say(code, check, sevOK, what, "")
	}
}
