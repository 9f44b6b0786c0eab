package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

// warnUnserved says on standard error what would leave the requests waiting: a queue
// that no living worker serves, a kind that looks like a slip of a built-in one, and,
// for who waits, a paused queue. These are hints: what cannot be read is not said.
func (f *enqueueFlags) warnUnserved(ctx context.Context, cmd *cobra.Command, s *lua.Store) {
	queue := cmp.Or(f.template.Queue, lm.DefaultQueue)
	if f.template.Queue != "" {
		if roster, now, err := s.Roster(ctx); err == nil {
			if served := liveQueues(roster, now); len(served) > 0 && !slices.Contains(served, queue) {
				fmt.Fprintf(stderr, "%s: --queue %s: no living worker serves it%s (served: %s)\n", cmd.Name(), queue, didYouMean(queue, served), strings.Join(served, ", "))
			}
		}
	}
	if kind := f.template.Kind; kind != "" && !slices.Contains(builtInKinds, kind) {
		if near := lm.DidYouMean(kind, builtInKinds); near != "" {
			fmt.Fprintf(stderr, "%s: --kind %s: waits for a worker with a handler of it; did you mean %s?\n", cmd.Name(), kind, near)
		}
	}
	if !f.wait && !f.followed {
		return
	}
	if orders, err := s.Orders(ctx); err == nil && !orders.Paused[queue].IsZero() {
		fmt.Fprintf(stderr, "%s: the queue %s is paused since %s: this waits until `lighterman resume %s`\n", cmd.Name(), queue, orders.Paused[queue].Local().Format(time.DateTime), queue)
	}
}

// builtInKinds are the kinds that every worker has a handler of.
var builtInKinds = []string{"chat", "prompt", "embed"}

// liveQueues are the queues that workers serve which are not silent, sorted.
func liveQueues(roster []lua.WorkerRecord, now time.Time) []string {
	var queues []string
	for _, w := range roster {
		if workerState(w, now) == "silent" {
			continue
		}
		for _, q := range w.Queues {
			name, _, _ := strings.Cut(q, ":") // a weight may follow
			queues = append(queues, name)
		}
	}
	slices.Sort(queues)
	return slices.Compact(queues)
}
