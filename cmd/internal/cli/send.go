package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/producer"
	"github.com/spf13/cobra"
)

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
				batch[i].id, batch[i].status = a.ID, statusNew
				if a.Existing {
					batch[i].status = statusExisting
				}
				sent = append(sent, batch[i])
				bar.add(1, refused)
				continue
			}
			refused++
			if ctx.Err() != nil {
				return nil, exit(exitInterrupted, fmt.Errorf("interrupted with %d of %d enqueued", len(sent), len(list)))
			}
			if lua.IsOutOfMemory(a.Err) {
				return nil, exit(exitRedis, fmt.Errorf("after %d of %d: %w; try again when workers have caught up, or raise it", len(sent), len(list), a.Err))
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
			fmt.Fprintf(stderr, "%s: %v\n", cmd.Name(), f.refusal(batch[i], a))
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
			fmt.Fprintf(stderr, "%s: %v (left out)\n", cmd.Name(), err)
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
		Status   string     `json:"status"` // new, existing, existing failed ..., retried
	}
	lines := make([]line, len(sent))
	for i, n := range sent {
		lines[i] = line{n.id, n.line, n.customID, n.status}
	}
	switch f.output {
	case "json":
		return printJSON(out, lines)
	case "jsonl":
		return printLines(out, lines)
	case "table":
		t := newTable(out, "ID", "LINE", "CUSTOM ID", "STATUS")
		for _, l := range lines {
			t.row(l.ID, orDash(strings.TrimPrefix(strconv.Itoa(l.Line), "0")), orDash(l.CustomID), l.Status)
		}
		return t.flush()
	}
	for _, n := range sent {
		fmt.Fprintln(out, n.id)
	}
	return nil
}
