package main

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// options are what the flags say.
type options struct {
	n           int
	runs        int
	rate        int
	seconds     int
	concurrency int
	only        []string
	redis       string
	profile     string
	json        bool
	timeout     time.Duration
}

// systemNames are what can be measured, in the order in which it is.
var systemNames = []string{"lighterman", "asynq", "raw"}

func readOptions(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.IntVar(&o.n, "n", 50_000, "operations that are enqueued, then drained")
	fs.IntVar(&o.runs, "runs", 3, "how often each drain is measured; the table shows medians")
	fs.IntVar(&o.rate, "rate", 200, "operations a second while latency is measured")
	fs.IntVar(&o.seconds, "seconds", 10, "how long latency is measured; 0: not at all")
	fs.IntVar(&o.concurrency, "concurrency", 64, "operations at a time in the worker")
	only := fs.String("only", "", "comma-separated: "+strings.Join(systemNames, ", ")+"; empty: all")
	fs.StringVar(&o.redis, "redis", "", "URL of an existing Redis, whose database must be empty and is emptied afterwards; empty: an own one")
	fs.StringVar(&o.profile, "profile", "", "directory for CPU and allocation profiles of the drains' worker processes")
	fs.BoolVar(&o.json, "json", false, "print JSON instead of the table")
	fs.DurationVar(&o.timeout, "timeout", 15*time.Minute, "give up after this time")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.n < 1 || o.runs < 1 || o.rate < 1 || o.seconds < 0 || o.concurrency < 1 {
		return o, fmt.Errorf("-n, -runs, -rate and -concurrency want 1 or more, -seconds 0 or more")
	}
	o.only = systemNames
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(systemNames, name) {
			return o, fmt.Errorf("-only %q: want some of %s", name, strings.Join(systemNames, ","))
		}
	}
	return o, nil
}
