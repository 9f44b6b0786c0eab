package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/worker"
	"github.com/spf13/cobra"
)

// modelsCommand shows and changes the fleet's models.
func modelsCommand() *cobra.Command {
	var output, group string
	var observed bool
	cmd := &cobra.Command{Use: "models", Short: "How the models do, for the whole fleet", Args: noArgs}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	cmd.Flags().BoolVar(&observed, "observed", false, "what their backends were last seen to have, and how that and what is declared go together")
	cmd.Flags().StringVar(&group, "group", "", "only the models of this group")
	cmd.AddCommand(
		operateCommand("disable", "Have no worker start a call of a model, until it is enabled", "disabled; the fleet starts no new calls of it"),
		operateCommand("enable", "Have workers call a disabled model again", "enabled"),
		operateCommand("reset", "Close a model's circuit, and end its and its backend's cooldown and quarantine", "reset"),
	)
	return acting(cmd, func(ctx context.Context, cfg *config.Config, s *lua.Store, _ []string) error {
		how, err := validFormat(output, "table", "json")
		if err != nil {
			return err
		}
		m, err := fleetOf(ctx, s, cfg)
		if err != nil {
			return err
		}
		snap := m.Snapshot()
		g, err := knownGroup(snap, group)
		if err != nil {
			return err
		}
		if drifts := driftsOf(snap, m.Now(), nil, g); observed && how == "json" {
			return printJSON(cmd.OutOrStdout(), drifts)
		} else if observed {
			err = printDrifts(cmd.OutOrStdout(), drifts)
		}
		state, sysErr := m.System(ctx)
		if err = errors.Join(err, sysErr); err != nil {
			return err
		}
		if observed {
			printFailing(cmd.OutOrStdout(), state.Providers)
			return nil
		}
		if g != nil {
			state.Models = slices.DeleteFunc(state.Models, func(v fleet.ModelView) bool { return !inGroup(snap, g, v.ID, v.Backend) })
		}
		if how == "json" {
			return printJSON(cmd.OutOrStdout(), state)
		}
		if err := printModels(cmd, state); err != nil {
			return err
		}
		printFailing(cmd.OutOrStdout(), state.Providers)
		return nil
	})
}

// knownGroup finds a declared group; nil for no name.
func knownGroup(snap *fleet.Snapshot, id string) (*fleet.Group, error) {
	if id == "" {
		return nil, nil
	}
	if g := snap.Group(id); g != nil {
		return g, nil
	}
	var names []string
	for i := range snap.Groups {
		names = append(names, snap.Groups[i].Spec.ID)
	}
	hint := ""
	if near := lm.DidYouMean(id, names); near != "" {
		hint = fmt.Sprintf("; did you mean %s?", near)
	}
	return nil, usagef("%q is no declared group%s", id, hint)
}

// fleetOf is the fleet's state as this configuration declares it, or, where it
// declares nothing, with what the workers found.
func fleetOf(ctx context.Context, s *lua.Store, cfg *config.Config) (*fleet.Manager, error) {
	cfg, err := withFound(ctx, s, cfg)
	if err != nil {
		return nil, err
	}
	m, err := fleet.New(s, fleet.Options{Spec: worker.FleetSpec(cfg), Owner: ownerName(), Onlooker: true})
	if err != nil {
		return nil, err
	}
	return m, m.Load(ctx)
}

// ownerName is this process as others see it at the lock.
func ownerName() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("cli-%s-%d", host, os.Getpid())
}

func operateCommand(what, short, done string) *cobra.Command {
	cmd := &cobra.Command{
		Use: what + " MODEL...", Short: short,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("want one model or more; `lighterman models` lists them")
			}
			return nil
		},
	}
	return acting(cmd, func(ctx context.Context, cfg *config.Config, s *lua.Store, args []string) error {
		m, err := fleetOf(ctx, s, cfg)
		if err != nil {
			return err
		}
		if err := knownModels(m, args); err != nil {
			return err
		}
		for _, id := range args {
			if err := m.Operate(ctx, id, what); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", id, done)
		}
		return nil
	})
}

// knownModels refuses names that the configuration does not declare, before
// anything is changed.
func knownModels(m *fleet.Manager, ids []string) error {
	snap := m.Snapshot()
	for _, id := range ids {
		if snap.Model(id) != nil {
			continue
		}
		var names []string
		for i := range snap.Models {
			names = append(names, snap.Models[i].Spec.ID)
		}
		hint := ""
		if near := lm.DidYouMean(id, names); near != "" {
			hint = fmt.Sprintf("; did you mean %s?", near)
		}
		return usagef("%q is no declared model%s", id, hint)
	}
	return nil
}

func printModels(cmd *cobra.Command, s fleet.SystemState) error {
	t := newTable(cmd.OutOrStdout(), "MODEL", "BACKEND", "STATUS", "REASON", "CIRCUIT", "COOLDOWN", "ERRORS 60s", "REQUESTS", "QUOTA", "BUDGET", "COST").least("COOLDOWN", "QUOTA", "BUDGET", "ERRORS 60s", "BACKEND", "REASON", "CIRCUIT")
	for _, m := range s.Models {
		t.row(m.ID, m.Backend, m.Status, reasonText(m, s.At), circuitText(m, s.At), left(m.CooldownRemaining.Std()), fmt.Sprintf("%.0f%%", 100*m.ErrorRate),
			m.Requests, ofTotal(fmt.Sprint(m.QuotaUsed), fmt.Sprint(m.Quota), m.Quota > 0), ofTotal(dollars(m.BudgetUsed), dollars(m.BudgetUSD), m.BudgetUSD > 0), dollars(m.CostUSD))
	}
	return t.flush()
}

// reasonText is why a model is on standby, and in brackets whose matter that is where
// it is not the model's own, what the provider said, and for how long.
func reasonText(m fleet.ModelView, now time.Time) string {
	if m.Reason == "" {
		return "-"
	}
	var facts []string
	if m.Scope == fleet.AsideBackend {
		facts = append(facts, "backend")
	}
	if m.SetAside == fleet.ReasonQuarantine {
		facts = append(facts, m.QuarantineKind)
	}
	if m.Until.After(now) {
		facts = append(facts, left(m.Until.Sub(now)))
	}
	if len(facts) == 0 {
		return string(m.Reason)
	}
	return fmt.Sprintf("%s (%s)", m.Reason, strings.Join(facts, ", "))
}

func circuitText(m fleet.ModelView, now time.Time) string {
	switch {
	case m.Circuit == "open":
		return "open " + left(m.OpenUntil.Sub(now))
	case m.ProbeUntil.After(now):
		return m.Circuit + ", probe by " + m.ProbeOwner
	case m.Circuit == "closed" && m.Failures > 0:
		return fmt.Sprintf("closed, %d failed", m.Failures)
	default:
		return m.Circuit
	}
}

func left(d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return short(d)
}

func ofTotal(used, total string, has bool) string {
	if !has {
		return "-"
	}
	return used + "/" + total
}

// dollars has four digits that count, and never an exponent.
func dollars(usd float64) string {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(usd, 'g', 4, 64), 64) // of a number's own text
	return "$" + strconv.FormatFloat(rounded, 'f', -1, 64)
}
