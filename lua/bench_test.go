package lua

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// BenchmarkScripts runs plain chats through each script in batches and reports
// what Redis's main thread spends per operation in each, in us.
func BenchmarkScripts(b *testing.B) {
	for _, batch := range []int{1, 10, 32, 100} {
		b.Run(strconv.Itoa(batch), func(b *testing.B) {
			rdb := redistest.Start(b).Client()
			s := NewStore(rdb, rdb, Options{})
			if err := s.EnsureGroups(ctx, []Stream{queue, resume}); err != nil {
				b.Fatal(err)
			}
			spent := map[string]time.Duration{}
			total := 0
			for b.Loop() {
				const n = 2000
				life(b, s, rdb, total, n, batch, spent)
				total += n
			}
			sum := time.Duration(0)
			for _, name := range []string{"enqueue", "read", "claim", "advance", "finish"} {
				b.ReportMetric(float64(spent[name].Nanoseconds())/1e3/float64(total), name+"-us/op")
				if name != "enqueue" {
					sum += spent[name]
				}
			}
			b.ReportMetric(float64(sum.Nanoseconds())/1e3/float64(total), "drain-us/op")
		})
	}
}

// life takes n operations from enqueue to finish.
func life(b *testing.B, s *Store, rdb *redis.Client, from, n, batch int, spent map[string]time.Duration) {
	b.Helper()
	timed := func(name string, f func() error) {
		before := redisCPU(b, rdb)
		if err := f(); err != nil {
			b.Fatal(err)
		}
		spent[name] += redisCPU(b, rdb) - before
	}
	req := &lm.Request{Body: json.RawMessage(`{"messages":[{"role":"user","content":"Why do rivers bend, and where does the sand go that they carry with them on the way to the sea, year after year after year?"}]}`)}
	req.Normalize()
	ops := make([]Operation, n)
	for i := range ops {
		ops[i] = Operation{ID: lm.NewTraceID(0, fmt.Sprintf("01JD3ZK8Q9WXXXXXXXX%07d", from+i)), Request: req}
	}
	timed("enqueue", func() error {
		for i := 0; i < n; i += batch {
			for _, a := range s.Enqueue(ctx, ops[i:min(i+batch, n)]) {
				if a.Err != nil {
					return a.Err
				}
			}
		}
		return nil
	})
	var entries []Entry
	timed("read", func() error {
		for len(entries) < n {
			got, err := s.Read(ctx, "w1", []Share{{Stream: resume, Count: batch, OwnOnly: true}, {Stream: queue, Count: batch, OwnOnly: true}}, batch)
			if err != nil {
				return err
			}
			entries = append(entries, got...)
		}
		return nil
	})
	var claims []lm.Claim
	timed("claim", func() error {
		for i := 0; i < n; i += batch {
			got, err := s.Claim(ctx, "w1", time.Minute, entries[i:min(i+batch, n)])
			if err != nil {
				return err
			}
			for _, c := range got {
				claims = append(claims, c.Claim)
			}
		}
		return nil
	})
	at := func(seq uint64, from lm.State) lm.Attempt { return lm.Attempt{Seq: seq, From: from} }
	timed("advance", func() error {
		for i := 0; i < n; i += batch {
			var in []advanceIn
			for _, c := range claims[i:min(i+batch, n)] {
				in = append(in, advanceIn{id: c.ID, fence: c.Fence, at: at(1, lm.Claimed), step: Advance{Path: []lm.State{lm.Gathering, lm.Inferring}}})
			}
			if _, err := s.sendAdvances(ctx, 0, in); err != nil {
				return err
			}
		}
		return nil
	})
	body := json.RawMessage(`{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Faster water on the outside of a bend cuts the bank."},"finish_reason":"stop"}]}`)
	timed("finish", func() error {
		for i := 0; i < n; i += batch {
			var in []finishIn
			for _, c := range claims[i:min(i+batch, n)] {
				in = append(in, finishIn{id: c.ID, fence: c.Fence, at: at(2, lm.Inferring), end: Ending{
					Path: []lm.State{lm.Postprocessing, lm.Delivering, lm.Delivered, lm.Completed}, Tried: true,
					Result: lm.Result{Outcome: lm.Succeeded, Body: body, Usage: lm.Usage{Calls: 1, Input: 16, Output: 28}},
				}})
			}
			if _, err := s.sendFinishes(ctx, 0, in); err != nil {
				return err
			}
		}
		return nil
	})
}

// redisCPU is what the server's main thread has used so far.
func redisCPU(b *testing.B, rdb *redis.Client) time.Duration {
	b.Helper()
	facts := readInfo(rdb.Info(ctx, "cpu").Val())
	user, err := strconv.ParseFloat(facts["used_cpu_user_main_thread"], 64)
	if err != nil {
		b.Fatal(err)
	}
	system, err := strconv.ParseFloat(facts["used_cpu_sys_main_thread"], 64)
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration((user + system) * 1e9)
}
