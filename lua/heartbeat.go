package lua

import (
	"context"
	"errors"
	"slices"

	lm "github.com/lighterman/lighterman"
)

// Beat is what a heartbeat said of one claim.
type Beat string

// The beats. A claim whose answer is none of these was not renewed.
const (
	BeatOK       Beat = "OK"
	BeatFollowed Beat = "FOLLOWED" // renewed; somebody reads its frames
	BeatCancel   Beat = "CANCEL"   // renewed; somebody cancelled it
	BeatExpire   Beat = "EXPIRE"   // renewed; its deadline has passed
	BeatLost     Beat = "LOST"     // another claim holds it
)

// Renewal is one claim to be renewed.
type Renewal struct {
	ID    lm.TraceID
	Fence *lm.Fence
}

// Heartbeat renews claims of one partition that one owner holds, 100 a script,
// and answers in their order. It is not tried again: the next beat comes soon.
func (s *Store) Heartbeat(ctx context.Context, partition int, owner string, claims []Renewal) ([]Beat, error) {
	beats, errs := s.HeartbeatAll(ctx, owner, map[int][]Renewal{partition: claims})
	return beats[partition], errs[partition]
}

// HeartbeatAll is Heartbeat for several partitions in one round trip; each has its
// beats or its error. It takes as long as the slowest of their shards.
func (s *Store) HeartbeatAll(ctx context.Context, owner string, claims map[int][]Renewal) (beats map[int][]Beat, errs map[int]error) {
	beats, errs = make(map[int][]Beat, len(claims)), make(map[int]error)
	var calls []call
	var of, sizes []int // the partition and the claims of each call
	for p, all := range claims {
		for some := range slices.Chunk(all, maxBatch) {
			c, err := s.heartbeatCall(p, owner, some)
			if err != nil {
				errs[p] = err
				break
			}
			calls, of, sizes = append(calls, c), append(of, p), append(sizes, len(some))
		}
	}
	values, failed := s.runAll(ctx, calls)
	for i, p := range of {
		items, err := list(values[i], sizes[i])
		if failed[i] != nil {
			err = failed[i]
		}
		if err != nil {
			errs[p] = err
		}
		for _, a := range texts(items) {
			beats[p] = append(beats[p], Beat(a))
		}
	}
	for p := range errs {
		delete(beats, p)
	}
	return beats, errs
}

func (s *Store) heartbeatCall(partition int, owner string, claims []Renewal) (call, error) {
	n := len(claims)
	c := call{script: heartbeatScript, keys: make([]string, 0, 2*n), args: append(make([]any, 0, 3+3*n), n, Group, owner)}
	for _, r := range claims {
		st, id, ok := streamOf(partition, r.Fence.Entry)
		if !ok {
			return c, errors.New("heartbeat: a claim without an entry")
		}
		c.keys = append(c.keys, s.keys.trace(r.ID), s.keys.stream(st))
		c.args = append(c.args, id, int64(r.Fence.Epoch), r.Fence.Token)
	}
	return c, nil
}
