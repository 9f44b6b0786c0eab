package lua

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Orders are what an operator wants of the fleet. Every worker reads them about
// once a second, and at once when it is told.
type Orders struct {
	Paused map[string]time.Time // queues that are not read, and since when
	Drain  map[string]time.Time // owners that are to drain, and since when
}

// The fields of the orders hash are "pause QUEUE" and "drain OWNER"; the values
// unix ms.
const (
	orderPause = "pause "
	orderDrain = "drain "
)

// Orders reads the fleet's orders.
func (s *Store) Orders(ctx context.Context) (Orders, error) {
	all, err := s.rdb.HGetAll(ctx, s.keys.fleet("orders")).Result()
	if err != nil {
		return Orders{}, fmt.Errorf("read orders: %w", err)
	}
	o := Orders{Paused: make(map[string]time.Time), Drain: make(map[string]time.Time)}
	for field, value := range all {
		if queue, ok := strings.CutPrefix(field, orderPause); ok {
			o.Paused[queue] = atMS(number(value))
		} else if owner, ok := strings.CutPrefix(field, orderDrain); ok {
			o.Drain[owner] = atMS(number(value))
		}
	}
	return o, nil
}

// PauseQueue has no worker read a queue any more; what runs goes on. The order is one
// command, and may be repeated; it stands as soon as that is done, also where the
// caller dies before the workers are told, who look by themselves.
func (s *Store) PauseQueue(ctx context.Context, queue string) error {
	return s.order(ctx, orderPause+queue)
}

// ResumeQueue takes a pause back; false when there was none.
func (s *Store) ResumeQueue(ctx context.Context, queue string) (bool, error) {
	n, err := s.rdb.HDel(ctx, s.keys.fleet("orders"), orderPause+queue).Result()
	if err != nil {
		return false, fmt.Errorf("resume a queue: %w", err)
	}
	s.tellAll(ctx)
	return n > 0, nil
}

// DrainWorker has a worker drain and end, as SIGTERM would.
func (s *Store) DrainWorker(ctx context.Context, owner string) error {
	return s.order(ctx, orderDrain+owner)
}

// Drained takes down the drain orders of workers that have ended.
func (s *Store) Drained(ctx context.Context, owners ...string) error {
	if len(owners) == 0 {
		return nil
	}
	fields := make([]string, len(owners))
	for i, o := range owners {
		fields[i] = orderDrain + o
	}
	if err := s.rdb.HDel(ctx, s.keys.fleet("orders"), fields...).Err(); err != nil {
		return fmt.Errorf("take down drain orders: %w", err)
	}
	return nil
}

func (s *Store) order(ctx context.Context, field string) error {
	now := strconv.FormatInt(time.Now().UnixMilli(), 10)
	if err := s.rdb.HSetNX(ctx, s.keys.fleet("orders"), field, now).Err(); err != nil {
		return fmt.Errorf("give an order: %w", err)
	}
	s.tellAll(ctx)
	return nil
}

// tellAll lets every worker on the roster look at the orders now. A word that does not
// arrive, as where the user may not publish, costs a second and is no error: the order
// stands.
func (s *Store) tellAll(ctx context.Context) {
	workers, _, err := s.Roster(ctx)
	if err != nil {
		return
	}
	owners := make([]string, 0, len(workers))
	for _, w := range workers {
		owners = append(owners, w.Owner)
	}
	slices.Sort(owners)
	_ = s.Tell(ctx, WordOrders, owners...)
}
