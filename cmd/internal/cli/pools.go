package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/router"
	"github.com/lighterman/lighterman/worker"
	"github.com/spf13/cobra"
)

// poolsCommand shows pools and explains their choices.
func poolsCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{Use: "pools", Short: "The pools, and how their members do", Args: noArgs}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	cmd.AddCommand(explainCommand(), simulateCommand())
	return overseeing(cmd, func(_ context.Context, v *view, _ []string) error {
		how, err := validFormat(output, "table", "json")
		if err != nil {
			return err
		}
		pools := listPools(v)
		if how == "json" {
			return printJSON(cmd.OutOrStdout(), pools)
		}
		return printPools(cmd, pools)
	})
}

// view is what a command about pools looks at: the fleet's state where Redis
// answers, else what the configuration declares.
type view struct {
	snap    *fleet.Snapshot
	manager *fleet.Manager // nil without Redis
	now     time.Time
}

// overseeing is a command that reads the fleet's state, and does without it where
// there is no Redis.
func overseeing(cmd *cobra.Command, run func(ctx context.Context, v *view, args []string) error) *cobra.Command {
	flags := worker.AddCommonFlags(cmd.Flags(), "redis")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		cfg, err := flags.Load()
		if err != nil {
			return err
		}
		ctx, cancel := interruptible()
		defer cancel()
		store, err := openStore(ctx, cfg)
		if err == nil {
			defer store.Close() //nolint:errcheck // nothing was written
		}
		v, err := lookAt(ctx, cmd, store, err, cfg)
		if err != nil {
			return err
		}
		return interrupted(ctx, run(ctx, v, args))
	}
	return cmd
}

func lookAt(ctx context.Context, cmd *cobra.Command, s *lua.Store, err error, cfg *config.Config) (*view, error) {
	var m *fleet.Manager
	if err == nil {
		m, err = fleetOf(ctx, s, cfg)
	}
	switch {
	case err == nil:
		return &view{snap: m.Snapshot(), manager: m, now: m.Now()}, nil
	case ctx.Err() == nil && (errors.Is(err, lua.ErrRedis) || lua.IsPassing(err)):
		fmt.Fprintln(cmd.ErrOrStderr(), "Redis does not answer: this is what the configuration declares, with every model healthy")
		now := time.Now()
		return &view{snap: fleet.NewSnapshot(0, now, worker.FleetSpec(cfg), nil), now: now}, nil
	}
	return nil, err
}

// poolRow is a pool as it is listed.
type poolRow struct {
	ID            string        `json:"id"`
	Home          fleet.Home    `json:"home"`
	Scope         fleet.Scope   `json:"sticky_scope"`
	ContextWindow int           `json:"context_window,omitempty"`
	Members       []poolsMember `json:"members"`
}

type poolsMember struct {
	Member string        `json:"member"`
	Role   fleet.Role    `json:"role"`
	Weight int           `json:"weight"`
	Health router.Reason `json:"health"`
	Until  time.Time     `json:"until,omitzero"`
	BackBy fleet.Trigger `json:"recovered_by,omitempty"` // what made it active again
}

func listPools(v *view) []poolRow {
	rows := []poolRow{}
	for i := range v.snap.Pools {
		p := &v.snap.Pools[i]
		back := p.Recovered()
		row := poolRow{ID: p.Spec.ID, Home: p.Spec.Routing.Home, Scope: p.Spec.Routing.Scope, ContextWindow: router.Window(v.snap, p)}
		for j, m := range p.Spec.Members {
			health, until := router.ModelHealth(&v.snap.Models[p.Members[j]], v.now)
			row.Members = append(row.Members, poolsMember{m.Model, m.Role, m.Weight, health, until, back[m.Model]})
		}
		rows = append(rows, row)
	}
	return rows
}

func printPools(cmd *cobra.Command, pools []poolRow) error {
	out := cmd.OutOrStdout()
	if len(pools) == 0 {
		fmt.Fprintln(out, "no pool is declared; see pools: in the configuration")
		return nil
	}
	t := newTable(out, "POOL", "HOME", "SCOPE", "MEMBER", "ROLE", "WEIGHT", "HEALTH", "BACK BY")
	for _, p := range pools {
		for i, m := range p.Members {
			id, home, scope := p.ID, string(p.Home), string(p.Scope)
			if i > 0 {
				id, home, scope = "", "", ""
			}
			t.row(id, home, scope, m.Member, m.Role, m.Weight, healthText(m.Health, m.Until), orDash(string(m.BackBy)))
		}
	}
	return t.flush()
}

func healthText(r router.Reason, until time.Time) string {
	if until.IsZero() {
		return string(r)
	}
	return fmt.Sprintf("%s for %s", r, short(time.Until(until)))
}

func explainCommand() *cobra.Command {
	var output, key string
	var call lm.Call
	cmd := &cobra.Command{
		Use:   "explain POOL",
		Short: "Which member a call would go to, and why not to the others",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("want one pool; `lighterman pools` lists them")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "table", "table or json")
	f.StringVar(&key, "key", "", "the home key; default the agent, else the thread or run")
	f.StringVar(&call.Thread, "thread", "", "of this thread, with its session")
	f.StringVar(&call.Run, "run", "", "of this run, with its session")
	f.StringVar(&call.Agent, "agent", "", "of this agent")
	f.StringVar(&call.Tenant, "tenant", "", "of this tenant")
	return overseeing(cmd, func(ctx context.Context, v *view, args []string) error {
		how, err := validFormat(output, "table", "json")
		if err != nil {
			return err
		}
		e, session, err := explain(ctx, v, args[0], key, call)
		if err != nil {
			return err
		}
		if how == "json" {
			return printJSON(cmd.OutOrStdout(), e)
		}
		return printExplanation(cmd, e, session)
	})
}

// explain decides for a call as a worker would, from what is known now.
func explain(ctx context.Context, v *view, name, key string, call lm.Call) (router.Explanation, fleet.Session, error) {
	pool := v.snap.Find(name)
	if pool == nil {
		return router.Explanation{}, fleet.Session{}, usagef("%s: no such pool or model%s", name, nearPool(v.snap, name))
	}
	var session fleet.Session
	if k := router.SessionOf(pool, &call); k != "" && v.manager != nil {
		var err error
		if session, err = v.manager.Session(ctx, k); err != nil {
			return router.Explanation{}, session, err
		}
	}
	ask := &router.Ask{Key: key}
	if key == "" {
		ask.Key = router.HomeKey(pool, &call)
	}
	return router.Explain(v.snap, pool, ask, session, router.Tried{}, v.now), session, nil
}

func nearPool(snap *fleet.Snapshot, name string) string {
	var names []string
	for i := range snap.Pools {
		names = append(names, snap.Pools[i].Spec.ID)
	}
	if near := lm.DidYouMean(name, names); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}

func printExplanation(cmd *cobra.Command, e router.Explanation, session fleet.Session) error {
	out := cmd.OutOrStdout()
	if e.Err == "" {
		fmt.Fprintf(out, "%s  ->  %s  (%s)\n", e.Pool, e.Member, e.Reason)
	} else {
		fmt.Fprintf(out, "%s  ->  %s\n", e.Pool, healthText(router.Reason(e.Err), e.Until))
	}
	facts := []string{fmt.Sprintf("snapshot %d", e.Version), fmt.Sprintf("key %q", e.Key), "home " + orDash(e.Home)}
	if session.Exists {
		facts = append(facts, fmt.Sprintf("session on %s, %d switches, last used %s ago", session.Active, session.Switches, ago(session.IdleSince)))
	}
	fmt.Fprintf(out, "%s\n\n", strings.Join(facts, "   "))
	t := newTable(out, "MEMBER", "ROLE", "WEIGHT", "WHY")
	for _, m := range e.Members {
		why := healthText(m.Reason, m.Until)
		if m.Limited != "" {
			why = fmt.Sprintf("%s, if it fits: %s", m.Reason, healthText(router.Reason(m.Limited), m.Until))
		}
		if m.Probe {
			why += " (half-open: one probe)"
		}
		t.row(m.Member, m.Role, m.Weight, why)
	}
	return t.flush()
}
