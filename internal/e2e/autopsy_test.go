package e2e

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/redis/go-redis/v9"
)

// autopsy is what a worker held when it was killed or stopped.
type autopsy struct {
	worker string
	pid    int
	killed bool      // it never wakes again
	at     time.Time // when it stood still, by the clock of the call log
	late   time.Duration
	held   map[lm.TraceID]remains
}

// remains is one operation that it held.
type remains struct {
	started bool            // its handler may have begun
	saved   map[string]bool // the steps in its checkpoint
}

func (a autopsy) String() string {
	return fmt.Sprintf("%s (pid %d) held %d, read %s after", a.worker, a.pid, len(a.held), a.late.Round(time.Microsecond))
}

var codec = sync.OnceValue(func() *checkpoint.Codec {
	c, err := checkpoint.New(checkpoint.Options{})
	if err != nil {
		panic(err)
	}
	return c
})

// dissect reads what a worker holds that has just been killed or stopped, before
// anybody can take it over. It may run in any goroutine.
func (f *fleet) dissect(w *worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := autopsy{worker: w.owner, pid: w.pid(), killed: true, at: w.ended, held: make(map[lm.TraceID]remains)}
	if w.ended.IsZero() {
		a.killed, a.at = false, time.Now()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// The first answer shows that Redis has read what the dead one sent last.
	if err := f.rdb.Ping(ctx).Err(); err != nil {
		f.Errorf("autopsy of %s: %v", w.name, err)
		return
	}
	traces := make([]*redis.SliceCmd, len(f.order))
	checkpoints := make([]*redis.MapStringStringCmd, len(f.order))
	ofPartition := make(map[int][]int)
	for i, id := range f.order {
		ofPartition[id.Partition()] = append(ofPartition[id.Partition()], i)
	}
	for _, operations := range ofPartition { // a transaction has one slot
		if _, err := f.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
			for _, i := range operations {
				traces[i] = p.HMGet(ctx, key("trace", f.order[i]), "owner", "started")
				checkpoints[i] = p.HGetAll(ctx, key("checkpoint", f.order[i]))
			}
			return nil
		}); err != nil {
			f.Errorf("autopsy of %s: %v", w.name, err)
			return
		}
	}
	a.late = time.Since(a.at)
	for i, id := range f.order {
		if owner, _ := traces[i].Val()[0].(string); owner != w.owner {
			continue
		}
		book, err := codec().Open(id, checkpoints[i].Val())
		if err != nil {
			f.Errorf("the checkpoint that %s left of %s: %v", w.name, id, err)
			continue
		}
		r := remains{started: traces[i].Val()[1] == "1", saved: make(map[string]bool)}
		for _, step := range book.Steps() {
			r.saved[step.Name] = true
		}
		a.held[id] = r
	}
	f.autopsies = append(f.autopsies, a)
}

// died are the autopsies so far.
func (f *fleet) died() []autopsy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.autopsies[:len(f.autopsies):len(f.autopsies)]
}

// key names an operation's key.
func key(what string, id lm.TraceID) string {
	return "{lm:" + strconv.Itoa(id.Partition()) + "}:" + what + ":" + string(id)
}
