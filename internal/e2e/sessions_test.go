package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	state "github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/provider/sim"
)

// shared declares a pool of three of which two are set aside for a moment each,
// in every process that meets the fault, and come back while sessions live.
const shared = `
models:
  - {id: a, backend: local, name: sim}
  - {id: b, backend: other, name: sim}
  - {id: c, backend: third, name: sim}
backends: [{id: local, provider: sim}, {id: other, provider: sim}, {id: third, provider: sim}]
pools:
  - {id: chat, members: [{model_id: a}, {model_id: b}, {model_id: c}]}
sim:
  faults:
    - {model: a, kind: rate_limited, after: 40, count: 4, retry_after: 1500ms}
    - {model: b, kind: overloaded, after: 80, count: 4, retry_after: 1500ms}
`

// sharedCooldown is for how long a fault of shared sets its member aside.
const sharedCooldown = 1500 * time.Millisecond

// seat is what a session sticks to from a time on.
type seat struct {
	at       time.Time
	member   string
	switches int  // that were counted with it
	forgiven bool // by a served call, before the next
}

// TestPool_TwoProcessesShareSessions: two processes serve the same sessions while
// members fail. Every call goes to the member that its session is on, whichever
// process makes it; a session leaves a member only because that one has failed,
// once and counted once, although two of its calls may fail together in two
// processes; and nothing is lost.
func TestPool_TwoProcessesShareSessions(t *testing.T) {
	f := newFleet(t, 20*time.Second)
	seats := f.watchSessions()
	config := f.write(shared)
	for range 2 {
		f.start(crew{config: config, slots: 6, latency: 10 * time.Millisecond})
	}
	const threads = 200
	waves := rounds(4, 10)
	for wave := range waves {
		// Every fourth session has two calls at a time, the others one.
		f.enqueue(threads+threads/4, func(i int) ask {
			thread := i - wave*(threads+threads/4)
			if thread >= threads {
				thread = (thread - threads) * 4
			}
			return ask{lm.Request{Model: "chat", Thread: fmt.Sprint("t", thread), Body: chatBody(question(i))}, lm.Succeeded, question(i)}
		})
		f.awaitAll()
	}
	records := f.records(f.all())
	f.checkEnded(records)
	for _, r := range records {
		f.checkHistory(r)
	}
	f.checkDrained(records)
	f.checkSessions(records, seats(), threads)
}

// checkSessions holds the calls and the results' routes against what the sessions
// stuck to, by Redis's own account.
func (f *fleet) checkSessions(records []lua.Record, seats map[string][]seat, threads int) {
	f.Helper()
	calls, failures := f.memberCalls()
	moves, noted, both := 0, 0, 0
	routes := f.switchesTold()
	byThread := make(map[string][]lua.Record)
	for _, r := range records {
		thread := f.asked[r.ID].request.Thread
		byThread[thread] = append(byThread[thread], r)
	}
	for thread, records := range byThread {
		key := "lm:session:{" + string(state.NewSessionKey("chat", "", state.ScopeThread, thread)) + "}"
		on := seats[key]
		if len(on) == 0 {
			f.Errorf("%s: no session was bound", thread)
			continue
		}
		moves += len(on) - 1
		f.checkMoves(thread, on, failures)
		workers, last, told := map[string]bool{}, sim.LogEntry{}, 0
		for _, r := range records {
			for _, e := range calls[r.ID] {
				workers[e.Worker] = true
				if e.Event == sim.EventStart {
					f.checkSeat(thread, r, e, on)
				} else if e.Event == sim.EventEnd && e.TS > last.TS {
					last = e
				}
			}
			told += routes[r.ID]
		}
		noted += told
		if len(workers) > 1 {
			both++
		}
		if told < len(on)-1 {
			f.Errorf("%s: %d switches, and results tell of %d", thread, len(on)-1, told)
		}
		f.checkHash(key, on, memberOf(last))
	}
	f.Logf("%d operations of %d sessions, %d of them served by both processes: %d switches of sessions, %d told by results, %d failed calls",
		len(records), threads, both, moves, noted, len(failures))
	if len(byThread) != threads || moves < threads/8 || both < threads/4 {
		f.Errorf("%d sessions, %d switches, %d served by both processes: void", len(byThread), moves, both)
	}
}

// checkSeat: a call goes to a member that its session was on at some time since
// its worker claimed it, which is before it read the session. One that began
// before the session was bound may go anywhere.
func (f *fleet) checkSeat(thread string, r lua.Record, e sim.LogEntry, on []seat) {
	f.Helper()
	began, claimed := time.Unix(0, e.TS), r.Created
	for _, h := range r.History {
		if h.Worker != "" && !h.At.After(began) {
			claimed = h.At
		}
	}
	if claimed.Before(on[0].at) {
		return
	}
	for i, s := range on {
		left := i+1 < len(on) && on[i+1].at.Before(claimed)
		if s.member == memberOf(e) && !left && !s.at.After(began) {
			return
		}
	}
	f.Errorf("%s: %s was called by %s at %s, claimed at %s, and the session was on %v:%s", thread, e.Model, e.Worker, began, claimed, on, story(r))
}

// checkMoves: a session leaves a member to go to another one, which counts one
// switch, and only while that member was failing: two calls that fail together do
// not take it on twice.
func (f *fleet) checkMoves(thread string, on []seat, failures []sim.LogEntry) {
	f.Helper()
	for i := 1; i < len(on); i++ {
		from, to := on[i-1], on[i]
		failing := slices.ContainsFunc(failures, func(e sim.LogEntry) bool {
			since := to.at.Sub(time.Unix(0, e.TS))
			return memberOf(e) == from.member && since > -time.Millisecond && since < sharedCooldown+time.Second
		})
		want := from.switches + 1
		if from.forgiven {
			want = 1
		}
		if !failing || from.member == to.member || to.switches != want {
			f.Errorf("%s: switch %d is %+v to %+v, and the first was failing: %t", thread, i, from, to, failing)
		}
	}
}

// checkHash: what is left of a session is its home, the member that served it last
// and no switch that a served call has not forgiven.
func (f *fleet) checkHash(key string, on []seat, last string) {
	f.Helper()
	h, err := f.rdb.HGetAll(f.Context(), key).Result()
	if err != nil {
		f.Fatal(err)
	}
	if active := on[len(on)-1].member; h["active"] != active || last != active || h["switches"] != "0" || h["home"] == "" {
		f.Errorf("session %v, the last move was to %s, and the last call was served by %s", h, active, last)
	}
}

// memberCalls is the call log by operation, and its failures.
func (f *fleet) memberCalls() (calls map[lm.TraceID][]sim.LogEntry, failures []sim.LogEntry) {
	f.Helper()
	entries, err := sim.ReadLog(f.calls)
	if err != nil {
		f.Fatal(err)
	}
	calls = make(map[lm.TraceID][]sim.LogEntry)
	for _, e := range entries {
		calls[e.Trace] = append(calls[e.Trace], e)
		if e.Event == sim.EventError {
			failures = append(failures, e)
		}
	}
	return calls, failures
}

func memberOf(e sim.LogEntry) string { return strings.TrimPrefix(e.Model, sim.Plain+"@") }

// switchesTold is how many choices each result tells of.
func (f *fleet) switchesTold() map[lm.TraceID]int {
	f.Helper()
	results, err := f.store.Results(f.Context(), f.all())
	if err != nil {
		f.Fatal(err)
	}
	told := make(map[lm.TraceID]int)
	for _, r := range results {
		told[r.ID] = len(r.Route)
	}
	return told
}

// write keeps a configuration file for the test.
func (f *fleet) write(text string) string {
	f.Helper()
	path := filepath.Join(f.TempDir(), "pool.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
	return path
}

// watchSessions has Redis tell of every write to a session from now on, in order
// and by its own clock (MONITOR). What it returns waits until all that has
// happened was told, and answers where each session was.
func (f *fleet) watchSessions() func() map[string][]seat {
	f.Helper()
	conn, err := (&net.Dialer{}).DialContext(f.Context(), "unix", f.redis.Addr)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		f.Fatal(err)
	}
	lines := bufio.NewReader(conn)
	if ok, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(ok, "+OK") {
		f.Fatalf("monitor: %q %v", ok, err)
	}
	seats := make(map[string][]seat)
	var told sync.WaitGroup
	told.Go(func() {
		for {
			line, err := lines.ReadString('\n')
			if err != nil || strings.Contains(line, `"all was told"`) {
				return
			}
			note(seats, line)
		}
	})
	return func() map[string][]seat {
		f.Helper()
		if err := f.rdb.Echo(f.Context(), "all was told").Err(); err != nil {
			f.Fatal(err)
		}
		told.Wait()
		return seats
	}
}

// note keeps what a line of MONITOR tells of a session: that it was bound or has
// moved, or that its switches were forgiven.
func note(seats map[string][]seat, line string) {
	stamp, command, _ := strings.Cut(strings.TrimPrefix(line, "+"), " ")
	if !strings.HasPrefix(command, `[0 lua] "HSET" "lm:session:`) {
		return
	}
	words := strings.Split(command, `"`)
	var args []string
	for i := 1; i < len(words); i += 2 {
		args = append(args, words[i])
	}
	key, s := args[1], seat{}
	seconds, micros, _ := strings.Cut(stamp, ".")
	sec, _ := strconv.ParseInt(seconds, 10, 64)
	usec, _ := strconv.ParseInt(micros, 10, 64)
	s.at = time.UnixMicro(sec*1e6 + usec)
	for i := 2; i+1 < len(args); i += 2 {
		switch args[i] {
		case "active":
			s.member = args[i+1]
		case "switches":
			s.switches, _ = strconv.Atoi(args[i+1])
		}
	}
	on := seats[key]
	if s.member == "" && len(on) > 0 { // served: the next switch is the first again
		on[len(on)-1].forgiven = s.switches == 0
		return
	}
	seats[key] = append(on, s)
}
