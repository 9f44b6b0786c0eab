package examples

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// digest is the recipe of docs/wire.md, written once more.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestWire_Vectors: the values that the page gives to check against.
func TestWire_Vectors(t *testing.T) {
	page := wire(t)
	const body = `{"messages":[{"role":"user","content":"Why do rivers bend? Où?"}]}`
	fields := []string{"v", "1", "kind", "chat", "body", body, "x_order", "42"}
	entry := lua.Entry{Stream: lua.Stream{Queue: "default"}, ID: "1795227330605-0", Fields: fields}
	derived := lua.Derive(entry)
	keyed := lm.Request{Tenant: "acme", Thread: "thread-7", Key: "order-42"}
	for _, row := range []struct{ what, code, recipe string }{
		{"trace ID", string(derived.ID), "0-x" + entry.ID + "-" + digest(fields...)[:8]},
		{"request hash", derived.Request.Hash(), digest("chat", "", "", "", "", "", body, "order", "42")[:32]},
		{"key hash", keyed.KeyHash(), digest("acme", "thread-7", "order-42")[:32]},
	} {
		if row.code != row.recipe || !strings.Contains(page, "`"+row.code+"`") {
			t.Errorf("%s: the code says %s, the recipe %s; is it on the page?", row.what, row.code, row.recipe)
		}
	}
	if !strings.Contains(page, "`"+body+"`") {
		t.Error("the page has another body")
	}
}

// TestForeign_MalformedAmongGood (F22): every kind of malformed entry, each next
// to good ones, is dead-lettered once with its reason, and the neighbours complete.
func TestForeign_MalformedAmongGood(t *testing.T) {
	f := start(t, 0)
	page := wire(t)
	huge := strings.Repeat("h", 10<<20)
	many := []string{"body", good}
	for i := range lm.MaxMeta + 1 {
		many = append(many, fmt.Sprintf("f%d", i), "1")
	}
	rows := []struct {
		name   string
		fields []string
		reason string
		id     lm.TraceID // empty: made from the entry
	}{
		{"no body", []string{"v", "1", "kind", "chat"}, "no_body", ""},
		{"empty body", []string{"id", "empty-body", "body", ""}, "no_body", "0-empty-body"},
		{"unknown version", []string{"v", "2", "body", good}, "unknown_version", ""},
		{"empty version", []string{"v", "", "body", good}, "unknown_version", ""},
		{"id with a space", []string{"id", "a b", "body", good}, "invalid_field", ""},
		{"id too long", []string{"id", strings.Repeat("i", 65), "body", good}, "invalid_field", ""},
		{"id of a key", []string{"id", "{lm:0}:dead", "body", good}, "invalid_field", ""},
		{"id of a webhook", []string{"id", "a.hook", "body", good}, "invalid_field", "0-a.hook"},
		{"two bodies", []string{"body", good, "body", good}, "duplicate_field", ""},
		{"two ids", []string{"id", "one", "id", "two", "body", good}, "duplicate_field", "0-two"},
		{"10 MB body", []string{"id", "huge-body", "body", huge}, "body_too_large", "0-huge-body"},
		{"10 MB of its own", []string{"x_huge", huge, "body", good}, "invalid_field", ""},
		{"10 MB thread", []string{"thread", huge, "body", good}, "invalid_field", ""},
		{"10 MB name", []string{huge, "1", "body", good}, "invalid_field", ""},
		{"too many fields", many, "invalid_field", ""},
		{"binary name", []string{"\xff\xfe\x00", "1", "body", good}, "invalid_field", ""},
		{"binary id", []string{"id", "\x00\xff", "body", good}, "invalid_field", ""},
		{"binary thread", []string{"thread", "\xff\x00", "body", good}, "invalid_field", ""},
		{"binary body", []string{"id", "binary-body", "body", "\xff\x00\x01\x80"}, "invalid_request", "0-binary-body"},
		{"body not JSON", []string{"id", "no-json", "body", "Why do rivers bend?"}, "invalid_request", "0-no-json"},
		{"body of another kind", []string{"id", "no-chat", "body", `[1]`}, "invalid_request", "0-no-chat"},
		{"deadline in words", []string{"deadline", "tomorrow", "body", good}, "invalid_field", ""},
		{"deadline empty", []string{"deadline", "", "body", good}, "invalid_field", ""},
		{"retention with a unit", []string{"retention", "7d", "body", good}, "invalid_field", ""},
		{"t garbage", []string{"t", "garbage \x00\xff"}, "no_body", ""},
		{"t of another partition", []string{"t", "7-a"}, "no_body", ""},
		{"t without a trace", []string{"t", "0-nobody"}, "trace_lost", "0-nobody"},
		{"reply of a key", []string{"reply", "a:b", "body", good}, "invalid_field", ""},
	}

	want, wellMade := make(map[lm.TraceID]string), []lm.TraceID{}
	long := make(map[string]bool) // entries that need not be read whole, by the start of their IDs
	for i, row := range rows {
		name := fmt.Sprintf("good-%d", i)
		f.push("v", "1", "id", name, "kind", "chat", "body", good, "x_row", row.name)
		entry := f.push(row.fields...)
		id := row.id
		if id == "" {
			id = lm.TraceID("0-x" + entry + "-" + digest(row.fields...)[:8])
		}
		if _, twice := want[id]; twice {
			t.Fatalf("%s: two rows have ID %s", row.name, id)
		}
		if row.id == "" && len(strings.Join(row.fields, "")) > 5<<20 {
			long["0-x"+entry] = true
		} else {
			want[id] = row.reason
		}
		fields := []string{"body", good, "x_n", strconv.Itoa(i)}
		wellMade = append(wellMade, lm.TraceID("0-"+name), lm.TraceID("0-x"+f.push(fields...)+"-"+digest(fields...)[:8]))
		if row.reason != "invalid_request" && !strings.Contains(page, "| `"+row.reason+"` |") {
			t.Errorf("docs/wire.md does not explain %s", row.reason)
		}
	}
	f.drained()

	letters, err := f.store.Dead(ctx, 0, 1000)
	if err != nil || len(letters) != len(rows) {
		t.Errorf("%d dead letters for %d malformed entries (%v)", len(letters), len(rows), err)
	}
	for _, d := range letters {
		reason, ours := want[d.ID]
		if start := string(d.ID)[:strings.LastIndex(string(d.ID), "-")]; long[start] {
			reason, ours = d.Reason, d.Reason == "body_too_large" || d.Reason == "invalid_field"
			delete(long, start)
		}
		if !ours || d.Reason != reason || d.Queue != "default" {
			t.Errorf("dead letter %s: %s, want %q", d.ID, d.Reason, reason)
		}
		delete(want, d.ID)
		refused := reason != "invalid_request" && reason != "trace_lost"
		if (d.Raw != "") != refused || len(d.Raw) > 400<<10 { // JSON writes a byte as at most six
			t.Errorf("dead letter %s (%s): %d bytes of raw fields", d.ID, reason, len(d.Raw))
		}
		if (f.result(d.ID).Outcome == lm.Failed) != (reason == "invalid_request") {
			t.Errorf("dead letter %s (%s): result %+v", d.ID, reason, f.result(d.ID))
		}
	}
	if len(want) > 0 || len(long) > 0 {
		t.Errorf("no dead letters: %v, %v", want, long)
	}
	for _, id := range wellMade {
		if r := f.result(id); r.Outcome != lm.Succeeded || r.Attempts != 1 || r.Crashes != 0 {
			t.Errorf("neighbour %s: %+v", id, r)
		}
	}
}

// TestForeign_SameID_100TimesAtOnce (F23): one operation, one model call, one
// notice.
func TestForeign_SameID_100TimesAtOnce(t *testing.T) {
	for _, field := range []string{"id", "key"} {
		t.Run(field, func(t *testing.T) {
			f := start(t, 0)
			entries := make([]string, 100)
			var producers sync.WaitGroup
			for i := range entries {
				producers.Go(func() {
					entries[i] = f.push("v", "1", field, "order-42", "kind", "chat", "body", good, "reply", fmt.Sprintf("p%d", i))
				})
			}
			producers.Wait()
			f.drained()
			notices := f.rdb.XLen(ctx, done).Val()
			traces := f.rdb.Keys(ctx, "{lm:0}:trace:*").Val()
			replies := f.rdb.Keys(ctx, "{lm:0}:reply:*").Val()
			if len(traces) != 1 || len(replies) != 1 || notices != 1 || f.modelCalls() != 1 || f.rdb.XLen(ctx, dead).Val() != 0 {
				t.Fatalf("traces %v, replies %v, %d notices, %d model calls, %d dead letters",
					traces, replies, notices, f.modelCalls(), f.rdb.XLen(ctx, dead).Val())
			}
			id := lm.TraceID("0-order-42")
			if field == "key" { // the page's way to find it
				held := f.rdb.Get(ctx, "{lm:0}:unique:"+digest("", "", "order-42")[:32]).Val()
				first, _, _ := strings.Cut(held, " ")
				id = lm.TraceID(first)
			}
			if r := f.result(id); r.Outcome != lm.Succeeded {
				t.Errorf("%s: %+v", id, r)
			}
			counts, _ := f.store.Counts(ctx, 0)
			if counts["succeeded"] != 1 || counts["failed"] != 0 {
				t.Errorf("counts %v", counts)
			}
		})
	}
}

// TestForeign_SameID_OtherBody (F23): the first keeps its answer, the others are
// conflicts, whether it still runs or has ended.
func TestForeign_SameID_OtherBody(t *testing.T) {
	f := start(t, 0)
	f.push("id", "order-42", "body", good)
	other := strings.Replace(good, "bend", "end", 1)
	f.push("id", "order-42", "body", other)
	f.drained()
	first := f.result("0-order-42")
	f.push("id", "order-42", "body", other)
	f.push("id", "order-42", "body", good, "x_colour", "red")
	f.push("id", "order-42", "body", good) // a repeat is none
	f.drained()
	letters, err := f.store.Dead(ctx, 0, 10)
	if err != nil || len(letters) != 3 {
		t.Fatalf("%d dead letters (%v), want 3", len(letters), err)
	}
	for _, d := range letters {
		if d.ID != "0-order-42" || d.Reason != "conflict" || d.Raw == "" {
			t.Errorf("%+v", d)
		}
	}
	if now := f.result("0-order-42"); string(now.Body) != string(first.Body) || !strings.Contains(now.Text(), "bend") || f.modelCalls() != 1 {
		t.Errorf("the first's answer is %s, was %s; %d model calls", now.Body, first.Body, f.modelCalls())
	}
}

// TestWire_Fields: the trace holds what the page's tables say.
func TestWire_Fields(t *testing.T) {
	f := start(t, 0)
	page := wire(t)
	f.push("v", "1", "id", "a", "kind", "chat", "key", "k", "thread", "t", "run", "r", "agent", "ag", "tenant", "te", "model", "sim",
		"deadline", "4102444800000", "retention", "86400000", "reply", "me", "webhook", "https://example.com/", "traceparent", "00-1", "x_order", "42", "body", good)
	f.drained()
	trace := f.rdb.HGetAll(ctx, "{lm:0}:trace:0-a").Val()
	for field, value := range map[string]string{
		"state": "COMPLETED", "outcome": "succeeded", "queue": "default", "thread": "t", "run": "r", "agent": "ag", "tenant": "te", "model": "sim",
		"deadline": "4102444800000", "retention": "86400000", "reply": "me", "webhook": "https://example.com/", "x_traceparent": "00-1", "x_order": "42", "attempts": "1", "entry": "",
		"request_hash": digest("chat", "sim", "te", "t", "r", "ag", good, "order", "42", "traceparent", "00-1")[:32],
	} {
		if trace[field] != value {
			t.Errorf("trace: %s is %q, want %q", field, trace[field], value)
		}
		if !strings.HasPrefix(field, "x_") && !strings.Contains(page, "`"+field+"`") {
			t.Errorf("docs/wire.md does not tell of %s", field)
		}
	}
	result := f.rdb.HGetAll(ctx, "{lm:0}:result:0-a").Val()
	fields := make([]string, 0, len(result))
	f.push("id", "b", "model", "sim-embed", "body", good)
	f.drained()
	failed := f.rdb.HGetAll(ctx, "{lm:0}:result:0-b").Val()
	if failed["outcome"] != "failed" || failed["body"] != "" || !strings.HasPrefix(failed["error"], `{"kind":"invalid_request","message":"`) {
		t.Errorf("a failed one's result: %v", failed)
	}
	for field := range result {
		fields = append(fields, field)
		if !strings.Contains(page, "| `"+field+"` |") {
			t.Errorf("docs/wire.md does not tell of the result's %s", field)
		}
	}
	slices.Sort(fields)
	if got := strings.Join(fields, " "); got != "attempts body codec outcome usage" || result["codec"] != "json" {
		t.Errorf("result: %s", got)
	}
	for _, stream := range []string{done, "{lm:0}:reply:me"} {
		notices := f.rdb.XRange(ctx, stream, "-", "+").Val()
		if len(notices) == 0 || fmt.Sprint(notices[0].Values) != "map[0-a:succeeded]" {
			t.Errorf("%s: %v", stream, notices)
		}
	}
	if n := f.rdb.HGet(ctx, "{lm:fleet}:facts", "partitions").Val(); n != "1" {
		t.Errorf("%q partitions", n)
	}
}
