package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/producer"
)

// TestLists_OfALargeFleet: how long a command takes that lists, as a process, with
// 100,000 waiting operations and 1,000 workers (LIGHTERMAN_E2E=full; else a tenth,
// and a bound that only tells of a cost that grows with what waits).
func TestLists_OfALargeFleet(t *testing.T) {
	n, workers, runs, most := 10_000, 100, 3, 2*time.Second
	if os.Getenv("LIGHTERMAN_E2E") == "full" {
		n, workers, runs, most = 100_000, 1_000, 11, 100*time.Millisecond
	}
	for _, partitions := range []int{1, 64} {
		t.Run(fmt.Sprintf("%d partitions", partitions), func(t *testing.T) {
			server := redistest.Start(t)
			store := lua.NewStore(server.Client(), server.Client(), lua.Options{Partitions: partitions})
			newest := crowd(t, store, n, workers)
			s := on(t, server, fmt.Sprintf("LIGHTERMAN_REDIS_PARTITIONS=%d", partitions))
			for _, args := range []string{"ls", "ls -n 100 -o json", "ls --state QUEUED", "ls --queue default", "ls --state INFERRING", "status", "workers", "show last", "show " + newest, "--version"} {
				var took []time.Duration
				var out string
				for range runs {
					began := time.Now()
					out = s.run(append([]string{"lighterman"}, strings.Fields(args)...)...).ok()
					took = append(took, time.Since(began))
				}
				slices.Sort(took)
				t.Logf("%-20s median %s", strings.Replace(args, newest, "ID", 1), took[runs/2].Round(time.Millisecond))
				if took[runs/2] > most {
					t.Errorf("%s took %s, want at most %s", args, took[runs/2], most)
				}
				if strings.HasPrefix(args, "ls") && !strings.Contains(args, "INFERRING") && !strings.Contains(out, newest) {
					t.Errorf("%s does not show the newest operation", args)
				}
			}
			began := time.Now()
			roster, _, err := store.Roster(background)
			if err != nil || len(roster) != workers {
				t.Fatalf("roster of %d: %v", len(roster), err)
			}
			t.Logf("roster of %d: %s", workers, time.Since(began).Round(time.Millisecond))
		})
	}
}

// crowd fills a Redis with operations that wait and workers that have announced
// themselves and read, and returns the newest operation.
func crowd(t *testing.T, store *lua.Store, n, workers int) (newest string) {
	t.Helper()
	requests := make([]lm.Request, n)
	for i := range requests {
		requests[i].Body = []byte(`{"messages":[{"role":"user","content":"Why do rivers bend?"}]}`)
	}
	for _, a := range producer.New(store).EnqueueMany(background, requests) {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	at := time.Now().UnixMilli()
	until(t, "the next ms, that one is the newest", func() bool { return time.Now().UnixMilli() > at+1 })
	a, err := producer.New(store).Enqueue(background, requests[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range workers {
		owner := fmt.Sprintf("w%d-abcdefgh", i)
		if err := store.Announce(background, lua.WorkerRecord{Owner: owner, Name: owner[:len(owner)-9], Host: "host", PID: i, Version: "0.1.0", Started: time.Now(), Slots: 64, Queues: []string{"interactive", "default", "batch"}}); err != nil {
			t.Fatal(err)
		}
	}
	for p := range store.Partitions() {
		st := lua.Stream{Partition: p, Queue: "default"}
		if err := store.EnsureGroups(background, []lua.Stream{st}); err != nil {
			t.Fatal(err)
		}
		for i := range max(1, workers/store.Partitions()) {
			if _, err := store.Read(background, fmt.Sprintf("w%d-abcdefgh", i), []lua.Share{{Stream: st, Count: 1}}, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	return string(a.ID)
}
