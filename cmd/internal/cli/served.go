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
// that no living worker serves, a kind that none has a handler of, and, for who waits,
// a paused queue. These are hints: what cannot be read is not said.
func (f *enqueueFlags) warnUnserved(ctx context.Context, cmd *cobra.Command, s *lua.Store) {
	queue := cmp.Or(f.template.Queue, lm.DefaultQueue)
	if f.template.Queue != "" || f.template.Kind != "" {
		if roster, now, err := s.Roster(ctx); err == nil {
			warnUnknown(cmd, "queue", f.template.Queue, liveQueues(roster, now), "serves it", "served")
			warnUnknown(cmd, "kind", f.template.Kind, liveKinds(roster, now), "has a handler of it", "handled")
		}
	}
	if !f.wait && !f.followed {
		return
	}
	if orders, err := s.Orders(ctx); err == nil && !orders.Paused[queue].IsZero() {
		fmt.Fprintf(stderr, "%s: the queue %s is paused since %s: this waits until `lighterman resume %s`\n", cmd.Name(), queue, orders.Paused[queue].Local().Format(time.DateTime), queue)
	}
}

// warnUnknown says that a name is none of those which living workers have. Without a
// name, or where nothing is known of any, it says nothing.
func warnUnknown(cmd *cobra.Command, flag, name string, known []string, does, those string) {
	if name == "" || len(known) == 0 || slices.Contains(known, name) {
		return
	}
	fmt.Fprintf(stderr, "%s: --%s %s: no living worker %s%s (%s: %s)\n", cmd.Name(), flag, name, does, didYouMean(name, known), those, strings.Join(known, ", "))
}

// liveQueues are the queues that workers serve which are not silent, sorted.
func liveQueues(roster []lua.WorkerRecord, now time.Time) []string {
	var queues []string
	for _, w := range roster {
		if workerState(w, now) == "silent" {
			continue
		}
		queues = append(queues, queuesOf(w)...)
	}
	slices.Sort(queues)
	return slices.Compact(queues)
}

// liveKinds are the kinds that workers have handlers of which are not silent, sorted.
// There are none where one of these workers does not say: it may have any.
func liveKinds(roster []lua.WorkerRecord, now time.Time) []string {
	var kinds []string
	for _, w := range roster {
		if workerState(w, now) == "silent" {
			continue
		}
		if len(w.Kinds) == 0 {
			return nil
		}
		kinds = append(kinds, w.Kinds...)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// queuesOf are the names of the queues that a worker serves.
func queuesOf(w lua.WorkerRecord) []string {
	queues := make([]string, len(w.Queues))
	for i, q := range w.Queues {
		queues[i], _, _ = strings.Cut(q, ":") // a weight may follow
	}
	return queues
}
