package cli

import (
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

// --in and --deadline with a duration were added to the command's own clock.
func TestEnqueue_DurationsAreCountedByRedis(t *testing.T) {
	server := redistest.Start(t)
	s := on(t, server)
	id := strings.TrimSpace(s.run("enqueue", "x", "--in", "4s", "--deadline", "60s", "-o", "id").ok())
	trace, err := storeOf(t, server).Trace(background, lm.TraceID(id))
	if err != nil {
		t.Fatal(err)
	}
	created := trace.History[0].At
	if in, ends := trace.NotBefore.Sub(created), trace.Deadline.Sub(created); in != 4*time.Second || ends != time.Minute {
		t.Errorf("starts %s after it was accepted, expires after %s", in, ends)
	}
}
