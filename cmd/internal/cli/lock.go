package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

// lockView is the fleet's advisory lock as it is shown.
type lockView struct {
	Locked     bool      `json:"locked"`
	Owner      string    `json:"owner,omitempty"`
	Fence      int64     `json:"fence,omitempty"`
	AcquiredAt time.Time `json:"acquired_at,omitzero"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
}

// lockCommand shows who holds the fleet's lock.
func lockCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{Use: "lock", Short: "Who holds the fleet's lock, under which pools and models are changed", Args: noArgs}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return reading(cmd, func(ctx context.Context, s *lua.Store, _ []string) error {
		how, err := validFormat(output, "table", "json")
		if err != nil {
			return err
		}
		l, err := s.LockHolder(ctx)
		if err != nil {
			return err
		}
		view := lockView{Locked: l.Held}
		if l.Held {
			view.Owner, view.Fence, view.AcquiredAt, view.ExpiresAt = l.Owner, l.Fence, l.Acquired, l.Now.Add(l.Left).UTC()
		}
		switch {
		case how == "json":
			return printJSON(cmd.OutOrStdout(), view)
		case !l.Held:
			fmt.Fprintln(cmd.OutOrStdout(), "nobody holds the lock")
			return nil
		}
		t := newTable(cmd.OutOrStdout(), "OWNER", "FENCE", "HELD FOR", "EXPIRES IN")
		t.row(l.Owner, l.Fence, short(l.Now.Sub(l.Acquired)), short(l.Left))
		return t.flush()
	})
}
