package lighterman

import "strings"

// What an operation can wait for, by the beginning of its target. When a target can
// be had again, what waits for it comes back before its time.
const (
	WaitModel = "model/"   // a model or pool that cannot be called now
	WaitLimit = "limit/"   // a model or pool whose rate or concurrency is used up: who gives a place back brings one back, a rate frees itself
	WaitKind  = "kind/"    // a worker with a handler for the kind
	WaitKnown = "known/"   // a worker that knows the model or pool
	WaitReal  = "default/" // a worker with a model of its own for requests of a kind that name none
)

// WaitsFor splits what an operation waits for, as a trace names it, into its class,
// one of the constants above, and the name. A class of none is a handler's own word.
func WaitsFor(target string) (class, name string) {
	for _, class := range []string{WaitModel, WaitLimit, WaitKind, WaitKnown, WaitReal} {
		if name, ok := strings.CutPrefix(target, class); ok {
			return class, name
		}
	}
	return "", target
}
