package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// event is one line of an operation's way.
type event struct {
	at   time.Time
	text string
}

// timeline is an operation's way: its hops, rounds of tools in one line, its steps and
// tool calls, and why its tries ended.
func timeline(t lm.Trace) []event {
	var events []event
	for i := 0; i < len(t.History); {
		n := rounds(t.History[i:])
		if n < 2 {
			events = append(events, event{t.History[i].At, hopText(t.History[i])})
			i++
			continue
		}
		events = append(events, event{t.History[i].At, roundsText(t.History[i:i+n], t.Steps)})
		i += n
	}
	for _, step := range t.Steps {
		events = append(events, event{step.At, stepText(step)})
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

// roundsText names the tools that were called in them, as far as their lines are kept.
func roundsText(hops []lm.Hop, steps []lm.StepLine) string {
	from, to := hops[0].At, hops[len(hops)-1].At
	rounds := 0
	for _, h := range hops {
		if h.Path[0] == lm.ToolExecuting {
			rounds++
		}
	}
	var names []string
	for _, s := range steps {
		if s.Kind == lm.ToolStep && !s.At.Before(from) && !s.At.After(to) && !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	text := fmt.Sprintf("TOOL_EXECUTING, INFERRING: %d rounds of tools", rounds)
	if len(names) > 0 {
		text += " (" + oneLine(strings.Join(names, ", "), 60) + ")"
	}
	return text + "  in " + short(to.Sub(from))
}

// stepText is "tool open_ticket  ok  in 12ms"; that a step or call went well is not said.
func stepText(s lm.StepLine) string {
	text := "  " + string(s.Kind) + " " + s.Name
	switch {
	case s.Outcome != lm.StepOK:
		text += "  " + paint(os.Stdout, red, string(s.Outcome))
	case s.Kind == lm.ToolStep:
		text += "  " + string(s.Outcome)
	}
	return text + "  in " + short(s.Took.Std())
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
