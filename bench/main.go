// Bench measures Lighterman beside asynq and beside the bare stream commands, in
// one run on one Redis: how many operations a second go in and out, what each
// costs Redis and the worker, how long one waits, and what a waiting one weighs.
//
// It starts a redis-server of its own and one worker process per measurement (a
// child of this same program), so that the CPU time of producer, worker and
// Redis are told apart. README.md says how to read the figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run plays a worker when the first argument says so, else measures.
func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		if work := workers[args[0]]; work != nil {
			return serve(ctx, args[1:], work)
		}
	}
	o, err := readOptions(args)
	if err != nil {
		return err
	}
	return measure(ctx, o)
}

// measure runs everything that was asked for and prints what came of it, also
// what there is when something failed.
func measure(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not done within %s (-timeout)", o.timeout))
	defer cancel()
	url := o.redis
	if url == "" {
		server, err := startRedis(ctx)
		if err != nil {
			return err
		}
		defer server.stop()
		url = server.url
	}
	rdb, err := connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = rdb.Close() }()
	b := &bench{options: o, url: url, rdb: rdb}
	began := time.Now()
	r, err := b.all(ctx)
	r.Took = time.Since(began).Round(time.Second).String()
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = errors.Join(cause, err)
	}
	return errors.Join(err, r.print(os.Stdout, o.json))
}
