package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// kill makes n operations of a queue and kind and ends them as failed, for a
// reason.
func kill(t testing.TB, s *lua.Store, n int, queue, kind string, reason lm.Kind) []lm.TraceID {
	t.Helper()
	st := lua.Stream{Queue: queue}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(s.EnsureGroups(background, []lua.Stream{st}))
	ops := make([]lua.Operation, n)
	for i := range ops {
		req := &lm.Request{Queue: queue, Kind: kind, Body: json.RawMessage(`{"prompt":"x"}`)}
		req.Normalize()
		ops[i] = lua.Operation{ID: lm.TraceID(fmt.Sprintf("0-%s-%s-%s-%05d", queue, kind, reason, i)), Request: req}
	}
	for _, a := range s.Enqueue(background, ops) {
		check(a.Err)
	}
	var ids []lm.TraceID
	for len(ids) < n {
		entries, err := s.Read(background, "killer", []lua.Share{{Stream: st, Count: 100}}, 100)
		check(err)
		claims, err := s.Claim(background, "killer", time.Minute, entries)
		check(err)
		errs := make(chan error, len(claims))
		for _, c := range claims {
			ids = append(ids, c.Claim.ID)
			go func() {
				errs <- s.Finish(background, c.Claim, lua.Ending{Path: []lm.State{lm.Errored, lm.Completed}, Tried: true,
					Result: lm.Result{Outcome: lm.Failed, Err: lm.Errorf(reason, "no")}})
			}()
		}
		for range claims {
			check(<-errs)
		}
	}
	return ids
}

// reject makes one dead letter of an entry that never was an operation.
func reject(t testing.TB, server *redistest.Server, s *lua.Store) {
	t.Helper()
	err := server.Client().XAdd(background, &redis.XAddArgs{Stream: "{lm:0}:stream:default", Values: []string{"id", "bad", "v", "9"}}).Err()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.Read(background, "killer", []lua.Share{{Stream: lua.Stream{Queue: "default"}, Count: 1}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Adopt(background, "killer", entries); err != nil || got[0] != lua.AdoptedDead {
		t.Fatalf("%v %v", got, err)
	}
}

func deadCount(t testing.TB, s *redistest.Server) int64 {
	t.Helper()
	return s.Client().XLen(background, "{lm:0}:dead").Val()
}

func TestDead_FiltersAreTheSameEverywhere(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, store := on(t, server), storeOf(t, server)
	kill(t, store, 3, "default", "chat", lm.CrashLimit)
	kill(t, store, 2, "batch", "prompt", lm.PermanentFailure)
	reject(t, server, store)
	dry := func(args string) map[string]int {
		return decode[map[string]int](t, s.run(append([]string{"lighterman", "dead", "retry", "--dry-run", "-o", "json"}, strings.Fields(args)...)...).ok())
	}
	for _, row := range []struct {
		args  string
		purge string // the counts by reason
		lines int    // of dead ls
	}{
		{"--reason crash_limit", `{"crash_limit":3}`, 3},
		{"--queue batch", `{"permanent":2}`, 2},
		{"--kind prompt", `{"permanent":2}`, 2},
		{"--kind chat --queue batch", `{}`, 0},
		{"--reason unknown_version", `{"unknown_version":1}`, 1},
		{"--newer-than 1h", `{"crash_limit":3,"permanent":2,"unknown_version":1}`, 6},
		{"--older-than 1h", `{}`, 0},
		{"--older-than 1ms --newer-than 7d", `{"crash_limit":3,"permanent":2,"unknown_version":1}`, 6},
	} {
		args := append([]string{"lighterman", "dead", "purge", "--dry-run", "-o", "json"}, strings.Fields(row.args)...)
		if got := s.run(args...).ok(); strings.Join(strings.Fields(got), "") != row.purge {
			t.Errorf("purge %s: %s, want %s", row.args, got, row.purge)
		}
		out := s.run(append([]string{"lighterman", "dead", "ls", "-o", "id"}, strings.Fields(row.args)...)...).ok()
		if n := strings.Count(out, "\n"); n != row.lines {
			t.Errorf("ls %s: %d lines, want %d", row.args, n, row.lines)
		}
	}
	if got := dry("--newer-than 1h"); got["crash_limit"] != 3 || got["permanent"] != 2 || len(got) != 2 {
		t.Errorf("what is no operation would be retried: %v", got)
	}
	if got := dry("--all --limit 4"); got["crash_limit"] != 3 || got["permanent"] != 1 {
		t.Errorf("--limit 4: %v, want the oldest", got)
	}
	if out := s.run("lighterman", "dead", "purge", "--dry-run", "--all").lines(); len(out) != 4 || !containsAll(out[1], []string{"crash_limit", " 3"}) {
		t.Errorf("purge --dry-run: %q", out)
	}
	if n := deadCount(t, server); n != 6 {
		t.Errorf("%d dead letters are left of 6, after dry runs", n)
	}
	if out := s.run("lighterman", "dead", "ls", "-n", "2", "--reason", "crash_limit").lines(); len(out) != 3 {
		t.Errorf("ls -n 2: %q", out)
	}
}

// TestDead_TheLimitTakesTheOldestOfAllPartitions, not the first partition's.
func TestDead_TheLimitTakesTheOldestOfAllPartitions(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server, "LIGHTERMAN_REDIS_PARTITIONS=2")
	for i, reason := range []string{"a", "b", "c", "d", "e"} {
		p := (i + 1) % 2
		err := server.Client().XAdd(background, &redis.XAddArgs{Stream: fmt.Sprintf("{lm:%d}:dead", p), ID: fmt.Sprintf("%d-0", 1000+i),
			Values: []string{"t", fmt.Sprintf("%d-x", p), "reason", reason}}).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	out := s.run("lighterman", "dead", "purge", "--all", "--limit", "3", "--dry-run", "-o", "json").ok()
	if got := decode[map[string]int](t, out); len(got) != 3 || got["a"] != 1 || got["b"] != 1 || got["c"] != 1 {
		t.Errorf("%v", got)
	}
	if out := s.run("lighterman", "dead", "purge", "--all", "--limit", "3", "--yes").lines(); len(out) != 3 || !containsAll(out[2], []string{"entry only", " 3"}) {
		t.Errorf("%q", out)
	}
	if out := s.run("lighterman", "dead", "ls", "-o", "json").ok(); containsAll(out, []string{`"reason": "d"`, `"reason": "e"`}) != true || strings.Count(out, "reason") != 2 {
		t.Errorf("left: %s", out)
	}
}

func TestDead_RetriesInBulk(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, store := on(t, server), storeOf(t, server)
	ids := kill(t, store, 230, "default", "chat", lm.CrashLimit)
	kill(t, store, 2, "batch", "chat", lm.PermanentFailure)
	reject(t, server, store)
	s.run("lighterman", "retry", string(ids[0])).ok()
	if err := server.Client().Del(background, "{lm:0}:request:"+string(ids[1])).Err(); err != nil {
		t.Fatal(err)
	}
	full := s.with("LIGHTERMAN_LIMITS_QUEUE=101")
	r := full.run("lighterman", "dead", "retry", "--queue", "default", "-o", "json")
	if r.failed(exitFailed, "retry: 128 dead letters were not retried; they are still there"); r.code == exitFailed {
		if got := decode[map[string]int](t, r.out); got["retried"] != 100 || got["queue_full"] != 128 || got["gone"] != 1 || got["no_operation"] != 1 || len(got) != 4 {
			t.Errorf("%v", got)
		}
	}
	out := s.run("lighterman", "dead", "retry", "--all").lines()
	if len(out) != 4 || !containsAll(out[0], []string{"OUTCOME", "LETTERS"}) || !containsAll(out[1]+" ", []string{"retried", " 130 "}) {
		t.Errorf("retry --all: %q", out)
	}
	if n := accepted(t, server); n != 231 {
		t.Errorf("%d operations wait, want 231", n)
	}
	if n := deadCount(t, server); n != 2 { // the malformed one, and the one without a request
		t.Errorf("%d dead letters are left", n)
	}
	if out := s.run("lighterman", "dead", "retry", string(ids[0])).ok(); !containsAll(out, []string{string(ids[0]) + " -> 0-", "retried before"}) {
		t.Errorf("dead retry ID: %q", out)
	}
	if out := s.run("lighterman", "dead", "retry", "--queue", "nobody").lines(); len(out) != 2 || !containsAll(out[1], []string{"retried", " 0"}) {
		t.Errorf("of none: %q", out)
	}
}

func TestDead_PurgesInBulk(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, store := on(t, server), storeOf(t, server)
	kill(t, store, 150, "default", "chat", lm.CrashLimit)
	kept := kill(t, store, 3, "batch", "chat", lm.CrashLimit)
	reject(t, server, store)
	rdb := server.Client()
	out := s.run("lighterman", "dead", "purge", "--queue", "default", "--yes", "-o", "json").ok()
	if got := decode[map[string]int](t, out); got["purged"] != 150 || got["entry_only"] != 1 || len(got) != 2 {
		t.Errorf("%v", got)
	}
	if n := deadCount(t, server); n != 3 {
		t.Errorf("%d dead letters are left, want 3", n)
	}
	if left := rdb.Keys(background, "*-default-*").Val(); len(left) != 0 {
		t.Errorf("left of what was purged: %q", left)
	}
	r := s.run("lighterman", "dead", "purge", string(kept[0]), "0-none", "--yes")
	r.refused(exitFailed, "purge: 0-none is no dead letter; dead ls lists them", "purge: nothing was done")
	if out := s.run("lighterman", "dead", "purge", string(kept[0]), "--yes").lines(); len(out) != 2 || !containsAll(out[1]+" ", []string{"purged", " 1 "}) {
		t.Errorf("purge ID: %q", out)
	}
	s.run("lighterman", "show", string(kept[0])).refused(exitFailed, "no such operation")
	if n := deadCount(t, server); n != 2 {
		t.Errorf("%d dead letters are left, want 2", n)
	}
}

func TestDead_RefusesWhatIsNoClearChoice(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	kill(t, storeOf(t, server), 1, "default", "chat", lm.CrashLimit)
	for _, row := range []struct{ args, want string }{
		{"retry", "retry: want IDs, --reason, --queue, |or --all"},
		{"purge --yes", "purge: want IDs, --reason, --queue, |or --all"},
		{"purge --limit 1 --yes", "purge: want IDs, |or --all"},
		{"purge --all", "purge: nobody can be asked here: --yes purges, --dry-run"},
		{"purge 0-a", "purge: nobody can be asked here"},
		{"purge 0-a --all --yes", "purge: give IDs, or --all or a filter, not both"},
		{"purge 0-a --limit 3 --yes", "purge: give IDs, or --all or a filter, not both"},
		{"retry 0-a --queue b", "retry: give IDs, or --all or a filter, not both"},
		{"retry --all --queue b", "retry: give --all or a filter, not both"},
		{"retry --all --limit 0", "retry: --limit 0: want 1 or more"},
		{"retry --older-than x", `retry: --older-than "x": want an age, as 90m, 12h or 7d`},
		{"retry --older-than -5m", `retry: --older-than "-5m": want an age`},
		{"retry --newer-than 0d", `retry: --newer-than "0d": want an age`},
		{"ls --newer-than 1h --older-than 2h", "ls: --older-than 2h and --newer-than 1h: nothing is both"},
		{"retry --all -o id", `retry: --output "id": want table, json`},
		{"purge nope --yes", `purge: trace ID "nope"`},
	} {
		s.run(append([]string{"lighterman", "dead"}, strings.Fields(row.args)...)...).refused(exitUsage, row.want)
	}
	if n := deadCount(t, server); n != 1 {
		t.Errorf("%d dead letters are left, want 1", n)
	}
}

// TestDead_PurgeAsksOnATerminal and does nothing but on a yes.
func TestDead_PurgeAsksOnATerminal(t *testing.T) {
	t.Parallel()
	script := terminal(t)
	server := redistest.Start(t)
	s := on(t, server)
	kill(t, storeOf(t, server), 2, "default", "chat", lm.CrashLimit)
	for _, row := range []struct {
		answer string
		left   int64
	}{{"\n", 2}, {"no\n", 2}, {"y\n", 0}} {
		inner := s.command(background, []string{"lighterman"})
		ctx, cancel := context.WithTimeout(background, 30*time.Second)
		cmd := exec.CommandContext(ctx, script, "-qec", inner.Path+" dead purge --all", "/dev/null")
		cmd.Env, cmd.Dir, cmd.Stdin = inner.Env, inner.Dir, strings.NewReader(row.answer)
		out, err := cmd.CombinedOutput()
		cancel()
		if !strings.Contains(string(out), "Purge 2 dead letters? [y/N]") || (err == nil) != (row.left == 0) {
			t.Errorf("%q: %v\n%s", row.answer, err, out)
		}
		if n := deadCount(t, server); n != row.left {
			t.Errorf("%q: %d dead letters are left, want %d", row.answer, n, row.left)
		}
	}
}

// TestDead_TenThousand measures both bulk commands, as processes from start to
// end, on operations with a checkpoint of one step; LIGHTERMAN_E2E=full runs it.
func TestDead_TenThousand(t *testing.T) {
	if os.Getenv("LIGHTERMAN_E2E") != "full" {
		t.Skip("LIGHTERMAN_E2E=full measures")
	}
	const n = 10_000
	server := redistest.Start(t)
	s, store := on(t, server), storeOf(t, server)
	rdb := server.Client()
	codec, err := checkpoint.New(checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pipe := rdb.Pipeline()
	for _, id := range kill(t, store, n, "default", "chat", lm.CrashLimit) {
		book, _ := codec.Open(id, nil)
		steps, err := book.Record("step:one", []byte(strings.Repeat("what the page said ", 100)))
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			pipe.HSet(background, "{lm:0}:checkpoint:"+string(id), step.Name, step.Data)
		}
		pipe.HSet(background, "{lm:0}:trace:"+string(id), "checkpoint_size", 300)
	}
	if _, err := pipe.Exec(background); err != nil {
		t.Fatal(err)
	}
	timed := func(args ...string) {
		t.Helper()
		began := time.Now()
		out := s.run(append([]string{"lighterman", "dead"}, args...)...).lines()
		took := time.Since(began)
		t.Logf("%s: %s\n%s", strings.Join(args, " "), took.Round(time.Millisecond), strings.Join(out, "\n"))
		if took > 10*time.Second || !containsAll(out[1], []string{"10000"}) {
			t.Errorf("%s: %s, %q", args[0], took, out)
		}
	}
	timed("retry", "--all", "--dry-run")
	timed("retry", "--all")
	if left := accepted(t, server); left != n || deadCount(t, server) != 0 {
		t.Errorf("%d wait, %d are dead", left, deadCount(t, server))
	}
	rdb.FlushAll(background)
	kill(t, store, n, "default", "chat", lm.CrashLimit)
	timed("purge", "--all", "--yes")
	if keys := rdb.DBSize(background).Val(); keys > 10 {
		t.Errorf("%d keys are left", keys)
	}
}
