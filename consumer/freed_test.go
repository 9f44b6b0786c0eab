package consumer

import (
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// A place that is given back is taken at once, by the oldest, by one for each place, and
// without a tick.
func TestFreed_APlaceBringsOneBack(t *testing.T) {
	each(t, func(e *env) {
		handled := &calls{}
		w := e.worker(coldUntil(handled), Options{Tick: time.Hour})
		var ids []lm.TraceID
		for i := range 4 {
			id := e.enqueue(lm.TraceID(fmt.Sprintf("0-%d", i)), model("m"))
			e.until("it is parked", func() bool { return w.Running() == 0 && e.state(id) == lm.Retrying })
			ids = append(ids, id)
		}
		w.Freed(4) // of nothing that is known
		for n := range ids {
			w.Freed(4, lm.WaitModel+"x", lm.WaitModel+"m")
			e.ended(ids[n])
			for _, id := range ids[n+1:] {
				if s := e.state(id); s != lm.Retrying {
					e.Errorf("after %d places: %s is %s", n+1, id, s)
				}
			}
		}
	})
}

// Calls that end while nothing waits are no places that wait for somebody.
func TestFreed_NeverMoreThanThereAre(t *testing.T) {
	p := newPlaces()
	for range 10 {
		p.add(4, []string{"limit/m", "limit/pool"})
	}
	p.add(1, []string{"limit/n"})
	if free := p.take(); len(free) != 2 || free["limit/m"].n != 4 || len(free["limit/m"].targets) != 2 || free["limit/n"].n != 1 {
		t.Errorf("%+v", free)
	}
	if free := p.take(); len(free) != 0 {
		t.Errorf("taken twice: %+v", free)
	}
}
