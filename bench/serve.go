package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"runtime"
	"time"
)

// job is what a worker process was told.
type job struct {
	redis       string
	concurrency int
	probe       bool          // record how long each operation waited
	poll        time.Duration // asynq's TaskCheckInterval; 0: its default
	profile     string        // prefix of profile files
	tally       *tally
}

// work connects and returns what consumes until ctx ends.
type work func(ctx context.Context, j job) (run func(ctx context.Context) error, err error)

// workers are the sub-modes of the program that consume.
var workers = map[string]work{
	"worker-lighterman": workLighterman,
	"worker-asynq":      workAsynq,
	"worker-raw":        workRaw,
}

// report is what a worker process says of itself since it was started.
type report struct {
	tallied
	CPU        float64 `json:"cpu_us"` // user and system
	Mallocs    float64 `json:"mallocs"`
	AllocBytes float64 `json:"alloc_bytes"`
}

// usage is what this process has used up so far.
func usage() report {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return report{CPU: cpuMicros(), Mallocs: float64(m.Mallocs), AllocBytes: float64(m.TotalAlloc)}
}

// serve is a worker process's side of the conversation in child.go. The end of
// its input is the end of its parent, and stops it too.
func serve(ctx context.Context, args []string, w work) error {
	j := job{tally: &tally{}}
	fs := flag.NewFlagSet("worker", flag.ContinueOnError)
	fs.StringVar(&j.redis, "redis", "", "")
	fs.IntVar(&j.concurrency, "concurrency", 64, "")
	fs.BoolVar(&j.probe, "probe", false, "")
	fs.DurationVar(&j.poll, "poll", 0, "")
	fs.StringVar(&j.profile, "profile", "", "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	run, err := w(ctx, j)
	if err != nil {
		return err
	}
	var before report
	ended := make(chan error, 1)
	started := false
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode("ready"); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "go":
			if err := startProfile(j.profile); err != nil {
				return err
			}
			started, before = true, usage()
			go func() { ended <- run(ctx) }()
		case "report":
			r := usage()
			r.CPU, r.Mallocs, r.AllocBytes = r.CPU-before.CPU, r.Mallocs-before.Mallocs, r.AllocBytes-before.AllocBytes
			r.tallied = j.tally.read()
			if err := errors.Join(stopProfile(j.profile), out.Encode(r)); err != nil {
				return err
			}
		case "stop":
			cancel()
		}
	}
	cancel()
	if !started {
		return nil
	}
	return <-ended
}
