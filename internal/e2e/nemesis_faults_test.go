package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// fault is something that happens. strike lets it happen and heals it; it returns
// whether it reached its target: one that nobody felt proves nothing.
type fault struct {
	name   string
	strike func(n *nemesis) (met bool)
	once   bool // in a run
}

// Faults of workers, wherever Redis is.
var workerFaults = []fault{
	{name: "worker killed", strike: (*nemesis).killWorker},
	{name: "worker stopped", strike: (*nemesis).stopWorker},
	{name: "worker drained", strike: (*nemesis).drainWorker},
}

// Faults of one server and of the links to it.
var singleFaults = append(workerFaults[:len(workerFaults):len(workerFaults)],
	fault{name: "latency", strike: shaped(redistest.Line{Delay: 60 * time.Millisecond})},
	fault{name: "jitter", strike: shaped(redistest.Line{Delay: 5 * time.Millisecond, Jitter: 120 * time.Millisecond})},
	fault{name: "narrow link", strike: shaped(redistest.Line{BytesPerSecond: 32 << 10})},
	fault{name: "half-open link", strike: (*nemesis).freezeLink},
	fault{name: "connections cut", strike: (*nemesis).cutLinks},
	fault{name: "reply lost", strike: (*nemesis).loseReply},
	fault{name: "redis killed", strike: (*nemesis).killRedis},
	fault{name: "redis stopped", strike: (*nemesis).stopRedis},
	fault{name: "LOADING", strike: (*nemesis).loadRedis},
	fault{name: "BUSY", strike: (*nemesis).busyScript},
	fault{name: "READONLY", strike: (*nemesis).readOnly},
	fault{name: "OOM", strike: (*nemesis).outOfMemory},
	fault{name: "NOPERM", strike: (*nemesis).rightsTaken},
	fault{name: "NOSCRIPT", strike: (*nemesis).flushScripts},
)

// Faults of a cluster of three masters.
var clusterFaults = append(workerFaults[:len(workerFaults):len(workerFaults)],
	fault{name: "one shard frozen", strike: (*nemesis).freezeShard},
	fault{name: "cluster failover", strike: (*nemesis).failOverShard},
	fault{name: "slot moved", strike: (*nemesis).moveSlot},
)

// Faults under sentinels, of which there is one replica.
var sentinelFaults = append(workerFaults[:len(workerFaults):len(workerFaults)],
	fault{name: "sentinel failover", strike: (*nemesis).failOverMaster, once: true},
)

// killWorker ends one with SIGKILL and puts another in its place.
func (n *nemesis) killWorker() bool {
	n.Helper()
	m := n.some()
	m.kill()
	held := n.lastAutopsy(m.worker).held
	n.replace(m)
	return len(held) > 0
}

// stopWorker lets one stand still for up to two leases.
func (n *nemesis) stopWorker() bool {
	n.Helper()
	m := n.some()
	m.freeze()
	n.dissect(m.worker)
	held := n.lastAutopsy(m.worker).held
	n.pass(nemesisLease/2, 2*nemesisLease)
	m.signal(syscall.SIGCONT)
	return len(held) > 0
}

// drainWorker ends one as a deploy does.
func (n *nemesis) drainWorker() bool {
	n.Helper()
	m := n.some()
	held := n.heldBy(m.worker)
	m.signal(syscall.SIGTERM)
	if code := m.exit(patience); code != 0 {
		n.Errorf("seed %d: %s drained with exit code %d", n.seed, m.name, code)
	}
	n.replace(m)
	return held > 0
}

// shaped lets every link be slow for a while.
func shaped(l redistest.Line) func(*nemesis) bool {
	return func(n *nemesis) bool {
		before := int64(0)
		for _, m := range n.members {
			before -= m.link.Moved()
			m.link.Shape(l)
		}
		n.pass(nemesisLease/2, nemesisLease)
		for _, m := range n.members {
			m.link.Shape(redistest.Line{})
			before += m.link.Moved()
		}
		return before > 0
	}
}

// freezeLink lets one worker's link fall silent, with its connections open. To the
// others it is like a host that was lost.
func (n *nemesis) freezeLink() bool {
	m := n.some()
	link := m.link
	before := link.Held()
	link.Freeze()
	n.dissect(m.worker)
	n.pass(nemesisLease/2, 2*nemesisLease)
	link.Thaw()
	return link.Held() > before
}

// cutLinks breaks every connection, several times in a row.
func (n *nemesis) cutLinks() bool {
	cut := 0
	for range 5 {
		for _, m := range n.members {
			cut += m.link.Cut()
		}
		n.pass(20*time.Millisecond, 100*time.Millisecond)
	}
	return cut > 0
}

// loseReply lets each worker lose the reply to one script that it sends anyway.
func (n *nemesis) loseReply() bool {
	n.Helper()
	before, lost := 0, 0
	for _, m := range n.members {
		before += m.link.Lost()
		m.link.LoseReply("evalsha")
	}
	for deadline := time.Now().Add(5 * time.Second); lost < len(n.members) && time.Now().Before(deadline); n.pass(5*time.Millisecond, 10*time.Millisecond) {
		lost = -before
		for _, m := range n.members {
			lost += m.link.Lost()
		}
	}
	return lost > 0
}

// killRedis ends the server and starts it with its append-only file.
func (n *nemesis) killRedis() bool {
	running := n.running()
	n.redis.Kill()
	n.pass(0, nemesisLease)
	n.redis.Restart()
	return running > 0
}

// stopRedis lets the server stand still.
func (n *nemesis) stopRedis() bool {
	running := n.running()
	n.redis.Stop()
	n.pass(nemesisLease/4, 2*nemesisLease)
	n.redis.Cont()
	return running > 0
}

// loadRedis restarts the server from a file whose loading takes a moment.
func (n *nemesis) loadRedis() bool {
	n.Helper()
	if err := n.rdb.BgRewriteAOF(n.Context()).Err(); err != nil {
		n.Fatal(err)
	}
	until(n, patience, "the append-only file to be written anew", func() bool {
		info := n.rdb.Info(n.Context(), "persistence").Val()
		return strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0")
	})
	n.redis.Kill()
	done := make(chan bool)
	loaded := make(chan struct{})
	go func() { done <- n.answersUntil(loaded, "LOADING") }()
	n.redis.Restart()
	close(loaded)
	return <-done
}

// busyScript holds the server up with somebody else's script.
func (n *nemesis) busyScript() bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		rdb := n.redis.Client()
		_ = rdb.Eval(context.Background(), `local t = redis.call('TIME')
			local till = t[1] * 1000 + t[2] / 1000 + 700
			repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 > till`, nil).Err() // its client may give up
	}()
	met := n.answersUntil(ended, "BUSY")
	<-ended
	return met
}

// readOnly makes the server a replica of nobody for a while.
func (n *nemesis) readOnly() bool {
	return n.refusing("READONLY", func(rdb *redis.Client) error {
		return rdb.Do(n.Context(), "replicaof", "127.0.0.1", "1").Err()
	}, func(rdb *redis.Client) error { return rdb.Do(n.Context(), "replicaof", "no", "one").Err() })
}

// outOfMemory fills the server up for a while.
func (n *nemesis) outOfMemory() bool {
	return n.refusing("OOM", func(rdb *redis.Client) error { return rdb.ConfigSet(n.Context(), "maxmemory", "1").Err() },
		func(rdb *redis.Client) error { return rdb.ConfigSet(n.Context(), "maxmemory", "0").Err() })
}

// rightsTaken takes all rights but the connection's from everybody for a while.
func (n *nemesis) rightsTaken() bool {
	return n.refusing("NOPERM", func(rdb *redis.Client) error {
		return rdb.Do(n.Context(), "acl", "setuser", "default", "-@all", "+@connection", "+acl").Err()
	}, func(rdb *redis.Client) error { return rdb.Do(n.Context(), "acl", "setuser", "default", "+@all").Err() })
}

// refusing lets the server refuse writes with a code for a while.
func (n *nemesis) refusing(code string, begin, end func(*redis.Client) error) bool {
	n.Helper()
	rdb := n.redis.Client()
	if err := begin(rdb); err != nil {
		n.Fatalf("begin %s: %v", code, err)
	}
	err := rdb.Set(n.Context(), "nemesis", 1, time.Minute).Err()
	n.pass(200*time.Millisecond, nemesisLease)
	if err := end(rdb); err != nil {
		n.Fatalf("end %s: %v", code, err)
	}
	return err != nil && strings.HasPrefix(err.Error(), code)
}

// flushScripts empties the script cache many times.
func (n *nemesis) flushScripts() bool {
	n.Helper()
	before := n.errorCount("NOSCRIPT")
	for range 10 {
		if err := n.rdb.ScriptFlush(n.Context()).Err(); err != nil {
			n.Fatal(err)
		}
		n.pass(30*time.Millisecond, 80*time.Millisecond)
	}
	return n.errorCount("NOSCRIPT") > before
}

// freezeShard lets one of three masters stand still for less than its node
// time-out, so that nobody takes its place.
func (n *nemesis) freezeShard() bool {
	shard := n.shards.shards.Masters[n.rng.IntN(3)]
	running := n.running()
	shard.Stop()
	n.pass(nemesisLease/2, 3*nemesisLease/2)
	shard.Cont()
	return running > 0
}

// failOverShard makes a replica the master and then the master a master again, as
// an operator does who restarts both; nothing is lost by it.
func (n *nemesis) failOverShard() bool {
	n.Helper()
	i := n.rng.IntN(3)
	running := n.running()
	n.promote(n.shards.shards.Replicas[i])
	n.pass(0, nemesisLease/2)
	n.promote(n.shards.shards.Masters[i])
	return running > 0
}

// promote makes a replica the master of its shard.
func (n *nemesis) promote(s *redistest.Server) {
	n.Helper()
	rdb := s.Client()
	asked := time.Time{}
	until(n, patience, "the replica to be a master", func() bool {
		info := rdb.Info(n.Context(), "replication").Val()
		// A failover that was asked for is given up after five seconds.
		if strings.Contains(info, "master_link_status:up") && time.Since(asked) > 6*time.Second {
			_ = rdb.ClusterFailover(n.Context()).Err() // asked for again where it is refused
			asked = time.Now()
		}
		return strings.Contains(info, "role:master")
	})
}

// moveSlot moves the slot of a partition to another master while it is used.
func (n *nemesis) moveSlot() bool {
	n.Helper()
	sent := func() int {
		return n.shards.answered("ASK") + n.shards.answered("MOVED") + n.shards.answered("TRYAGAIN")
	}
	before := sent()
	n.shards.move(n.rng.IntN(clusterPartitions), 200*time.Millisecond)
	until(n, patience, "somebody to be sent elsewhere", func() bool { return sent() > before })
	return true
}

// failOverMaster kills the master when its replica has all.
func (n *nemesis) failOverMaster() bool {
	n.Helper()
	running := n.running()
	master := n.watched.Master.Client()
	if err := master.Do(n.Context(), "client", "pause", 10_000, "write").Err(); err != nil {
		n.Fatal(err)
	}
	n.watched.AwaitReplicated()
	n.watched.Master.Kill()
	n.watched.AwaitPromoted()
	return running > 0
}

// pass lets a random time go by.
func (n *nemesis) pass(least, most time.Duration) {
	select {
	case <-n.Context().Done():
	case <-time.After(least + time.Duration(n.rng.Int64N(int64(most-least)+1))):
	}
}

// running is how many operations some worker holds.
func (n *nemesis) running() (held int) {
	n.Helper()
	for _, r := range n.records(n.all()) {
		if r.Owner != "" {
			held++
		}
	}
	return held
}

// heldBy is how many operations a worker holds.
func (n *nemesis) heldBy(w *worker) (held int) {
	n.Helper()
	for _, r := range n.records(n.all()) {
		if r.Owner == w.owner {
			held++
		}
	}
	return held
}

// awaitRunningFor waits until some worker holds so many operations; false when
// that does not happen in time.
func (n *nemesis) awaitRunningFor(held int, most time.Duration) bool {
	n.Helper()
	for deadline := time.Now().Add(most); n.running() < held; n.pass(10*time.Millisecond, 20*time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// lastAutopsy is the newest one of a worker.
func (n *nemesis) lastAutopsy(w *worker) (last autopsy) {
	for _, a := range n.died() {
		if a.worker == w.owner {
			last = a
		}
	}
	return last
}

// errorCount is how often the server answered with an error code.
func (n *nemesis) errorCount(code string) (count int) {
	_, rest, found := strings.Cut(n.rdb.Info(n.Context(), "errorstats").Val(), "errorstat_"+code+":count=")
	if found {
		_, _ = fmt.Sscan(rest, &count)
	}
	return count
}

// answersUntil asks the server over and over until ended, and returns whether an
// answer was an error with the code. It dials each time: a client would wait after
// a dial that failed.
func (n *nemesis) answersUntil(ended <-chan struct{}, code string) (met bool) {
	for {
		met = met || strings.HasPrefix(askOnce(n.redis.Addr), "-"+code)
		select {
		case <-ended:
			return met
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// askOnce returns the answer to a PING; empty when there is none.
func askOnce(addr string) string {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return ""
	}
	answer := make([]byte, 64)
	read, _ := conn.Read(answer) // nothing, or the answer's beginning
	return string(answer[:read])
}
