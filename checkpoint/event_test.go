package checkpoint

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/lighterman/lighterman"
)

// PARITY 21.
func TestParity21_SizesAgeAndStaleSchemaAreRecorded(t *testing.T) {
	var log bytes.Buffer
	var events []Event
	options := func(schema int, ups map[int]Upgrade) Options {
		return Options{
			Schema: schema, Upgrades: ups, Log: zerolog.New(&log),
			Observe: func(e Event) { events = append(events, e) },
			Now:     func() time.Time { return time.UnixMilli(1700000000000 + 1500) },
		}
	}
	v1 := newCodec(t, options(1, nil))
	secret := "river secret " + strings.Repeat("x", 1000)

	hash := lighterman.Fields{}
	b := open(t, v1, nil)
	record(t, b, hash, "gather", secret)
	if log.Len() > 0 || len(events) > 0 {
		t.Fatalf("logged before the write: %s", &log)
	}
	b.Saved()
	b.Saved() // nothing new
	baseSize := b.total
	record(t, b, hash, "tool:1", "sunny")
	b.Saved()
	open(t, v1, hash)
	open(t, newCodec(t, options(2, map[int]Upgrade{1: suffix("")})), hash)
	_, _ = newCodec(t, options(2, nil)).Open(testID, hash)
	newer := stored(t, newCodec(t, Options{Schema: 9}), "a", "1")
	_, _ = v1.Open(testID, newer)

	field := size{len("step:tool:1") + bodyAt + len("sunny"), len("sunny")}
	all := baseSize.plus(field)
	wantEvents := []Event{
		{Kind: Saved, Original: baseSize.original, Stored: baseSize.stored},
		{Kind: Saved, Original: field.original, Stored: field.stored},
		{Kind: Recovered, Original: all.original, Stored: all.stored, Age: 1500 * time.Millisecond},
		{Kind: Upgraded},
		{Kind: Recovered, Original: all.original, Stored: all.stored, Age: 1500 * time.Millisecond},
		{Kind: SchemaOlder},
		{Kind: SchemaNewer},
	}
	if diff := cmp.Diff(wantEvents, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	n := func(v int) float64 { return float64(v) }
	line := func(level, message string, more map[string]any) map[string]any {
		more["level"], more["message"], more["trace_id"] = level, message, string(testID)
		return more
	}
	recovered := map[string]any{"steps": 2.0, "age_ms": 1500.0, "schema": 1.0}
	wantLog := []map[string]any{
		line("debug", "checkpoint_saved", map[string]any{"fields": 6.0, "size_original": n(baseSize.original), "size_compressed": n(baseSize.stored), "ratio": ratio(baseSize)}),
		line("debug", "checkpoint_saved", map[string]any{"fields": 1.0, "size_original": 5.0, "size_compressed": n(field.stored), "ratio": ratio(field)}),
		line("info", "checkpoint_recovered", recovered),
		line("warn", "checkpoint_schema_stale", map[string]any{"have": 1.0, "want": 2.0, "reason": "upgraded"}),
		line("info", "checkpoint_recovered", recovered),
		line("warn", "checkpoint_schema_stale", map[string]any{"have": 1.0, "want": 2.0, "reason": "regather"}),
		line("warn", "checkpoint_schema_stale", map[string]any{"have": 9.0, "want": 1.0, "reason": "newer"}),
	}
	if diff := cmp.Diff(wantLog, lines(t, log.String())); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if strings.Contains(log.String(), "river") || strings.Contains(log.String(), "sunny") {
		t.Error("the log shows payload")
	}
	if baseSize.original < 1000 || baseSize.stored > 200 || ratio(baseSize) < 5 {
		t.Errorf("sizes %+v, ratio %v", baseSize, ratio(baseSize))
	}
}

func TestAge_IsNeverNegative(t *testing.T) {
	codec := newCodec(t, Options{Now: func() time.Time { return time.UnixMilli(5000) }})
	for written, want := range map[string]time.Duration{"4000": time.Second, "6000": 0, "": 0, "x": 0} {
		if got := codec.age(written); got != want {
			t.Errorf("age(%q) = %v, want %v", written, got, want)
		}
	}
}

func TestErrors_NeverQuotePayload(t *testing.T) {
	codec := newCodec(t, Options{})
	hash := stored(t, codec, "gather", "river secret", "tool", "river secret")
	for name, value := range hash {
		if name == fieldTime {
			continue
		}
		hash[name] = value + "x"
		if _, err := codec.Open(testID, hash); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
		hash[name] = value
	}
}

func lines(t *testing.T, log string) (out []map[string]any) {
	t.Helper()
	for l := range strings.Lines(log) {
		var m map[string]any
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}
