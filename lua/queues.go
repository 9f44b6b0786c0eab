package lua

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
)

// ErrTooManyQueues is the door's answer to an operation of a queue that is not there
// yet, when a partition has 1,000 queues (include/door.lua). Each costs Redis three
// counts and two streams, and a producer that makes up names must not make them
// without end. RetireQueues makes room again.
var ErrTooManyQueues = errors.New("there are 1,000 queues; this one is not among them")

// RetireQueues removes the queues of a partition that are empty and that no consumer
// reads, but for those to keep. It returns the names of those that are gone.
func (s *Store) RetireQueues(ctx context.Context, partition int, keep []string) (gone []string, err error) {
	counts, err := s.Counts(ctx, partition)
	if err != nil {
		return nil, err
	}
	for _, queue := range counts.Queues() {
		if counts.isOpen(queue) || slices.Contains(keep, queue) {
			continue
		}
		stream, resume := Stream{Partition: partition, Queue: queue}, Stream{Partition: partition, Queue: queue, Resume: true}
		readers, err := s.AllConsumers(ctx, []Stream{stream, resume})
		if err != nil {
			return gone, err
		}
		if len(readers) > 0 {
			continue
		}
		v, err := s.run(ctx, call{script: retireScript, keys: []string{s.keys.stats(partition), s.keys.stream(stream), s.keys.stream(resume)}, args: []any{queue}})
		if err != nil {
			return gone, err
		}
		if text(v) == "OK" {
			gone = append(gone, queue)
		}
	}
	return gone, nil
}

// OpenQueues are the queues of which something waits, runs or is delayed. Only they
// cost a tick anything.
func (c Counts) OpenQueues() []string {
	return slices.DeleteFunc(c.Queues(), func(q string) bool { return !c.isOpen(q) })
}

func (c Counts) isOpen(queue string) bool {
	return c["waiting:"+queue] != 0 || c["running:"+queue] != 0 || c["delayed:"+queue] != 0
}

// recount sets the counts right that a pass found to have drifted. It returns how
// many it set; one that has moved since is left to the next pass.
func (s *Store) recount(ctx context.Context, drift []Drift) (set int, err error) {
	of := make(map[int][]Drift)
	for _, d := range drift {
		of[d.Partition] = append(of[d.Partition], d)
	}
	for _, p := range slices.Sorted(maps.Keys(of)) {
		for batch := range slices.Chunk(of[p], maxBatch) {
			c := call{script: recountScript, keys: []string{s.keys.stats(p)}, args: []any{len(batch)}}
			for _, d := range batch {
				c.args = append(c.args, d.Field, strconv.FormatInt(d.Counted, 10), strconv.FormatInt(d.Real, 10))
			}
			v, err := s.run(ctx, c)
			if err != nil {
				return set, err
			}
			set += int(number(v))
		}
	}
	return set, nil
}
