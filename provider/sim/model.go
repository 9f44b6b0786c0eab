package sim

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lighterman/lighterman"
)

// The models that every Sim has.
const (
	Plain   = "sim"
	Slow    = "sim-slow"
	Tools   = "sim-tools"
	Flaky   = "sim-flaky"
	Limited = "sim-limited"
	Embed   = "sim-embed"
)

// toolRounds is how often sim-tools asks for a tool before it answers.
const toolRounds = 3

// Models lists the names that Call knows: the built-in ones, then those that
// only a script names, sorted.
func (s *Sim) Models() []string {
	builtin := []string{Plain, Slow, Tools, Flaky, Limited, Embed}
	more := slices.DeleteFunc(s.scripts.models(), func(m string) bool { return slices.Contains(builtin, m) })
	slices.Sort(more)
	return append(builtin, more...)
}

// reply decides what a model says to a request: the next of its script, else
// what the model is made to say. Chat and prompt models refuse embed calls and
// sim-embed refuses all others; a model that only a script names takes any.
func (s *Sim) reply(name string, c *lighterman.Call, r *request) (Reply, error) {
	is := base(name)
	known := builtin(is) || s.scripts.knows(name)
	switch {
	case !known:
		return Reply{}, lighterman.Errorf(lighterman.ModelNotFound, "HTTP 404: no model %q", clip(name, maxEcho))
	case builtin(is) && (is == Embed) != (r.kind == embed):
		return Reply{}, lighterman.Errorf(lighterman.InvalidRequest, "HTTP 400: model %s takes no %s calls", name, r.kind)
	}
	if reply, ok := s.scripts.next(name); ok {
		return reply, nil
	}
	switch is {
	case Slow:
		return Reply{Text: longText(r.question()), Over: s.slowFor}, nil
	case Tools:
		return toolReply(r), nil
	case Flaky:
		if fails(c.Key, max(c.Attempt, 1)+c.Try) {
			return Reply{Err: lighterman.Errorf(lighterman.ProviderFailed, "HTTP 500: the server had an error (simulated)")}, nil
		}
	case Limited:
		if wait := s.limits.of(name).take(time.Now()); wait > 0 {
			return Reply{Err: &lighterman.Error{Kind: lighterman.RateLimited, RetryAfter: wait, Err: errLimited}}, nil
		}
	}
	if r.kind == embed {
		return Reply{}, nil
	}
	return Reply{Text: shortText(r.question())}, nil
}

var errLimited = errors.New("HTTP 429: too many requests (simulated)")

func builtin(name string) bool {
	switch name {
	case Plain, Slow, Tools, Flaky, Limited, Embed:
		return true
	}
	return false
}

// fails decides for sim-flaky by a hash of the call's key and attempt: 3 in 10
// of all first, second and third attempts fail, whichever process asks, and
// from the fourth on none does; a try within an attempt counts as one more. So a
// call repeated as the same try of the same attempt fails again, the next one
// draws anew, and an operation with the default five attempts always ends well.
func fails(key string, attempt int) bool {
	attempt = max(attempt, 1)
	return attempt <= 3 && mix(hash(key)+uint64(attempt)*0x9e3779b97f4a7c15)%10 < 3
}

// toolReply is sim-tools: which round it is in is read off the conversation,
// so that another process goes on where this one died. It takes the declared
// tools in turn, and a tool named lookup where none is declared.
func toolReply(r *request) Reply {
	question := clip(r.question(), maxEcho)
	if r.kind != chat || r.rounds >= toolRounds {
		results := make([]string, len(r.results))
		for i, v := range r.results {
			results[i] = clip(v.content(), maxResult)
		}
		return Reply{Text: resultText(question, results)}
	}
	tool := "lookup"
	if n := len(r.tools); n > 0 {
		tool = r.tools[r.rounds%n].text()
	}
	var args strings.Builder
	args.WriteString(`{"query":`)
	args.Write(appendString(nil, question+" ("+strconv.Itoa(r.rounds+1)+" of "+strconv.Itoa(toolRounds)+")"))
	args.WriteByte('}')
	return Reply{ToolCalls: []lighterman.ToolCall{{Name: tool, Arguments: []byte(args.String())}}}
}
