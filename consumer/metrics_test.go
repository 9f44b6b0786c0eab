package consumer

import (
	"context"
	"errors"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/prometheus/client_golang/prometheus"
)

// collected is how many metrics a collector has, and the sum of their counters
// and gauges. (Package testutil would need another module in go.mod.)
func collected(t testing.TB, c prometheus.Collector) (n int, sum float64) {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			n++
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return n, sum
}

func value(t testing.TB, c prometheus.Collector) float64 {
	t.Helper()
	_, sum := collected(t, c)
	return sum
}

func TestMetrics_CountWhatHappened(t *testing.T) {
	each(t, func(e *env) {
		r := prometheus.NewRegistry()
		m := NewMetrics(r)
		w := e.worker(func(_ context.Context, c lm.Claim) (lm.Result, error) {
			switch {
			case c.Request.Kind == "permanent":
				return lm.Result{}, lm.Permanent(errors.New("x"))
			case c.Request.Kind == "flaky" && c.Attempts == 0:
				return lm.Result{}, lm.Errorf(lm.Overloaded, "x")
			case c.Request.Kind == "cold" && c.Request.Meta == nil && time.Since(c.Created) < 100*time.Millisecond:
				return lm.Result{}, lm.Park(time.Now().Add(100*time.Millisecond), "a person's words")
			}
			return lm.Result{}, nil
		}, Options{Metrics: m})
		var ids []lm.TraceID
		for _, k := range []string{"fine", "permanent", "flaky", "cold"} {
			ids = append(ids, e.enqueue(lm.NewTraceID(0, k), kind(k)))
		}
		e.ended(ids...)
		w.drain()
		for what, want := range map[prometheus.Collector]float64{
			m.Endings.WithLabelValues("succeeded"):     3,
			m.Endings.WithLabelValues("failed"):        1,
			m.DeadLetters.WithLabelValues("permanent"): 1,
			m.Retries.WithLabelValues("overloaded"):    1,
			m.Fenced:                                   0,
		} {
			if got := value(e, what); got != want {
				d := make(chan *prometheus.Desc, 1)
				what.Describe(d)
				e.Errorf("%s: %v, want %v", <-d, got, want)
			}
		}
		if n := value(e, m.Retries.WithLabelValues("parked")); n < 1 {
			e.Errorf("%v parked", n)
		}
		if n := value(e, m.Claims.WithLabelValues(lm.DefaultQueue)); n < 6 {
			e.Errorf("%v claims, want 4 and 2 repeats at least", n)
		}
		if n, _ := collected(e, m.Handle); n != 1 {
			e.Errorf("handlers timed under %d labels, want the one queue; a request's kind is no label", n)
		}
		if n, _ := collected(e, m.Retries); n != 2 {
			e.Errorf("%d reasons of retries; a person's words are no label", n)
		}
		if families, err := r.Gather(); err != nil || len(families) < 6 {
			e.Errorf("%d families registered, %v", len(families), err)
		}
		e.quiet()
	})
}

func TestMetrics_DepthsOfEachQueue(t *testing.T) {
	each(t, func(e *env) {
		m := NewMetrics(nil)
		hold := make(chan struct{})
		w := e.worker(func(context.Context, lm.Claim) (lm.Result, error) { <-hold; return lm.Result{}, nil }, Options{Concurrency: 1, Metrics: m})
		ids := e.many(3)
		e.until("one runs, two wait", func() bool {
			return value(e, m.Operations.WithLabelValues("0", "default", "running")) == 1 && value(e, m.Operations.WithLabelValues("0", "default", "waiting")) == 2
		})
		close(hold)
		e.ended(ids...)
		e.until("nothing waits or runs", func() bool {
			return value(e, m.Operations.WithLabelValues("0", "default", "running")) == 0 && value(e, m.Operations.WithLabelValues("0", "default", "waiting")) == 0
		})
		w.drain()
	})
}

func TestMetrics_TakenOver(t *testing.T) {
	for _, c := range []struct {
		from lua.Record
		r    lua.Returned
		want [4]float64 // takeovers, succeeded, failed, dead letters
	}{
		{lua.Record{Trace: lm.Trace{Owner: "x", State: lm.Inferring}}, lua.PutBack, [4]float64{1, 0, 0, 0}},
		{lua.Record{Trace: lm.Trace{State: lm.Queued}}, lua.PutBack, [4]float64{0, 0, 0, 0}},
		{lua.Record{Trace: lm.Trace{Owner: "x", State: lm.Inferring}}, lua.PutBackEnded, [4]float64{1, 0, 1, 1}},
		{lua.Record{Trace: lm.Trace{Owner: "x", State: lm.Delivered}}, lua.PutBackEnded, [4]float64{1, 1, 0, 0}},
		{lua.Record{Trace: lm.Trace{Owner: "x", State: lm.Inferring}}, lua.PutBackLive, [4]float64{0, 0, 0, 0}},
		{lua.Record{Trace: lm.Trace{Owner: "x", State: lm.Inferring}}, lua.PutBackSkip, [4]float64{0, 0, 0, 0}},
		{lua.Record{}, lua.PutBackLost, [4]float64{0, 0, 0, 1}},
	} {
		m := NewMetrics(nil)
		m.takenOver("lease", c.from, c.r)
		dead := value(t, m.DeadLetters.WithLabelValues("crash_limit")) + value(t, m.DeadLetters.WithLabelValues("trace_lost"))
		got := [4]float64{value(t, m.Takeovers.WithLabelValues("lease")), value(t, m.Endings.WithLabelValues("succeeded")), value(t, m.Endings.WithLabelValues("failed")), dead}
		if got != c.want {
			t.Errorf("%s of one in %s: %v, want %v", c.r, c.from.State, got, c.want)
		}
	}
}

// TestMetrics_WaitIsTheTimeInWhichAnOperationWasReady: one observation per claim of an
// entry, of the entry's age. An operation of an hour ago that parks and is tried again
// was not waiting for that hour.
func TestMetrics_WaitIsTheTimeInWhichAnOperationWasReady(t *testing.T) {
	each(t, func(e *env) {
		m := NewMetrics(nil)
		ids := []lm.TraceID{e.enqueue(lm.NewTraceID(0, "old"))}
		long := time.Now().Add(-time.Hour).UnixMilli()
		if err := e.rdb.HSet(ctx, "{lm:0}:trace:0-old", "created", long).Err(); err != nil {
			e.Fatal(err)
		}
		var n calls
		w := e.worker(n.of(func(_ context.Context, c lm.Claim) (lm.Result, error) {
			switch n.get(c.ID) {
			case 1:
				return lm.Result{}, lm.Park(time.Now(), "cold")
			case 2:
				return lm.Result{}, lm.Errorf(lm.Overloaded, "x")
			}
			return lm.Result{}, nil
		}), Options{Metrics: m})
		e.ended(ids...)
		w.drain()
		count, sum := observed(e, m.Wait)
		if claims := value(e, m.Claims); float64(count) != claims || count != 3 {
			e.Errorf("%d waits observed for %v claims, want 3", count, claims)
		}
		if sum >= 3600 {
			e.Errorf("waited %v s in all, want less than the hour since it was enqueued", sum)
		}
		e.quiet()
	})
}

// observed is how many observations a histogram has, and their sum.
func observed(t testing.TB, c prometheus.Collector) (n uint64, sum float64) {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			n, sum = n+m.GetHistogram().GetSampleCount(), sum+m.GetHistogram().GetSampleSum()
		}
	}
	return n, sum
}
