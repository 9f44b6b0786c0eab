package lua

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Words of a control channel. Each is a hint: the truth is in a trace, in the
// fleet's orders, in the roster or on the board, so a lost one only costs time.
const (
	WordCancel = "cancel" // something that the worker holds is to end: its next heartbeat says what
	WordOrders = "orders" // the fleet's orders have changed
	WordRoster = "roster" // the roster has changed
	WordWaits  = "waits"  // something is parked for a worker that can run it, as this one can
	WordBusy   = "busy"   // a worker that held nothing now holds something
)

// wordState begins the word on the channel of all workers: the fleet's state has
// reached the version behind it (notice.lua).
const wordState = "state "

// StateVersion is the version that a word tells of; false: it tells something else.
func StateVersion(word string) (uint64, bool) {
	said, ok := strings.CutPrefix(word, wordState)
	if !ok {
		return 0, false
	}
	version, err := strconv.ParseUint(said, 10, 64)
	return version, err == nil
}

// control is the channel of one worker. It lies in the fleet's slot, so that on
// a cluster all of them can be counted by one script.
func (k keys) control(owner string) string { return k.fleet("control:" + owner) }

// notices is the one channel that all workers hear: changes of the fleet's state.
// It is named like a control channel, so that whoever may use those may use it; no
// owner has the name, for an owner's ends in 8 characters of its own.
func (k keys) notices() string { return k.control("all") }

// sharded reports whether channels belong to slots here.
func (s *Store) sharded() bool {
	_, cluster := s.rdb.(*redis.ClusterClient)
	return cluster
}

// publish is the command that a script publishes by.
func (s *Store) publish() string {
	if s.sharded() {
		return "SPUBLISH"
	}
	return "PUBLISH"
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
