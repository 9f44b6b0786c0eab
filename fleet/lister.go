package fleet

import (
	"context"

	lm "github.com/lighterman/lighterman"
)

// Lister says which models a backend has. Its errors are of lighterman's kinds; it
// ends with its context. It may be called concurrently.
type Lister interface {
	List(ctx context.Context) ([]lm.Offering, error)
}

// Prober is a Lister that can say more cheaply whether its backend answers and
// takes the credential; a worker that probes at its start asks it first.
type Prober interface {
	Probe(ctx context.Context) error
}
