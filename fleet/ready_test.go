package fleet

import (
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// readySpec is a model without limits, one with both, and pools over them.
func readySpec() Spec {
	return Spec{
		Models: []ModelSpec{{ID: "free", Backend: "one"}, {ID: "slow", Backend: "one", Limits: Limits{RPM: 90, Concurrent: 4}}, {ID: "few", Backend: "one", Limits: Limits{Concurrent: 3}}},
		Pools: []PoolSpec{
			{ID: "both", Members: []Member{{Model: "slow"}, {Model: "few"}}},
			{ID: "any", Members: []Member{{Model: "free"}, {Model: "few"}}},
		},
	}
}

func TestReady_AsManyAsTheLimitsTake(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	cooling := ModelState{CooldownUntil: noon.Add(time.Hour)}
	halfOpen := ModelState{Circuit: CircuitOpen, OpenUntil: noon}
	probed := ModelState{Circuit: CircuitHalfOpen, ProbeOwner: "w", ProbeUntil: noon.Add(time.Minute)}
	for _, c := range []struct {
		name   string
		states map[string]ModelState
		want   string
	}{
		{"free", nil, "2 0"},
		{"slow", nil, "2 2"},
		{"few", nil, "2 3"},
		{"both", nil, "2 5"},
		{"any", nil, "2 0"},
		{"any", map[string]ModelState{"free": cooling}, "2 3"},
		{"free", map[string]ModelState{"free": cooling}, "0 0"},
		{"free", map[string]ModelState{"free": halfOpen}, "1 1"},
		{"free", map[string]ModelState{"free": probed}, "0 0"},
		{"any", map[string]ModelState{"free": halfOpen, "few": cooling}, "1 1"},
		{"both", map[string]ModelState{"slow": cooling, "few": {Disabled: true}}, "0 0"},
		{"nobody", nil, "0 0"},
	} {
		at, room := levelOf(NewSnapshot(1, noon, readySpec(), c.states), c.name, noon)
		if got := fmt.Sprintf("%d %d", at, room); got != c.want {
			t.Errorf("%s with %v: %s, want %s", c.name, c.states, got, c.want)
		}
	}
}

// Those come back that were parked before the news; what a limit refuses afterwards
// keeps its time.
func TestReady_TheNewsIsForThoseParkedBefore(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	r := &Ready{seen: make(map[string]standing)}
	for _, step := range []struct {
		after int // seconds since noon
		at    level
		since int
	}{
		{0, cold, 0}, {10, cold, 0}, {20, probe, 20}, {25, probe, 20}, {30, well, 30}, {40, well, 30},
		{50, cold, 30}, {60, well, 60}, {61, well, 60},
		{61 + 3600, well, 61 + 3600}, // nobody waited meanwhile, so that nobody looked
	} {
		now := noon.Add(time.Duration(step.after) * time.Second)
		since, before := r.step("model/m", step.at, now)
		if want := noon.Add(time.Duration(step.since) * time.Second); !since.Equal(want) || !before.Equal(want.Add(readyGrace)) {
			t.Errorf("after %d s: since %s, before %s, want %s", step.after, since, before, want)
		}
	}
	if len(r.seen) != 1 {
		t.Errorf("%d targets kept", len(r.seen))
	}
}

func TestReady_DoublesFromSecondToSecondAndKnowsOnlyModels(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	m, err := New(nil, Options{Spec: readySpec(), Policy: InMemory, clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	r := NewReady(m)
	for i, want := range []int{100, 200, 400, 800, 1600, 3200, 6400, 6400, 6400} {
		if room, _ := r.Ready(ctx, lm.WaitModel+"free"); room != want {
			t.Errorf("after %d s: %d, want %d", i, room, want)
		}
		now = now.Add(time.Second)
	}
	for _, target := range []string{lm.WaitModel + "none", lm.WaitLimit + "free", lm.WaitKind + "free", "a person"} {
		if room, _ := r.Ready(ctx, target); room != 0 {
			t.Errorf("%s: %d", target, room)
		}
	}
	if room, _ := r.Ready(ctx, lm.WaitModel+"few"); room != 3 {
		t.Errorf("few: %d", room)
	}
}
