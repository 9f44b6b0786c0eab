package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	lm "github.com/lighterman/lighterman"
)

// event is one line of an operation's way.
type event struct {
	at   time.Time
	text string
}

// timeline is an operation's way: its hops, rounds of tools in one line, and why its
// tries ended.
func timeline(t lm.Trace) []event {
	var events []event
	for i := 0; i < len(t.History); {
		n := rounds(t.History[i:])
		if n < 2 {
			events = append(events, event{t.History[i].At, hopText(t.History[i])})
			i++
			continue
		}
		events = append(events, event{t.History[i].At, roundsText(t.History[i : i+n])})
		i += n
	}
	for _, note := range t.Notes {
		events = append(events, event{note.At, noteText(note)})
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	return events
}

// rounds is how many hops at the beginning go to and fro between the model and tools.
func rounds(history []lm.Hop) int {
	n := 0
	for n < len(history) && len(history[n].Path) == 1 && (history[n].Path[0] == lm.Inferring || history[n].Path[0] == lm.ToolExecuting) {
		n++
	}
	return n
}

func roundsText(hops []lm.Hop) string {
	tools := 0
	for _, h := range hops {
		if h.Path[0] == lm.ToolExecuting {
			tools++
		}
	}
	return fmt.Sprintf("TOOL_EXECUTING, INFERRING: %d rounds of tools  in %s", tools, short(hops[len(hops)-1].At.Sub(hops[0].At)))
}

func noteText(n lm.Note) string {
	if !n.Counted {
		return "set aside: " + n.Text
	}
	return fmt.Sprintf("attempt %d: %s", n.Attempt, n.Text)
}

func printTimeline(out io.Writer, t lm.Trace) {
	for _, e := range timeline(t) {
		fmt.Fprintf(out, "  %s  %s\n", paint(os.Stdout, dim, after(e.at.Sub(t.Created))), e.text)
	}
}

// dueText says when an operation that waits for a time comes back.
func dueText(due, now time.Time) string {
	at := due.Local().Format(time.DateTime)
	if !due.After(now) {
		return "due since " + at + "; the next tick of a worker makes it ready"
	}
	return "due in " + short(due.Sub(now)) + ", at " + at
}
