package lua

import (
	"context"
	"errors"
	"fmt"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// Due is the server time at which an operation comes out of the delayed set; zero
// where it is not in it.
func (s *Store) Due(ctx context.Context, id lm.TraceID) (time.Time, error) {
	ms, err := s.rdb.ZScore(ctx, s.keys.delayed(id.Partition()), string(id)).Result()
	if errors.Is(err, redis.Nil) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read the delayed set: %w", err)
	}
	return atMS(int64(ms)), nil
}
