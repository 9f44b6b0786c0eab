package cli

import (
	"fmt"
	"os"
	"slices"

	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/router"
	"github.com/lighterman/lighterman/worker"
	"github.com/spf13/cobra"
)

// simulateCommand says what a new configuration would move. It asks no Redis.
func simulateCommand() *cobra.Command {
	var output, file string
	var keys int
	cmd := &cobra.Command{
		Use: "simulate [POOL...] --file NEW", Short: "What share of keys another configuration would home elsewhere",
	}
	flags := worker.AddCommonFlags(cmd.Flags(), "redis")
	f := cmd.Flags()
	f.StringVar(&file, "file", "", "the other configuration file")
	f.IntVar(&keys, "keys", 20000, "how many keys to try")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		how, err := validFormat(output, "table", "json")
		if err != nil {
			return err
		}
		if err := positive("--keys", keys); err != nil {
			return err
		}
		before, after, err := twoSpecs(flags, file)
		if err != nil {
			return err
		}
		pools, err := poolsOf(before, after, args)
		if err != nil {
			return err
		}
		shifts := []router.Shift{}
		for _, p := range pools {
			shifts = append(shifts, router.Compare(before, after, p, keys))
		}
		if how == "json" {
			return printJSON(cmd.OutOrStdout(), shifts)
		}
		return printShifts(cmd, shifts)
	}
	return cmd
}

// twoSpecs are what the configuration and the file declare.
func twoSpecs(flags *worker.Flags, file string) (before, after fleet.Spec, err error) {
	if file == "" {
		return before, after, usagef("--file: want the other configuration file")
	}
	now, err := flags.Load()
	if err != nil {
		return before, after, err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return before, after, usagef("--file: %w", err)
	}
	then, err := config.Parse(file, content)
	if err != nil {
		return before, after, err
	}
	return worker.FleetSpec(now), worker.FleetSpec(then), nil
}

// poolsOf are the pools of either specification, or those named.
func poolsOf(before, after fleet.Spec, named []string) ([]string, error) {
	var all []string
	for _, s := range []fleet.Spec{before, after} {
		for i := range s.Pools {
			if !slices.Contains(all, s.Pools[i].ID) {
				all = append(all, s.Pools[i].ID)
			}
		}
	}
	if len(named) == 0 {
		return all, nil
	}
	for _, n := range named {
		if !slices.Contains(all, n) {
			return nil, usagef("%s: neither configuration has such a pool", n)
		}
	}
	return named, nil
}

func printShifts(cmd *cobra.Command, shifts []router.Shift) error {
	out := cmd.OutOrStdout()
	if len(shifts) == 0 {
		fmt.Fprintln(out, "neither configuration declares a pool")
		return nil
	}
	for i, s := range shifts {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "%s: %.1f %% of %d keys would home elsewhere\n", s.Pool, 100*s.Moved, s.Keys)
		if s.Note != "" {
			fmt.Fprintln(out, s.Note)
		}
		t := newTable(out, "MEMBER", "BEFORE", "AFTER")
		for _, m := range s.Members {
			t.row(m.Member, fmt.Sprintf("%.1f %%", 100*m.Before), fmt.Sprintf("%.1f %%", 100*m.After))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	return nil
}
