package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

// cancelTexts say what became of a cancel.
var cancelTexts = map[lua.Ended]string{
	lua.CancelDone:      "cancelled",
	lua.CancelRequested: "cancel requested; its worker ends it at its next write or heartbeat",
	lua.CancelLate:      "too late: it is being delivered",
	lua.CancelEnded:     "it had ended before",
}

func cancelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel ID|last...",
		Short: "Cancel operations: those that wait end at once, those that run are asked to",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("want one ID or more, or last for the newest operation")
			}
			return nil
		},
	}
	return reading(cmd, func(ctx context.Context, s *lua.Store, args []string) error {
		ids, err := namedIDs(ctx, s, args, newestOperation)
		if err != nil {
			return err
		}
		var errs []error
		for _, id := range ids {
			ended, err := s.Cancel(ctx, id)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", id, cancelTexts[ended])
		}
		return errors.Join(errs...)
	})
}
