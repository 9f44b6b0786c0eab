package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/router"
)

// crew is some workers' routers over one Redis, and the members' prompt caches.
type crew struct {
	routers  []*router.Router
	managers []*fleet.Manager
}

func newCrew(t *testing.T, size int, home string) *crew {
	t.Helper()
	server := redistest.Start(t)
	cfg := settings(server)
	for _, id := range []string{"a", "b", "c", "d"} {
		cfg.Models = append(cfg.Models, config.Model{ID: id, Backend: "sim", Name: sim.Plain})
	}
	p := config.Pool{ID: "chat"}
	for _, m := range cfg.Models {
		p.Members = append(p.Members, config.Member{ModelID: m.ID})
	}
	p.Routing.Home = home
	cfg.Pools = []config.Pool{p}
	cfg.Fill()
	c, models := &crew{}, sim.New(sim.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)
	for range size {
		m, err := fleet.New(separate(t, server), fleet.Options{Spec: servedSpec(cfg), Poll: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		running.Go(func() { _ = m.Run(ctx) })
		c.managers = append(c.managers, m)
		c.routers = append(c.routers, router.New(router.Options{
			Snapshot: m.Snapshot, Now: m.Now, Sessions: m, Outcomes: m, Providers: map[string]router.Provider{"sim": models},
		}))
	}
	return c
}

// order disables or enables a member and waits until every worker knows.
func (c *crew) order(t *testing.T, what string) {
	t.Helper()
	if err := c.managers[0].Operate(t.Context(), "a", what); err != nil {
		t.Fatal(err)
	}
	for _, m := range c.managers {
		for until := time.Now().Add(10 * time.Second); m.Snapshot().Model("a").State.Disabled != (what == "disable"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("an order did not arrive")
			}
		}
	}
}

// yield is the share of input tokens that the members' caches held, over
// conversations of 8 turns, each turn at another worker, while a member is taken
// away and comes back. to says how a turn's call is addressed.
func (c *crew) yield(t *testing.T, to func(c *lm.Call, thread int)) float64 {
	t.Helper()
	const threads, turns = 120, 8
	var mu sync.Mutex
	var used lm.Usage
	for turn := range turns {
		switch turn {
		case 3:
			c.order(t, "disable")
		case 5:
			c.order(t, "enable")
		}
		var wait sync.WaitGroup
		for w, r := range c.routers {
			wait.Go(func() {
				for thread := range threads {
					if (thread+turn)%len(c.routers) != w {
						continue
					}
					call := lm.Call{Kind: "chat", Model: "chat", Body: conversation(thread, turn+1), Attempt: 1, Epoch: 1,
						ID: lm.TraceID(fmt.Sprintf("0-%d-%d", thread, turn)), Key: fmt.Sprintf("0-%d-%d/turn", thread, turn)}
					to(&call, thread)
					answer, err := r.Call(t.Context(), call)
					if err != nil {
						t.Errorf("thread %d, turn %d: %v", thread, turn, err)
						return
					}
					mu.Lock()
					used = used.Add(answer.Usage)
					mu.Unlock()
				}
			})
		}
		wait.Wait()
	}
	return float64(used.Cached) / float64(used.Input)
}

func conversation(thread, turns int) []byte {
	messages := make([]map[string]string, turns)
	for i := range messages {
		messages[i] = map[string]string{"role": "user", "content": fmt.Sprintf("thread %d turn %d ", thread, i) + strings.Repeat("and so on ", 40)}
	}
	b, _ := json.Marshal(map[string]any{"messages": messages}) // strings only
	return b
}

// Sessions keep prompt caches warm: a fleet of eight workers comes within two
// points of one worker that knows everything, and far beyond round robin and
// chance.
func TestAffinity_AFleetYieldsAsMuchAsOneWorker(t *testing.T) {
	t.Parallel()
	sticky := func(c *lm.Call, thread int) { c.Thread = fmt.Sprint("t", thread) }
	one := newCrew(t, 1, "deterministic").yield(t, sticky)
	eight := newCrew(t, 8, "deterministic").yield(t, sticky)
	inTurn := newCrew(t, 8, "round_robin").yield(t, func(*lm.Call, int) {})
	chance := newCrew(t, 8, "deterministic").yield(t, func(c *lm.Call, _ int) { c.Agent = fmt.Sprint(rand.Int64()) })
	t.Logf("cached over input tokens: one worker %.1f %%, eight %.1f %%, round robin %.1f %%, by chance %.1f %%", 100*one, 100*eight, 100*inTurn, 100*chance)
	if eight < one-0.02 || eight > one+0.02 {
		t.Errorf("eight workers yield %.3f, one %.3f: want them within 0.02", eight, one)
	}
	if eight < inTurn+0.1 || eight < chance+0.1 {
		t.Errorf("sessions yield %.3f, round robin %.3f, chance %.3f: want sessions well ahead", eight, inTurn, chance)
	}
}
