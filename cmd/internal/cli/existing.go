package cli

import (
	"context"
	"fmt"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/producer"
	"github.com/spf13/cobra"
)

// What became of a request that was pushed. One that an earlier push had asked for is
// existing, with the outcome behind it where that is not succeeded.
const (
	statusNew      = "new"
	statusExisting = "existing"
	statusFailed   = statusExisting + " " + string(lm.Failed)
	statusRetried  = "retried"
)

// retriesMost bounds how many retries of retries are followed.
const retriesMost = 100

// resolve says of requests that were accepted what became of them. One that an
// earlier push had asked for is answered by its newest retry.
func (f *enqueueFlags) resolve(ctx context.Context, cmd *cobra.Command, store *lua.Store, client *producer.Client, sent []numbered) error {
	var open []*numbered
	for i := range sent {
		if sent[i].status == statusExisting {
			open = append(open, &sent[i])
		}
	}
	var failed []*numbered
	for range retriesMost {
		ids := make([]lm.TraceID, len(open))
		for i, n := range open {
			ids[i] = n.id
		}
		records, err := store.Records(ctx, ids)
		if err != nil {
			return err
		}
		var next []*numbered
		for i, r := range records {
			switch n := open[i]; {
			case r.RetriedAs != "":
				n.id = r.RetriedAs
				next = append(next, n)
			case r.State == lm.Completed && r.Outcome != lm.Succeeded:
				n.status = statusExisting + " " + string(r.Outcome)
				if r.Outcome == lm.Failed {
					failed = append(failed, n)
				}
			}
		}
		if open = next; len(open) == 0 {
			break
		}
	}
	if f.retryFailed {
		f.retry(ctx, cmd, client, failed)
	}
	return nil
}

// retry has failed requests done again; what it says of one that is not stays with
// the status that it failed.
func (f *enqueueFlags) retry(ctx context.Context, cmd *cobra.Command, client *producer.Client, failed []*numbered) {
	ids := make([]lm.TraceID, len(failed))
	for i, n := range failed {
		ids[i] = n.id
	}
	bad := newComplaints(cmd)
	for i, r := range client.RetryMany(ctx, ids) {
		if r.Err != nil {
			bad.say(fmt.Errorf("%s%w", f.where(*failed[i]), r.Err))
			continue
		}
		failed[i].id, failed[i].status = r.As, statusRetried
	}
}

// standing is how many requests have which status.
type standing struct {
	names  []string
	counts map[string]int
}

func standingOf(sent []numbered) standing {
	s := standing{names: []string{statusNew}, counts: make(map[string]int)}
	for _, n := range sent {
		if s.counts[n.status]++; s.counts[n.status] == 1 && n.status != statusNew {
			s.names = append(s.names, n.status)
		}
	}
	return s
}

// bad is how many ended before, and not well.
func (s standing) bad() (n int) {
	for name, count := range s.counts {
		if name != statusNew && name != statusExisting && name != statusRetried {
			n += count
		}
	}
	return n
}

// tellExisting says on standard error what was not new. The error is of those that
// had not succeeded, where nobody waits for what they ended in.
func (f *enqueueFlags) tellExisting(cmd *cobra.Command, sent []numbered) error {
	s := standingOf(sent)
	if s.counts[statusNew] == len(sent) {
		return nil
	}
	hint := ""
	if s.counts[statusFailed] > 0 && !f.retryFailed {
		hint = "; --retry-failed tries it again"
	}
	text := ""
	if len(sent) == 1 {
		text = fmt.Sprintf("%s%s: %s%s", f.where(sent[0]), sent[0].id, sent[0].status, hint)
	} else {
		f.tellFew(cmd, sent)
		parts := make([]string, len(s.names))
		for i, name := range s.names {
			parts[i] = fmt.Sprintf("%d %s", s.counts[name], name)
		}
		text = fmt.Sprintf("%d requests: %s%s", len(sent), strings.Join(parts, ", "), strings.Replace(hint, "it", "them", 1))
	}
	if s.bad() > 0 && !f.wait && !f.followed {
		return exit(exitFailed, fmt.Errorf("%s", text))
	}
	fmt.Fprintf(stderr, "%s: %s\n", cmd.Name(), text)
	return nil
}

// tellFew names the first few that had not succeeded.
func (f *enqueueFlags) tellFew(cmd *cobra.Command, sent []numbered) {
	said := 0
	for _, n := range sent {
		if n.status == statusNew || n.status == statusExisting || n.status == statusRetried {
			continue
		}
		if said++; said > fewErrors {
			return
		}
		fmt.Fprintf(stderr, "%s: %s%s: %s\n", cmd.Name(), f.where(n), n.id, n.status)
	}
}

// tellRetention tells a person who pushes a file until when it may be pushed again
// without paying twice.
func (f *enqueueFlags) tellRetention(cmd *cobra.Command, cfg *config.Config, sent []numbered) {
	if f.file == "" || !stderr.terminal || standingOf(sent).counts[statusNew] == 0 {
		return
	}
	kept, by := cfg.Deliver.ResultRetention, "deliver.result_retention of the workers; --retention 7d keeps it longer"
	if f.template.Retention > 0 {
		kept, by = config.Duration(f.template.Retention), "--retention"
	}
	fmt.Fprintf(stderr, "%s: pushed again later than %s after a line has ended, that line is paid again (%s)\n", cmd.Name(), kept, by)
}
