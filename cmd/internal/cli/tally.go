package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

// tally counts letters by what became of them, in the order of first mention.
type tally struct {
	names  []string
	counts map[string]int
}

func newTally(first ...string) *tally {
	t := &tally{counts: make(map[string]int)}
	for _, name := range first {
		t.add(name, 0)
	}
	return t
}

func (t *tally) add(name string, n int) {
	if _, known := t.counts[name]; !known {
		t.names = append(t.names, name)
	}
	t.counts[name] += n
}

// print writes a table or JSON, whose names are the table's with underscores.
func (t *tally) print(cmd *cobra.Command, how, column string) error {
	out := cmd.OutOrStdout()
	if how == "json" {
		counts := make(map[string]int)
		for name, n := range t.counts {
			counts[strings.ReplaceAll(name, " ", "_")] = n
		}
		return printJSON(out, counts)
	}
	tab := newTable(out, column, "LETTERS")
	for _, name := range t.names {
		tab.row(name, t.counts[name])
	}
	return tab.flush()
}

// complaints says the first few errors of many.
type complaints struct {
	cmd  *cobra.Command
	n    int
	said int
	lost bool // contact with Redis is; the last error says how
	last error
}

func newComplaints(cmd *cobra.Command) *complaints { return &complaints{cmd: cmd} }

// fewErrors is how many are said one by one.
const fewErrors = 5

// say notes an error, and reports whether it is one: Ctrl-C is said at the end.
func (c *complaints) say(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	c.n++
	c.last = err
	c.lost = c.lost || lua.IsPassing(err)
	if c.said < fewErrors && !c.lost {
		c.said++
		fmt.Fprintf(stderr, "%s: %v\n", c.cmd.Name(), err)
	}
	return true
}

// err is what the command ends with.
func (c *complaints) err(ctx context.Context, what string) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case c.lost:
		return c.last
	case c.n > 0:
		return exit(exitFailed, fmt.Errorf("%d %s", c.n, what))
	default:
		return nil
	}
}
