package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

// bulk is what dead retry and dead purge have in common: IDs or a filter, and a
// look before they act.
type bulk struct {
	deadFilter
	verb   string // as a person reads it
	output string
	all    bool
	yes    bool
	dryRun bool
	limit  int
}

func (b *bulk) flags(cmd *cobra.Command) {
	fs := cmd.Flags()
	b.add(fs)
	fs.StringVarP(&b.output, "output", "o", "table", "table or json")
	fs.BoolVar(&b.all, "all", false, "all dead letters")
	fs.BoolVarP(&b.yes, "yes", "y", false, "do not ask")
	fs.BoolVar(&b.dryRun, "dry-run", false, "only say what would be done")
	fs.IntVar(&b.limit, "limit", 0, "at most so many, the oldest first (default all)")
}

// checkArgs refuses what is no clear choice.
func (b *bulk) checkArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 0 && (b.all || b.narrow() || b.limit != 0):
		return usagef("give IDs, or --all or a filter, not both")
	case len(args) == 0 && !b.all && !b.narrow():
		return usagef("want IDs, --reason, --queue, --kind, --older-than, --newer-than, or --all")
	case b.all && b.narrow():
		return usagef("give --all or a filter, not both")
	case cmd.Flags().Changed("limit") && b.limit < 1:
		return usagef("--limit %d: want 1 or more", b.limit)
	}
	if _, err := validFormat(b.output, "table", "json"); err != nil {
		return err
	}
	return b.check(time.Now())
}

// goAhead asks a person, where there is one.
func (b *bulk) goAhead(n int) error {
	if b.yes || !canAsk() {
		return nil
	}
	fmt.Fprintf(stderr, "%s %d dead letters? [y/N] ", b.verb, n)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); err != nil && answer == "" || answer != "y" && answer != "yes" {
		return exit(exitUsage, errors.New("nothing was done"))
	}
	return nil
}

// canAsk reports whether a person sits at the terminal.
func canAsk() bool { return isTerminal(os.Stdin) && isTerminal(os.Stderr) }

// look prints what a dry run found.
func (b *bulk) look(cmd *cobra.Command, letters []picked) error {
	t := newTally()
	for _, l := range letters {
		t.add(l.reason, 1)
	}
	slices.Sort(t.names)
	return t.print(cmd, b.output, "REASON")
}

// chunks cuts letters into runs of one partition, at most so many each.
func chunks(letters []picked, most int) [][]picked {
	var cut [][]picked
	for len(letters) > 0 {
		n := 1
		for n < min(most, len(letters)) && letters[n].partition == letters[0].partition {
			n++
		}
		cut = append(cut, letters[:n])
		letters = letters[n:]
	}
	return cut
}

// inOneScript is how many letters one script takes.
const inOneScript = 100

// letters lists what the command is about; IDs without a letter are said, and
// fail the command when it has done the rest.
func (b *bulk) letters(ctx context.Context, cmd *cobra.Command, s *lua.Store, args []string) ([]picked, error) {
	if len(args) == 0 {
		return b.pick(ctx, s, b.limit)
	}
	ids, err := namedIDs(ctx, s, args, newestLetter)
	if err != nil {
		return nil, err
	}
	letters, missing, err := pickIDs(ctx, s, ids)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		var errs []error
		for _, id := range missing {
			errs = append(errs, fmt.Errorf("%s is no dead letter; dead ls lists them", id))
		}
		if len(letters) > 0 {
			errs = append(errs, errors.New("nothing was done"))
		}
		return nil, errors.Join(errs...)
	}
	return letters, nil
}
