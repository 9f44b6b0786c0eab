package cli

import (
	"context"
	"errors"
	"fmt"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/producer"
	"github.com/spf13/cobra"
)

func retryCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "retry ID|last...",
		Short: "Have failed operations done again, from their last checkpoint",
		Long: `Have failed operations done again. Each becomes a new operation with a new ID, with the request and
the checkpoint of the failed one: finished steps are not run again. It has no deadline, and no
idempotency key. A second retry of the same operation answers the first one's ID.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("want one ID or more, or last for the newest operation; dead ls lists them, dead retry takes many by reason, queue, kind and age")
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json, jsonl or id")
	return acting(cmd, func(ctx context.Context, cfg *config.Config, s *lua.Store, args []string) error {
		how, err := validFormat(output, "table", "json", "jsonl", "id")
		if err != nil {
			return err
		}
		return retryIDs(ctx, cmd, cfg, s, how, args, newestOperation)
	})
}

// retried is one line of what retry prints.
type retried struct {
	ID       lm.TraceID `json:"id"`
	As       lm.TraceID `json:"retried_as,omitempty"`
	Existing bool       `json:"existing,omitempty"` // by an earlier retry
	Dropped  string     `json:"checkpoint_dropped,omitempty"`
	Error    string     `json:"error,omitempty"`
}

// retryIDs retries the operations of IDs, and fails when one was not.
func retryIDs(ctx context.Context, cmd *cobra.Command, cfg *config.Config, s *lua.Store, how format, args []string, last newest) error {
	ids, err := namedIDs(ctx, s, args, last)
	if err != nil {
		return err
	}
	client := retrier(cfg, s)
	defer client.Close() //nolint:errcheck // the store is not its own
	var rows []retried
	var errs []error
	for _, r := range client.RetryMany(ctx, ids) {
		row := retried{ID: r.ID, As: r.As, Existing: r.Existing}
		if r.Dropped != nil {
			row.Dropped = r.Dropped.Error()
			fmt.Fprintf(stderr, "%s: %s: what its checkpoint lost runs again: %v\n", cmd.Name(), r.ID, r.Dropped)
		}
		if r.Err != nil {
			row.Error = r.Err.Error()
			errs = append(errs, r.Err)
		}
		rows = append(rows, row)
	}
	return errors.Join(printRetried(cmd, how, rows), errors.Join(errs...))
}

// retrier is a client with the fleet's limits.
func retrier(cfg *config.Config, s *lua.Store) *producer.Client {
	return producer.New(s, producer.WithCheckpointLimit(int(cfg.Limits.Checkpoint)))
}

func printRetried(cmd *cobra.Command, how format, rows []retried) error {
	out := cmd.OutOrStdout()
	switch how {
	case "json":
		return printJSON(out, rows)
	case "jsonl":
		return printLines(out, rows)
	}
	for _, r := range rows {
		switch {
		case r.Error != "":
		case how == "id":
			fmt.Fprintln(out, r.As)
		case r.Existing:
			fmt.Fprintf(out, "%s -> %s  retried before\n", r.ID, r.As)
		default:
			fmt.Fprintf(out, "%s -> %s\n", r.ID, r.As)
		}
	}
	return nil
}
