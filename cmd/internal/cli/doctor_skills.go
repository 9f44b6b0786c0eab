package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// lack is what workers lack that others of the same queue have.
type lack struct {
	workers       []string // that lack the same
	models, kinds []string // models and pools; kinds of requests
}

// String is "w2, w3 (models big, small; kinds summarise)".
func (l lack) String() string {
	var words []string
	if len(l.models) > 0 {
		words = append(words, "models "+someOf(l.models))
	}
	if len(l.kinds) > 0 {
		words = append(words, "kinds "+someOf(l.kinds))
	}
	return someOf(l.workers) + " (" + strings.Join(words, "; ") + ")"
}

// someOf lists up to five names, and how many more there are.
func someOf(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// gapsOf finds the ready workers that lack what another one of the same queue can run.
// Workers of a version that does not tell are left out, and models where a list cannot
// be read.
func gapsOf(workers []lua.WorkerRecord, catalogs map[string][]string, now time.Time) []lack {
	var live []lua.WorkerRecord
	models, kinds := make(map[string]map[string]bool), make(map[string]map[string]bool) // by queue
	for _, w := range workers {
		if workerState(w, now) != "ready" || len(w.Kinds) == 0 {
			continue
		}
		live = append(live, w)
		for _, queue := range queuesOf(w) {
			addAll(models, queue, catalogs[w.Catalog])
			addAll(kinds, queue, w.Kinds)
		}
	}
	var gaps []lack
	at := make(map[string]int) // by what is lacking
	for _, w := range live {
		g := lack{kinds: lacking(kinds, queuesOf(w), w.Kinds)}
		if list, read := catalogs[w.Catalog]; read || w.Catalog == "" {
			g.models = lacking(models, queuesOf(w), list)
		}
		if len(g.models)+len(g.kinds) == 0 {
			continue
		}
		same := strings.Join(g.models, "\n") + "\n\n" + strings.Join(g.kinds, "\n")
		i, had := at[same]
		if !had {
			i = len(gaps)
			at[same], gaps = i, append(gaps, g)
		}
		gaps[i].workers = append(gaps[i].workers, w.Owner)
	}
	return gaps
}

func addAll(sets map[string]map[string]bool, queue string, names []string) {
	if sets[queue] == nil {
		sets[queue] = make(map[string]bool)
	}
	for _, name := range names {
		sets[queue][name] = true
	}
}

// lacking are the names that somebody of the queues has and that are not in a list.
func lacking(sets map[string]map[string]bool, queues, have []string) []string {
	all := make(map[string]bool)
	for _, q := range queues {
		maps.Copy(all, sets[q])
	}
	for _, name := range have {
		delete(all, name)
	}
	return slices.Sorted(maps.Keys(all))
}

// readGaps is gapsOf for a roster.
func readGaps(ctx context.Context, s *lua.Store, workers []lua.WorkerRecord, now time.Time) ([]lack, error) {
	var digests []string
	for _, w := range workers {
		digests = append(digests, w.Catalog)
	}
	catalogs, err := s.Catalogs(ctx, digests)
	if err != nil {
		return nil, err
	}
	return gapsOf(workers, catalogs, now), nil
}

// skills checks that the workers of a queue can run the same.
func (d *doctor) skills(ctx context.Context, workers []lua.WorkerRecord, now time.Time) {
	const code, check = "LM025", "skills"
	gaps, err := readGaps(ctx, d.s, workers, now)
	switch {
	case err != nil:
		d.unknown(code, check, err)
	case len(gaps) > 0:
		d.say(code, check, sevWarning, "workers lack what others of their queue can run: "+joinGaps(gaps),
			"give all workers of a queue the same configuration, handlers and backends, or what only some can run a queue of its own; until then it waits for those. "+
				"A model server that started after its worker is known after the next listing: lighterman reconcile")
	default:
		d.say(code, check, sevOK, "the workers of each queue can run the same", "")
	}
}

func joinGaps(gaps []lack) string {
	words := make([]string, len(gaps))
	for i, g := range gaps {
		words[i] = g.String()
	}
	return strings.Join(words, "; ")
}
