package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/internal/embedded"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/worker"
	"github.com/spf13/cobra"
)

// severity is how bad a finding is.
type severity string

const (
	sevOK      severity = "ok"
	sevInfo    severity = "info"
	sevUnknown severity = "unknown" // the server does not let us look
	sevWarning severity = "warning"
	sevError   severity = "error"
)

// finding is what one check says.
type finding struct {
	Code     string   `json:"code"`
	Check    string   `json:"check"`
	Severity severity `json:"severity"`
	What     string   `json:"what"`
	Remedy   string   `json:"remedy,omitempty"`
	Fixable  bool     `json:"fixable,omitempty"` // by --fix
	Fixed    bool     `json:"fixed,omitempty"`
}

func doctorCommand() *cobra.Command {
	var output string
	var fix bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check Redis and the fleet, and say what to do about what is wrong",
		Long: "Check Redis and the fleet, and say what to do about what is wrong. Without --fix nothing is changed. " +
			"Exit 1 when a finding is an error that is not fixed.",
		Args: noArgs,
	}
	flags := worker.AddCommonFlags(cmd.Flags(), "redis")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	cmd.Flags().BoolVar(&fix, "fix", false, "do what is safe: repair orphans, forget dead consumers, take down orders and records of workers that are gone")
	cmd.RunE = func(*cobra.Command, []string) error {
		how, err := validFormat(output, "table", "json")
		if err != nil {
			return err
		}
		cfg, err := flags.Load()
		if err != nil {
			return err
		}
		ctx, cancel := interruptible()
		defer cancel()
		findings, err := examine(ctx, cfg, fix)
		if err != nil {
			return interrupted(ctx, err)
		}
		if how == "json" {
			err = printJSON(cmd.OutOrStdout(), findings)
		} else {
			err = printFindings(cmd, findings)
		}
		for _, f := range findings {
			if f.Severity == sevError && !f.Fixed && err == nil {
				return exit(exitFailed, nil)
			}
		}
		return err
	}
	return cmd
}

// examine makes all checks in the order of their codes. An error is one of the
// command line or the interruption; what is wrong with Redis is a finding.
func examine(ctx context.Context, cfg *config.Config, fix bool) ([]finding, error) {
	url := cfg.Redis.URL.Reveal()
	if url == "" {
		url = "redis://" + embedded.DefaultAddr
	}
	s, err := lua.Connect(url, worker.StoreOptions(cfg))
	if err != nil {
		return nil, err
	}
	defer s.Close() //nolint:errcheck // nothing is buffered
	d := &doctor{s: s, cfg: cfg, fix: fix}
	first, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	if d.nodes, err = s.Nodes(first); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return []finding{{Code: "LM001", Check: "reachable", Severity: sevError, What: cause(err),
			Remedy: "start Redis, or set redis.url or LIGHTERMAN_REDIS_URL; check the password"}}, nil
	}
	d.say("LM001", "reachable", sevOK, fmt.Sprintf("%d server(s)", len(d.nodes)), "")
	d.server()
	if d.partitions(ctx) { // else every key would be looked for where it is not
		d.fleet(ctx)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return d.findings, nil
}

// cause is the last error of a chain, which holds no address with a password.
func cause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// doctor collects findings.
type doctor struct {
	s        *lua.Store
	cfg      *config.Config
	fix      bool
	nodes    []lua.Node
	findings []finding
}

func (d *doctor) say(code, check string, s severity, what, remedy string) *finding {
	d.findings = append(d.findings, finding{Code: code, Check: check, Severity: s, What: what, Remedy: remedy})
	return &d.findings[len(d.findings)-1]
}

// unknown says that a check could not be made.
func (d *doctor) unknown(code, check string, err error) {
	d.say(code, check, sevUnknown, "cannot look: "+cause(err), "")
}

// fixable marks a finding as one that --fix mends, and with it whether it did.
func (f *finding) fixable(fixed bool) {
	f.Fixable, f.Fixed = true, fixed
	if !fixed && f.Remedy == "" {
		f.Remedy = "lighterman doctor --fix"
	}
}

func printFindings(cmd *cobra.Command, findings []finding) error {
	out := cmd.OutOrStdout()
	t := newTable(out, "CODE", "CHECK", "SEVERITY", "WHAT").fold()
	bad := 0
	for _, f := range findings {
		what := f.What
		if f.Fixed {
			what += " (fixed)"
		}
		if f.Severity == sevError && !f.Fixed {
			bad++
		}
		t.row(f.Code, f.Check, string(f.Severity), what)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, f := range findings {
		if f.Remedy != "" && !f.Fixed && f.Severity != sevOK {
			fmt.Fprintf(out, "\n%s", foldFor(out, f.Code+": "+f.Remedy))
		}
	}
	text := fmt.Sprintf("%d error(s)", bad)
	if bad > 0 {
		text = paint(os.Stdout, red, text)
	}
	fmt.Fprintf(out, "\n%s\n", strings.TrimSpace(text))
	return nil
}
