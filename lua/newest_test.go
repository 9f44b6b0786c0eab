package lua

import (
	"fmt"
	"slices"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

func (e *env) newest(f Filter, most int) []string {
	e.Helper()
	traces, err := e.s.Newest(ctx, f, most)
	if err != nil {
		e.Fatal(err)
	}
	ids := make([]string, len(traces))
	for i, t := range traces {
		ids[i] = string(t.ID)
		if t.Created.IsZero() || len(t.History) == 0 {
			e.Errorf("%s: not whole: %+v", t.ID, t)
		}
	}
	return ids
}

// born gives an operation its place in the order: each a little younger.
func (e *env) born(n int, id lm.TraceID) {
	e.rdb.HSet(ctx, e.s.keys.trace(id), "created", time.Now().Add(time.Duration(n-100)*time.Second).UnixMilli())
}

// TestNewest_EveryStateIsFoundWhereItIs: also what runs behind a backlog, and what
// a foreign producer pushed.
func TestNewest_EveryStateIsFoundWhereItIs(t *testing.T) {
	eachWith(t, Options{Partitions: 3}, func(e *env) {
		if got := e.newest(Filter{}, 5); len(got) != 0 {
			e.Fatalf("of nothing: %v", got)
		}
		e.finish(e.in("w1", "0-done", lm.Inferring))
		e.in("w1", "0-runs", lm.Inferring)
		must(e, e.s.Retry(ctx, e.in("w1", "0-retry", lm.Inferring), aside(time.Hour)))
		must(e, e.s.Release(ctx, e.in("w1", "0-back", lm.Inferring), "drain"))
		e.enqueue("0-later", func(r *lm.Request) { r.NotBefore = time.Now().Add(time.Hour) })
		e.enqueue("0-other", func(r *lm.Request) { r.Queue = "batch" })
		all := []string{"0-done", "0-runs", "0-back", "0-retry", "0-later", "0-other"}
		for i := range 300 {
			id := fmt.Sprintf("%d-w%03d", i%3, i)
			e.enqueue(lm.TraceID(id))
			all = append(all, id)
		}
		for i, id := range all {
			e.born(i, lm.TraceID(id))
		}
		slices.Reverse(all)
		for _, most := range []int{1, 20} {
			if got := e.newest(Filter{}, most); !slices.Equal(got, all[:most]) {
				e.Errorf("newest %d: %v, want %v", most, got, all[:most])
			}
		}
		for f, want := range map[Filter][]string{
			{State: lm.Completed}:               {"0-done"},
			{State: lm.Inferring}:               {"0-runs"},
			{State: lm.Reclaimed}:               {"0-back"},
			{State: lm.Retrying}:                {"0-retry"},
			{State: lm.Received}:                {"0-later"},
			{State: lm.Claimed}:                 {},
			{Queue: "batch"}:                    {"0-other"},
			{Queue: "nobody's"}:                 {},
			{State: lm.Queued, Queue: "batch"}:  {"0-other"},
			{State: lm.Inferring, Queue: "bat"}: {},
		} {
			if got := e.newest(f, 20); !slices.Equal(got, want) {
				e.Errorf("%+v: %v, want %v", f, got, want)
			}
		}
		if got := e.newest(Filter{State: lm.Queued}, 250); !slices.Equal(got, all[:250]) {
			e.Errorf("250 queued: %d", len(got))
		}
	})
}

// TestNewest_OfMoreThanIsLookedAt: over many partitions, and at the far end of the
// delayed set.
func TestNewest_OfMoreThanIsLookedAt(t *testing.T) {
	eachWith(t, Options{Partitions: 40}, func(e *env) {
		var all []string
		for i := range 400 {
			id := fmt.Sprintf("%d-w%03d", i%40, i)
			e.enqueue(lm.TraceID(id))
			e.born(i-500, lm.TraceID(id))
			all = append(all, id)
		}
		slices.Reverse(all)
		if got := e.newest(Filter{}, 20); !slices.Equal(got, all[:20]) {
			e.Errorf("%v, want %v", got, all[:20])
		}
		for i := range 60 {
			id := lm.TraceID(fmt.Sprintf("7-l%02d", i))
			e.enqueue(id, func(r *lm.Request) { r.NotBefore = time.Now().Add(time.Hour + time.Duration(i)*time.Minute) })
			e.born(i, id)
		}
		if got := e.newest(Filter{}, 1); len(got) != 1 || got[0] != "7-l59" {
			e.Errorf("%v, want the last of those that wait for a time", got)
		}
	})
}

// TestNewest_AForeignOperation: from its adoption on.
func TestNewest_AForeignOperation(t *testing.T) {
	each(t, func(e *env) {
		e.lax = true
		id := e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: e.s.keys.stream(queue), Values: []any{"v", "1", "kind", "chat", "body", `{}`}}).Val()
		if got := e.newest(Filter{}, 5); len(got) != 0 {
			e.Errorf("not adopted yet: %v", got)
		}
		entries := e.read("w1")
		if got, err := e.s.Adopt(ctx, "w1", entries); err != nil || got[0] != Adopted {
			e.Fatalf("%v %v", got, err)
		}
		e.rdb.HSet(ctx, e.s.keys.stats(0), "waiting:default", 1)
		if got := e.newest(Filter{}, 5); len(got) != 1 || got[0][:3+len(id)] != "0-x"+id {
			e.Errorf("%v, want that of entry %s", got, id)
		}
	})
}

// TestAllConsumers_LeavesOutWhatIsGone: and reads the others.
func TestAllConsumers_LeavesOutWhatIsGone(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-a")
		e.read("w1")
		got, err := e.s.AllConsumers(ctx, []Stream{{Queue: "nowhere"}, queue})
		if err != nil || len(got) != 1 || got[0].Name != "w1" || got[0].Pending != 1 {
			e.Errorf("%+v %v", got, err)
		}
		if counts, err := e.s.AllCounts(ctx); err != nil || len(counts) != 1 || counts[0]["waiting:default"] != 1 {
			e.Errorf("%+v %v", counts, err)
		}
	})
}
