package redistest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lighterman/lighterman/internal/redistest"
)

func TestShards_MoveASlotWithItsKeys(t *testing.T) {
	t.Parallel() // It waits for 4 s.
	s := redistest.StartShards(t, 3, 0)
	rdb, ctx := s.Client(), t.Context()
	slot := int(rdb.ClusterKeySlot(ctx, "{a}").Val())
	from := s.Owner(slot)
	to := (from + 1) % 3
	for i := range 250 {
		if err := rdb.Set(ctx, fmt.Sprintf("{a}%d", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	m := s.BeginMove(slot, to)
	if n := m.Some(100); n != 100 {
		t.Errorf("%d keys moved, want 100", n)
	}
	old := s.Masters[from].Client()
	if err := old.Get(ctx, "{a}new").Err(); err == nil || !strings.HasPrefix(err.Error(), "ASK ") {
		t.Errorf("a key that is not there, at the old owner during the move: %v, want ASK", err)
	}
	m.End()
	if got := s.Owner(slot); got != to {
		t.Errorf("owner %d, want %d", got, to)
	}
	if err := old.Get(ctx, "{a}1").Err(); err == nil || !strings.HasPrefix(err.Error(), "MOVED ") {
		t.Errorf("after the move, at the old owner: %v, want MOVED", err)
	}
	for i := range 250 {
		if got, err := rdb.Get(ctx, fmt.Sprintf("{a}%d", i)).Int(); err != nil || got != i {
			t.Fatalf("{a}%d is %d, %v", i, got, err)
		}
	}
	s.MoveSlots(to, slot) // It is there: nothing to do.
	s.MoveSlots(from, slot)
	if got := s.Owner(slot); got != from {
		t.Errorf("owner %d after the way back, want %d", got, from)
	}
	if want := "redis+cluster://" + s.Masters[0].Addr + "?addr=" + s.Masters[1].Addr + "&addr=" + s.Masters[2].Addr; s.URL() != want {
		t.Errorf("URL %s, want %s", s.URL(), want)
	}
}
