package lua

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestOrders_StandUntilTakenBack: an order given again keeps its time, and one order
// says nothing of another.
func TestOrders_StandUntilTakenBack(t *testing.T) {
	each(t, func(e *env) {
		want := func(paused, drain string) {
			e.Helper()
			o, err := e.s.Orders(ctx)
			must(e, err)
			if p, d := slices.Sorted(maps.Keys(o.Paused)), slices.Sorted(maps.Keys(o.Drain)); !slices.Equal(p, strings.Fields(paused)) || !slices.Equal(d, strings.Fields(drain)) {
				e.Errorf("paused %q, drain %q; want %q and %q", p, d, paused, drain)
			}
		}
		want("", "")
		must(e, e.s.PauseQueue(ctx, "a"))
		must(e, e.s.PauseQueue(ctx, "drain"))
		must(e, e.s.DrainWorker(ctx, "w-1"))
		must(e, e.s.DrainWorker(ctx, "w-2"))
		want("a drain", "w-1 w-2")
		since, _ := e.s.Orders(ctx)
		if age := time.Since(since.Paused["a"]); age < 0 || age > time.Minute {
			e.Errorf("paused since %s", age)
		}
		<-time.After(3 * time.Millisecond)
		must(e, e.s.PauseQueue(ctx, "a"))
		if again, _ := e.s.Orders(ctx); !again.Paused["a"].Equal(since.Paused["a"]) {
			e.Errorf("paused again: since %s, was %s", again.Paused["a"], since.Paused["a"])
		}
		for _, first := range []bool{true, false} {
			if was, err := e.s.ResumeQueue(ctx, "a"); err != nil || was != first {
				e.Errorf("resume: %v, %v; want %v", was, err, first)
			}
		}
		must(e, e.s.Drained(ctx))
		must(e, e.s.Drained(ctx, "w-1", "nobody-1"))
		want("drain", "w-2")
	})
}

// TestOrders_AreToldToTheRoster: each order is heard by the workers on the roster.
func TestOrders_AreToldToTheRoster(t *testing.T) {
	each(t, func(e *env) {
		must(e, e.rdb.HSet(ctx, e.s.keys.fleet("workers"), "w-1", `1 {"name":"w"}`).Err())
		var sub *redis.PubSub
		if e.s.sharded() {
			sub = e.rdb.SSubscribe(ctx, e.s.keys.control("w-1"))
		} else {
			sub = e.rdb.Subscribe(ctx, e.s.keys.control("w-1"))
		}
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil {
			e.Fatal(err)
		}
		for what, order := range map[string]func() error{
			"pause":  func() error { return e.s.PauseQueue(ctx, "a") },
			"drain":  func() error { return e.s.DrainWorker(ctx, "w-2") },
			"resume": func() error { _, err := e.s.ResumeQueue(ctx, "a"); return err },
		} {
			must(e, order())
			if m, err := sub.ReceiveMessage(ctx); err != nil || m.Payload != WordOrders {
				e.Errorf("%s: heard %v, %v", what, m, err)
			}
		}
	})
}
