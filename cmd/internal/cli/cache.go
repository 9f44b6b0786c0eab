package cli

import (
	"context"
	"fmt"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

// cachedList is a backend's list as it is listed.
type cachedList struct {
	Backend string    `json:"backend"`
	Key     string    `json:"key"` // over its type, URL and a hash of its credential
	Models  int       `json:"models"`
	Listed  time.Time `json:"listed,omitzero"` // the last good listing
	Tried   time.Time `json:"tried,omitzero"`
	Failing lm.Kind   `json:"failing,omitempty"`
	Strikes int       `json:"strikes,omitempty"` // failures in a row
	Since   time.Time `json:"failing_since,omitzero"`
}

// cacheCommand shows and forgets what backends were seen to have.
func cacheCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cache", Short: "The model lists that the fleet keeps of its backends", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	cmd.AddCommand(cacheListCommand(),
		forgetCommand("clear", "Forget all of them; every backend is listed anew with the next cycle", 0),
		forgetCommand("invalidate", "Forget those of a backend, with whatever address and credential they were made", 1))
	return cmd
}

func cacheListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{Use: "ls", Short: "List them", Args: noArgs}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return acting(cmd, func(ctx context.Context, cfg *config.Config, s *lua.Store, _ []string) error {
		how, err := validFormat(output, "table", "json")
		if err != nil {
			return err
		}
		m, err := fleetOf(ctx, s, cfg)
		if err != nil {
			return err
		}
		records, err := m.CachedLists(ctx)
		if err != nil {
			return err
		}
		lists := []cachedList{}
		for _, o := range records {
			lists = append(lists, cachedList{Backend: o.Name.Backend, Key: o.Name.Digest, Models: o.Count, Listed: o.Listed, Tried: o.Tried, Failing: o.Kind, Strikes: o.Strikes, Since: o.Since})
		}
		if how == "json" {
			return printJSON(cmd.OutOrStdout(), lists)
		}
		t := newTable(cmd.OutOrStdout(), "BACKEND", "KEY", "MODELS", "LISTED", "TRIED", "FAILING")
		for _, l := range lists {
			failing := "-"
			if l.Failing != "" {
				failing = fmt.Sprintf("%s, %d in a row, for %s", l.Failing, l.Strikes, ago(l.Since))
			}
			t.row(l.Backend, l.Key[:min(len(l.Key), 8)], l.Models, ago(l.Listed), ago(l.Tried), failing)
		}
		return t.flush()
	})
}

func forgetCommand(what, short string, args int) *cobra.Command {
	cmd := &cobra.Command{Use: what, Short: short, Args: noArgs}
	if args > 0 {
		cmd.Use += " BACKEND"
		cmd.Args = func(_ *cobra.Command, given []string) error {
			if len(given) != args {
				return usagef("want one backend; `lighterman cache ls` lists them")
			}
			return nil
		}
	}
	return acting(cmd, func(ctx context.Context, cfg *config.Config, s *lua.Store, args []string) error {
		m, err := fleetOf(ctx, s, cfg)
		if err != nil {
			return err
		}
		n, err := m.ForgetLists(ctx, args...)
		if err != nil {
			return err
		}
		if n == 0 && len(args) > 0 {
			return exit(exitFailed, fmt.Errorf("nothing is kept of %q; `lighterman cache ls` lists what is", args[0]))
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d list(s) forgotten\n", n)
		return nil
	})
}
