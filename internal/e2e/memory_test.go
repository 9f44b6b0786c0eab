package e2e

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// TestMemory_FullWhileOperationsRun (F11): Redis is at maxmemory while operations
// run and others wait. Nothing new is let in or claimed, and nobody spins; what
// runs finishes, is recorded and frees the memory; then the claiming goes on by
// itself. Nothing is lost, called twice, or counted as a crash.
func TestMemory_FullWhileOperationsRun(t *testing.T) {
	f := newFleet(t, 10*time.Second)
	const running, waiting, call = 8, 24, 6 * time.Second
	for range 2 {
		f.start(crew{slots: 16, latency: call})
	}
	first := f.enqueue(running, heavy(0))
	later := f.enqueue(waiting, heavy(3*time.Second)) // promoted when Redis is full, which it allows
	until(t, patience, "the first to run", func() bool { return f.inState(first, lm.Inferring) == running })
	began := time.Now()
	f.fill(running * weight / 2)
	until(t, patience, "entries that are read and not claimed", func() bool { return f.readUnclaimed() > 0 })
	if n := f.ended(first); n > 0 {
		t.Fatalf("%d have ended before there was anything to claim: void", n)
	}

	before := f.commands()
	if a, err := f.client.Enqueue(t.Context(), plain(0).request); !errors.Is(err, lm.ErrOutOfMemory) {
		t.Errorf("enqueue: %+v %v, want out of memory", a, err)
	}
	command := launch(t, "enqueue", binary(t, "enqueue"), []string{"--redis", f.redis.URL(), "Why?"}, nil, nil)
	if code := command.exit(patience); code != 3 || command.log.count("redis is out of memory (maxmemory reached); try again") != 1 {
		t.Errorf("enqueue ended with %d: %s", code, command.log.tail(5))
	}
	if n := f.inState(later, lm.Inferring); n > 0 {
		t.Errorf("%d were claimed with Redis full", n)
	}
	until(t, patience, "a first end", func() bool { return f.ended(first) > 0 })
	full := time.Since(began)
	rate := float64(f.commands()-before) / full.Seconds()
	t.Logf("full for %s at most; %.0f commands a second, those of this test included", full.Round(time.Millisecond), rate)
	if rate > 1500 { // this test looks 100 times a second; a busy loop makes tens of thousands
		t.Errorf("%.0f commands a second while Redis was full: somebody spins", rate)
	}

	f.awaitAll()
	t.Logf("all ended %s after Redis was full", time.Since(began).Round(time.Millisecond))
	f.check()
	if n := f.readLedger().repeats(); n > 0 {
		t.Errorf("%d calls were made twice", n)
	}
	for _, r := range f.records(f.all()) {
		if r.Attempts != 1 || r.CrashesTotal != 0 {
			t.Errorf("%s: %d attempts and %d crashes were counted:%s", r.ID, r.Attempts, r.CrashesTotal, story(r))
		}
	}
	f.rdb.ConfigSet(t.Context(), "maxmemory", "0")
	if _, err := f.client.Enqueue(t.Context(), plain(0).request); err != nil {
		t.Errorf("enqueue afterwards: %v", err)
	}
}

// weight is how much a heavy request takes.
const weight = 256 << 10

// heavy asks for a chat with a large request, of which its answer has little.
func heavy(in time.Duration) func(int) ask {
	return func(i int) ask {
		body, _ := json.Marshal(map[string]any{ // strings only
			"messages": []map[string]string{{"role": "user", "content": question(i)}}, "user": strings.Repeat("x", weight),
		})
		a := ask{request: lm.Request{Model: "sim", Body: body}, outcome: lm.Succeeded, told: question(i)}
		if in > 0 {
			a.request.NotBefore = time.Now().Add(in)
		}
		return a
	}
}

// fill sets maxmemory so far below what is used that so many bytes must be freed
// first.
func (f *fleet) fill(bytes int) {
	f.Helper()
	used := f.info("memory", "used_memory")
	if err := f.rdb.ConfigSet(f.Context(), "maxmemory", strconv.Itoa(used-bytes)).Err(); err != nil {
		f.Fatal(err)
	}
}

// info reads a number of INFO.
func (f *fleet) info(section, name string) int {
	f.Helper()
	for line := range strings.Lines(f.rdb.Info(f.Context(), section).Val()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				f.Fatal(err)
			}
			return n
		}
	}
	f.Fatalf("INFO says nothing of %s", name)
	return 0
}

// commands is how many commands Redis has run, those inside scripts left out.
func (f *fleet) commands() int { return f.info("stats", "total_commands_processed") }

// inState is how many of the operations are in a state.
func (f *fleet) inState(ids []lm.TraceID, state lm.State) (n int) {
	f.Helper()
	for _, r := range f.records(ids) {
		if r.State == state {
			n++
		}
	}
	return n
}

// readUnclaimed is how many entries workers have read whose operations are QUEUED.
func (f *fleet) readUnclaimed() int {
	f.Helper()
	pending, err := f.rdb.XPending(f.Context(), "{lm:0}:stream:default", "workers").Result()
	if err != nil {
		f.Fatal(err)
	}
	return int(pending.Count) - f.inState(f.all(), lm.Inferring) - f.inState(f.all(), lm.Claimed)
}
