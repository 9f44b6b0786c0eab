package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/worker"
	"github.com/spf13/cobra"
)

// reconciled is what one cycle says.
type reconciled struct {
	Backends []listedBackend      `json:"backends"`
	Models   []fleet.ModelDrift   `json:"models"`
	Defaults []fleet.DefaultModel `json:"defaults"`
}

// listedBackend is a backend's listing, with what it said where that failed.
type listedBackend struct {
	fleet.BackendReport
	Said string `json:"said,omitempty"`
}

func withReplies(reports []fleet.BackendReport, said *replies) []listedBackend {
	all := []listedBackend{}
	for _, b := range reports {
		all = append(all, listedBackend{BackendReport: b, Said: said.of(b.Backend)})
	}
	return all
}

// reconcileCommand runs one cycle of the reconciler now.
func reconcileCommand() *cobra.Command {
	var output string
	var backends []string
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "List the models of the backends now, and hold them against what is declared",
		Long: "List the models of the backends now, whether they are due or not, record it for the whole fleet, and hold it against what is declared. " +
			"It waits for the fleet's lock for as long as fleet.lock_wait says.",
		Args: noArgs,
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	cmd.Flags().StringSliceVar(&backends, "backend", nil, "only this backend; repeat for more")
	return acting(cmd, func(ctx context.Context, cfg *config.Config, s *lua.Store, _ []string) error {
		how, err := validFormat(output, "table", "json")
		if err != nil {
			return err
		}
		worker.Detect(ctx, cfg)
		opened, err := worker.Backends(ctx, cfg)
		if err != nil {
			return usagef("%w", err)
		}
		listers, credentials := worker.Listers(cfg, nil, opened)
		if err := knownBackends(backends, slices.Sorted(maps.Keys(listers))); err != nil {
			return err
		}
		var said replies
		said.listenTo(listers)
		m, err := fleet.New(s, fleet.Options{Spec: worker.FleetSpec(cfg), Owner: ownerName(), Credentials: credentials, LockWait: cfg.Fleet.LockWait.Std()})
		if err != nil {
			return err
		}
		r := fleet.NewReconciler(m, fleet.ReconcilerOptions{Listers: listers, Timeout: cfg.Fleet.BackendTimeout.Std()})
		report, err := r.Now(ctx, backends...)
		if err != nil {
			return lockProblem(err)
		}
		snap := m.Snapshot()
		got := reconciled{Backends: withReplies(report.Listed, &said), Models: driftsOf(snap, m.Now(), backends, nil), Defaults: snap.Defaults(worker.NamedDefaults(cfg), m.Now())}
		if how == "json" {
			return printJSON(cmd.OutOrStdout(), got)
		}
		return printReconciled(cmd.OutOrStdout(), got)
	})
}

// lockProblem says of a lock that was not had what to do.
func lockProblem(err error) error {
	if errors.Is(err, fleet.ErrLockTimeout) {
		return fmt.Errorf("%w; `lighterman lock` says for how long", err)
	}
	return err
}

// knownBackends refuses names that are no backend, before anything is asked.
func knownBackends(names, known []string) error {
	for _, name := range names {
		if slices.Contains(known, name) {
			continue
		}
		hint := ""
		if near := lm.DidYouMean(name, known); near != "" {
			hint = fmt.Sprintf("; did you mean %s?", near)
		}
		return usagef("%q is no declared backend%s", name, hint)
	}
	return nil
}

// driftsOf are the drifts of backends, all of them if none is named, and of a
// group, nil for all.
func driftsOf(snap *fleet.Snapshot, now time.Time, backends []string, group *fleet.Group) []fleet.ModelDrift {
	drifts := snap.Drifts(now)
	return slices.DeleteFunc(drifts, func(d fleet.ModelDrift) bool {
		return len(backends) > 0 && !slices.Contains(backends, d.Backend) || group != nil && !inGroup(snap, group, d.ID, d.Backend)
	})
}

// inGroup reports whether a model, or an offering that nobody declares, is a
// group's.
func inGroup(snap *fleet.Snapshot, g *fleet.Group, id, backend string) bool {
	return slices.Contains(g.Spec.Backends, backend) ||
		slices.ContainsFunc(g.Models, func(i int) bool { return snap.Models[i].Spec.ID == id })
}

func printReconciled(out io.Writer, r reconciled) error {
	t := newTable(out, "BACKEND", "RESULT", "MODELS", "TOOK")
	for _, b := range r.Backends {
		result, count := "listed", fmt.Sprint(b.Count)
		if b.Kind != "" {
			result, count = fmt.Sprintf("%s (%s)", b.Kind, fleet.Class(b.Kind)), "-"
		}
		t.row(b.Backend, result, count, short(b.Took.Std()))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, b := range r.Backends {
		if b.Said != "" && b.Kind != "" {
			fmt.Fprintf(out, "%s: %s\n", b.Backend, b.Said)
		}
	}
	fmt.Fprintln(out)
	if err := printDrifts(out, r.Models); err != nil {
		return err
	}
	for _, d := range r.Defaults {
		if d.Problem != "" {
			fmt.Fprintf(out, "\ndefaults.%s: %s: %s; %s", d.Kind, d.Named, d.Problem, instead(d))
		}
	}
	fmt.Fprintln(out)
	return nil
}

func instead(d fleet.DefaultModel) string {
	if d.Model == "" {
		return "no declared model can"
	}
	return d.Model + " could"
}

func printDrifts(out io.Writer, drifts []fleet.ModelDrift) error {
	t := newTable(out, "MODEL", "BACKEND", "NAME", "DRIFT", "CONTEXT", "CAN", "LISTED")
	for _, d := range drifts {
		window := "-"
		if d.Window > 0 {
			window = fmt.Sprint(d.Window)
		}
		drift := orDash(string(d.Drift))
		if len(d.Mismatch) > 0 {
			drift += fmt.Sprintf(" (%s)", joinWords(d.Mismatch))
		}
		t.row(d.ID, d.Backend, d.Name, drift, window, orDash(canText(d.Capabilities)), ago(d.Listed))
	}
	return t.flush()
}

// canText lists what a model can do, and behind a minus what it cannot.
func canText(c fleet.Capabilities) string {
	var can, not []string
	for _, what := range slices.Sorted(maps.Keys(c)) {
		if c[what] {
			can = append(can, string(what))
		} else {
			not = append(not, "-"+string(what))
		}
	}
	return strings.Join(append(can, not...), " ")
}

func joinWords[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return strings.Join(words, " ")
}
