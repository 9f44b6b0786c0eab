package lua

import (
	"context"
	"fmt"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// Large requests and checkpoints are read in pieces, each far shorter than what a slow
// link carries within the client's time-out, and a few at a time, so that a heartbeat
// does not queue up behind all of them.
const (
	pieceBytes   = 256 << 10
	unreadAtOnce = 4 * pieceBytes
)

// Unread is what a claim's answer did not carry, in bytes; 0: there is nothing of it,
// or it was carried.
type Unread struct {
	Request    int
	Checkpoint int
}

// Any reports whether there is something left to read.
func (u Unread) Any() bool { return u.Request > 0 || u.Checkpoint > 0 }

// Fetch returns the claim with what its answer did not carry. The caller holds the
// claim and renews it meanwhile. Each piece is tried again while patience lasts; Fetch
// ends with an error as soon as ctx does.
func (s *Store) Fetch(ctx context.Context, claim lm.Claim, unread Unread) (lm.Claim, error) {
	weight := int64(min(max(min(unread.Request, pieceBytes), unread.Checkpoint), unreadAtOnce))
	if err := s.unread.Acquire(ctx, weight); err != nil {
		return claim, context.Cause(ctx)
	}
	defer s.unread.Release(weight)
	if unread.Request > 0 {
		body, err := s.readRequest(ctx, claim.ID, unread.Request)
		if err != nil {
			return claim, fmt.Errorf("read request: %w", err)
		}
		claim.Request.Body = body
	}
	if unread.Checkpoint > 0 {
		fields, err := s.readCheckpoint(ctx, claim.ID)
		if err != nil {
			return claim, fmt.Errorf("read checkpoint: %w", err)
		}
		claim.Checkpoint = fields
	}
	return claim, nil
}

// readRequest reads a request of so many bytes piece by piece; empty when it is gone.
func (s *Store) readRequest(ctx context.Context, id lm.TraceID, size int) ([]byte, error) {
	body := make([]byte, 0, size)
	for len(body) < size {
		cmd := redis.NewStringCmd(ctx, "getrange", s.keys.request(id), len(body), min(size, len(body)+pieceBytes)-1)
		if err := s.process(ctx, cmd); err != nil {
			if isNoPerm(err) {
				return s.wholeRequest(ctx, id)
			}
			return nil, err
		}
		if cmd.Val() == "" {
			break
		}
		body = append(body, cmd.Val()...)
	}
	return body, nil
}

// wholeRequest reads a request at once, for a Redis user whose rights are those of a
// version that did not read pieces.
func (s *Store) wholeRequest(ctx context.Context, id lm.TraceID) ([]byte, error) {
	cmd := redis.NewStringCmd(ctx, "get", s.keys.request(id))
	err := s.process(ctx, cmd)
	return []byte(cmd.Val()), err
}

// readCheckpoint reads a checkpoint's fields, as many at a time as make a piece; a
// longer one travels alone.
func (s *Store) readCheckpoint(ctx context.Context, id lm.TraceID) (lm.Fields, error) {
	key := s.keys.checkpoint(id)
	names := redis.NewStringSliceCmd(ctx, "hkeys", key)
	if err := s.process(ctx, names); err != nil {
		if isNoPerm(err) {
			whole := redis.NewMapStringStringCmd(ctx, "hgetall", key)
			err = s.process(ctx, whole)
			return whole.Val(), err
		}
		return nil, err
	}
	fields := make(lm.Fields, len(names.Val()))
	for _, some := range s.inPieces(ctx, key, names.Val()) {
		args := []any{"hmget", key}
		for _, name := range some {
			args = append(args, name)
		}
		values := redis.NewSliceCmd(ctx, args...)
		if err := s.process(ctx, values); err != nil {
			return nil, err
		}
		for i, v := range values.Val() {
			if v != nil {
				fields[some[i]] = text(v)
			}
		}
	}
	return fields, nil
}

// inPieces groups a hash's fields so that each group's values make one piece at most.
// Where their lengths are not to be had each is a group.
func (s *Store) inPieces(ctx context.Context, key string, names []string) [][]string {
	pipe := s.rdb.Pipeline()
	lengths := make([]*redis.Cmd, len(names))
	for i, name := range names {
		lengths[i] = pipe.Do(ctx, "hstrlen", key, name)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var groups [][]string
	sum := pieceBytes // the first field begins a group
	for i, name := range names {
		n := pieceBytes
		if lengths[i].Err() == nil {
			n = int(number(lengths[i].Val()))
		}
		if sum+n > pieceBytes {
			groups, sum = append(groups, nil), 0
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], name)
		sum += n
	}
	return groups
}

// process sends a read, and again while patience lasts.
func (s *Store) process(ctx context.Context, cmd redis.Cmder) error {
	err := again(ctx, s.opts.Patience, func() error {
		cmd.SetErr(nil)
		return s.rdb.Process(ctx, cmd)
	})
	if err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") {
		return ErrWrongType
	}
	return err
}

func isNoPerm(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOPERM") }
