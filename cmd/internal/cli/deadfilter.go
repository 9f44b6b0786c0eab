package cli

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/pflag"
)

// deadFilter is which dead letters a command is about. The zero value is all.
type deadFilter struct {
	reason, queue, kind string
	olderThan           string
	newerThan           string

	span lua.Span // of the ages, once checked
}

func (f *deadFilter) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.reason, "reason", "", "only those with this reason, as crash_limit")
	fs.StringVar(&f.queue, "queue", "", "only those of this queue")
	fs.StringVar(&f.kind, "kind", "", "only those of this kind")
	fs.StringVar(&f.olderThan, "older-than", "", "only those that failed longer ago, as 90m, 12h or 7d")
	fs.StringVar(&f.newerThan, "newer-than", "", "only those that failed less long ago")
}

// check reads the ages.
func (f *deadFilter) check(now time.Time) error {
	older, err1 := readAge("--older-than", f.olderThan)
	newer, err2 := readAge("--newer-than", f.newerThan)
	if err := errors.Join(err1, err2); err != nil {
		return exit(exitUsage, err)
	}
	if f.olderThan != "" {
		f.span.Until = now.Add(-older)
	}
	if f.newerThan != "" {
		f.span.Since = now.Add(-newer)
	}
	if f.olderThan != "" && f.newerThan != "" && newer <= older {
		return usagef("--older-than %s and --newer-than %s: nothing is both", f.olderThan, f.newerThan)
	}
	return nil
}

// readAge reads a duration, with days besides Go's units.
func readAge(flag, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d, nil
	}
	return 0, usagef("%s %q: want an age, as 90m, 12h or 7d", flag, clipText(text))
}

// narrow reports whether the filter leaves anything out.
func (f *deadFilter) narrow() bool {
	return f.reason != "" || f.queue != "" || f.kind != "" || f.olderThan != "" || f.newerThan != ""
}

func (f *deadFilter) keep(d *lua.DeadLetter) bool {
	return (f.reason == "" || d.Reason == f.reason) && (f.queue == "" || d.Queue == f.queue) && (f.kind == "" || d.Kind == f.kind)
}

// deadPage is how many dead letters are read at once; each may be as large as
// 64 KiB.
const deadPage = 500

// eachDead hands over a partition's dead letters that pass a filter, page by
// page, until take returns false.
func eachDead(ctx context.Context, s *lua.Store, partition int, f *deadFilter, newest bool, take func(lua.DeadLetter) bool) error {
	cursor := ""
	for {
		letters, next, err := s.DeadPage(ctx, partition, f.span, newest, cursor, deadPage)
		if err != nil {
			return err
		}
		for _, d := range letters {
			if f.keep(&d) && !take(d) {
				return nil
			}
		}
		if cursor = next; next == "" {
			return nil
		}
	}
}

// pick lists what a bulk command is about, oldest first, at most so many (0: all),
// as it is now: what fails while the command runs is not added. Only what the
// command needs is kept of each letter.
func (f *deadFilter) pick(ctx context.Context, s *lua.Store, limit int) ([]picked, error) {
	var all []picked
	for p := range s.Partitions() {
		found := 0
		err := eachDead(ctx, s, p, f, false, func(d lua.DeadLetter) bool {
			all = append(all, pickedOf(p, d))
			found++
			return limit == 0 || found < limit
		})
		if err != nil {
			return nil, err
		}
	}
	if limit > 0 && len(all) > limit {
		slices.SortStableFunc(all, func(a, b picked) int { return a.at.Compare(b.at) })
		all = all[:limit]
		slices.SortStableFunc(all, func(a, b picked) int { return cmp.Compare(a.partition, b.partition) })
	}
	return all, nil
}

// pickIDs lists the letters of some operations; those that have none are
// returned too.
func pickIDs(ctx context.Context, s *lua.Store, ids []lm.TraceID) (all []picked, missing []lm.TraceID, err error) {
	found := make(map[lm.TraceID]bool)
	for p := range s.Partitions() {
		if !slices.ContainsFunc(ids, func(id lm.TraceID) bool { return id.Partition() == p }) {
			continue
		}
		err := eachDead(ctx, s, p, &deadFilter{}, false, func(d lua.DeadLetter) bool {
			if slices.Contains(ids, d.ID) {
				found[d.ID] = true
				all = append(all, pickedOf(p, d))
			}
			return true
		})
		if err != nil {
			return nil, nil, err
		}
	}
	for _, id := range ids {
		if !found[id] {
			missing = append(missing, id)
		}
	}
	return all, missing, nil
}

// picked is one dead letter that a bulk command is about.
type picked struct {
	partition int
	id        lm.TraceID
	entry     string
	reason    string
	operation bool // it can be retried
	at        time.Time
}

func pickedOf(partition int, d lua.DeadLetter) picked {
	return picked{partition, d.ID, d.Entry, d.Reason, d.Operation(), d.At}
}
