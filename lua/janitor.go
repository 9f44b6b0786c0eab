package lua

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// Janitor says how a pass over the keyspace is made.
type Janitor struct {
	Partitions []int   // those looked at; nil: all
	Act        bool    // repairs; false only looks
	Share      float64 // of Redis's time that it may take, default 0.02

	// Alive is asked between pages; an error ends the pass. Optional.
	Alive func(ctx context.Context) error
}

// janitorShare is what a pass takes of Redis at most, by default.
const janitorShare = 0.02

// Mended is one operation that was repaired, or would be.
type Mended struct {
	ID    lm.TraceID `json:"id"`
	State string     `json:"state"`
	What  Repaired   `json:"what"`
}

// Drift is a count that does not agree with the operations there are.
type Drift struct {
	Partition int    `json:"partition"`
	Field     string `json:"field"`
	Counted   int64  `json:"counted"`
	Real      int64  `json:"real"`
}

// mendedKept is how many operations a Pass names; the numbers are of all.
const mendedKept = 100

// Pass is what one pass of the janitor found, and repaired where it acted.
type Pass struct {
	Keys      int              // looked at
	Open      int              // operations that have not ended
	Repairs   map[Repaired]int // by what was wrong
	Mended    []Mended         // the first 100 of them
	Refused   int              // operations whose key Redis refused (another type, a permission)
	Expired   int              // ended, being older than MaxAge
	Asked     int              // older than MaxAge, running, asked to end
	Strays    int              // keys whose trace is gone, given a lifetime
	Drift     []Drift          // only of partitions in which nothing moved meanwhile
	Recounted int              // counts of them that were set right
	Took      time.Duration
	RedisMax  time.Duration // Redis was busy with it for no longer
}

// Orphans is how many operations nobody would have found again.
func (p *Pass) Orphans() (n int) {
	for _, k := range p.Repairs {
		n += k
	}
	return n
}

// pass is a Pass under way.
type pass struct {
	Pass
	s      *Store
	j      Janitor
	of     map[int]bool
	before map[int]Counts
	real   map[int]Counts
	open   map[int][]lm.TraceID // read, not looked at yet
	pairs  map[int][]string     // strays to be, with their traces
	unique map[int][]string     // idempotency keys, not looked at yet
	worked time.Duration
	now    time.Time
}

// Clean makes one pass over all keys of the fleet: one SCAN per master for all
// partitions. Its writes check again what was read, so that it may run beside
// anything, another pass too. After each page it rests, so that Redis spends no
// more than Share of its time on it: the time of a round trip is taken for
// Redis's, which is more. On an error the Pass says how far it got.
func (s *Store) Clean(ctx context.Context, j Janitor) (Pass, error) {
	if j.Share <= 0 || j.Share > 1 {
		j.Share = janitorShare
	}
	if j.Partitions == nil {
		for p := range s.Partitions() {
			j.Partitions = append(j.Partitions, p)
		}
	}
	r := s.newPass(j)
	started := time.Now()
	err := r.run(ctx)
	if err == nil && len(r.Drift) > 0 {
		err = r.confirmDrift(ctx)
	}
	if err == nil && j.Act {
		r.Recounted, err = s.recount(ctx, r.Drift)
	}
	r.Took, r.RedisMax = time.Since(started), r.worked
	return r.Pass, err
}

func (s *Store) newPass(j Janitor) *pass {
	r := &pass{
		s: s, j: j, of: make(map[int]bool), before: make(map[int]Counts), real: make(map[int]Counts),
		open: make(map[int][]lm.TraceID), pairs: make(map[int][]string), unique: make(map[int][]string),
	}
	r.Repairs = make(map[Repaired]int)
	return r
}

// confirmDrift looks once more at the partitions that drifted, and keeps what is as far
// off as before: operations that moved to and fro during one look may have been
// overlooked by it.
func (r *pass) confirmDrift(ctx context.Context) error {
	first := make(map[Drift]bool)
	again := Janitor{Share: r.j.Share, Alive: r.j.Alive}
	for _, d := range r.Drift {
		first[Drift{Partition: d.Partition, Field: d.Field, Counted: d.Counted - d.Real}] = true
		if !slices.Contains(again.Partitions, d.Partition) {
			again.Partitions = append(again.Partitions, d.Partition)
		}
	}
	second := r.s.newPass(again)
	if err := second.run(ctx); err != nil {
		return err
	}
	r.Drift = slices.DeleteFunc(second.Drift, func(d Drift) bool {
		return !first[Drift{Partition: d.Partition, Field: d.Field, Counted: d.Counted - d.Real}]
	})
	return nil
}

func (r *pass) run(ctx context.Context) (err error) {
	for _, p := range r.j.Partitions {
		r.of[p], r.real[p] = true, make(Counts)
		if r.before[p], err = r.s.Counts(ctx, p); err != nil {
			return err
		}
	}
	if r.now, err = r.s.rdb.Time(ctx).Result(); err != nil {
		return fmt.Errorf("read the server's time: %w", err)
	}
	if cluster, ok := r.s.rdb.(*redis.ClusterClient); ok {
		var masters []*redis.Client
		found := make(chan *redis.Client, 1024)
		err = cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error { found <- c; return nil })
		close(found)
		for c := range found {
			masters = append(masters, c)
		}
		for _, c := range masters { // one after the other: the share is of each
			err = errors.Join(err, r.scan(ctx, c))
		}
	} else {
		err = r.scan(ctx, r.s.rdb)
	}
	if err != nil {
		return err
	}
	return r.compare(ctx)
}

// pageKeys is about how many keys one SCAN looks at.
const pageKeys = 500

// scan goes over the keys of one master.
func (r *pass) scan(ctx context.Context, node redis.Cmdable) error {
	match := "{" + globEscape(r.s.keys.prefix) + ":*}:*"
	for cursor := uint64(0); ; {
		started := time.Now()
		keys, next, err := node.Scan(ctx, cursor, match, pageKeys).Result()
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		r.Keys += len(keys)
		for _, key := range keys {
			r.sort(key)
		}
		if err := r.flush(ctx, next == 0); err != nil {
			return err
		}
		took := time.Since(started)
		r.worked += took
		if cursor = next; cursor == 0 {
			return nil
		}
		if err := r.rest(ctx, took); err != nil {
			return err
		}
	}
}

// rest pauses for so long that what took is the share of the whole.
func (r *pass) rest(ctx context.Context, took time.Duration) error {
	timer := time.NewTimer(time.Duration(float64(took) * (1/r.j.Share - 1)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	if r.j.Alive != nil {
		return r.j.Alive(ctx)
	}
	return nil
}

func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}

// sort puts a key where it will be looked at.
func (r *pass) sort(key string) {
	_, rest, ok := strings.Cut(key, "}:")
	what, name, named := strings.Cut(rest, ":")
	if !ok || !named {
		return
	}
	if what == "unique" {
		r.sortUnique(key, name)
		return
	}
	id, err := lm.ParseTraceID(name)
	if err != nil || !r.of[id.Partition()] || r.s.keys.of(id, what) != key {
		return
	}
	p := id.Partition()
	switch what {
	case "trace":
		r.open[p] = append(r.open[p], id)
	case "request", "checkpoint", "result", "out":
		r.pairs[p] = append(r.pairs[p], key, r.s.keys.trace(id))
	}
}

// sortUnique keeps an idempotency key of a partition that is looked at.
func (r *pass) sortUnique(key, hash string) {
	tag, _, _ := strings.Cut(strings.TrimPrefix(key, "{"+r.s.keys.prefix+":"), "}")
	if p, err := strconv.Atoi(tag); err == nil && r.of[p] && r.s.keys.unique(p, hash) == key {
		r.unique[p] = append(r.unique[p], key)
	}
}

// pairUnique puts the idempotency keys that a page brought beside the traces that
// they name. A trace that is gone gives its key no lifetime any more, and what was
// pushed under it again would be answered with an operation that is not there.
func (r *pass) pairUnique(ctx context.Context) error {
	for p, keys := range r.unique {
		delete(r.unique, p)
		pipe := r.s.rdb.Pipeline() // MGET would need a right of its own
		held := make([]*redis.StringCmd, len(keys))
		for i, key := range keys {
			held[i] = pipe.Get(ctx, key)
		}
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("read idempotency keys: %w", err)
		}
		for i, cmd := range held {
			name, _, _ := strings.Cut(cmd.Val(), " ")
			if id, err := lm.ParseTraceID(name); err == nil && id.Partition() == p {
				r.pairs[p] = append(r.pairs[p], keys[i], r.s.keys.trace(id))
			}
		}
	}
	return nil
}

// flush looks at what has come together, whole batches or all of it.
func (r *pass) flush(ctx context.Context, all bool) error {
	if err := r.pairUnique(ctx); err != nil {
		return err
	}
	for p, ids := range r.open {
		for len(ids) >= maxBatch || all && len(ids) > 0 {
			n := min(len(ids), maxBatch)
			if err := r.look(ctx, p, ids[:n]); err != nil {
				return err
			}
			ids = ids[n:]
		}
		r.open[p] = slices.Clone(ids)
	}
	for p, pairs := range r.pairs {
		for len(pairs) >= 2*maxBatch || all && len(pairs) > 0 {
			n := min(len(pairs), 2*maxBatch)
			found, err := r.s.strays(ctx, pairs[:n], r.j.Act)
			if err != nil {
				return err
			}
			r.Strays += found
			pairs = pairs[n:]
		}
		r.pairs[p] = slices.Clone(pairs)
	}
	return nil
}

// look reads operations of one partition, ends what is too old and repairs the
// rest.
func (r *pass) look(ctx context.Context, p int, ids []lm.TraceID) error {
	records, err := r.s.openRecords(ctx, ids)
	if err != nil {
		return err
	}
	r.Open += len(records)
	var old []lm.TraceID
	var young []Record
	for _, rec := range records {
		if class := classOf(rec.State); class != "" {
			r.real[p][class+":"+rec.Queue]++
		}
		since := rec.Created
		if rec.NotBefore.After(since) {
			since = rec.NotBefore
		}
		if r.now.Sub(since) > r.s.opts.MaxAge && !rec.Created.IsZero() && (rec.CancelRequested == "" || rec.Owner == "") {
			old = append(old, rec.ID)
			if rec.Owner == "" {
				continue // it ends; one that runs may be an orphan too
			}
		}
		young = append(young, rec)
	}
	if err := r.expire(ctx, old); err != nil || len(young) == 0 {
		return err
	}
	return r.mend(ctx, young)
}

func (r *pass) expire(ctx context.Context, old []lm.TraceID) error {
	if len(old) == 0 {
		return nil
	}
	if !r.j.Act {
		r.Expired += len(old)
		return nil
	}
	ended, err := r.s.ExpireOld(ctx, old)
	for _, e := range ended {
		switch e {
		case CancelDone:
			r.Expired++
		case CancelRequested:
			r.Asked++
		default: // it ended, or moves on
		}
	}
	return err
}

func (r *pass) mend(ctx context.Context, records []Record) error {
	answers, err := r.s.repair(ctx, records, r.j.Act)
	if err != nil {
		return err
	}
	for i, a := range answers {
		switch {
		case a.mended():
			r.Repairs[a]++
			if len(r.Mended) < mendedKept {
				r.Mended = append(r.Mended, Mended{ID: records[i].ID, State: records[i].State.String(), What: a})
			}
		case a != RepairWell && a != repairEnded && a != repairChanged && a != repairGone:
			r.Refused++
		}
	}
	return nil
}

// openFields are what a pass reads of each trace.
var openFields = []string{"state", "queue", "entry", "epoch", "owner", "created", "not_before", "unique", "reply", "cancel_requested"}

// openRecords reads what repair needs of the operations that have not ended. One
// whose trace is a key of another type is left out.
func (s *Store) openRecords(ctx context.Context, ids []lm.TraceID) ([]Record, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.SliceCmd, len(ids))
	for i, id := range ids {
		cmds[i] = pipe.HMGet(ctx, s.keys.trace(id), openFields...)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var records []Record
	for i, cmd := range cmds {
		values, err := cmd.Result()
		if err != nil {
			if strings.HasPrefix(err.Error(), "WRONGTYPE") {
				continue
			}
			return nil, fmt.Errorf("read traces: %w", err)
		}
		flat := make([]string, 0, 2*len(values))
		for k, v := range values {
			if v != nil {
				flat = append(flat, openFields[k], text(v))
			}
		}
		if r, ok := readRecord(ids[i], flat, false); ok && r.State != lm.Completed {
			records = append(records, r)
		}
	}
	return records, nil
}

// classOf is the count that a state belongs to, as include/counts.lua has it.
func classOf(state lm.State) string {
	switch state.Letter() {
	case 'R', 'W', 'P':
		return "delayed"
	case 'Q', 'L':
		return "waiting"
	case 'C', 'G', 'I', 'T', 'O', 'D', 'V':
		return "running"
	default:
		return ""
	}
}

// compare holds the counts against what the scan saw. Only a
// partition in which nothing moved meanwhile can be judged.
func (r *pass) compare(ctx context.Context) error {
	for _, p := range r.j.Partitions {
		after, err := r.s.Counts(ctx, p)
		if err != nil {
			return err
		}
		if !maps.Equal(r.before[p], after) {
			continue // something moved
		}
		fields := maps.Clone(r.real[p])
		for f := range after {
			if strings.Contains(f, ":") {
				fields[f] += 0
			}
		}
		for f := range fields {
			if after[f] != r.real[p][f] {
				r.Drift = append(r.Drift, Drift{Partition: p, Field: f, Counted: after[f], Real: r.real[p][f]})
			}
		}
	}
	slices.SortFunc(r.Drift, func(a, b Drift) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Field, b.Field))
	})
	return nil
}
