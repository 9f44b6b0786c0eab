package consumer

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// lostClaim is a hook that loses the first claim's reply, or the claim itself, and
// everything after it until contact is back.
type lostClaim struct {
	redis.Hook
	ran  bool // whether the claim happens
	sent func() bool
	met  atomic.Bool
	back atomic.Bool
}

func (l *lostClaim) cut() bool { return l.met.Load() && !l.back.Load() }

func (l *lostClaim) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		lose := func() error { cmd.SetErr(io.EOF); return io.EOF }
		first, _ := argument(cmd, 3).(string)
		second, _ := argument(cmd, 4).(string)
		claim := strings.HasPrefix(cmd.Name(), "eval") && strings.Contains(first, ":stream:") && strings.HasSuffix(second, ":stats")
		switch {
		case l.cut():
			return lose()
		case !claim || l.met.Load():
			return next(ctx, cmd)
		case !l.ran:
			l.met.Store(true)
			return lose()
		}
		err := next(ctx, cmd)
		if l.sent() {
			l.met.Store(true)
			return lose()
		}
		return err
	}
}

func (l *lostClaim) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *lostClaim) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if l.cut() {
			for _, cmd := range cmds {
				cmd.SetErr(io.EOF)
			}
			return io.EOF
		}
		return next(ctx, cmds)
	}
}

// TestClaim_AReplyLostBeyondThePatienceCountsNoCrash: a claim happened, or not, and its
// worker never heard: it lives, so it gives back what it finds to be its own.
func TestClaim_AReplyLostBeyondThePatienceCountsNoCrash(t *testing.T) {
	for name, ran := range map[string]bool{"it happened": true, "it did not": false} {
		t.Run(name, func(t *testing.T) {
			eachWith(t, lua.Options{Patience: 1}, func(e *env) {
				e.groups()
				e.push("id", "foreign", "body", "1")
				ids := []lm.TraceID{e.enqueue("0-a"), e.enqueue("0-b"), "0-foreign"}
				l := &lostClaim{ran: ran, sent: func() bool {
					r, err := e.s.Records(ctx, ids[:1])
					return err == nil && r[0].State == lm.Claimed
				}}
				dial := e.dial
				e.dial = func() *redis.Client {
					rdb := dial()
					rdb.AddHook(l)
					return rdb
				}
				var n calls
				e.worker(n.of(func(context.Context, lm.Claim) (lm.Result, error) { return lm.Result{Body: []byte(`1`)}, nil }), Options{Lease: 3 * time.Second})
				e.until("the claim's reply is lost", l.met.Load)
				if n.all() != 0 {
					e.Errorf("%d handlers ran of a claim of unknown outcome", n.all())
				}
				l.back.Store(true)
				e.ended(ids...)
				for _, id := range ids {
					e.want(id, "succeeded 1/0")
					if r := e.record(id); n.get(id) != 1 || r.CrashesTotal != 0 {
						e.Errorf("%s: %d calls, %d crashes: %s", id, n.get(id), r.CrashesTotal, path(r))
					}
				}
				e.quiet()
			})
		})
	}
}
