package lua

import (
	"context"
	"errors"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Repaired is what repair said of an operation.
type Repaired string

// What repair can answer; the rest are errors.
const (
	RepairWell    Repaired = "WELL"    // nothing is wrong with it
	RepairEntry   Repaired = "ENTRY"   // its entry was lost; it has a new one
	RepairDelayed Repaired = "DELAYED" // its place in the delayed set was lost; it has one
	RepairBack    Repaired = "BACK"    // it ran, with no pending entry and silent for three leases; put back
	RepairDone    Repaired = "DONE"    // it was delivered; ended
	RepairDead    Repaired = "DEAD"    // its request or checkpoint is a key of another type; dead-lettered
	repairEnded   Repaired = "ENDED"
	repairChanged Repaired = "CHANGED" // it moved since it was read: it lives
	repairGone    Repaired = "NOTFOUND"
)

// mended reports whether something was wrong.
func (r Repaired) mended() bool {
	switch r {
	case RepairEntry, RepairDelayed, RepairBack, RepairDone, RepairDead:
		return true
	default:
		return false
	}
}

// failsafe is the lifetime of what has lost its trace.
const failsafe = 24 * time.Hour

// Repair mends operations of one partition that no worker would find again, at
// most 100, as they are now; the answers come in order. An operation that lives
// is left alone, whatever it does meanwhile.
func (s *Store) Repair(ctx context.Context, ids []lm.TraceID) ([]Repaired, error) {
	records, err := s.Records(ctx, ids)
	if err != nil {
		return nil, err
	}
	return s.repair(ctx, records, true)
}

// repair mends operations as they were read; without act it only says what it
// would do. An operation whose key is refused answers its error's word.
func (s *Store) repair(ctx context.Context, records []Record, act bool) ([]Repaired, error) {
	p := records[0].ID.Partition()
	c := call{
		script: repairScript,
		keys:   append(make([]string, 0, 5+9*len(records)), s.keys.stats(p), s.keys.done(p), s.keys.dead(p), s.keys.deadlines(p), s.keys.delayed(p)),
		args: append(make([]any, 0, 5+5*len(records)), len(records), Group, s.opts.Retention.Milliseconds(),
			s.opts.DeadRetention.Milliseconds(), flag(act)),
	}
	for i := range records {
		r := &records[i]
		queue := r.Queue
		if queue == "" {
			queue = lm.DefaultQueue // there is no trace: the script says so
		}
		st, _, has := streamOf(p, r.Entry)
		if !has {
			st = Stream{Partition: p, Queue: queue, Resume: r.State == lm.Reclaimed}
		}
		c.keys = append(s.keys.operation(c.keys, r.ID, r.Unique, r.Reply), s.keys.stream(st), s.keys.stream(Stream{Partition: p, Queue: queue, Resume: true}))
		epoch := any("")
		if r.Epoch > 0 {
			epoch = int64(r.Epoch)
		}
		c.args = append(c.args, string(r.ID), string(r.State.Letter()), r.Entry, epoch, st.short())
	}
	var answers []string
	err := again(ctx, s.opts.Patience, func() (err error) {
		answers, err = s.answers(ctx, c, len(records))
		return err
	})
	if err != nil {
		return nil, err
	}
	repaired := make([]Repaired, len(answers))
	for i, a := range answers {
		repaired[i] = Repaired(a)
	}
	return repaired, nil
}

// strays counts keys of one partition whose trace is gone and which nothing would
// ever remove; with act they get a lifetime. The keys come with their traces.
func (s *Store) strays(ctx context.Context, pairs []string, act bool) (int, error) {
	var n int64
	err := again(ctx, s.opts.Patience, func() error {
		v, err := s.run(ctx, call{script: strayScript, keys: pairs, args: []any{len(pairs) / 2, failsafe.Milliseconds(), flag(act)}})
		n = number(v)
		return err
	})
	return int(n), err
}

// IsWrongType reports that a key of an operation holds another type.
func IsWrongType(err error) bool { return errors.Is(err, ErrWrongType) }
