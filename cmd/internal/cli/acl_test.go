package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// roles starts a Redis with the users of deploy/acl, each with the same password,
// and gives a shell and a client for one of them by name.
func roles(t *testing.T) (server *redistest.Server, as func(user string) *shell, client func(user string) *redis.Client) {
	t.Helper()
	rules, err := os.ReadFile("../../../deploy/acl/users.acl")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(rules), " on resetkeys", " on >"+secret+" resetkeys")
	text = strings.Replace(text, "user default off", "user default on nopass ~* &* +@all", 1) // for the test's own looking
	file := filepath.Join(t.TempDir(), "users.acl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server = redistest.Start(t, redistest.WithTCP(), redistest.WithConfig("aclfile", file))
	as = func(user string) *shell {
		return newShell(t, "LIGHTERMAN_REDIS_URL="+strings.Replace(server.URL(), "://", "://"+user+":"+secret+"@", 1))
	}
	client = func(user string) *redis.Client {
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr, Username: user, Password: secret, Protocol: 2, DisableIdentity: true})
		t.Cleanup(func() { _ = rdb.Close() })
		return rdb
	}
	return server, as, client
}

// did runs a command that succeeds, whatever it says of its progress.
func (s *shell) did(args ...string) string {
	s.t.Helper()
	r := s.run(args...)
	if r.code != 0 {
		s.t.Errorf("%s: exit %d\nstdout: %s\nstderr: %s", r.args, r.code, r.out, r.err)
	}
	return r.out
}

// TestACL_EachRoleDoesItsWork: a worker, a producer, a reader and an operator each
// do all of theirs as the user that deploy/acl has for them.
func TestACL_EachRoleDoesItsWork(t *testing.T) {
	t.Parallel()
	server, as, _ := roles(t)
	worker, produce, read, operate := as("worker"), as("producer"), as("reader"), as("operator")
	w, _ := worker.with("LIGHTERMAN_LOG_LEVEL=debug").startWorker("--name", "w")
	id := strings.TrimSpace(produce.did("enqueue", question, "--wait", "-o", "id"))
	produce.did("enqueue", question, "--follow")

	operate.did("lighterman", "pause", "default")
	store := storeOf(t, server)
	until(t, "the worker knows of the pause", func() bool { return strings.Contains(w.err.String(), "paused") })
	waits := strings.TrimSpace(produce.did("enqueue", question))
	produce.did("lighterman", "cancel", waits)
	operate.did("lighterman", "resume", "default")
	failed := strings.TrimSpace(produce.did("enqueue", question, "--model", "sim-embed", "-o", "id"))
	again := strings.TrimSpace(produce.did("enqueue", question+"?", "--model", "sim-embed", "-o", "id"))
	until(t, "both have failed", func() bool { return stateIs(t, store, failed, lm.Completed) && stateIs(t, store, again, lm.Completed) })
	produce.did("lighterman", "retry", failed)
	operate.did("lighterman", "dead", "retry", again)
	until(t, "both have failed again", func() bool {
		dead, err := store.Dead(background, 0, 10)
		return err == nil && len(dead) == 2
	})
	for _, args := range [][]string{{"ls"}, {"show", id}, {"status"}, {"workers"}, {"dead", "ls"}, {"doctor"}} {
		read.did(append([]string{"lighterman"}, args...)...)
	}
	operate.did("lighterman", "dead", "purge", "--all", "--yes")
	order(t, store, "0-orphan")
	server.Client().Del(background, "{lm:0}:stream:default")
	operate.did("lighterman", "doctor", "--fix")
	operate.did("lighterman", "drain", "w")
	<-w.done
	if out := w.err.String(); strings.Contains(out, "NOPERM") {
		t.Errorf("the worker was refused something:\n%s", out)
	}
}

// TestACL_ChangesOfTheStateAreTold: what an operator or a worker changes, a worker
// hears. A refused word is no error, so nothing else would show it.
func TestACL_ChangesOfTheStateAreTold(t *testing.T) {
	t.Parallel()
	_, _, client := roles(t)
	store := func(user string) *lua.Store { return lua.NewStore(client(user), client(user), lua.Options{}) }
	l, err := store("worker").Listen(background, "w", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, user := range []string{"operator", "worker"} {
		r, err := store(user).OperateModel(background, "m", "b", lua.ModelDisable)
		if err != nil {
			t.Fatal(err)
		}
		if err := store("worker").Tell(background, lua.WordOrders, "w"); err != nil { // so that silence has an end
			t.Fatal(err)
		}
		word, err := l.Next()
		if v, ok := lua.StateVersion(word); err != nil || !ok || v != r.Version {
			t.Fatalf("%s made version %d; heard %q, %v", user, r.Version, word, err)
		}
		if word, err := l.Next(); word != lua.WordOrders || err != nil {
			t.Fatalf("heard %q, %v", word, err)
		}
	}
}

// TestACL_AndNoMore: what a role has no business with is refused.
func TestACL_AndNoMore(t *testing.T) {
	t.Parallel()
	server, as, client := roles(t)
	server.Client().XGroupCreateMkStream(background, "{lm:0}:stream:default", "workers", "0")
	everywhere := []string{"flushall", "flushdb", "keys *", "config get *", "acl list", "shutdown", "script flush", "replicaof no one", "get other", "set other 1"}
	for user, lines := range map[string][]string{
		"producer": {
			"xreadgroup group workers c streams {lm:0}:stream:default >", "xclaim {lm:0}:stream:default workers c 0 1-1", "xautoclaim {lm:0}:stream:default workers c 0 0",
			"xgroup destroy {lm:0}:stream:default workers", "scan 0", "hset {lm:fleet}:orders a b", "hset {lm:fleet}:workers a b", "hset {lm:fleet}:names a b", "hset {lm:fleet}:board a b", "client list",
		},
		"worker": {"acl setuser x", "acl getuser worker", "client kill id 1"},
		"reader": {
			"set {lm:0}:x 1", "hset {lm:fleet}:orders a b", "xadd {lm:0}:stream:default * a b", "xdel {lm:0}:stream:default 1-1", "xack {lm:0}:stream:default workers 1-1",
			"unlink {lm:0}:x", "publish {lm:fleet}:control:w cancel", "xgroup destroy {lm:0}:stream:default workers", "xreadgroup group workers c streams {lm:0}:stream:default >",
			"eval redis.call('set',KEYS[1],'1') 1 {lm:0}:x",
		},
		"operator": {"xreadgroup group workers c streams {lm:0}:stream:default >", "xautoclaim {lm:0}:stream:default workers c 0 0", "xgroup destroy {lm:0}:stream:default workers"},
	} {
		rdb := client(user)
		for _, line := range append(lines, everywhere...) {
			var args []any
			if script, rest, ok := strings.Cut(line, ") "); ok && strings.HasPrefix(line, "eval ") {
				args = append(args, "eval", strings.TrimPrefix(script, "eval ")+")")
				line = rest
			}
			for word := range strings.FieldsSeq(line) {
				args = append(args, word)
			}
			err := rdb.Do(background, args...).Err()
			if err == nil || !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "can't run this command") {
				t.Errorf("%s: %v: %v, want a refusal", user, args, err)
			}
		}
	}
	if r := as("producer").run("worker", "--http", "127.0.0.1:0"); r.code == 0 {
		t.Error("a producer runs a worker")
	}
}

// TestACL_AMissingRightIsOneLine: a worker whose user lacks a command, or a
// pattern, does not start and says which.
func TestACL_AMissingRightIsOneLine(t *testing.T) {
	t.Parallel()
	server, as, _ := roles(t)
	for rules, missing := range map[string]string{
		"-xack -zadd": "may not xack zadd, which", "resetkeys ~{lm:fleet}:*": "~{lm:[0-9]*", "resetkeys ~{lm:[0-9]* ~{lm:fleet}:facts": "~{lm:fleet}:*",
	} {
		args := []any{"acl", "setuser", "worker"}
		for r := range strings.FieldsSeq(rules) {
			args = append(args, r)
		}
		if err := server.Client().Do(background, "acl", "load").Err(); err != nil {
			t.Fatal(err)
		}
		if err := server.Client().Do(background, args...).Err(); err != nil {
			t.Fatal(err)
		}
		r := as("worker").run("worker", "--http", "127.0.0.1:0")
		if out := r.err; r.code == 0 || !strings.Contains(out, missing) || strings.Count(strings.TrimSpace(out), "\n") != 0 {
			t.Errorf("%s: exit %d, %q", rules, r.code, out)
		}
	}
}
