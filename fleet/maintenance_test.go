package fleet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestWindow_OpensByItsCronInUTC(t *testing.T) {
	sunday := Window{Cron: "0 3 * * 0", For: time.Hour}
	for _, c := range []struct {
		now  string
		from string
		open bool
	}{
		{"2026-11-21 12:00:00", "2026-11-22 03:00:00", false}, // a Saturday
		{"2026-11-22 02:59:59", "2026-11-22 03:00:00", false},
		{"2026-11-22 03:00:00", "2026-11-22 03:00:00", true},
		{"2026-11-22 03:59:59", "2026-11-22 03:00:00", true},
		{"2026-11-22 04:00:00", "2026-11-29 03:00:00", false},
	} {
		zone := time.FixedZone("elsewhere", 5*3600)
		spans := sunday.Spans(at(c.now).In(zone))
		if len(spans) == 0 || !spans[0].From.Equal(at(c.from)) || spans[0].Covers(at(c.now)) != c.open {
			t.Errorf("at %s: %v, want it from %s, open %v", c.now, spans[:min(1, len(spans))], c.from, c.open)
		}
	}
}

func TestWindow_MergesWhatMeets(t *testing.T) {
	always := maintenance([]Window{{Cron: "* * * * *", For: time.Minute}, {Cron: "30 * * * *", For: time.Minute}}, at("2026-11-21 12:00:30"))
	if len(always) == 0 || !always[0].Covers(at("2026-11-21 12:00:30")) || !always[0].Covers(at("2026-11-21 13:01:00")) {
		t.Errorf("a window that never closes: %v", always)
	}
	two := maintenance([]Window{{Cron: "0 3 * * *", For: time.Hour}, {Cron: "30 3 * * *", For: 2 * time.Hour}}, at("2026-11-21 12:00:00"))
	if want := (Span{at("2026-11-22 03:00:00"), at("2026-11-22 05:30:00")}); !cmp.Equal(two[0], want) {
		t.Errorf("two windows that overlap: %v, want %v", two[0], want)
	}
}
