package lua

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// BenchmarkSharing compares the ways in which 64 concurrent claims can write: by
// the batcher, each alone, and each alone through go-redis' AutoPipeline
// (decision 0004). It reports what Redis's main thread spends per write.
func BenchmarkSharing(b *testing.B) {
	const callers = 64
	for _, way := range []string{"batcher", "alone", "autopipeline"} {
		b.Run(way, func(b *testing.B) {
			rdb := redistest.Start(b).Client()
			s := NewStore(rdb, rdb, Options{})
			if err := s.EnsureGroups(ctx, []Stream{queue}); err != nil {
				b.Fatal(err)
			}
			var process func(cmd *redis.Cmd) error
			switch way {
			case "alone":
				process = func(cmd *redis.Cmd) error { return rdb.Process(ctx, cmd) }
			case "autopipeline":
				auto, err := rdb.AutoPipeline()
				if err != nil {
					b.Fatal(err)
				}
				defer auto.Close()
				process = func(cmd *redis.Cmd) error { return auto.Process(ctx, cmd) }
			}
			claims := claimMany(b, s, callers)
			if err := rdb.ScriptLoad(ctx, advanceScript.text).Err(); err != nil {
				b.Fatal(err)
			}
			write := func(c lm.Claim) error {
				if process == nil {
					_, err := s.Advance(ctx, c, Advance{Start: true})
					return err
				}
				return c.Fence.Write(func(at lm.Attempt) (lm.State, error) {
					one := s.advanceCall([]advanceIn{{id: c.ID, fence: c.Fence, at: at, step: Advance{Start: true}}})
					return at.From, process(one.command(ctx, false))
				})
			}
			before := redisCPU(b, rdb)
			b.ResetTimer()
			var all sync.WaitGroup
			for i, c := range claims {
				all.Go(func() {
					for n := i; n < b.N; n += callers {
						if err := write(c); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64((redisCPU(b, rdb)-before).Nanoseconds())/1e3/float64(b.N), "redis-us/op")
		})
	}
}

func claimMany(b *testing.B, s *Store, n int) []lm.Claim {
	b.Helper()
	req := &lm.Request{Body: json.RawMessage(`{}`)}
	req.Normalize()
	ops := make([]Operation, n)
	for i := range ops {
		ops[i] = Operation{ID: lm.NewTraceID(0, fmt.Sprint(i)), Request: req}
	}
	s.Enqueue(ctx, ops)
	entries, err := s.Read(ctx, "w1", []Share{{Stream: queue, Count: n}}, n)
	if err != nil {
		b.Fatal(err)
	}
	answers, err := s.Claim(ctx, "w1", time.Hour, entries)
	if err != nil {
		b.Fatal(err)
	}
	claims := make([]lm.Claim, n)
	for i, a := range answers {
		claims[i] = a.Claim
	}
	return claims
}
