package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/producer"
	"github.com/spf13/cobra"
)

// answer is one result as --wait writes it.
type answer struct {
	Line     int             `json:"line,omitempty"`
	CustomID string          `json:"custom_id,omitempty"`
	ID       lm.TraceID      `json:"id"`
	Status   string          `json:"status,omitempty"` // existing or retried; new where it is left out
	Outcome  lm.Outcome      `json:"outcome,omitempty"`
	Text     string          `json:"text,omitempty"`
	Response *batchResponse  `json:"response,omitempty"` // of an OpenAI batch line
	Body     json.RawMessage `json:"body,omitempty"`
	Usage    lm.Usage        `json:"usage,omitzero"`
	Error    any             `json:"error,omitempty"`
	Attempts int             `json:"attempts,omitempty"`
	Crashes  int             `json:"crashes,omitempty"`
}

// batchResponse is the answer to an OpenAI batch line.
type batchResponse struct {
	StatusCode int             `json:"status_code"`
	RequestID  string          `json:"request_id"`
	Body       json.RawMessage `json:"body"`
}

func newAnswer(n numbered, r lm.Result) answer {
	a := answer{Line: n.line, CustomID: n.customID, ID: n.id, Outcome: r.Outcome, Usage: r.Usage, Attempts: r.Attempts, Crashes: r.Crashes}
	if r.Err != nil {
		a.Error = r.Err
	}
	if n.status != statusNew {
		a.Status = n.status
	}
	if n.customID != "" {
		if r.Outcome == lm.Succeeded {
			a.Response = &batchResponse{StatusCode: 200, RequestID: string(n.id), Body: r.Body}
		} else if r.Err != nil {
			a.Error = map[string]string{"code": string(r.Err.Kind), "message": r.Err.Error()}
		}
		return a
	}
	a.Body = r.Body
	if r.Outcome == lm.Succeeded {
		a.Text = r.Text()
	}
	return a
}

// await writes results as they come, and a summary at the end.
func (f *enqueueFlags) await(ctx context.Context, out io.Writer, client *producer.Client, sent []numbered) error {
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	one := f.file == "" && len(sent) == 1
	ids := make([]lm.TraceID, len(sent))
	byID := make(map[lm.TraceID]numbered, len(sent))
	for i, n := range sent {
		ids[i], byID[n.id] = n.id, n
	}
	// Results that scroll by on a terminal are the better bar, and would tear it.
	bar := newProgress("done", len(byID), len(byID) > 1 && (f.out != "" || !isTerminal(os.Stdout)))
	defer bar.end()
	began := time.Now()
	ok, failures := 0, make(map[string]int)
	var last lm.Result
	for result, err := range client.WaitMany(ctx, ids) {
		if err != nil && result.ID == "" {
			return f.gaveUp(err, ok+sum(failures), len(byID))
		}
		if err != nil {
			result.Err = lm.AsError(err)
		}
		if err == nil && result.Outcome == lm.Succeeded {
			ok++
		} else {
			failures[reasonOf(result)]++
		}
		last = result
		bar.add(1, sum(failures))
		if err := f.write(out, one, newAnswer(byID[result.ID], result), result); err != nil {
			return err
		}
	}
	bar.end()
	if one {
		return failedAlone(last)
	}
	return f.summary(ok, failures, time.Since(began))
}

// sink is where results go. The caller ends it.
func (f *enqueueFlags) sink(cmd *cobra.Command) (out io.Writer, end func() error, err error) {
	if f.out == "" {
		return cmd.OutOrStdout(), func() error { return nil }, nil
	}
	file, err := createResults(f.out)
	if err != nil {
		return nil, nil, err
	}
	return file, file.end, nil
}

// write writes one result: the text of a single prompt, else a JSON line.
func (f *enqueueFlags) write(out io.Writer, one bool, a answer, r lm.Result) (err error) {
	how := f.output
	if how == "" {
		how = "jsonl"
		if one && f.out == "" {
			how = "text"
		}
	}
	switch how {
	case "text":
		if r.Outcome == lm.Succeeded {
			_, err = fmt.Fprintln(out, r.Text())
		}
	case "id":
		_, err = fmt.Fprintln(out, a.ID)
	case "table":
		said := r.Text()
		if r.Err != nil {
			said = r.Err.Error()
		}
		_, err = fmt.Fprintf(out, "%s  %-9s  %s\n", a.ID, a.Outcome, oneLine(said, 80))
	case "json":
		err = printJSON(out, a)
	default:
		err = printLines(out, []answer{a})
	}
	return err
}

func (f *enqueueFlags) gaveUp(err error, done, all int) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return exit(exitTimeout, fmt.Errorf("gave up after %s with %d of %d done; the work goes on", f.timeout, done, all))
	case errors.Is(err, context.Canceled):
		return exit(exitInterrupted, fmt.Errorf("interrupted with %d of %d done; the work goes on", done, all))
	default:
		return err
	}
}

// summary tells how many results ended how.
func (f *enqueueFlags) summary(ok int, failures map[string]int, took time.Duration) error {
	failed := sum(failures)
	text := fmt.Sprintf("%d of %d  ok %d  failed %d", ok+failed, ok+failed, ok, failed)
	for _, reason := range slices.Sorted(maps.Keys(failures)) {
		text += fmt.Sprintf("  (%s: %d)", reason, failures[reason])
	}
	if f.out != "" {
		text += "  -> " + f.out
	}
	fmt.Fprintf(stderr, "%s  %s\n", text, short(took))
	if failed == 0 {
		return nil
	}
	fmt.Fprintln(stderr, "lighterman dead ls lists those that failed")
	return exit(exitFailed, nil)
}

// failedAlone is why the only operation did not succeed, nil when it did.
func failedAlone(r lm.Result) error {
	switch {
	case r.Outcome == lm.Succeeded && r.Err == nil:
		return nil
	case r.Err == nil:
		return exit(exitFailed, fmt.Errorf("%s %s (lighterman show %s)", r.ID, r.Outcome, r.ID))
	default:
		return exit(exitFailed, fmt.Errorf("%s: %w (lighterman show %s)", cmp.Or(r.Outcome, lm.Failed), r.Err, r.ID))
	}
}

func reasonOf(r lm.Result) string {
	if r.Err != nil {
		return string(r.Err.Kind)
	}
	return string(r.Outcome)
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
