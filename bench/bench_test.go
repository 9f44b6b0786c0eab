package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMain lets this test binary play the worker processes that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && workers[os.Args[1]] != nil {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestMeasure_AllSystems(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no redis-server")
		}
		t.Skip("no redis-server")
	}
	o, err := readOptions([]string{"-n", "300", "-runs", "1", "-seconds", "1", "-rate", "50", "-timeout", "1m"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	server, err := startRedis(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer server.stop()
	rdb, err := connect(ctx, server.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rdb.Close() }()
	r, err := (&bench{options: o, url: server.url, rdb: rdb}).all(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range r.Systems {
		d := s.Drains[0]
		if d.Ended != 300 || d.DrainPerS <= 0 || d.EnqueuePerS <= 0 || d.Drain.CPU <= 0 || d.WorkerCPU <= 0 {
			t.Errorf("%s: %+v", name, d)
		}
		for _, l := range s.Latencies {
			if l.N != 50 || l.P50 <= 0 || l.P50 > l.P99 {
				t.Errorf("%s: %+v", name, l)
			}
		}
	}
	var table bytes.Buffer
	if err := r.print(&table, false); err != nil || !strings.Contains(table.String(), "drain, op/s") {
		t.Errorf("%v\n%s", err, &table)
	}
}

func TestConnect_RefusesData(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no redis-server")
		}
		t.Skip("no redis-server")
	}
	server, err := startRedis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer server.stop()
	rdb, err := connect(t.Context(), server.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rdb.Close() }()
	rdb.Set(t.Context(), "precious", 1, 0)
	if other, err := connect(t.Context(), server.url); err == nil {
		_ = other.Close()
		t.Fatal("a database that holds data was accepted")
	}
}

func TestNumber(t *testing.T) {
	for want, got := range map[string]string{
		"0": number(0.4, 0), "999": number(999, 0), "1,000": number(1000, 0), "1,234,567.9": number(1234567.89, 1), "-123": number(-123, 0), "-1,234": number(-1234, 0),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestReadOptions_Refuses(t *testing.T) {
	for _, args := range [][]string{{"-n", "0"}, {"-only", "rq"}, {"more"}, {"-runs", "0"}} {
		if _, err := readOptions(args); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
