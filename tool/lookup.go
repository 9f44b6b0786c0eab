package tool

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/lighterman/lighterman"
)

type lookupArguments struct {
	Query string `json:"query" jsonschema:"description=what to look up"`
}

// Lookup is the tool of demos and tests, named lookup: it takes a query and
// answers at once with a text that depends on the query alone. A hook is called
// with "start" before and "end" after each call that has good arguments; nil:
// none. (*sim.Log).Tool is such a hook.
func Lookup(hook func(event string, call lighterman.ToolCall)) (lighterman.Tool, Handler) {
	if hook == nil {
		hook = func(string, lighterman.ToolCall) {}
	}
	return Func("lookup", "Looks a query up in the pilot book.",
		func(_ context.Context, call lighterman.ToolCall, in lookupArguments) (string, error) {
			hook("start", call)
			defer hook("end", call)
			return LookupText(in.Query), nil
		})
}

// LookupText is what Lookup answers to a query, for tests that expect it.
func LookupText(query string) string {
	h := fnv.New32a()
	h.Write([]byte(query))
	return fmt.Sprintf("%q is on page %d of the pilot book", query, 1+h.Sum32()%900)
}
