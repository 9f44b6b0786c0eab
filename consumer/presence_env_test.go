package consumer

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// full asks for the counts that the project's promises are measured with.
var full = os.Getenv("LIGHTERMAN_E2E") == "full"

// lines are all connections of one worker, which can be cut as the kernel does
// when a process is killed.
type lines struct {
	mu   sync.Mutex
	open map[net.Conn]bool
	cut  bool
}

func (l *lines) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	l.open[conn] = true
	return conn, nil
}

// mortal is a worker that can be killed.
type mortal struct {
	*worker
	lines *lines
}

// kill cuts everything at once; nothing of the worker reaches Redis any more.
func (m *mortal) kill() time.Time {
	m.abandon()
	m.lines.mu.Lock()
	defer m.lines.mu.Unlock()
	m.lines.cut = true
	at := time.Now()
	for conn := range m.lines.open {
		_ = conn.Close()
	}
	return at
}

// watched are Options of a fleet that looks after each other quickly, where a
// sweep would come much later.
func watched(o Options) Options {
	if o.Announce == 0 {
		o.Announce = 300 * time.Millisecond
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return o
}

func (e *env) mortal(h HandlerFunc, o Options) *mortal {
	e.Helper()
	l := &lines{open: make(map[net.Conn]bool)}
	like := e.rdb.Options()
	own := *e
	own.dial = func() *redis.Client {
		rdb := redis.NewClient(&redis.Options{Network: like.Network, Addr: like.Addr, Password: like.Password, Dialer: l.dial, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
		e.Cleanup(func() { _ = rdb.Close() })
		return rdb
	}
	return &mortal{own.worker(h, watched(o)), l}
}

// sees waits until a worker would notice the death of so many others at once.
func (e *env) sees(w *mortal, n int) {
	e.Helper()
	e.until("it looks after the others", func() bool { return gaugeOf(e, w.metrics) == float64(n) })
}

func gaugeOf(e *env, m *Metrics) float64 { e.Helper(); return value(e, m.Watched) }

// hang is a handler that works until it is cancelled or released.
func hang(release <-chan struct{}) HandlerFunc {
	return func(ctx context.Context, _ lm.Claim) (lm.Result, error) {
		select {
		case <-ctx.Done():
		case <-release:
		}
		return lm.Result{}, ctx.Err()
	}
}

// onRoster lists who is on the roster.
func (e *env) onRoster() (owners []string) {
	e.Helper()
	records, _, err := e.s.Roster(ctx)
	if err != nil {
		e.Fatal(err)
	}
	for _, r := range records {
		owners = append(owners, r.Owner)
	}
	return owners
}

// listeners are the connections that listen, but for some.
func (e *env) listeners(but ...string) (ids []string) {
	e.Helper()
	all, err := e.rdb.Do(ctx, "client", "list", "type", "pubsub").Text()
	if err != nil {
		e.Fatal(err)
	}
	for line := range strings.Lines(all) {
		id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
		if !slices.Contains(but, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (e *env) killListeners(ids []string) {
	e.Helper()
	if len(ids) != 1 {
		e.Fatalf("listeners %v, want one", ids)
	}
	if err := e.rdb.ClientKillByFilter(ctx, "ID", ids[0]).Err(); err != nil {
		e.Fatal(err)
	}
}

// subscribing lets workers subscribe, or refuses it; who has keeps it.
func (e *env) subscribing(yes bool) {
	e.Helper()
	rule := map[bool]string{true: "+subscribe", false: "-subscribe"}[yes]
	if err := e.rdb.Do(ctx, "acl", "setuser", "default", rule).Err(); err != nil {
		e.Fatal(err)
	}
}

// eachMortal runs f on a redis-server and on miniredis, with 1 and 4 partitions.
func eachMortal(t *testing.T, f func(e *env)) {
	t.Helper()
	for name, partitions := range map[string]int{"partitions=1": 1, "partitions=4": 4} {
		t.Run(name, func(t *testing.T) { eachWith(t, lua.Options{Partitions: partitions}, f) })
	}
}
