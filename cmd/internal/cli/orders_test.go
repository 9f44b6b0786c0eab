package cli

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
)

// announced puts a worker on the roster.
func announced(t testing.TB, s *lua.Store, r lua.WorkerRecord) {
	t.Helper()
	if err := s.Announce(background, r); err != nil {
		t.Fatal(err)
	}
}

// silentOnRoster puts a worker on the roster that was last heard of so long ago.
func silentOnRoster(t testing.TB, server *redistest.Server, owner string, ago time.Duration) {
	t.Helper()
	seen := strconv.FormatInt(time.Now().Add(-ago).UnixMilli(), 10)
	if err := server.Client().HSet(background, "{lm:fleet}:workers", owner, seen+` {"name":"mute","queues":["side"]}`).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestPause_StandsInTheStatusUntilTheResume(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	store := storeOf(t, server)
	work(t, server, nil)
	announced(t, store, lua.WorkerRecord{Owner: "w-1", Name: "w", Queues: []string{"batch:1"}})
	s.run("enqueue", question, "--wait").ok()
	if out := s.run("lighterman", "pause", "default", "batch").ok(); !containsAll(out, []string{"default  paused; 0 waiting, 0 running\n", "batch  paused; "}) {
		t.Errorf("pause: %q", out)
	}
	if out := s.run("lighterman", "pause", "default").ok(); out != "default  was paused already; 0 waiting, 0 running\n" {
		t.Errorf("pause again: %q", out)
	}
	// by 2 s everybody knows of it; an operation that comes after then waits
	until(t, "the pause holds", func() bool {
		id := strings.TrimSpace(s.run("enqueue", question).ok())
		late := time.After(time.Second)
		for {
			select {
			case <-late:
				return true
			case <-time.After(10 * time.Millisecond):
				if stateIs(t, store, id, lm.Completed) {
					return false
				}
			}
		}
	})
	status := s.run("lighterman", "status").ok()
	if line := lineWith(status, []string{"default", "PAUSED since 20"}); line == "" || lineWith(status, []string{"batch", "PAUSED since"}) == "" {
		t.Errorf("status: %s", status)
	}
	type queue struct {
		Queue       string
		Waiting     int
		PausedSince time.Time `json:"paused_since"`
	}
	st := decode[struct{ Queues []queue }](t, s.run("lighterman", "status", "-o", "json").ok())
	if len(st.Queues) != 2 || st.Queues[1].Waiting != 1 || time.Since(st.Queues[1].PausedSince) > time.Hour {
		t.Errorf("status -o json: %+v", st)
	}
	out := s.run("lighterman", "resume", "-o", "json", "default", "batch").ok()
	if v := decode[[]queueOrder](t, out); len(v) != 2 || v[0] != (queueOrder{Queue: "default", Changed: true, Known: true, Waiting: 1}) {
		t.Errorf("resume -o json: %+v", v)
	}
	until(t, "it goes on", func() bool { return accepted(t, server) == 0 })
	if out := s.run("lighterman", "resume", "default").ok(); out != "default  was not paused; 0 waiting, 0 running\n" {
		t.Errorf("resume again: %q", out)
	}
	if out := s.run("lighterman", "status").ok(); strings.Contains(out, "PAUSED since") {
		t.Errorf("status: %s", out)
	}
}

func TestPause_OfAnUnknownQueueIsSaid(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	announced(t, storeOf(t, server), lua.WorkerRecord{Owner: "w-1", Name: "w", Queues: []string{"interactive"}})
	r := s.run("lighterman", "pause", "interactiv")
	r.failed(0, "pause: interactiv: no worker serves this queue and nothing was ever in it; did you mean interactive?")
	if r.out != "interactiv  paused; 0 waiting, 0 running\n" {
		t.Errorf("pause: %q", r.out)
	}
	if out := s.run("lighterman", "status").ok(); lineWith(out, []string{"interactiv ", "PAUSED since"}) == "" {
		t.Errorf("status: %s", out)
	}
	s.run("lighterman", "resume", "interactiv").failed(0, "resume: interactiv: no worker")
	s.run("lighterman", "pause").refused(exitUsage, "pause: want one queue or more; status lists them")
	s.run("lighterman", "resume", "a b").refused(exitUsage, `resume: name "a b"`)
	s.run("lighterman", "pause", "a", "-o", "xml").refused(exitUsage, `--output "xml": want table, json`)
}

func TestWorkers_ListsTheRosterAndWhatTheyDo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	store := storeOf(t, server)
	if out := s.run("lighterman", "workers").ok(); out != "no worker runs\n" {
		t.Errorf("workers: %q", out)
	}
	if out := s.run("lighterman", "workers", "-o", "json").ok(); out != "[]\n" {
		t.Errorf("workers -o json: %q", out)
	}
	p, _ := s.with("LIGHTERMAN_SIM_LATENCY=1m").startWorker("--name", "busy")
	owner := decode[struct{ Worker string }](t, p.says(`"message":"worker ready"`)).Worker
	id := strings.TrimSpace(s.run("enqueue", question).ok())
	until(t, "it runs", func() bool { return stateIs(t, store, id, lm.Inferring) })
	announced(t, store, lua.WorkerRecord{Owner: owner, Name: "busy", Host: "h1", PID: 42, Slots: 64, Running: 9, Queues: []string{"default"}, Started: time.Now().Add(-time.Hour)})
	announced(t, store, lua.WorkerRecord{Owner: "leaver-1", Name: "leaver", Draining: true})
	silentOnRoster(t, server, "mute-1", time.Minute)
	side := lua.Stream{Queue: "side"}
	unclaimed := strings.TrimSpace(s.run("enqueue", question, "--queue", "side").out) // nobody serves it, which is said
	if err := store.EnsureGroups(background, []lua.Stream{side}); err != nil {
		t.Fatal(err)
	}
	if read, err := store.Read(background, "leaver-1", []lua.Share{{Stream: side, Count: 1}}, 1); err != nil || len(read) != 1 {
		t.Fatalf("%v, %v", read, err)
	}
	out := s.run("lighterman", "workers").ok()
	for _, words := range [][]string{{"NAME", "STATE", "SEEN"}, {"busy ", owner, "h1 ", "42 ", "ready ", "1/64 ", "default ", "1h00m"}, {"leaver-1", "draining"}, {"mute-1", "silent", "1m0"}} {
		if lineWith(out, words) == "" {
			t.Errorf("workers has no line with %q:\n%s", words, out)
		}
	}
	if strings.Contains(out, id) {
		t.Errorf("operations without --ops:\n%s", out)
	}
	if out := s.run("lighterman", "workers", "--ops").ok(); lineWith(out, []string{id, "INFERRING", "default", "chat"}) == "" || strings.Contains(out, unclaimed) {
		t.Errorf("workers --ops:\n%s", out)
	}
	list := decode[[]struct {
		Owner, State string
		PID          int
		Operations   []struct{ ID, State string }
	}](t, s.run("lighterman", "workers", "--ops", "-o", "json").ok())
	if len(list) != 3 || list[0].Owner != owner || list[0].PID != 42 || len(list[0].Operations) != 1 || list[0].Operations[0].ID != id || len(list[1].Operations) != 0 {
		t.Errorf("workers --ops -o json: %+v", list)
	}
	s.run("lighterman", "workers", "-o", "id").refused(exitUsage, `--output "id": want table, json`)
	p.signal(syscall.SIGKILL)
}

// The worker drains as with SIGTERM, its process ends with 0, and the command waits
// until it has left the roster.
func TestDrain_EndsTheWorkersOfAName(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	store := storeOf(t, server)
	var workers []*process
	var owners []string
	for range 2 {
		p, _ := s.with("LIGHTERMAN_SIM_LATENCY=500ms").startWorker("--name", "w1")
		owners = append(owners, decode[struct{ Worker string }](t, p.says(`"message":"worker ready"`)).Worker)
		workers = append(workers, p)
	}
	other, _ := s.startWorker("--name", "w2")
	until(t, "the workers announce themselves", func() bool {
		roster, _, err := store.Roster(background)
		return err == nil && len(roster) == 3
	})
	id := strings.TrimSpace(s.run("enqueue", question).ok())
	drain := s.start("lighterman", "drain", "w1")
	for i, p := range workers {
		drain.prints(owners[i], "told to drain", "pid "+strconv.Itoa(p.cmd.Process.Pid))
		if r := p.wait(); r.code != 0 || lineWith(r.err, []string{"ordered to drain"}) == "" || lineWith(r.err, []string{`"drained"`}) == "" {
			t.Errorf("worker: exit %d\n%s", r.code, r.err)
		}
		drain.prints(owners[i], "has ended, ")
	}
	drain.wait().ok()
	until(t, "somebody ends the operation", func() bool { return stateIs(t, store, id, lm.Completed) })
	if trace, err := store.Trace(background, lm.TraceID(id)); err != nil || trace.Attempts != 1 || trace.CrashesTotal != 0 {
		t.Errorf("%+v, %v", trace, err)
	}
	if o, err := store.Orders(background); err != nil || len(o.Drain) != 0 {
		t.Errorf("orders are left: %v, %v", o, err)
	}
	select {
	case <-other.done:
		t.Error("w2 drained too")
	default:
	}
}

func TestDrain_OtherEnds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	store := storeOf(t, server)
	announced(t, store, lua.WorkerRecord{Owner: "worker-a-1", Name: "worker-a"})
	silentOnRoster(t, server, "mute-1", time.Minute)
	s.run("lighterman", "drain", "worker-b").refused(exitUsage, `drain: "worker-b": no such worker; did you mean worker-a? (workers lists them)`)
	s.run("lighterman", "drain").refused(exitUsage, "drain: want one worker; workers lists them")
	if out := s.run("lighterman", "drain", "worker-a-1", "--no-wait").ok(); !strings.HasPrefix(out, "worker-a-1  told to drain;") {
		t.Errorf("--no-wait: %q", out)
	}
	if o, err := store.Orders(background); err != nil || o.Drain["worker-a-1"].IsZero() {
		t.Errorf("orders %v, %v", o, err)
	}
	s.run("lighterman", "drain", "worker-a", "--timeout", "300ms").failed(exitTimeout, "drain: timed out: 1 of 1 still drain")
	s.run("lighterman", "drain", "mute").failed(exitFailed, "drain: mute-1 has been silent for over 30s: ")
	if err := store.Drained(background, "worker-a-1"); err != nil {
		t.Fatal(err)
	}
	waits := s.start("lighterman", "drain", "worker-a", "-o", "json")
	until(t, "the order", func() bool { o, err := store.Orders(background); return err == nil && len(o.Drain) == 1 })
	if err := store.Retire(background, "worker-a-1"); err != nil {
		t.Fatal(err)
	}
	if v := decode[[]drained](t, waits.wait().ok()); len(v) != 1 || !v[0].Left || v[0].Lost || v[0].Owner != "worker-a-1" {
		t.Errorf("-o json: %+v", v)
	}
	if o, err := store.Orders(background); err != nil || len(o.Drain) != 0 {
		t.Errorf("orders are left: %v, %v", o, err)
	}
}
