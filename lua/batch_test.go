package lua

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// loads is a hook that notes, of each script of a client, the bytes of its arguments and
// how many of them are large.
type loads struct {
	large int // bytes from which an argument is

	mu    sync.Mutex
	calls []scriptLoad
}

type scriptLoad struct{ bytes, large int }

func (l *loads) note(cmd redis.Cmder) {
	if !strings.HasPrefix(cmd.Name(), "eval") {
		return
	}
	var a scriptLoad
	for _, arg := range cmd.Args()[2:] {
		n := 0
		switch v := arg.(type) {
		case []byte:
			n = len(v)
		case string:
			n = len(v)
		}
		a.bytes += n
		if n >= l.large {
			a.large++
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, a)
}

func (l *loads) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *loads) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { l.note(cmd); return next(ctx, cmd) }
}

func (l *loads) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			l.note(cmd)
		}
		return next(ctx, cmds)
	}
}

// take returns what was noted since the last time.
func (l *loads) take() []scriptLoad {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	return calls
}

// TestBatches_AreBoundedByBytes: no script of enqueue, advance or finish takes more than
// batchBytes of large bodies, unless one alone has more; small ones still share scripts.
// With LIGHTERMAN_E2E=full none of them holds Redis for 50 ms.
func TestBatches_AreBoundedByBytes(t *testing.T) {
	each(t, func(e *env) {
		const n, size = 16, 700 << 10 // two of them fit
		seen := &loads{large: size / 2}
		e.rdb.AddHook(seen)
		full := os.Getenv("LIGHTERMAN_E2E") == "full" && e.kind == "redis"
		slowest := e.slowest()
		body := json.RawMessage(`"` + strings.Repeat("b", size-2) + `"`)
		var ops []Operation
		for i := range n {
			ops = append(ops, Operation{ID: lm.TraceID(fmt.Sprintf("0-%d", i)), Request: request(string(body))})
		}
		for i := range 50 {
			ops = append(ops, Operation{ID: lm.TraceID(fmt.Sprintf("0-s%d", i)), Request: request(`1`)})
		}
		for _, a := range e.s.Enqueue(ctx, ops) {
			if a.Err != nil {
				e.Fatal(a.Err)
			}
		}
		e.bounded("enqueue", seen.take(), n)
		got, err := e.s.Claim(ctx, "w1", time.Minute, e.read("w1"))
		if err != nil {
			e.Fatal(err)
		}
		seen.take()
		everyone := func(do func(c lm.Claim, large bool) error) {
			var all sync.WaitGroup
			for i, g := range got {
				all.Go(func() {
					if err := do(g.Claim, i < n); err != nil {
						e.Error(err)
					}
				})
			}
			all.Wait()
		}
		everyone(func(c lm.Claim, large bool) error {
			step := Advance{Path: []lm.State{lm.Gathering, lm.Inferring}}
			if large {
				step.Steps = []lm.Step{{Name: "step:x", Data: body}}
			}
			_, err := e.s.Advance(ctx, c, step)
			return err
		})
		e.bounded("advance", seen.take(), n)
		everyone(func(c lm.Claim, large bool) error {
			end := succeeded(c)
			if large {
				end.Result.Body = body
			}
			return e.s.Finish(ctx, c, end)
		})
		e.bounded("finish", seen.take(), n)
		e.counts(fmt.Sprintf("succeeded=%d", len(ops)))
		results, err := e.s.Results(ctx, []lm.TraceID{"0-0", "0-15"})
		if err != nil || len(results[0].Body) != size || len(results[1].Body) != size {
			e.Errorf("results of %d and %d bytes, %v", len(results[0].Body), len(results[1].Body), err)
		}
		if worst := slowest(); worst > 0 {
			e.Logf("the slowest script held Redis for %s", worst)
			if full && worst > 50*time.Millisecond {
				e.Errorf("a script held Redis for %s, want 50 ms at most", worst)
			}
		}
		if full {
			alone := e.slowest()
			c := e.claimed("w1", "0-largest")
			end := succeeded(c)
			end.Result.Body = json.RawMessage(`"` + strings.Repeat("b", 8<<20) + `"`)
			must(e, e.s.Finish(ctx, c, end))
			e.Logf("a result of 8 MiB, alone: %s", alone())
		}
	})
}

// TestWithin holds batches against their bounds; one alone may be larger.
func TestWithin(t *testing.T) {
	for _, row := range []struct {
		sizes []int
		want  int
	}{
		{nil, 0},
		{[]int{1, 1}, 2},
		{[]int{batchBytes, 0, 1}, 2},
		{[]int{batchBytes + 1, 1}, 1},
		{[]int{1, batchBytes}, 1},
		{make([]int, maxBatch+1), maxBatch},
	} {
		if got := within(len(row.sizes), func(i int) int { return row.sizes[i] }); got != row.want {
			t.Errorf("%d of %d make a batch, want %d", got, len(row.sizes), row.want)
		}
	}
}

// bounded holds scripts that carried n large arguments against the bound.
func (e *env) bounded(what string, calls []scriptLoad, n int) {
	e.Helper()
	large := 0
	for _, a := range calls {
		large += a.large
		if a.bytes > batchBytes+64<<10 && a.large > 1 {
			e.Errorf("%s: a script with %d bytes in %d large arguments", what, a.bytes, a.large)
		}
	}
	if large < n || len(calls) > n+20 {
		e.Errorf("%s: %d large arguments in %d scripts, want %d in fewer than %d", what, large, len(calls), n, n+20)
	}
}

// slowest begins to look for the command that holds Redis longest; 0 where that is not
// told.
func (e *env) slowest() func() time.Duration {
	rdb, ok := e.rdb.(*redis.Client)
	if !ok || e.kind != "redis" {
		return func() time.Duration { return 0 }
	}
	rdb.ConfigSet(ctx, "slowlog-log-slower-than", "1000")
	rdb.ConfigSet(ctx, "slowlog-max-len", "1000")
	rdb.Do(ctx, "slowlog", "reset")
	return func() (worst time.Duration) {
		rdb.ConfigSet(ctx, "slowlog-log-slower-than", "10000")
		for _, l := range rdb.SlowLogGet(ctx, 1000).Val() {
			worst = max(worst, l.Duration)
		}
		return worst
	}
}
