package fleet

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// BenchmarkCall is what shared state costs a call: the time it adds and what
// Redis's main thread spends.
func BenchmarkCall(b *testing.B) {
	for _, row := range []struct {
		name   string
		policy SyncPolicy
		model  string
	}{{"immediate", Immediate, "a"}, {"immediate with limits", Immediate, "c"}, {"periodic", Periodic, "a"}, {"in-memory", InMemory, "a"}} {
		b.Run(row.name, func(b *testing.B) {
			server := redistest.Start(b)
			m := manager(b, storeOn(b, server), false, policy(row.policy), withC(func(s *ModelSpec) {
				s.Limits, s.Budget.USD, s.Quota.Requests = Limits{RPM: 1e9, TPM: 1e9, Concurrent: 1e6}, 1e6, 1e12
			}))
			rdb := server.Client()
			before := mainThread(b, rdb)
			i := 0
			for b.Loop() {
				o := Outcome{Model: row.model, Backend: "one", Key: strconv.Itoa(i), Usage: used100(i), CostUSD: 0.001, Tenant: "t", Op: opID(i % 100)}
				if row.model == "c" {
					o.Reservation = admit(b, m, Admission{Model: "c", Key: o.Key, Tokens: 200}).Reservation
				}
				record(b, m, o)
				i++
			}
			b.ReportMetric(float64((mainThread(b, rdb)-before).Nanoseconds())/1e3/float64(b.N), "redis-us/op")
		})
	}
}

// BenchmarkSession is a read and a change.
func BenchmarkSession(b *testing.B) {
	server := redistest.Start(b)
	m := manager(b, storeOn(b, server), false)
	i := 0
	for b.Loop() {
		key := SessionKey(fmt.Sprint("p:", i))
		must[Session](b)(m.Session(ctx, key))
		must[Session](b)(m.ChangeSession(ctx, key, SessionChange{Kind: Bind, To: "a", Home: "a"}))
		i++
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m := manager(b, nil, false, policy(InMemory))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Snapshot()
		}
	})
}

// BenchmarkRead is what a change costs each worker that hears of it: one read of a
// pool of eight members on two backends, all of which have been called.
func BenchmarkRead(b *testing.B) {
	server := redistest.Start(b)
	m := manager(b, storeOn(b, server), false, func(o *Options) {
		o.Spec = Spec{Pools: []PoolSpec{{ID: "p"}}}
		for i := range 8 {
			id := fmt.Sprint("m", i)
			o.Spec.Models = append(o.Spec.Models, ModelSpec{ID: id, Backend: []string{"one", "two"}[i%2]})
			o.Spec.Pools[0].Members = append(o.Spec.Pools[0].Members, Member{Model: id})
		}
	})
	for i := range 8 {
		record(b, m, Outcome{Model: fmt.Sprint("m", i), Backend: []string{"one", "two"}[i%2], Usage: used100(i), CostUSD: 1, Kind: lm.RateLimited, RetryAfter: time.Hour})
	}
	rdb := server.Client()
	before := mainThread(b, rdb)
	for b.Loop() {
		if err := m.Load(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((mainThread(b, rdb)-before).Nanoseconds())/1e3/float64(b.N), "redis-us/op")
}

// mainThread is the time that Redis's main thread has spent.
func mainThread(b *testing.B, rdb redis.UniversalClient) time.Duration {
	b.Helper()
	var spent float64
	for line := range strings.Lines(rdb.Info(ctx, "cpu").Val()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys_main_thread" || name == "used_cpu_user_main_thread" {
			s, _ := strconv.ParseFloat(value, 64)
			spent += s
		}
	}
	return time.Duration(spent * float64(time.Second))
}
