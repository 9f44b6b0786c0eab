package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/producer"
)

// watchEvery is how often a person who follows is told of states.
const watchEvery = 500 * time.Millisecond

// watch tells of an operation's way while somebody follows it: its states until
// there is text, its takeovers always. It ends with ctx.
func watch(ctx context.Context, client *producer.Client, id lm.TraceID, to *transcript) {
	w := &journey{seen: make(map[string]bool)}
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	for {
		if trace, err := client.Status(ctx, id); err == nil {
			for _, line := range w.news(trace, !to.begun()) {
				to.note(line)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// journey is what has been told of an operation's history.
type journey struct {
	seen   map[string]bool
	worker string // of the last claim
	claims int
	why    string // the last claim ended
}

// news are lines for the hops that are new: all of them, or the takeovers alone.
func (j *journey) news(t lm.Trace, all bool) (lines []string) {
	for _, hop := range t.History {
		key := fmt.Sprintf("%d %v %d", hop.At.UnixMilli(), hop.Path, hop.Epoch)
		if j.seen[key] {
			continue
		}
		j.seen[key] = true
		line := j.step(hop)
		if line == "" && all {
			line = hopText(hop)
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// step follows one hop and returns a line for one that takes the work on.
func (j *journey) step(hop lm.Hop) (line string) {
	last := hop.Path[len(hop.Path)-1]
	switch {
	case hop.Worker != "":
		j.claims++
		name := workerName(hop.Worker)
		if j.worker != "" && j.why != "" {
			line = fmt.Sprintf("%s; %s continues (claim %d)", j.why, name, j.claims)
		}
		j.worker, j.why = name, ""
	case j.worker == "":
	case last == lm.Reclaimed && (hop.Reason == "drain" || hop.Reason == "contact"):
		j.why = j.worker + " hands over"
	case last == lm.Reclaimed:
		j.why = j.worker + " died"
	case last == lm.Retrying:
		j.why = "it is tried again (" + hop.Reason + ")"
	}
	return line
}

// workerName is a consumer's name without the part that is new at every start.
func workerName(owner string) string {
	if i := strings.LastIndexByte(owner, '-'); i > 0 {
		return owner[:i]
	}
	return owner
}
