package cli

import (
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

// TestEnqueue_WarnsOfWhatWouldWait: an unserved queue, a slip of a kind, and for who
// waits a paused queue. All of it is accepted.
func TestEnqueue_WarnsOfWhatWouldWait(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s.run("enqueue", "x", "--queue", "batch").ok() // nobody lives who could serve it
	work(t, server, nil)
	until(t, "the worker is on the roster", func() bool {
		roster, _, err := storeOf(t, server).Roster(background)
		return err == nil && len(roster) == 1
	})
	s.run("enqueue", "x", "--queue", "batch").ok()
	s.run("enqueue", "x", "--queue", "batsh").failed(0, "--queue batsh: no living worker serves it; did you mean batch? (served: batch, default, interactive)")
	s.run("enqueue", "x", "--kind", "caht").failed(0, "--kind caht: waits for a worker with a handler of it; did you mean chat?")
	s.run("enqueue", "x", "--kind", "summarise").ok()
	s.run("lighterman", "pause", "default").ok()
	s.run("enqueue", "x").ok()
	s.run("enqueue", "x", "--wait", "--timeout", "300ms").failed(exitTimeout, "the queue default is paused since |lighterman resume default", "gave up")
}

// TestStatus_TellsDeadConsumersFromLivingOnes by the roster.
func TestStatus_TellsDeadConsumersFromLivingOnes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	kill(t, storeOf(t, server), 1, "default", "chat", lm.CrashLimit) // by a consumer that no worker is
	work(t, server, nil)
	s.run("enqueue", "x", "--wait").ok()
	type status struct {
		Consumers []struct {
			Consumer, State string
			Idle            time.Duration `json:"idle_ns"`
		}
	}
	states := map[string]string{}
	for _, c := range decode[status](t, s.run("lighterman", "status", "-o", "json").ok()).Consumers {
		states[c.Consumer[:6]] = c.State
	}
	if states["killer"] != "gone" || states["inproc"] != "ready" || len(states) != 2 {
		t.Errorf("states: %v", states)
	}
	out := s.run("lighterman", "status").ok()
	if lineWith(out, []string{"killer", "gone"}) == "" || lineWith(out, []string{"inproc-", "ready"}) == "" {
		t.Errorf("status: %s", out)
	}
}
