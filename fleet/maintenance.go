package fleet

import (
	"slices"
	"time"

	"github.com/lighterman/lighterman/internal/utccron"
)

// Span is a stretch of time, from From until before Until.
type Span struct{ From, Until time.Time }

// Covers reports whether t is in the span.
func (s Span) Covers(t time.Time) bool { return !t.Before(s.From) && t.Before(s.Until) }

// openings bounds how many openings of one window a snapshot looks ahead: for the
// most frequent ones, every minute, a little over an hour. A snapshot is much
// younger than that.
const openings = 64

// Spans are the times of a window that end after now: the one that is open, where
// one is, and those to come, the next 64 openings, in order and merged where they
// meet. An expression that utccron refuses has none.
func (w Window) Spans(now time.Time) []Span {
	schedule, err := utccron.Parse(w.Cron)
	if err != nil || w.For <= 0 {
		return nil
	}
	var spans []Span
	from := now.UTC().Add(-w.For)
	for range openings {
		if from = schedule.Next(from); from.IsZero() {
			break
		}
		spans = append(spans, Span{From: from, Until: from.Add(w.For)})
	}
	return merge(spans)
}

// maintenance is what is ahead of all windows of a model.
func maintenance(windows []Window, now time.Time) []Span {
	if len(windows) == 0 {
		return nil
	}
	var spans []Span
	for _, w := range windows {
		spans = append(spans, w.Spans(now)...)
	}
	slices.SortFunc(spans, func(a, b Span) int { return a.From.Compare(b.From) })
	return merge(spans)
}

// merge joins spans that meet; they are in order.
func merge(spans []Span) []Span {
	var merged []Span
	for _, s := range spans {
		if n := len(merged); n > 0 && !s.From.After(merged[n-1].Until) {
			if s.Until.After(merged[n-1].Until) {
				merged[n-1].Until = s.Until
			}
			continue
		}
		merged = append(merged, s)
	}
	return merged
}
