package lua

import (
	"context"

	lm "github.com/lighterman/lighterman"
)

// promotion is one operation that is to get an entry: when it is due, or though it
// is not, while it is parked at a place or its history ends with a record.
type promotion struct {
	id    lm.TraceID
	queue string // empty: there is no trace, and the script takes the ID out of the set
	place string
	hop   int
}

// promote gives entries to at most 100 operations of one partition.
func (s *Store) promote(ctx context.Context, partition int, in []promotion) ([]string, error) {
	c := call{
		script: promoteScript,
		keys:   append(make([]string, 0, 3+2*len(in)), s.keys.stats(partition), s.keys.delayed(partition), s.keys.parked(partition)),
		args:   append(make([]any, 0, 1+4*len(in)), len(in)),
	}
	for _, p := range in {
		queue := p.queue
		if queue == "" {
			queue = lm.DefaultQueue
		}
		hop := any("")
		if p.hop > 0 {
			hop = p.hop
		}
		c.keys = append(c.keys, s.keys.trace(p.id), s.keys.stream(Stream{Partition: partition, Queue: queue}))
		c.args = append(c.args, string(p.id), p.place, hop, queue)
	}
	return s.answers(ctx, c, len(in))
}

// promoted counts the operations that were moved.
func promoted(answers []string) (n int) {
	for _, a := range answers {
		if a == "OK" {
			n++
		}
	}
	return n
}
