package lua

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// push XADDs a foreign entry of the default queue.
func (e *env) push(fields ...string) {
	e.Helper()
	if err := e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: e.s.keys.stream(queue), Values: fields}).Err(); err != nil {
		e.Fatal(err)
	}
}

// adopt adopts entries and holds the answers against a list.
func (e *env) adopt(consumer string, entries []Entry, want ...Adoption) {
	e.Helper()
	got, err := e.s.Adopt(ctx, consumer, entries)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		e.Fatalf("adopt by %s: %v %v, want %v", consumer, got, err, want)
	}
}

func TestAdopt_MakesAnOperation(t *testing.T) {
	each(t, func(e *env) {
		e.push("v", "1", "id", "order-42", "kind", "chat", "body", `{"a":1}`, "thread", "t", "deadline", "4102444800000", "colour", "red", "x_size", "9", "reply", "me")
		entries := e.read("w1")
		e.adopt("w1", entries, Adopted)
		e.want("0-order-42", "state", "QUEUED", "entry", entries[0].Names(), "thread", "t", "x_colour", "red", "x_size", "9", "reply", "me", "deadline", "4102444800000")
		e.counts("waiting:default=1")
		if _, ok := e.score(e.s.keys.deadlines(0), "0-order-42"); !ok {
			e.Error("no deadline")
		}
		before := e.snapshot()
		if got := words(e.again()); got[0] != "OK" {
			e.Errorf("replay: %v", got)
		}
		e.unchanged("a replayed adoption", before)
		c := e.take("w1", entries[0], ClaimOK).Claim
		if c.ID != "0-order-42" || string(c.Request.Body) != `{"a":1}` || c.Request.Meta["colour"] != "red" || c.Request.Meta["size"] != "9" {
			e.Errorf("claim: %+v", c)
		}
		e.finish(c)
		e.streams("queue 0/0 resume 0/0")
		if n := e.rdb.ZCard(ctx, e.s.keys.deadlines(0)).Val(); n != 0 {
			e.Errorf("%d deadlines left", n)
		}
	})
}

// TestAdopt_AgainAfterItsWorkerDied: the next worker derives the same ID and goes
// on, wherever the first one stopped (PARITY 43b).
func TestAdopt_AgainAfterItsWorkerDied(t *testing.T) {
	for _, died := range []string{"before adopting", "after adopting", "after claiming"} {
		t.Run(died, func(t *testing.T) {
			each(t, func(e *env) {
				e.push("body", `{"a":1}`)
				entry := e.read("w1")[0]
				id := Derive(entry).ID
				if died != "before adopting" {
					e.adopt("w1", []Entry{entry}, Adopted)
				}
				if died == "after claiming" {
					e.take("w1", entry, ClaimOK)
				}
				taken := e.grab("w2", entry.Names())
				if got := Derive(taken[0].Entry).ID; got != id {
					e.Fatalf("derived %s, then %s", id, got)
				}
				e.adopt("w2", []Entry{taken[0].Entry}, Adopted)
				e.takeover("w2", false, e.taken(taken[0].Entry), PutBack)
				c := e.claimNext("w2")
				if c.ID != id || string(c.Request.Body) != `{"a":1}` {
					e.Errorf("claim: %+v", c)
				}
				crashes := 0
				if died == "after claiming" {
					crashes = 1
				}
				if c.Crashes != crashes {
					e.Errorf("%d crashes", c.Crashes)
				}
				e.finish(c)
				e.streams("queue 0/0 resume 0/0")
				e.counts("succeeded=1")
				if n := len(e.rdb.Keys(ctx, e.s.keys.in(0, "trace:*")).Val()); n != 1 {
					e.Errorf("%d traces", n)
				}
			})
		})
	}
}

// TestAdopt_RepeatsAndConflicts: the same id or key pushed twice.
func TestAdopt_RepeatsAndConflicts(t *testing.T) {
	each(t, func(e *env) {
		e.push("id", "a", "body", `1`)
		e.push("id", "a", "body", `1`)
		e.push("id", "a", "body", `2`)
		e.push("key", "k", "body", `1`)
		e.push("key", "k", "body", `1`)
		e.push("key", "k", "body", `2`)
		e.push("key", "k", "tenant", "other", "body", `2`)
		entries := e.read("w1")
		e.adopt("w1", entries, Adopted, AdoptedDuplicate, AdoptedDead, Adopted, AdoptedDuplicate, AdoptedDead, Adopted)
		letters := e.dead("conflict", "conflict")
		if letters[0].ID != "0-a" || letters[0].Raw != `["id","a","body","2"]` || letters[0].Queue != "default" {
			e.Errorf("%+v", letters[0])
		}
		e.streams("queue 3/3 resume 0/0")
		e.counts("failed=2 waiting:default=3")
		e.again()
		e.dead("conflict", "conflict")
		e.counts("failed=2 waiting:default=3")
		// Against one that a producer enqueued.
		e.s.Enqueue(ctx, []Operation{{ID: "0-own", Request: request(`7`), Named: true}})
		e.push("id", "own", "body", `7`)
		e.push("id", "own", "body", `8`)
		entries = e.read("w1")
		e.adopt("w1", entries[1:], AdoptedDuplicate, AdoptedDead)
	})
}

// TestAdopt_MalformedIsDeadLetteredOnce (PARITY 35): each kind, with its reason
// and its raw fields, and no loop.
func TestAdopt_MalformedIsDeadLetteredOnce(t *testing.T) {
	long := strings.Repeat("x", 300)
	rows := []struct {
		fields []string
		reason string
		says   string // the field, and what would be right
	}{
		{[]string{"v", "2", "body", "1"}, "unknown_version", "v: want 1"},
		{[]string{"kind", "chat"}, "no_body", "body: missing or empty"},
		{[]string{"body", ""}, "no_body", "body: missing or empty"},
		{[]string{"body", "1", "body", "2"}, "duplicate_field", "body: there twice"},
		{[]string{"body", "1", "id", "a b"}, "invalid_field", "id: name \"a b\": "},
		{[]string{"body", "1", "id", long}, "invalid_field", "id: "},
		{[]string{"body", "1", "id", "a.hook"}, "invalid_field", "id: names that end in"},
		{[]string{"body", "1", "thread", long}, "invalid_field", "thread: 300 bytes, at most 256"},
		{[]string{"body", "1", "thread", "a\nb"}, "invalid_field", "thread: "},
		{[]string{"body", "1", "reply", "a:b"}, "invalid_field", "reply: name \"a:b\": "},
		{[]string{"body", "1", "deadline", "soon"}, "invalid_field", "deadline: want a time in unix milliseconds"},
		{[]string{"body", "1", "deadline", "-5"}, "invalid_field", "deadline: want a time in unix milliseconds"},
		{[]string{"body", "1", "a b", "c"}, "invalid_field", "meta: name \"a b\": "},
		{[]string{"t", "not-a-trace-id"}, "no_body", "body: missing or empty"},
		{[]string{"t", "7-elsewhere"}, "no_body", "body: missing or empty"},
		{[]string{"t", "0-a", "extra", "1"}, "no_body", "body: missing or empty"},
	}
	each(t, func(e *env) {
		for i, row := range rows {
			e.push(row.fields...)
			entries := e.read("w1")
			if len(entries) != 1 {
				e.Fatalf("%q: %d entries", row.fields, len(entries))
			}
			if _, own := entries[0].Own(); own {
				e.Fatalf("%q is an own entry", row.fields)
			}
			e.adopt("w1", entries, AdoptedDead)
			e.again()
			letters, _ := e.s.Dead(ctx, 0, 1)
			want, _ := json.Marshal(row.fields)
			var raw, sent any
			_ = json.Unmarshal([]byte(letters[0].Raw), &raw)
			_ = json.Unmarshal(want, &sent)
			if letters[0].Reason != row.reason || !strings.HasPrefix(letters[0].Error, row.says) || strings.Contains(letters[0].Error, "\n") || fmt.Sprint(raw) != fmt.Sprint(sent) || letters[0].ID.Partition() != 0 || lm.ValidName(letters[0].ID.Name()) != nil {
				e.Errorf("%q: %+v, want %s, %s", row.fields, letters[0], row.reason, row.says)
			}
			if n := e.rdb.XLen(ctx, e.s.keys.dead(0)).Val(); n != int64(i+1) {
				e.Fatalf("%d dead letters after %d", n, i+1)
			}
			e.streams("queue 0/0 resume 0/0")
		}
		if n := len(e.rdb.Keys(ctx, e.s.keys.in(0, "trace:*")).Val()); n != 0 {
			e.Errorf("%d traces", n)
		}
	})
}

// TestAdopt_RawFieldsAreBounded: one huge field, many small ones, many empty ones,
// and bytes that JSON writes as six.
func TestAdopt_RawFieldsAreBounded(t *testing.T) {
	many := func(n int, value string) []string {
		fields := []string{"v", "2"}
		for i := range n {
			fields = append(fields, fmt.Sprintf("f%d", i), value)
		}
		return fields
	}
	each(t, func(e *env) {
		for name, fields := range map[string][]string{
			"huge":  {"v", "2", "body", strings.Repeat("b", 1<<20)},
			"small": many(20_000, "12345678"),
			"empty": many(40_000, ""),

			"control characters":      many(400, strings.Repeat("\x01", 1000)),
			"huge control characters": {"v", "2", "body", strings.Repeat("\x01", 1<<20)},
		} {
			e.push(fields...)
			e.adopt("w1", e.read("w1"), AdoptedDead)
			letters, _ := e.s.Dead(ctx, 0, 1)
			if n := len(letters[0].Raw); n > 64<<10 || n < 60<<10 {
				e.Errorf("%s: %d bytes of raw fields", name, n)
			}
			var raw []string
			if err := json.Unmarshal([]byte(letters[0].Raw), &raw); err != nil || len(raw) < 4 || raw[1] != "2" {
				e.Errorf("%s: raw fields cannot be read: %v", name, err)
			}
		}
	})
}

func TestAdopt_GoneAndSkip(t *testing.T) {
	each(t, func(e *env) {
		e.push("id", "a", "body", "1")
		e.push("id", "b", "body", "1")
		entries := e.read("w1")
		e.rdb.XDel(ctx, e.s.keys.stream(queue), entries[0].ID)
		e.adopt("w1", entries[:1], AdoptedGone)
		e.streams("queue 1/1 resume 0/0")
		before := e.snapshot()
		e.adopt("w2", entries[1:], AdoptedSkip)
		e.unchanged("adopting what is pending with another", before)
		e.adopt("w1", entries[1:], Adopted)
		e.take("w1", entries[1], ClaimOK)
	})
}

// TestAdopt_OneBadNeighbour: a key of another type under one entry's ID.
func TestAdopt_OneBadNeighbour(t *testing.T) {
	each(t, func(e *env) {
		e.lax = true
		e.rdb.Set(ctx, e.s.keys.trace("0-bad"), "a string", 0)
		for _, id := range []string{"a", "bad", "b"} {
			e.push("id", id, "body", "1")
		}
		e.adopt("w1", e.read("w1"), Adopted, "WRONGTYPE", Adopted)
		e.counts("waiting:default=2")
		if e.rdb.Exists(ctx, e.s.keys.request("0-bad")).Val() != 0 {
			e.Error("the refused one left a request")
		}
	})
}

func TestDerive_IDsAreTheSameForEveryWorker(t *testing.T) {
	e := Entry{Stream: Stream{Partition: 3, Queue: "q"}, ID: "1795227330605-0", Fields: []string{"body", "{}"}}
	f := Derive(e)
	if f.Verdict != "" || f.Request.Queue != "q" || f.Request.Kind != "chat" || f.ID != "3-x1795227330605-0-"+lm.TraceID(fieldsHash(e.Fields)) {
		t.Errorf("%+v", f)
	}
	other := e
	other.Fields = []string{"bod", "y{}"}
	if Derive(other).ID == f.ID {
		t.Error("other fields, same ID")
	}
	e.Fields = append(e.Fields, "id", "mine", "deadline", "1795227330605")
	if f = Derive(e); f.ID != "3-mine" || !f.Request.Deadline.Equal(time.UnixMilli(1795227330605)) {
		t.Errorf("%+v", f)
	}
	e.Fields = []string{"body", strings.Repeat("x", lm.MaxRequest+1)}
	if f = Derive(e); f.Verdict != "body_too_large" {
		t.Errorf("%s", f.Verdict)
	}
}

// FuzzDerive: whatever is pushed gets an ID that can name keys, the same each
// time, or a verdict, and never a panic; what is accepted is a valid request.
func FuzzDerive(f *testing.F) {
	f.Add("1-1", "body", "{}", "id", "x", "v", "1")
	f.Add("1795227330605-12", "deadline", "99999999999999999999", "body", "", "key", "\x00")
	f.Add("5-5", "x_", "", "", "", "timeout", "1")
	f.Add("18446744073709551615-18446744073709551615", "id", "", "id", "", "t", "0-a")
	f.Fuzz(func(t *testing.T, id, a, b, c, d, e, g string) {
		if _, _, ok := strings.Cut(id, "-"); !ok || len(id) > 41 || strings.Trim(id, "0123456789-") != "" {
			t.Skip() // no stream ID
		}
		entry := Entry{Stream: queue, ID: id, Fields: []string{a, b, c, d, e, g}}
		got, again := Derive(entry), Derive(entry)
		if got.ID != again.ID || got.Verdict != again.Verdict || got.Request.Hash() != again.Request.Hash() {
			t.Errorf("derived %+v, then %+v", got, again)
		}
		if _, err := lm.ParseTraceID(string(got.ID)); err != nil {
			t.Errorf("%v", err)
		}
		if got.Verdict == "" {
			r := got.Request
			r.Body = json.RawMessage(`{}`)
			if err := r.Validate(); err != nil || len(got.Request.Body) == 0 {
				t.Errorf("accepted an invalid request: %v", err)
			}
		}
	})
}

// FuzzReadRecord: a trace's fields may be anything.
func FuzzReadRecord(f *testing.F) {
	f.Add("state", "QUEUED", "h1", "RQ 0 0", "hn", "1")
	f.Add("", "", "h", "", "hn", "-9223372036854775808")
	f.Add("hn", "9223372036854775807", "h1", "C", "h63", "X 1")
	f.Add("hn", "922337203685", "x_", "", "h63", "C 1 2 3 w")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g string) {
		r, _ := readRecord("0-a", []string{a, b, c, d, e, g}, true)
		if len(r.History) > hopsKept {
			t.Errorf("%d hops", len(r.History))
		}
	})
}

// TestAdopt_TellsTheReplyStreamOfARefusal: where the entry names one that is a
// name, and no key of another type is in its way.
func TestAdopt_TellsTheReplyStreamOfARefusal(t *testing.T) {
	each(t, func(e *env) {
		e.rdb.Set(ctx, e.s.keys.reply(0, "taken"), "x", 0)
		e.push("id", "a", "body", `1`, "reply", "me")
		e.push("id", "a", "body", `2`, "reply", "me")
		e.push("id", "b", "v", "9", "body", `1`, "reply", "me")
		e.push("id", "c", "body", `1`, "reply", "no name")
		e.push("id", "d", "reply", "taken")
		e.push("id", "e")
		entries := e.read("w1")
		e.adopt("w1", entries, Adopted, AdoptedDead, AdoptedDead, AdoptedDead, AdoptedDead, AdoptedDead)
		e.dead("conflict", "unknown_version", "invalid_field", "no_body", "no_body")
		told, _, err := e.s.Notices(ctx, NoticeStream{Client: "me"}, "0", time.Millisecond)
		outcomes := map[lm.TraceID]lm.Outcome{}
		for _, n := range told {
			outcomes[n.ID] = n.Outcome
		}
		if err != nil || len(told) != 2 || outcomes["0-a"] != lm.Failed || outcomes["0-b"] != lm.Failed {
			e.Errorf("told %+v %v", told, err)
		}
		if ttl := e.rdb.PTTL(ctx, e.s.keys.reply(0, "me")).Val(); ttl <= 0 {
			e.Errorf("the reply stream lives for %s", ttl)
		}
		if v := e.rdb.Get(ctx, e.s.keys.reply(0, "taken")).Val(); v != "x" {
			e.Errorf("another's key holds %q", v)
		}
		for _, key := range e.allKeys() {
			if strings.Contains(key, "reply:") && key != e.s.keys.reply(0, "me") && key != e.s.keys.reply(0, "taken") {
				e.Errorf("%s was made", key)
			}
		}
		if n := e.rdb.Exists(ctx, e.s.keys.done(0)).Val(); n != 0 {
			e.Error("the stream of ended operations was told")
		}
		before := e.snapshot()
		e.again()
		e.unchanged("a replay", before)
		e.finish(e.take("w1", entries[0], ClaimOK).Claim)
	})
}
