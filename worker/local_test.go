package worker

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/provider/providertest"
)

// besideOllama is a worker's configuration with one Ollama, and its model m, of which
// nobody has declared a limit.
func besideOllama(server *redistest.Server, address string) *config.Config {
	cfg := settings(server)
	cfg.Backends = []config.Backend{{ID: "ollama", Provider: "ollama", BaseURL: address}}
	cfg.Models = []config.Model{{ID: "m", Backend: "ollama", Name: "alpha"}}
	return cfg
}

func localServer(t *testing.T, atOnce int, took time.Duration) *providertest.Local {
	t.Helper()
	l := providertest.NewLocal(atOnce, took)
	t.Cleanup(l.Close)
	return l
}

// limited counts those whose history says that a limit set them aside.
func limited(records []lua.Record) (n int) {
	for i := range records {
		for _, hop := range records[i].History {
			if strings.Contains(hop.Reason, string(fleet.ReasonRequestLimit)) {
				n++
				break
			}
		}
	}
	return n
}

// TestLocal_WhatAServerCannotTakeWaitsHere (issue: of 40 prompts at once 17 were answered,
// and 90 calls timed out in the server's queue): a server has four calls, the fleet's
// queue has the rest, and no attempt of it counts. Nothing is asked twice, and the server
// is kept busy: with LIGHTERMAN_E2E=full for 90 % of the time.
func TestLocal_WhatAServerCannotTakeWaitsHere(t *testing.T) {
	for _, row := range []struct{ atOnce, workers int }{{1, 1}, {1, 2}, {4, 1}, {4, 2}} {
		t.Run(fmt.Sprintf("%d at once, %d workers", row.atOnce, row.workers), func(t *testing.T) {
			took := 20 * time.Millisecond
			if os.Getenv("LIGHTERMAN_E2E") == "full" {
				took = 400 * time.Millisecond
			}
			server, local := redistest.Start(t), localServer(t, row.atOnce, took)
			for range row.workers {
				run(t, newWorker(t, besideOllama(server, local.URL)))
			}
			s := separate(t, server)
			began := time.Now()
			ids := enqueued(t, s, "m", 40)
			ended(t, s, ids)
			busy := 40 * took / time.Duration(row.atOnce)
			part := float64(busy) / float64(time.Since(began))
			records, err := s.Records(t.Context(), ids)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				if r.Attempts > 1 || r.WaitsFor != "" {
					t.Errorf("%s: %d attempts, waits for %q", r.ID, r.Attempts, r.WaitsFor)
				}
			}
			_, most := local.Inside()
			if n := len(local.Calls()); n != 40 || most > 4 || limited(records) == 0 {
				t.Errorf("%d calls, at most %d at a time; %d were set aside by the limit", n, most, limited(records))
			}
			t.Logf("the server was busy for %.0f %% of the time; %d were set aside by the limit", 100*part, limited(records))
			if took > 100*time.Millisecond && part < 0.9 {
				t.Errorf("the server was busy for %.0f %% of the time", 100*part)
			}
		})
	}
}

// TestLocal_AReasonForWaitingIsShown: what waits names the limit that it waits for.
func TestLocal_AReasonForWaitingIsShown(t *testing.T) {
	t.Parallel()
	server, local := redistest.Start(t), localServer(t, 1, time.Hour)
	cfg := besideOllama(server, local.URL)
	cfg.Worker.DrainTimeout = config.Duration(time.Millisecond) // the calls do not end
	run(t, newWorker(t, cfg))
	s := separate(t, server)
	ids := enqueued(t, s, "m", 6)
	eventually(t, "two wait", func() bool {
		records, err := s.Records(t.Context(), ids)
		n := 0
		for _, r := range records {
			if err == nil && r.State == lm.Retrying && r.WaitsFor == lm.WaitLimit+"m" && r.Attempts == 0 {
				n++
			}
		}
		return n == 2
	})
	if now, _ := local.Inside(); now != 4 {
		t.Errorf("%d are at the server", now)
	}
}
