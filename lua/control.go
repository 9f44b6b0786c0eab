package lua

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Words of a control channel. Each is a hint: the truth is in a trace, in the
// fleet's orders, in the roster or on the board, so a lost one only costs time.
const (
	WordCancel = "cancel" // something that the worker holds is to end: its next heartbeat says what
	WordOrders = "orders" // the fleet's orders have changed
	WordRoster = "roster" // the roster has changed
	WordBusy   = "busy"   // a worker that held nothing now holds something
)

// control is the channel of one worker. It lies in the fleet's slot, so that on
// a cluster all of them can be counted by one script.
func (k keys) control(owner string) string { return k.fleet("control:" + owner) }

// sharded reports whether channels belong to slots here.
func (s *Store) sharded() bool {
	_, cluster := s.rdb.(*redis.ClusterClient)
	return cluster
}

// Tell sends words to workers by their control channels, in one pipeline. One
// that does not listen hears nothing; that is no error.
func (s *Store) Tell(ctx context.Context, word string, owners ...string) error {
	if len(owners) == 0 {
		return nil
	}
	pipe := s.rdb.Pipeline()
	for _, owner := range owners {
		if s.sharded() {
			pipe.SPublish(ctx, s.keys.control(owner), word)
		} else {
			pipe.Publish(ctx, s.keys.control(owner), word)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("tell workers: %w", err)
	}
	return nil
}
