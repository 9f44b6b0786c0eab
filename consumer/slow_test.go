package consumer

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// slowLink is how much goes over which link. bound is how much longer than its bytes
// need it may take; 0: it is only logged, because the machine may be slower than the link.
type slowLink struct {
	n, size, rate int
	bound         float64
}

// behind puts a link of so many bytes a second between Redis and workers that start
// later, whose clients give up on a reply after 5 s, as those of lua.Open do.
func (e *env) behind(rate int) *redistest.Proxy {
	p := redistest.NewProxy(e, e.srv)
	p.Shape(redistest.Line{BytesPerSecond: rate})
	to, err := redis.ParseURL(p.URL())
	if err != nil {
		e.Fatal(err)
	}
	e.dial = func() *redis.Client {
		o := redistest.Options("tcp", to.Addr)
		o.ReadTimeout = 5 * time.Second
		rdb := redis.NewClient(o)
		e.Cleanup(func() { _ = rdb.Close() })
		return rdb
	}
	return p
}

// runs starts a worker behind the link, waits until n operations have ended, and holds
// the time and the bytes against the link and the calls and crashes against none lost.
func (l slowLink) runs(e *env) {
	e.Helper()
	var n calls
	link := e.behind(l.rate)
	began := time.Now()
	e.worker(n.of(func(_ context.Context, claim lm.Claim) (lm.Result, error) {
		if len(claim.Request.Body) != l.size {
			e.Errorf("%s: a request of %d bytes, want %d", claim.ID, len(claim.Request.Body), l.size)
		}
		return lm.Result{Body: []byte(`1`)}, nil
	}), Options{Concurrency: 64, Tick: time.Second, Block: time.Second})
	need := time.Duration(l.n) * time.Duration(l.size) * time.Second / time.Duration(l.rate)
	for until := began.Add(10*need + patience); e.succeeded() < l.n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			e.Fatalf("%d of %d ended in %s; %d calls\n%.3000s", e.succeeded(), l.n, time.Since(began), n.all(), e.picture())
		}
	}
	took := time.Since(began)
	crashes := 0
	for id := range n.n {
		crashes += e.record(id).CrashesTotal
	}
	e.Logf("%d of %d bytes over %.0f Mbit/s: %s, %.2f x the time their bytes take; %.2f x the bytes; %d calls, %d crashes",
		l.n, l.size, float64(l.rate)*8/1e6, took.Round(time.Millisecond), took.Seconds()/need.Seconds(),
		float64(link.Moved())/float64(l.n*l.size), n.all(), crashes)
	if n.all() != l.n || crashes != 0 {
		e.Errorf("%d calls and %d crashes of %d operations", n.all(), crashes, l.n)
	}
	if l.bound > 0 && took.Seconds() > l.bound*need.Seconds() {
		e.Errorf("took %s, want %.1f x %s at most", took, l.bound, need)
	}
}

// succeeded counts what has ended well.
func (e *env) succeeded() int {
	counts, _ := e.s.Counts(ctx, 0)
	return int(counts.Sum("succeeded"))
}

// TestSlowLink_LargeRequests: a healthy worker behind 80 Mbit/s with more requests than
// the link carries within a lease runs each once (LIGHTERMAN_E2E=full; else an eighth).
func TestSlowLink_LargeRequests(t *testing.T) {
	l := slowLink{n: 16, size: 1 << 20, rate: 10_000_000}
	if os.Getenv("LIGHTERMAN_E2E") == "full" {
		l = slowLink{n: 64, size: 2 << 20, rate: 10_000_000, bound: 1.5}
	}
	onRedis(t, func(e *env) {
		e.many(l.n, func(r *lm.Request) { r.Body = json.RawMessage(`"` + strings.Repeat("b", l.size-2) + `"`) })
		l.runs(e)
	})
}

// TestSlowLink_ForeignEntries: long foreign entries are adopted over a link that does not
// carry a reply with all of them in time (LIGHTERMAN_E2E=full; else a quarter).
func TestSlowLink_ForeignEntries(t *testing.T) {
	l := slowLink{n: 12, size: 1 << 20, rate: 8_000_000}
	if os.Getenv("LIGHTERMAN_E2E") == "full" {
		l = slowLink{n: 48, size: 1 << 20, rate: 8_000_000, bound: 1.5}
	}
	onRedis(t, func(e *env) {
		body := `"` + strings.Repeat("b", l.size-2) + `"`
		for range l.n {
			e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: "{lm:0}:stream:default", Values: []string{"body", body}})
		}
		l.runs(e)
	})
}
