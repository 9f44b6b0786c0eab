package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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
	count    int
	file     string
	wait     bool
	timeout  time.Duration
	out      string
	output   string
	skipBad  bool
	noCheck  bool
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
which they end. A file that is pushed again enqueues nothing twice.`,
		Example: `  enqueue "Why do rivers bend?" --wait
  enqueue --file requests.jsonl --wait --out answers.jsonl`,
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
	fs.StringVar(&r.Kind, "kind", "", "which handler runs it (default chat)")
	fs.StringVar(&r.Model, "model", "", "model or pool")
	fs.StringVar(&r.Queue, "queue", "", "queue (default default)")
	fs.StringVar(&r.Tenant, "tenant", "", "tenant")
	fs.StringVar(&r.Thread, "thread", "", "conversation")
	fs.StringVar(&r.Run, "run", "", "run of an agent")
	fs.StringVar(&r.Agent, "agent", "", "agent")
	fs.DurationVar(&f.in, "in", 0, "start after this time, as 90s")
	fs.StringVar(&f.at, "at", "", "start at this time, as 2026-11-21T18:00:00Z")
	fs.StringVar(&f.deadline, "deadline", "", "give up at this time, as 2026-11-21T18:00:00Z, or after a time, as 90s; outcome expired")
	fs.IntVar(&f.count, "count", 1, "push the prompt so many times")
	fs.StringVarP(&f.file, "file", "f", "", "JSONL file; - is standard input")
	fs.BoolVarP(&f.wait, "wait", "w", false, "wait for the results")
	fs.DurationVar(&f.timeout, "timeout", 0, "with --wait: give up after this time, exit 4; the work goes on")
	fs.StringVar(&f.out, "out", "", "with --wait: write results to this file")
	fs.StringVarP(&f.output, "output", "o", "", "id, table, json or jsonl; with --wait of one prompt: text")
	fs.BoolVar(&f.skipBad, "skip-bad", false, "leave out bad lines of the file instead of enqueueing nothing")
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
	if err := f.readDeadline(); err != nil {
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
	if (f.timeout > 0 || f.out != "") && !f.wait {
		return usagef("--timeout and --out need --wait")
	}
	if f.output == "text" && !f.wait {
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
		f.template.Deadline = time.Now().Add(after)
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

func (f *enqueueFlags) run(cmd *cobra.Command, cfg *config.Config, args []string) error {
	ctx, cancel := interruptible()
	defer cancel()
	if f.in > 0 {
		f.template.NotBefore = time.Now().Add(f.in)
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
	out, closeOut, err := f.sink(cmd) // now, while nothing is enqueued yet
	if err != nil {
		return err
	}
	sent, err := f.send(ctx, cmd, client, requests)
	switch {
	case len(sent) == 0:
	case f.wait:
		err = errors.Join(f.await(ctx, out, client, sent), err)
	default:
		err = errors.Join(f.printIDs(cmd, sent), err)
	}
	return errors.Join(err, closeOut())
}

func (f *enqueueFlags) client(ctx context.Context, cfg *config.Config, store *lua.Store) (*producer.Client, error) {
	var opts []producer.Option
	if f.wait {
		opts = append(opts, producer.WithReply())
	}
	if !f.noCheck {
		names, err := store.Names(ctx)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			names = worker.ModelNames(cfg.Models)
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
}

// requests are the requests of the prompt or of the file.
func (f *enqueueFlags) requests(cmd *cobra.Command, args []string) ([]numbered, error) {
	if f.file != "" {
		return f.readFile(cmd.InOrStdin())
	}
	if args[0] == "" {
		return nil, usagef("the prompt is empty")
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

// sentInOneGo is how many requests are handed to the producer at once, so that
// progress shows and Ctrl-C is heard.
const sentInOneGo = 10_000

// send enqueues everything and returns what was accepted; the error says how many
// were refused. After lost contact or Ctrl-C nothing is returned to go on with.
func (f *enqueueFlags) send(ctx context.Context, cmd *cobra.Command, client *producer.Client, list []numbered) ([]numbered, error) {
	bar := newProgress("enqueued", len(list), len(list) > 1)
	defer bar.end()
	var sent []numbered
	refused, code := 0, exitUsage
	for from := 0; from < len(list); from += sentInOneGo {
		batch := list[from:min(from+sentInOneGo, len(list))]
		requests := make([]lm.Request, len(batch))
		for i := range batch {
			requests[i] = batch[i].request
		}
		for i, a := range client.EnqueueMany(ctx, requests) {
			if a.Err == nil {
				batch[i].id = a.ID
				sent = append(sent, batch[i])
				bar.add(1, refused)
				continue
			}
			refused++
			if ctx.Err() != nil {
				return nil, exit(exitInterrupted, fmt.Errorf("interrupted with %d of %d enqueued", len(sent), len(list)))
			}
			if lua.IsPassing(a.Err) {
				return nil, fmt.Errorf("after %d of %d: %w", len(sent), len(list), a.Err)
			}
			if !errors.Is(a.Err, lua.ErrKeyConflict) {
				code = exitFailed // nothing is wrong with the request
			}
			if len(list) == 1 {
				return nil, exit(code, f.refusal(batch[i], a))
			}
			fmt.Fprintf(os.Stderr, "%s: %v\n", cmd.Name(), f.refusal(batch[i], a))
		}
	}
	if refused == 0 {
		return sent, nil
	}
	if len(sent) > 0 {
		code = exitFailed
	}
	return sent, exit(code, fmt.Errorf("%d of %d requests were refused", refused, len(list)))
}

// refusal says why Redis took no request, and what would be right.
func (f *enqueueFlags) refusal(n numbered, a producer.Accepted) error {
	switch {
	case errors.Is(a.Err, lua.ErrKeyConflict):
		return fmt.Errorf("%s%w (%s); want another --id or --key", f.where(n), a.Err, a.ID)
	case errors.Is(a.Err, lua.ErrQueueFull):
		return fmt.Errorf("%s%w (%s, limits.queue); try again when workers have caught up", f.where(n), a.Err, cmp.Or(n.request.Queue, lm.DefaultQueue))
	default:
		return fmt.Errorf("%s%w", f.where(n), a.Err)
	}
}

// good are the requests that can be enqueued. All others are reported, and unless
// they are to be left out there is an error then.
func (f *enqueueFlags) good(cmd *cobra.Command, client *producer.Client, list []numbered) ([]numbered, error) {
	var good []numbered
	var errs []error
	for _, n := range list {
		if n.bad == nil {
			n.bad = client.Check(n.request)
		}
		switch {
		case n.bad == nil:
			good = append(good, n)
		case n.line == 0: // a prompt: the others are the same
			return nil, exit(exitUsage, plain(n.bad))
		default:
			errs = append(errs, errors.New(f.where(n)+strings.ReplaceAll(plain(n.bad).Error(), "\n", "; ")))
		}
	}
	switch {
	case len(errs) == 0:
		return good, nil
	case f.skipBad && len(good) == 0:
		errs = append(errs, fmt.Errorf("no line is good; nothing was enqueued"))
	case f.skipBad:
		for _, err := range errs {
			fmt.Fprintf(os.Stderr, "%s: %v (left out)\n", cmd.Name(), err)
		}
		return good, nil
	default:
		errs = append(errs, fmt.Errorf("%d of %d lines are bad; nothing was enqueued (--skip-bad leaves them out)", len(errs), len(list)))
	}
	return nil, exit(exitUsage, errors.Join(errs...))
}

// plain is an error without its kind in front, which a person at a terminal
// need not read.
func plain(err error) error {
	var e *lm.Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err
	}
	return err
}

// where names a request's line in front of an error.
func (f *enqueueFlags) where(n numbered) string {
	if n.line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", f.fileName(), n.line)
}

func (f *enqueueFlags) fileName() string {
	if f.file == "-" {
		return "stdin"
	}
	return f.file
}

func (f *enqueueFlags) printIDs(cmd *cobra.Command, sent []numbered) error {
	out := cmd.OutOrStdout()
	type line struct {
		ID       lm.TraceID `json:"id"`
		Line     int        `json:"line,omitempty"`
		CustomID string     `json:"custom_id,omitempty"`
	}
	lines := make([]line, len(sent))
	for i, n := range sent {
		lines[i] = line{n.id, n.line, n.customID}
	}
	switch f.output {
	case "json":
		return printJSON(out, lines)
	case "jsonl":
		return printLines(out, lines)
	case "table":
		t := newTable(out, "ID", "LINE", "CUSTOM ID")
		for _, l := range lines {
			t.row(l.ID, orDash(strings.TrimPrefix(strconv.Itoa(l.Line), "0")), orDash(l.CustomID))
		}
		return t.flush()
	}
	for _, n := range sent {
		fmt.Fprintln(out, n.id)
	}
	return nil
}
