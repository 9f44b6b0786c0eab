package cli

import (
	"context"
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/worker"
)

// TestEnqueue_WarnsOfWhatWouldWait: an unserved queue, a slip of a kind, and for who
// waits a paused queue. All of it is accepted.
func TestEnqueue_WarnsOfWhatWouldWait(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s.run("enqueue", "x", "--queue", "batch").ok() // nobody lives who could serve it
	work(t, server, func(w *worker.Worker) {
		w.Handle("summarise", func(context.Context, *pipeline.Op) (any, error) { return "done", nil })
	})
	until(t, "the worker is on the roster", func() bool {
		roster, _, err := storeOf(t, server).Roster(background)
		return err == nil && len(roster) == 1
	})
	s.run("enqueue", "x", "--queue", "batch").ok()
	s.run("enqueue", "x", "--queue", "batsh").failed(0, "--queue batsh: no living worker serves it; did you mean batch? (served: batch, default, interactive)")
	s.run("enqueue", "x", "--kind", "caht").failed(0, "--kind caht: no living worker has a handler of it; did you mean chat? (handled: chat, embed, prompt, summarise)")
	s.run("enqueue", "x", "--kind", "sumarise").failed(0, "--kind sumarise: no living worker has a handler of it; did you mean summarise?")
	s.run("enqueue", "x", "--kind", "translate").failed(0, "--kind translate: no living worker has a handler of it (handled: chat, embed, prompt, summarise)")
	s.run("enqueue", "x", "--kind", "summarise").ok()
	s.run("lighterman", "pause", "default").ok()
	s.run("enqueue", "x").ok()
	s.run("enqueue", "x", "--wait", "--timeout", "300ms").failed(exitTimeout, "the queue default is paused since |lighterman resume default", "gave up")
}

// TestLiveKinds_OfVersionsThatDoNotSay: one living worker that tells no kinds may have
// any, so that nothing can be said of the fleet; a silent one counts for nothing.
func TestLiveKinds_OfVersionsThatDoNotSay(t *testing.T) {
	now := time.Now()
	older, silent := lua.WorkerRecord{Seen: now}, lua.WorkerRecord{Seen: now.Add(-time.Hour), Kinds: []string{"gone"}}
	newer := lua.WorkerRecord{Seen: now, Kinds: []string{"prompt", "chat"}}
	for want, roster := range map[string][]lua.WorkerRecord{
		"[chat prompt]": {newer, silent, newer}, "[]": {newer, older},
	} {
		if got := fmt.Sprint(liveKinds(roster, now)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
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
