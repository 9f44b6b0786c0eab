package fleet

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
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

// What waits for a limit has its places told, unless it waits for a rate, which has its
// own time: a worker that died had no time to bring one back.
func TestReady_APlaceThatIsFreeIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, _ redis.UniversalClient, s *lua.Store) {
		m := manager(t, s, false, func(o *Options) { o.Spec = readySpec() })
		r := NewReady(m)
		told := func(want string) {
			t.Helper()
			var got []string
			for _, name := range []string{"free", "slow", "few", "both", "none"} {
				room, before := r.Ready(ctx, lm.WaitLimit+name)
				if got = append(got, strconv.Itoa(room)); !before.IsZero() {
					t.Errorf("%s: only what was parked before %s", name, before)
				}
			}
			if all := strings.Join(got, " "); all != want {
				t.Errorf("places of free, slow, few, both, none: %s, want %s", all, want)
			}
		}
		told("0 0 3 3 0")
		for i := range 3 {
			if a, err := m.Admit(ctx, Admission{Model: "few", Key: strconv.Itoa(i)}); err != nil || !a.OK {
				t.Fatalf("%+v %v", a, err)
			}
			told([]string{"0 0 2 2 0", "0 0 1 1 0", "0 0 0 0 0"}[i])
		}
	})
}

// An Ollama of which nobody says how many calls it takes is taken to take four; a limit
// of any kind that is declared is the only one, and other servers have none.
func TestAssume_OnlyAnOllamaAndOnlyWhereNothingIsDeclared(t *testing.T) {
	four := Limits{Concurrent: 4, Assumed: true}
	for _, c := range []struct {
		provider       string
		declared, want Limits
	}{
		{"ollama", Limits{}, four}, {"ollama", Limits{Concurrent: 64}, Limits{Concurrent: 64}}, {"ollama", Limits{RPM: 1}, Limits{RPM: 1}},
		{"vllm", Limits{}, Limits{}}, {"openai", Limits{}, Limits{}},
	} {
		spec := Spec{
			Backends: []BackendSpec{{ID: "b", Provider: c.provider}}, Models: []ModelSpec{{ID: "m", Backend: "b", Name: "m", Limits: c.declared}}, Observe: ObserveSpec{Discover: true},
		}
		v := takeStock(spec, map[string][]offered{"b": settle(nil, []lm.Offering{{Name: "m"}, {Name: "other"}})})
		if got := v.spec.Models[0].Limits; got != c.want || v.spec.Models[0].Limited() != (c.want != Limits{}) {
			t.Errorf("%s %+v: %+v, want %+v", c.provider, c.declared, got, c.want)
		}
		if got := v.spec.Models[1].Limits; got != assume(spec.Backends[0], Limits{}) {
			t.Errorf("%s, discovered: %+v", c.provider, got)
		}
	}
}
