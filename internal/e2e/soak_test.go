package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"
)

// TestSoak runs the nemesis for LIGHTERMAN_SOAK_MINUTES beside rolling restarts,
// and holds the growth of memory, keys, goroutines and descriptors against zero:
// of Redis, and of a worker that lives through all of it.
func TestSoak(t *testing.T) {
	if os.Getenv("LIGHTERMAN_SOAK_MINUTES") == "" {
		t.Skip("takes minutes: make soak MINUTES=10")
	}
	minutes := settingFrom(t, "LIGHTERMAN_SOAK_MINUTES", 10)
	if minutes < 8 {
		t.Fatalf("LIGHTERMAN_SOAK_MINUTES=%d: want 8 at least: what is kept for its retention is level after three", minutes)
	}
	n := newNemesis(t, uint64(number(t, "SEED", 1))*6) // a multiple of six has a single server
	s := &soak{nemesis: n, steady: n.recruit()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.sampleUntil(time.Now().Add(time.Duration(minutes) * time.Minute))
	}()
	for round := 0; ; round++ {
		select {
		case <-done:
			s.report()
			return
		default:
		}
		n.torment(20 * time.Second)
		s.restartOne(round)
		n.settle()
		n.judge()
		n.checkEmpty(0)
		s.forget()
	}
}

// soak is a long run and what was seen of it.
type soak struct {
	*nemesis
	steady  *member  // of no fault but those of Redis
	samples []sample // of sampleUntil
}

// sample is one look, in the order of soakColumns.
type sample struct {
	at     time.Duration // since the beginning
	values []float64
}

// soakColumns are what is watched.
var soakColumns = []struct {
	name string
	read func(*soak) float64
}{
	{"redis bytes", func(s *soak) float64 { return s.info("used_memory:") }},
	{"redis keys", func(s *soak) float64 { return float64(s.rdb.DBSize(s.Context()).Val()) }},
	{"redis clients", func(s *soak) float64 { return s.info("connected_clients:") }},
	{"worker bytes", func(s *soak) float64 { return s.steady.metric("go_memstats_heap_inuse_bytes") }},
	{"goroutines", func(s *soak) float64 { return s.steady.metric("go_goroutines") }},
	{"descriptors", func(s *soak) float64 { return s.steady.metric("process_open_fds") }},
}

// sampleUntil looks every two seconds; what Redis cannot tell just now is left out.
func (s *soak) sampleUntil(end time.Time) {
	began := time.Now()
	for time.Now().Before(end) {
		select {
		case <-s.Context().Done():
			return
		case <-time.After(2 * time.Second):
		}
		x := sample{at: time.Since(began), values: make([]float64, len(soakColumns))}
		for i, c := range soakColumns {
			x.values[i] = c.read(s)
		}
		if !slices.Contains(x.values, 0) {
			s.samples = append(s.samples, x)
		}
	}
}

// info reads a number from INFO.
func (s *soak) info(field string) (value float64) {
	if _, rest, found := strings.Cut(s.rdb.Info(s.Context()).Val(), field); found {
		_, _ = fmt.Sscan(rest, &value)
	}
	return value
}

// restartOne drains a worker and starts another, as a rolling deploy does.
func (s *soak) restartOne(round int) {
	s.Helper()
	m := s.members[round%len(s.members)]
	m.signal(syscall.SIGTERM)
	m.exit(patience)
	s.replace(m)
}

// forget lets go of the operations of a round, which Redis forgets as well.
func (s *soak) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgotten += len(s.order)
	clear(s.asked)
	s.order, s.autopsies = nil, nil
}

// soakGrowth is how much of its mean a value may grow between the second third of
// the run and the last one. What is kept for its retention is level by then.
const soakGrowth = 0.25

// report prints what was seen and fails for what grew.
func (s *soak) report() {
	s.Helper()
	third := len(s.samples) / 3
	if third < 10 {
		s.Fatalf("%d samples: too few to tell growth from noise; run longer", len(s.samples))
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "what\tfirst third\tsecond\tlast\tgrowth\t")
	for i, c := range soakColumns {
		means := [3]float64{}
		for part := range means {
			means[part] = mean(s.samples[part*third:(part+1)*third], i)
		}
		growth := means[2]/means[1] - 1
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%+.1f %%\t\n", c.name, means[0], means[1], means[2], 100*growth)
		if growth > soakGrowth {
			s.Errorf("%s grew by %.0f %% from the second third of the run to the last", c.name, 100*growth)
		}
	}
	_ = w.Flush()
	s.Logf("soak of %v, %d samples, %d operations:\n%s", s.samples[len(s.samples)-1].at.Round(time.Second), len(s.samples), s.forgotten, b.String())
}

// mean is the mean of a column.
func mean(samples []sample, column int) (m float64) {
	for _, x := range samples {
		m += x.values[column] / float64(len(samples))
	}
	return m
}
