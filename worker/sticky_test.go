package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/internal/redistest"
)

// served is who answered a chat: the simulator's name of the member.
func served(r lm.Result) string {
	var body struct {
		Model string `json:"model"`
	}
	_ = json.Unmarshal(r.Body, &body)
	return strings.TrimPrefix(body.Model, "sim@")
}

// All calls of a thread are served by one member between switches, whichever of
// two workers makes them, while a member fails; and every change of the member is
// told by the result that made it (PARITY 53, 54).
func TestRoute_ThreadsStickAcrossWorkers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := func() *config.Config {
		c := pooled(server)
		c.Sim.Faults = []config.Fault{{Model: "breaking", Kind: "rate_limited", After: 60, Rate: 1, RetryAfter: config.Duration(time.Hour)}}
		return c
	}
	for range 2 {
		run(t, newWorker(t, cfg()))
	}
	c := client(t, separate(t, server))
	const threads, calls = 200, 3
	var (
		wait     sync.WaitGroup
		mu       sync.Mutex
		switches int
		members  = map[string]int{}
	)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for i := range threads {
		wait.Go(func() {
			last := ""
			for n := range calls {
				a, err := c.Enqueue(ctx, lm.Request{Model: "chat", Thread: fmt.Sprint("thread-", i), Body: json.RawMessage(`{"messages":[{"role":"user","content":"and now?"}]}`)})
				if err != nil {
					t.Error(err)
					return
				}
				r, err := c.Wait(ctx, a.ID)
				if err != nil || r.Outcome != lm.Succeeded {
					t.Errorf("%s: %+v %v", a.ID, r, err)
					return
				}
				member := served(r)
				mu.Lock()
				members[member]++
				if last != "" && member != last {
					switches++
					if len(r.Route) == 0 {
						t.Errorf("thread %d went from %s to %s with call %d, and nothing tells of it", i, last, member, n)
					}
				}
				if last == "limited" && member != "limited" {
					t.Errorf("thread %d left a healthy member", i)
				}
				mu.Unlock()
				last = member
			}
		})
	}
	wait.Wait()
	if switches == 0 || members["breaking"] < 60 || members["limited"] < 200 {
		t.Errorf("%d switches, served by %v: want a failover on the way", switches, members)
	}
}
