package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/producer"
	"github.com/lighterman/lighterman/worker"
	"github.com/spf13/cobra"
)

// enqueueFlags are what enqueue was told.
type enqueueFlags struct {
	template lm.Request
	in       time.Duration
	at       string
	deadline string
	retained string
	count    int
	file     string
	wait     bool
	followed bool
	timeout  time.Duration
	out      string
	output   string
	skipBad  bool
	noCheck  bool

	retryFailed bool
}

// Enqueue is the command that pushes requests and waits for results.
func Enqueue() *cobra.Command {
	f := &enqueueFlags{}
	cmd := &cobra.Command{
		Use:   "enqueue [PROMPT]",
		Short: "Push requests, and wait for their results with --wait",
		Long: `Push one request made of a prompt, or many from a JSONL file (--file F, or - for
standard input): a chat-completions body or an OpenAI batch line each. Prints the
IDs; with --wait the answer's text, or one JSON line per result in the order in
which they end; with --follow the text as it comes (see lighterman follow --help). A file that is pushed again
enqueues nothing twice: what an earlier push asked for is existing, with its outcome
where it did not succeed (exit 1), and --retry-failed has what failed done again. That
holds for --retention after a line has ended, else deliver.result_retention of the
workers (a failed one: 30 days): pushed again later, the line is asked and paid again.`,
		Example: `  enqueue "Why do rivers bend?" --wait
  enqueue "Tell me more" --follow
  enqueue --file requests.jsonl --retention 7d --wait --out answers.jsonl`,
		Args: func(_ *cobra.Command, args []string) error { return f.validArgs(args) },
	}
	flags := worker.AddCommonFlags(cmd.Flags(), "redis")
	f.add(cmd)
	cmd.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := flags.Load()
		if err != nil {
			return err
		}
		return f.run(c, cfg, args)
	}
	return cmd
}

func (f *enqueueFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	r := &f.template
	fs.StringVar(&r.ID, "id", "", "the operation's own name; empty: a ULID")
	fs.StringVar(&r.Key, "key", "", "idempotency key: the same key and request is enqueued once")
	fs.StringVar(&r.Kind, "kind", "", "what is asked for: chat, prompt, embed, or a kind that a worker has a handler of (default chat)")
	fs.StringVar(&r.Model, "model", "", "model or pool")
	fs.StringVar(&r.Queue, "queue", "", "queue (default default)")
	fs.StringVar(&r.Tenant, "tenant", "", "tenant")
	fs.StringVar(&r.Thread, "thread", "", "conversation")
	fs.StringVar(&r.Run, "run", "", "run of an agent")
	fs.StringVar(&r.Agent, "agent", "", "agent")
	fs.DurationVar(&f.in, "in", 0, "start after this time, as 90s, by the clock of Redis")
	fs.StringVar(&f.at, "at", "", "start at this time, as 2026-11-21T18:00:00Z")
	fs.StringVar(&f.deadline, "deadline", "", "give up at this time, as 2026-11-21T18:00:00Z, or after a time, as 90s; outcome expired")
	fs.StringVar(&f.retained, "retention", "", "keep the result, and know a repeat, so long after the end, as 12h or 7d; 60s to 30d (default deliver.result_retention of the workers)")
	fs.IntVar(&f.count, "count", 1, "push the prompt so many times")
	fs.StringVarP(&f.file, "file", "f", "", "JSONL file; - is standard input")
	fs.BoolVarP(&f.wait, "wait", "w", false, "wait for the results")
	fs.BoolVar(&f.followed, "follow", false, "print one prompt's text as it comes, and its answer")
	fs.DurationVar(&f.timeout, "timeout", 0, "with --wait or --follow: give up after this time, exit 4; the work goes on")
	fs.StringVar(&f.out, "out", "", "with --wait: write results to this file")
	fs.StringVarP(&f.output, "output", "o", "", "id, table, json or jsonl; with --wait of one prompt, or --follow: text")
	fs.BoolVar(&f.skipBad, "skip-bad", false, "leave out bad lines of the file instead of enqueueing nothing")
	fs.BoolVar(&f.retryFailed, "retry-failed", false, "have what an earlier push of the same asked for, and what failed, done again from its last checkpoint")
	fs.BoolVar(&f.noCheck, "no-check", false, "do not check model names against what workers offer")
}

func (f *enqueueFlags) validArgs(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "-" && f.file == "":
		f.file = "-"
	case len(args) > 0 && f.file != "":
		return usagef("give a prompt or --file, not both")
	case len(args) == 0 && f.file == "":
		return usagef("want a prompt, or --file F (- for standard input)")
	case len(args) > 1:
		return usagef("want one prompt, got %d arguments; quote it", len(args))
	}
	if f.file != "" && (f.template.ID != "" || f.template.Key != "" || f.count > 1) {
		return usagef("--id, --key and --count are for one prompt; every line of --file has its own")
	}
	if f.in < 0 {
		return usagef("--in %s: negative; want a time from now, as 90s", f.in)
	}
	if f.in > 0 && f.at != "" {
		return usagef("give --in or --at, not both")
	}
	if f.at != "" {
		at, err := time.Parse(time.RFC3339, f.at)
		if err != nil {
			return usagef("--at %q: want a time as 2026-11-21T18:00:00Z", f.at)
		}
		f.template.NotBefore = at
	}
	if err := errors.Join(f.readDeadline(), f.readRetention()); err != nil {
		return err
	}
	if f.count < 1 {
		return usagef("--count %d: want 1 or more", f.count)
	}
	if f.count > 1 && f.template.ID != "" {
		return usagef("--count %d with --id: each operation needs its own ID", f.count)
	}
	if f.timeout < 0 {
		return usagef("--timeout %s: negative; want how long to wait, as 30s", f.timeout)
	}
	if err := f.validFollow(); err != nil {
		return err
	}
	if (f.timeout > 0 || f.out != "") && !f.wait && !f.followed {
		return usagef("--timeout and --out need --wait")
	}
	if f.output == "text" && !f.wait && !f.followed {
		return usagef("--output text needs --wait; without it there are only IDs")
	}
	_, err := validFormat(f.output, "", "id", "table", "json", "jsonl", "text")
	return err
}

// readDeadline reads a time, or a time from now.
func (f *enqueueFlags) readDeadline() error {
	if f.deadline == "" {
		return nil
	}
	if after, err := time.ParseDuration(f.deadline); err == nil {
		if after <= 0 {
			return usagef("--deadline %s: want a time to come", f.deadline)
		}
		f.template.DeadlineIn = after
		return nil
	}
	at, err := time.Parse(time.RFC3339, f.deadline)
	if err != nil {
		return usagef("--deadline %q: want a time as 2026-11-21T18:00:00Z, or from now as 90s", f.deadline)
	}
	if !at.After(time.Now()) {
		return usagef("--deadline %s: it has passed", f.deadline)
	}
	f.template.Deadline = at
	return nil
}

// readRetention reads a duration in hours or days.
func (f *enqueueFlags) readRetention() error {
	if f.retained == "" {
		return nil
	}
	var d config.Duration
	if err := d.UnmarshalText([]byte(f.retained)); err != nil {
		return usagef("--retention %w", err)
	}
	if d.Std() < lm.MinRetention || d.Std() > lm.MaxRetention {
		return usagef("--retention %s: want 60s to 30d", d)
	}
	f.template.Retention = d.Std()
	return nil
}

func (f *enqueueFlags) run(cmd *cobra.Command, cfg *config.Config, args []string) error {
	ctx, cancel := interruptible()
	defer cancel()
	if f.in > 0 {
		f.template.In = f.in
	}
	if err := f.checkOut(cmd.InOrStdin()); err != nil {
		return err
	}
	requests, err := f.requests(cmd, args)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer store.Close()                      //nolint:errcheck // all writes were answered
	client, err := f.client(ctx, cfg, store) // not closed: that would wait for a blocking read, and the process ends
	if err != nil {
		return err
	}
	if requests, err = f.good(cmd, client, requests); err != nil {
		return err
	}
	out, endOut, err := f.sink(cmd) // now, while nothing is enqueued yet
	if err != nil {
		return err
	}
	f.warnUnserved(ctx, cmd, store)
	sent, err := f.send(ctx, cmd, client, requests)
	err = errors.Join(err, f.resolve(ctx, cmd, store, client, sent))
	err = errors.Join(f.tellExisting(cmd, sent), err)
	f.tellRetention(cmd, cfg, sent)
	switch {
	case len(sent) == 0:
	case f.followed:
		err = errors.Join(f.follow(ctx, out, client, sent[0].id), err)
	case f.wait:
		err = errors.Join(f.await(ctx, out, client, sent), err)
	default:
		err = errors.Join(f.printIDs(cmd, sent), err)
	}
	err = errors.Join(err, endOut())
	if lostOutput(err) { // where they would have been
		for _, n := range sent {
			fmt.Fprintf(stderr, "%s: accepted: %s\n", cmd.Name(), n.id)
		}
	}
	return err
}

func (f *enqueueFlags) client(ctx context.Context, cfg *config.Config, store *lua.Store) (*producer.Client, error) {
	opts := []producer.Option{producer.WithCheckpointLimit(int(cfg.Limits.Checkpoint))} // of --retry-failed
	switch {
	case f.followed:
		opts = append(opts, producer.WithFollowed())
	case f.wait:
		opts = append(opts, producer.WithReply())
	}
	if !f.noCheck {
		names, err := store.Names(ctx)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			names = worker.ModelNames(cfg)
		}
		opts = append(opts, producer.WithModels(names))
	}
	return producer.New(store, opts...), nil
}

// numbered is a request with where it came from.
type numbered struct {
	request  lm.Request
	line     int    // of the file; 0 for a prompt
	customID string // of an OpenAI batch line
	bad      error  // why it cannot be enqueued
	id       lm.TraceID
	status   string // of what was accepted
}

// requests are the requests of the prompt or of the file.
func (f *enqueueFlags) requests(cmd *cobra.Command, args []string) ([]numbered, error) {
	if f.file != "" {
		return f.readFile(cmd.InOrStdin())
	}
	if args[0] == "" {
		return nil, usagef("the prompt is empty")
	}
	if err := validUTF8([]byte(args[0])); err != nil {
		return nil, usagef("the prompt: %w", err)
	}
	body, err := promptBody(f.template.Kind, args[0])
	if err != nil {
		return nil, err
	}
	list := make([]numbered, f.count)
	for i := range list {
		list[i].request = f.template
		list[i].request.Body = body
		if f.count > 1 && f.template.Key != "" {
			list[i].request.Key = fmt.Sprintf("%s#%d", f.template.Key, i)
		}
	}
	return list, nil
}

// promptBody is the OpenAI body of a prompt for a kind.
func promptBody(kind, prompt string) (json.RawMessage, error) {
	switch kind {
	case "prompt":
		return json.Marshal(map[string]string{"prompt": prompt})
	case "embed":
		return json.Marshal(map[string]string{"input": prompt})
	default:
		return json.Marshal(map[string]any{"messages": []map[string]string{{"role": "user", "content": prompt}}})
	}
}
