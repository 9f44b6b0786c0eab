package worker

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
)

// What an idle worker costs with models and a pool declared, in all: the bound is
// the one of a worker with none.
func TestIdleWorker_WithAPoolAtMostFiveCommandsASecond(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorker(t, pooled(server))
	run(t, w)
	rdb := server.Client()
	commands := func() int {
		for line := range strings.Lines(rdb.Info(t.Context(), "stats").Val()) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "total_commands_processed:"); ok {
				n, err := strconv.Atoi(v)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
		t.Fatal("INFO says nothing of commands")
		return 0
	}
	<-time.After(15 * time.Second) // the start, and the polls until the fleet's state is left alone
	const most, span = 5.0, 15 * time.Second
	before, began := commands(), time.Now()
	<-time.After(span)
	took := time.Since(began)
	n := commands() - before - 1 // the second INFO
	perSecond := float64(n) / took.Seconds()
	t.Logf("an idle worker with a pool: %d commands in %s, %.2f a second, those inside scripts included", n, took, perSecond)
	if perSecond > most {
		t.Errorf("%.2f commands a second, want at most %v\n%s", perSecond, most, rdb.Info(t.Context(), "commandstats").Val())
	}
}
