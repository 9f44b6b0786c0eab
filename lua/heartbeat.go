package lua

import (
	"context"
	"errors"

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
	beats := make([]Beat, 0, len(claims))
	for len(claims) > 0 {
		n := min(len(claims), maxBatch)
		c := call{script: heartbeatScript, keys: make([]string, 0, 2*n), args: append(make([]any, 0, 3+3*n), n, Group, owner)}
		for _, r := range claims[:n] {
			st, id, ok := streamOf(partition, r.Fence.Entry)
			if !ok {
				return nil, errors.New("heartbeat: a claim without an entry")
			}
			c.keys = append(c.keys, s.keys.trace(r.ID), s.keys.stream(st))
			c.args = append(c.args, id, int64(r.Fence.Epoch), r.Fence.Token)
		}
		answers, err := s.answers(ctx, c, n)
		if err != nil {
			return nil, err
		}
		for _, a := range answers {
			beats = append(beats, Beat(a))
		}
		claims = claims[n:]
	}
	return beats, nil
}
