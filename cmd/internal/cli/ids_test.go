package cli

import (
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

// TestLast_StandsForAnIDInEveryCommand: the newest operation, or the newest dead
// letter where a command is about these.
func TestLast_StandsForAnIDInEveryCommand(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	for _, args := range []string{"show last", "follow last", "cancel last", "retry last", "dead show last", "dead retry last", "dead purge --yes last"} {
		r := s.run(append([]string{"lighterman"}, strings.Fields(args)...)...)
		r.refused(exitFailed, "last: no such operation")
	}
	failed := kill(t, storeOf(t, server), 2, "default", "chat", lm.CrashLimit)
	waits := strings.TrimSpace(s.run("enqueue", "x", "--in", "1h").ok())
	if out := s.run("lighterman", "dead", "show", "last").ok(); !strings.HasPrefix(out, string(failed[1])+"  ") && !strings.HasPrefix(out, string(failed[0])+"  ") {
		t.Errorf("dead show last: %s", out)
	}
	s.run("lighterman", "retry", "last").refused(exitFailed, waits+": |only a failed operation can be retried")
	if out := s.run("lighterman", "cancel", "last", waits).ok(); out != waits+"  cancelled\n" {
		t.Errorf("cancel last, and by its ID: %q, want one line", out)
	}
	if trace, err := storeOf(t, server).Trace(background, lm.TraceID(waits)); err != nil || trace.Outcome != lm.Cancelled {
		t.Errorf("%+v, %v; want it cancelled", trace, err)
	}
	if out := s.run("lighterman", "dead", "retry", "last", "-o", "json").ok(); !strings.Contains(out, `"retried_as"`) {
		t.Errorf("dead retry last: %s", out)
	}
	s.run("lighterman", "dead", "purge", "--yes", "last").ok()
	if n := deadCount(t, server); n != 0 {
		t.Errorf("%d dead letters, want none: one retried, one purged", n)
	}
	s.run("lighterman", "cancel", "last", "no id").refused(exitUsage, `"no id"`)
}
