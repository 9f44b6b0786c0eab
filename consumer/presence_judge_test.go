package consumer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lighterman/lighterman/lua"
)

// TestJudge tells stories of samples, 250 ms apart unless they say when: who is
// present, and what else is so. The last column is who is dead after each.
func TestJudge(t *testing.T) {
	type step struct {
		present string // owners, one letter each, of a and b
		also    string // deaf=a, own=no, contact=no, late, gen=2, broke (between), down, roster=b (only), at=600 (ms since the last)
		dead    string
	}
	for name, story := range map[string][]step{
		"seen, then missing for the grace":     {{"ab", "", ""}, {"b", "", ""}, {"b", "", ""}, {"b", "", "a"}, {"b", "", "a"}},
		"never seen":                           {{"b", "", ""}, {"b", "", ""}, {"b", "", ""}, {"b", "", ""}, {"b", "", ""}},
		"both at once":                         {{"ab", "", ""}, {"", "", ""}, {"", "", ""}, {"", "", "ab"}},
		"one after the other":                  {{"ab", "", ""}, {"b", "", ""}, {"", "", ""}, {"", "", "a"}, {"", "", "ab"}},
		"back in between":                      {{"a", "", ""}, {"", "", ""}, {"a", "", ""}, {"", "", ""}, {"", "", ""}, {"", "", "a"}},
		"the timer at the grace":               {{"a", "", ""}, {"", "", ""}, {"", "at=499", ""}, {"", "at=1", "a"}},
		"one sample is not the grace":          {{"a", "", ""}, {"", "at=5000", ""}, {"", "", ""}, {"", "", "a"}},
		"deaf":                                 {{"a", "", ""}, {"", "", ""}, {"", "deaf=a", ""}, {"", "", ""}, {"", "", ""}, {"", "", ""}},
		"deaf and heard again":                 {{"a", "", ""}, {"a", "deaf=a", ""}, {"a", "", ""}, {"", "", ""}, {"", "", ""}, {"", "", "a"}},
		"deaf all the time":                    {{"a", "deaf=a", ""}, {"", "deaf=a", ""}, {"", "deaf=a", ""}, {"", "", ""}, {"", "", ""}, {"", "", ""}},
		"own channel not counted":              {{"a", "", ""}, {"", "own=no", ""}, {"", "own=no", ""}, {"", "own=no", ""}, {"", "", ""}, {"", "", ""}, {"", "", ""}},
		"own not counted once":                 {{"a", "", ""}, {"", "", ""}, {"", "own=no", ""}, {"", "", ""}, {"", "", ""}, {"", "", ""}},
		"own not counted at the verdict":       {{"a", "", ""}, {"", "", ""}, {"", "", ""}, {"", "own=no", ""}},
		"subscription re-made":                 {{"a", "", ""}, {"", "gen=2", ""}, {"", "gen=2", ""}, {"", "gen=2", ""}, {"", "gen=2", ""}},
		"re-made, seen since":                  {{"b", "", ""}, {"a", "gen=2", ""}, {"", "gen=2", ""}, {"", "gen=2", ""}, {"", "gen=2", "a"}},
		"re-made before the verdict":           {{"a", "", ""}, {"", "", ""}, {"", "", ""}, {"", "gen=2", ""}, {"", "gen=2", ""}, {"", "gen=2", ""}},
		"broke while it was asked":             {{"a", "", ""}, {"", "", ""}, {"", "broke", ""}, {"", "gen=2", ""}, {"", "gen=2", ""}, {"", "gen=2", ""}},
		"broke at the verdict":                 {{"a", "", ""}, {"", "", ""}, {"", "", ""}, {"", "broke", ""}},
		"no subscription":                      {{"a", "", ""}, {"", "down", ""}, {"", "down", ""}, {"", "down", ""}},
		"seen without a subscription":          {{"a", "down", ""}, {"", "down", ""}, {"", "down", ""}, {"", "down", ""}, {"", "down", ""}},
		"seen while it broke":                  {{"a", "broke", ""}, {"", "gen=2", ""}, {"", "gen=2", ""}, {"", "gen=2", ""}, {"", "gen=2", ""}},
		"no contact":                           {{"a", "", ""}, {"", "", ""}, {"", "", ""}, {"", "contact=no", ""}, {"", "", ""}, {"", "", ""}, {"", "", ""}},
		"late":                                 {{"a", "", ""}, {"", "", ""}, {"", "", ""}, {"", "late", ""}, {"", "", ""}, {"", "", ""}, {"", "", ""}},
		"seen in a sample that is not trusted": {{"", "", ""}, {"a", "late", ""}, {"", "", ""}, {"", "", ""}, {"", "", ""}, {"", "", ""}},
		"off the roster":                       {{"ab", "", ""}, {"b", "", ""}, {"b", "roster=b", ""}, {"b", "", ""}, {"b", "", ""}, {"b", "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			j, now := newJudge(500*time.Millisecond), time.Unix(1000, 0)
			for i, s := range story {
				l := look{before: 1, after: 1, own: true, contact: true, present: map[string]bool{}, deaf: map[string]bool{}}
				owners, after := []string{"a", "b"}, 250
				for _, o := range s.present {
					l.present[string(o)] = true
				}
				key, value, _ := strings.Cut(s.also, "=")
				switch key {
				case "deaf":
					l.deaf[value] = true
				case "own":
					l.own = false
				case "contact":
					l.contact = false
				case "late":
					l.late = true
				case "gen":
					l.before, l.after = 2, 2
				case "broke":
					l.after = 2
				case "down":
					l.before, l.after = 0, 0
				case "roster":
					owners = []string{value}
				case "at":
					_, _ = fmt.Sscan(value, &after)
				}
				now = now.Add(time.Duration(after) * time.Millisecond)
				l.sent, l.back = now, now
				if got := strings.Join(j.take(l, owners), ""); got != s.dead {
					t.Fatalf("after step %d dead are %q, want %q", i+1, got, s.dead)
				}
			}
		})
	}
}

// The grace runs from the return of the first sample without a worker to the
// sending of the last: what happens while one is under way proves nothing.
func TestJudge_TheGraceLiesBetweenTheSamples(t *testing.T) {
	j, at := newJudge(500*time.Millisecond), time.Unix(1000, 0)
	l := look{before: 1, after: 1, own: true, contact: true, sent: at, back: at, present: map[string]bool{"a": true}}
	j.take(l, []string{"a"})
	if !j.due().IsZero() || j.present() != 1 {
		t.Errorf("due %v, %d present", j.due(), j.present())
	}
	l.present = nil
	l.sent, l.back = at.Add(100*time.Millisecond), at.Add(200*time.Millisecond)
	j.take(l, []string{"a"})
	if due := at.Add(700 * time.Millisecond); !j.due().Equal(due) || j.present() != 0 {
		t.Errorf("due %v, want %v; %d present", j.due(), due, j.present())
	}
	l.sent, l.back = at.Add(650*time.Millisecond), at.Add(750*time.Millisecond)
	if dead := j.take(l, []string{"a"}); len(dead) != 0 {
		t.Error("dead before the grace was over")
	}
	l.sent, l.back = at.Add(700*time.Millisecond), at.Add(701*time.Millisecond)
	if dead := j.take(l, []string{"a"}); len(dead) != 1 {
		t.Error("not dead after the grace")
	}
}

func TestMustered(t *testing.T) {
	now := time.Unix(1000, 0)
	record := func(owner string, started, age int) lua.WorkerRecord {
		return lua.WorkerRecord{Owner: owner, Started: now.Add(time.Duration(started) * time.Hour), Seen: now.Add(-time.Duration(age) * time.Second), Queues: []string{"q" + owner}}
	}
	records := []lua.WorkerRecord{record("a", 5, 1), record("b", 4, 1), record("c", 3, 25), record("d", 2, 31), record("me", 9, 60), record("e", 1, 20), record("f", 1, 0), record("g", 8, 0), record("h", 7, 0)}
	m := mustered(records, now, "me", 20*time.Second, 30*time.Second)
	if want := []string{"e", "f", "b", "a"}; !cmp.Equal(m.watchers, want) {
		t.Errorf("watchers %v, want %v: the longest running that were heard of", m.watchers, want)
	}
	if want := []string{"d"}; !cmp.Equal(m.stale, want) {
		t.Errorf("stale %v, want %v", m.stale, want)
	}
	slices.Sort(m.others)
	if want := []string{"a", "b", "c", "e", "f", "g", "h"}; !cmp.Equal(m.others, want) || !cmp.Equal(slices.Sorted(maps.Keys(m.queues)), want) {
		t.Errorf("others %v, want %v", m.others, want)
	}
	if m.fresh != 6 || !cmp.Equal(m.queues["a"], []string{"qa"}) {
		t.Errorf("fresh %d, queues %v", m.fresh, m.queues)
	}
	if records[0].Owner != "a" {
		t.Error("the caller's list was sorted")
	}
}

func TestHearing_GenerationGrowsWithEachSubscription(t *testing.T) {
	var h hearing
	if h.now() != 0 {
		t.Error("it hears before it listens")
	}
	h.set(true)
	first := h.now()
	h.set(false)
	if h.now() != 0 {
		t.Error("it hears though it broke")
	}
	h.set(true)
	if first == 0 || h.now() <= first {
		t.Errorf("generations %d, %d", first, h.now())
	}
}
