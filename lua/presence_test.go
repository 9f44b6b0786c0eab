package lua

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// everywhere runs f on a server, a miniredis and a cluster.
func everywhere(t *testing.T, f func(t *testing.T, s *Store, rdb redis.UniversalClient)) {
	t.Helper()
	redistest.EachCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		f(t, NewStore(rdb, rdb, Options{}), rdb)
	})
}

func listen(t *testing.T, s *Store, owner string) *Listener {
	t.Helper()
	l, err := s.Listen(ctx, owner, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func presence(t *testing.T, s *Store, self string, others ...string) Presence {
	t.Helper()
	p, err := s.Presence(ctx, self, others)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPresence_CountsWhoListens(t *testing.T) {
	everywhere(t, func(t *testing.T, s *Store, _ redis.UniversalClient) {
		listen(t, s, "a")
		b := listen(t, s, "b")
		if p := presence(t, s, "a", "b", "c"); !p.Listening["a"] || !p.Listening["b"] || p.Listening["c"] {
			t.Errorf("listening %v, want a and b", p.Listening)
		}
		b.Close()
		for deadline := time.Now().Add(10 * time.Second); presence(t, s, "a", "b").Listening["b"]; {
			if time.Now().After(deadline) {
				t.Fatal("b is still counted 10 s after it ended")
			}
		}
	})
}

func TestListen_WordsArriveAndPingsAreAnswered(t *testing.T) {
	everywhere(t, func(t *testing.T, s *Store, _ redis.UniversalClient) {
		l := listen(t, s, "a")
		if err := s.Tell(ctx, WordOrders, "a", "nobody"); err != nil {
			t.Fatal(err)
		}
		if w, err := l.Next(); w != WordOrders || err != nil {
			t.Errorf("heard %q, %v", w, err)
		}
		if err := l.Ping(ctx); err != nil {
			t.Fatal(err)
		}
		if w, err := l.Next(); w != "" || err != nil {
			t.Errorf("a ping was answered %q, %v", w, err)
		}
	})
}

// A Listener that is cut off says so, and never subscribes by itself again.
func TestListen_BrokenStaysBroken(t *testing.T) {
	for _, how := range []string{"killed", "unsubscribed"} {
		t.Run(how, func(t *testing.T) {
			server := redistest.SharedCluster(t)
			rdb := server.ClusterClient()
			s := NewStore(rdb, rdb, Options{})
			l := listen(t, s, "a")
			if how == "killed" {
				if err := rdb.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
					return c.Do(ctx, "client", "kill", "type", "pubsub").Err()
				}); err != nil {
					t.Fatal(err)
				}
			} else if err := l.pubsub.SUnsubscribe(ctx, s.keys.control("a")); err != nil { // the server says the same when a slot moves
				t.Fatal(err)
			}
			_, err := l.Next()
			if err == nil || how == "unsubscribed" && !errors.Is(err, ErrDeaf) {
				t.Errorf("broken: %v", err)
			}
			if how != "killed" {
				return
			}
			if _, err := l.Next(); err == nil {
				t.Error("it hears again")
			}
			if presence(t, s, "a").Listening["a"] {
				t.Error("it has subscribed again behind our back")
			}
		})
	}
}

func TestListen_SilenceIsABreak(t *testing.T) {
	s := NewStore(redistest.Start(t).Client(), nil, Options{})
	l, err := s.Listen(ctx, "a", 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Next(); !IsLost(err) {
		t.Errorf("after silence: %v, want lost contact", err)
	}
}

func TestBoard_MarksHoldForATime(t *testing.T) {
	everywhere(t, func(t *testing.T, s *Store, rdb redis.UniversalClient) {
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		check(s.MarkDeaf(ctx, "a", time.Hour))
		check(s.MarkBusy(ctx, "a", time.Hour))
		check(s.MarkBusy(ctx, "b", time.Millisecond))
		var p Presence
		for deadline := time.Now().Add(10 * time.Second); len(p.Over) == 0 && time.Now().Before(deadline); {
			p = presence(t, s, "a")
		}
		if !p.Deaf["a"] || !p.Busy["a"] || p.Deaf["b"] || p.Busy["b"] || !slices.Equal(p.Over, []string{"busy b"}) {
			t.Errorf("%+v", p)
		}
		check(s.MarkBusy(ctx, "c", time.Hour))
		check(s.Tidy(ctx, []string{"busy b", "busy c", "deaf a"})) // the others were renewed meanwhile
		left := rdb.HGetAll(ctx, s.keys.fleet("board")).Val()
		if left["busy b"] != "" || left["busy c"] == "" || left["deaf a"] == "" || left["busy a"] == "" {
			t.Errorf("left %v, want all but busy b", left)
		}
		check(s.Tidy(ctx, nil))
	})
}

// A server that does not offer the count says so by an error that does not pass.
func TestPresence_RefusedIsNoPassingError(t *testing.T) {
	rdb := redistest.Start(t).Client()
	if err := rdb.Do(ctx, "acl", "setuser", "default", "-pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	s := NewStore(rdb, rdb, Options{})
	if _, err := s.Presence(ctx, "a", nil); err == nil || IsPassing(err) {
		t.Errorf("%v, want a refusal", err)
	}
}

func TestOnRoster_UntilRetired(t *testing.T) {
	everywhere(t, func(t *testing.T, s *Store, _ redis.UniversalClient) {
		if err := s.Announce(ctx, WorkerRecord{Owner: "a"}); err != nil {
			t.Fatal(err)
		}
		if on, err := s.OnRoster(ctx, "a"); !on || err != nil {
			t.Errorf("%v %v", on, err)
		}
		if err := s.Retire(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if on, err := s.OnRoster(ctx, "a"); on || err != nil {
			t.Errorf("retired: %v %v", on, err)
		}
	})
}

// Whoever runs it is told, and nobody else.
func TestCancel_TellsTheOwner(t *testing.T) {
	everywhere(t, func(t *testing.T, s *Store, _ redis.UniversalClient) {
		if err := s.EnsureGroups(ctx, []Stream{queue, resume}); err != nil {
			t.Fatal(err)
		}
		owner, other := listen(t, s, "owner"), listen(t, s, "other")
		r := &lm.Request{Body: []byte(`{}`)}
		r.Normalize()
		if a := s.Enqueue(ctx, []Operation{{ID: "0-a", Request: r}}); a[0].Err != nil {
			t.Fatal(a[0].Err)
		}
		entries, err := s.Read(ctx, "owner", []Share{{Stream: queue, Count: 1}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if claims, err := s.Claim(ctx, "owner", time.Minute, entries); err != nil || claims[0].Verdict != ClaimOK {
			t.Fatal(claims, err)
		}
		if e, err := s.Cancel(ctx, "0-a"); e != CancelRequested || err != nil {
			t.Fatal(e, err)
		}
		if w, err := owner.Next(); w != WordCancel || err != nil {
			t.Errorf("the owner heard %q, %v", w, err)
		}
		if err := other.Ping(ctx); err != nil {
			t.Fatal(err)
		}
		if w, err := other.Next(); w != "" || err != nil {
			t.Errorf("another heard %q, %v", w, err)
		}
	})
}

func TestInherit_PendingGoesOverOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, s *Store, rdb redis.UniversalClient) {
		if err := s.EnsureGroups(ctx, []Stream{queue, resume}); err != nil {
			t.Fatal(err)
		}
		var ops []Operation
		for i := range 3 {
			r := &lm.Request{Body: []byte(`{}`)}
			r.Normalize()
			ops = append(ops, Operation{ID: lm.NewTraceID(0, fmt.Sprint("i", i)), Request: r})
		}
		s.Enqueue(ctx, ops)
		if e, err := s.Read(ctx, "dead", []Share{{Stream: queue, Count: 3}}, 3); len(e) != 3 || err != nil {
			t.Fatal(e, err)
		}
		gone := Stream{Queue: "gone"}
		ids, err := s.PendingOf(ctx, "dead", []Stream{resume, gone, queue})
		if err != nil || len(ids[0])+len(ids[1]) != 0 || len(ids[2]) != 3 {
			t.Fatalf("pending %v, %v", ids, err)
		}
		rdb.XAck(ctx, s.keys.stream(queue), Group, ids[2][0])
		taken, err := s.Inherit(ctx, "heir", queue, append(ids[2], "1-1"))
		if err != nil || len(taken) != 2 || taken[0].Record.State != lm.Queued {
			t.Fatalf("%+v, %v", taken, err)
		}
		if left, err := s.PendingOf(ctx, "dead", []Stream{queue}); err != nil || len(left[0]) != 0 {
			t.Errorf("left %v, %v", left, err)
		}
		if mine, err := s.PendingOf(ctx, "heir", []Stream{queue}); err != nil || len(mine[0]) != 2 {
			t.Errorf("the heir has %v, %v", mine, err)
		}
	})
}

// BenchmarkPresence is one sample of a fleet of 1,000, of whom all listen and are
// busy.
func BenchmarkPresence(b *testing.B) {
	for _, n := range []int{1, 10, 100, 999} {
		b.Run(fmt.Sprint(n+1), func(b *testing.B) {
			rdb := redistest.Start(b).Client()
			s := NewStore(rdb, rdb, Options{})
			others := make([]string, n)
			channels := make([]string, n)
			for i := range others {
				others[i] = fmt.Sprintf("worker-%04d-0123abcd", i)
				channels[i] = s.keys.control(others[i])
				if err := s.MarkBusy(ctx, others[i], time.Hour); err != nil {
					b.Fatal(err)
				}
			}
			sub := rdb.Subscribe(ctx, channels...)
			defer sub.Close()
			for range channels {
				if _, err := sub.Receive(ctx); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if p, err := s.Presence(ctx, "self", others); err != nil || !p.Listening[others[n-1]] {
					b.Fatal(p, err)
				}
			}
			b.StopTimer()
			b.Logf("%s", rdb.Info(ctx, "commandstats").Val())
		})
	}
}

// The user that the docs tell people to make may do all of this.
func TestPresence_UserOfTheDocsMay(t *testing.T) {
	docs, err := os.ReadFile("../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(docs), "\nACL SETUSER lighterman ")
	rules, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/redis.md has no ACL SETUSER lighterman")
	}
	server := redistest.Start(t)
	args := []any{"acl", "setuser", "lighterman"}
	for _, r := range strings.Fields(rules) {
		args = append(args, r)
	}
	if err := server.Client().Do(ctx, args...).Err(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(ctx, strings.Replace(server.URL(), "unix://", "unix://lighterman:PASSWORD@", 1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := listen(t, s, "a")
	_, onErr := s.OnRoster(ctx, "a")
	_, inheritErr := s.Inherit(ctx, "a", queue, []string{"1-1"})
	_, pendingErr := s.PendingOf(ctx, "a", []Stream{queue})
	if IsNoGroup(inheritErr) {
		inheritErr = nil
	}
	for what, err := range map[string]error{
		"tell": s.Tell(ctx, WordOrders, "a"), "announce": s.Announce(ctx, WorkerRecord{Owner: "a"}), "deaf": s.MarkDeaf(ctx, "a", time.Hour),
		"retire": s.Retire(ctx, "a"), "on roster": onErr, "inherit": inheritErr, "pending": pendingErr, "fleet": fleetCalls(s),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if w, err := l.Next(); w != WordOrders || err != nil {
		t.Errorf("heard %q, %v", w, err)
	}
	if !presence(t, s, "a").Listening["a"] {
		t.Error("it does not count itself")
	}
}

// fleetCalls calls what a router and the operators' commands do, each once.
func fleetCalls(s *Store) error {
	admitted, err := s.Admit(ctx, Admission{Model: "m", Backend: "b", Owner: "a", Key: "k", Lease: time.Minute, Tokens: 1, TPM: 5, Concurrent: 1, Window: time.Minute})
	_, recordErr := s.RecordCall(ctx, CallOutcome{
		Model: "m", Backend: "b", Key: "k", Class: ClassFail, Error: true, Kind: lm.RateLimited, Reservation: admitted.Reservation, Op: "0-a", Tenant: "t", Breaker: minuteBreaker,
	})
	_, countErr := s.Count(ctx, []Increments{{Model: "m", Backend: "b", Key: "c", Requests: 1, Window: time.Minute}}, []Spent{{Tenant: "t", Key: "s", Requests: 1}})
	_, operateErr := s.OperateModel(ctx, "m", "b", "disable")
	_, enableErr := s.OperateModel(ctx, "m", "b", "enable")
	_, bindErr := s.ChangeSession(ctx, "p:h", SessionChange{What: "bind", To: "m", Home: "m", Life: time.Hour})
	_, _, sessionErr := s.Session(ctx, "p:h")
	_, turnErr := s.Turns(ctx, "p", 1)
	_, runningErr := s.Running(ctx, "m")
	l, lockErr := s.AcquireLock(ctx, "a", "token", time.Minute)
	_, renewErr := s.RenewLock(ctx, "token", l.Fence, time.Minute)
	_, guardedErr := s.SetUnderLock(ctx, "token", l.Fence, "p", map[string]string{"active": "m"})
	_, holderErr := s.LockHolder(ctx)
	_, releaseErr := s.ReleaseLock(ctx, "token", l.Fence)
	return errors.Join(err, recordErr, countErr, operateErr, enableErr, bindErr, sessionErr, turnErr, runningErr, lockErr, renewErr, guardedErr, holderErr, releaseErr)
}
