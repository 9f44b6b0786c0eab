package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// diagnosis is what doctor says of a server, by code; the worst one of each.
func diagnosis(t *testing.T, sh *shell, code int, args ...string) map[string]finding {
	t.Helper()
	r := sh.run(append([]string{"lighterman", "doctor", "-o", "json"}, args...)...)
	var list []finding
	if err := json.Unmarshal([]byte(r.out), &list); err != nil {
		t.Fatalf("doctor: %v: %s %s", err, r.out, r.err)
	}
	if r.code != code {
		t.Errorf("doctor: exit %d, want %d: %s%s", r.code, code, r.out, r.err)
	}
	rank := map[severity]int{sevInfo: 1, sevUnknown: 2, sevWarning: 3, sevError: 4}
	by := make(map[string]finding)
	for _, f := range list {
		if had, ok := by[f.Code]; !ok || rank[f.Severity] > rank[had.Severity] {
			by[f.Code] = f
		}
	}
	return by
}

// wantFinding checks a severity and a word of the text.
func wantFinding(t *testing.T, by map[string]finding, code string, s severity, word string) {
	t.Helper()
	if f := by[code]; f.Severity != s || !strings.Contains(f.What, word) {
		t.Errorf("%s: %+v, want %s with %q", code, f, s, word)
	}
}

// sick is a server of its own with a store, and a doctor for it.
func sick(t *testing.T, opts ...redistest.Option) (*shell, *redis.Client, *lua.Store) {
	t.Helper()
	server := redistest.Start(t, opts...)
	rdb := server.Client()
	s := lua.NewStore(rdb, rdb, lua.Options{})
	rdb.HSet(background, "{lm:fleet}:facts", "partitions", 1)
	return on(t, server), rdb, s
}

// order accepts an operation.
func order(t *testing.T, s *lua.Store, id lm.TraceID) {
	t.Helper()
	if err := s.EnsureGroups(background, []lua.Stream{{Queue: "default"}, {Queue: "default", Resume: true}}); err != nil {
		t.Fatal(err)
	}
	r := &lm.Request{Body: json.RawMessage(`{}`)}
	r.Normalize()
	if a := s.Enqueue(background, []lua.Operation{{ID: id, Request: r}})[0]; a.Err != nil {
		t.Fatal(a.Err)
	}
}

func TestDoctor_Healthy(t *testing.T) {
	t.Parallel()
	sh, _, _ := sick(t, redistest.WithAppendOnly(), redistest.WithConfig("maxmemory", "200mb"))
	by := diagnosis(t, sh, 0)
	for code, f := range by {
		if f.Severity != sevOK {
			t.Errorf("%s: %+v", code, f)
		}
	}
	if len(by) < 14 {
		t.Errorf("%d checks: %v", len(by), by)
	}
	if r := sh.run("lighterman", "doctor"); r.code != 0 || !strings.Contains(r.out, "LM001") || !strings.Contains(r.out, "0 error(s)") {
		t.Errorf("table: %d %s", r.code, r.out)
	}
}

func TestDoctor_Unreachable(t *testing.T) {
	t.Parallel()
	sh := newShell(t, "LIGHTERMAN_REDIS_URL=redis://:"+secret+"@127.0.0.1:1")
	wantFinding(t, diagnosis(t, sh, 1), "LM001", sevError, "refused")
}

func TestDoctor_ServerSettings(t *testing.T) {
	t.Parallel()
	sh, rdb, _ := sick(t)
	by := diagnosis(t, sh, 0)
	wantFinding(t, by, "LM004", sevWarning, "not set")
	wantFinding(t, by, "LM005", sevWarning, "AOF is off")
	rdb.ConfigSet(background, "maxmemory-policy", "allkeys-lru")
	rdb.ConfigSet(background, "maxmemory", "2mb")
	rdb.Set(background, "ballast", strings.Repeat("x", 1<<20), 0)
	by = diagnosis(t, sh, 1, "--fix")
	wantFinding(t, by, "LM003", sevError, "allkeys-lru")
	wantFinding(t, by, "LM004", sevWarning, "% of maxmemory")
	if got := rdb.ConfigGet(background, "maxmemory-policy").Val()["maxmemory-policy"]; got != "allkeys-lru" {
		t.Errorf("--fix set the policy to %s", got)
	}
}

func TestDoctor_Partitions(t *testing.T) {
	t.Parallel()
	sh, rdb, _ := sick(t)
	rdb.HSet(background, "{lm:fleet}:facts", "partitions", 4)
	by := diagnosis(t, sh, 1)
	wantFinding(t, by, "LM006", sevError, "with 4")
	if _, ok := by["LM008"]; ok {
		t.Error("it looked for keys where they are not")
	}
	rdb.Del(background, "{lm:fleet}:facts")
	wantFinding(t, diagnosis(t, sh, 0), "LM006", sevInfo, "none recorded")
	if rdb.Exists(background, "{lm:fleet}:facts").Val() != 0 {
		t.Error("doctor recorded a number")
	}
}

// TestDoctor_FindsAndFixes plants all that --fix mends: it is found and not
// touched, then fixed, then gone.
func TestDoctor_FindsAndFixes(t *testing.T) {
	t.Parallel()
	sh, rdb, s := sick(t)
	order(t, s, "0-a")
	rdb.XTrimMaxLen(background, "{lm:0}:stream:default", 0)
	rdb.Set(background, "{lm:0}:result:0-gone", "x", 0)
	order(t, s, "0-old")
	rdb.HSet(background, "{lm:0}:trace:0-old", "created", 1)
	old := time.Now().Add(-25 * time.Hour).UnixMilli()
	rdb.HSet(background, "{lm:fleet}:workers", "gone-1", fmt.Sprintf("%d {}", old))
	rdb.HSet(background, "{lm:fleet}:orders", "drain gone-2", old)
	codes := []string{"LM008", "LM010", "LM018", "LM019", "LM020"}
	by := diagnosis(t, sh, 1)
	wantFinding(t, by, "LM008", sevError, "0-a (QUEUED, entry)")
	for _, code := range codes {
		if f := by[code]; !f.Fixable || f.Fixed {
			t.Errorf("%s: %+v", code, f)
		}
	}
	if n := rdb.XLen(background, "{lm:0}:stream:default").Val(); n != 1 {
		t.Fatalf("without --fix it changed the stream: %d entries", n)
	}
	by = diagnosis(t, sh, 1, "--fix") // nobody serves the queue: still an error
	for _, code := range codes {
		if f := by[code]; !f.Fixable || !f.Fixed {
			t.Errorf("%s after --fix: %+v", code, f)
		}
	}
	by = diagnosis(t, sh, 1)
	for _, code := range codes {
		if f := by[code]; f.Fixable {
			t.Errorf("%s again: %+v", code, f)
		}
	}
	wantFinding(t, by, "LM012", sevError, "default: 1 waiting")
	if n := rdb.XLen(background, "{lm:0}:stream:default").Val(); n != 1 {
		t.Errorf("%d entries, want that of the orphan", n)
	}
}

func TestDoctor_Fleet(t *testing.T) {
	t.Parallel()
	sh, rdb, s := sick(t)
	order(t, s, "0-a")
	wantFinding(t, diagnosis(t, sh, 1), "LM012", sevError, "no worker serves default")
	minute := time.Now().Add(-10 * time.Minute).UnixMilli()
	rdb.HSet(background, "{lm:fleet}:workers", "quiet-1", fmt.Sprintf(`%d {"queues":["default"]}`, minute))
	rdb.HSet(background, "{lm:fleet}:orders", "pause batch", minute)
	rdb.HIncrBy(background, "{lm:0}:stats", "waiting:default", 5)
	by := diagnosis(t, sh, 1)
	wantFinding(t, by, "LM010", sevWarning, "quiet-1")
	wantFinding(t, by, "LM012", sevError, "default")
	wantFinding(t, by, "LM013", sevInfo, "batch")
	wantFinding(t, by, "LM017", sevWarning, "counted 6, there are 1")
	rdb.HSet(background, "{lm:fleet}:workers", "live-1", fmt.Sprintf(`%d {"queues":["default"]}`, time.Now().UnixMilli()))
	wantFinding(t, diagnosis(t, sh, 0), "LM012", sevOK, "")

	// A reader that died: long idle with an entry, and one without.
	if _, err := s.Read(background, "dead-1", []lua.Share{{Stream: lua.Stream{Queue: "default"}, Count: 1}}, 1); err != nil {
		t.Fatal(err)
	}
	id := rdb.XRange(background, "{lm:0}:stream:default", "-", "+").Val()[0].ID
	rdb.Do(background, "XCLAIM", "{lm:0}:stream:default", lua.Group, "dead-1", 0, id, "IDLE", 3_600_000, "JUSTID")
	wantFinding(t, diagnosis(t, sh, 1), "LM011", sevError, "default: idle for")
	rdb.Del(background, "{lm:0}:request:0-a")
	rdb.LPush(background, "{lm:0}:request:0-a", "x")
	by = diagnosis(t, sh, 0, "--fix")
	wantFinding(t, by, "LM008", sevError, "dead")
	if dead, err := s.Dead(background, 0, 10); err != nil || len(dead) != 1 || dead[0].Reason != "key_replaced" {
		t.Errorf("%+v %v", dead, err)
	}
}

// TestDoctor_Rights: a user with the rights of docs/redis.md but one.
func TestDoctor_Rights(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	rdb.HSet(background, "{lm:fleet}:facts", "partitions", 1)
	sh := newShell(t, "LIGHTERMAN_REDIS_URL="+strings.Replace(server.URL(), "unix://", "unix://u:"+secret+"@", 1))
	grant := func(rules ...any) {
		t.Helper()
		if err := rdb.Do(background, append([]any{"acl", "setuser", "u", "reset", "on", ">" + secret, "~{lm:*", "&*"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	grant("+@all", "-xadd")
	wantFinding(t, diagnosis(t, sh, 1), "LM015", sevError, "xadd")
	grant("+@all", "-config", "-acl", "-pubsub")
	by := diagnosis(t, sh, 0)
	wantFinding(t, by, "LM015", sevUnknown, "cannot look")
	wantFinding(t, by, "LM007", sevWarning, "cannot count")
	grant("+@all", "-info")
	by = diagnosis(t, sh, 1)
	for _, code := range []string{"LM002", "LM003", "LM004", "LM005"} {
		wantFinding(t, by, code, sevUnknown, "does not tell")
	}
}

// TestDoctor_Presence: a worker that looks after nobody is named, once it has had
// the time to begin.
func TestDoctor_Presence(t *testing.T) {
	t.Parallel()
	sh, _, s := sick(t)
	announced(t, s, lua.WorkerRecord{Owner: "sees-1", Presence: true, Started: time.Now().Add(-time.Hour)})
	announced(t, s, lua.WorkerRecord{Owner: "new-1", Started: time.Now()})
	wantFinding(t, diagnosis(t, sh, 0), "LM007", sevOK, "")
	announced(t, s, lua.WorkerRecord{Owner: "blind-1", Started: time.Now().Add(-time.Hour)})
	wantFinding(t, diagnosis(t, sh, 0), "LM007", sevWarning, "look after nobody: blind-1")
}

func TestDoctor_Embedded(t *testing.T) {
	t.Parallel()
	m, rdb := redistest.MiniServer(t)
	s := lua.NewStore(rdb, rdb, lua.Options{})
	sh := newShell(t, "LIGHTERMAN_REDIS_URL=redis://"+m.Addr())
	order(t, s, "0-a")
	by := diagnosis(t, sh, 0)
	for _, code := range []string{"LM002", "LM003", "LM004", "LM005", "LM012", "LM015"} {
		if by[code].Severity != sevUnknown {
			t.Errorf("%s: %+v", code, by[code])
		}
	}
	rdb.Del(background, "{lm:0}:stream:default")
	diagnosis(t, sh, 0, "--fix")
	if n := rdb.XLen(context.Background(), "{lm:0}:stream:default").Val(); n != 1 {
		t.Errorf("%d entries", n)
	}
}

func TestDoctor_PureChecks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		got  finding
		want severity
	}{
		{versionOf(map[string]string{"redis_version": "6.2.1"}), sevError},
		{versionOf(map[string]string{"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.0.1"}), sevOK},
		{versionOf(nil), sevUnknown},
		{persistenceOf(map[string]string{"aof_enabled": "1", "aof_last_write_status": "err"}), sevError},
		{persistenceOf(map[string]string{"aof_enabled": "1", "aof_last_write_status": "ok"}), sevOK},
		{memoryOf(map[string]string{"maxmemory": "100", "used_memory": "89"}), sevOK},
		{memoryOf(map[string]string{"maxmemory": "100", "used_memory": "90"}), sevWarning},
	} {
		if c.got.Severity != c.want {
			t.Errorf("%+v, want %s", c.got, c.want)
		}
	}
	if f := versionOf(map[string]string{"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.0.1"}); !strings.Contains(f.What, "Valkey 8.0.1") {
		t.Errorf("%+v", f)
	}
}
