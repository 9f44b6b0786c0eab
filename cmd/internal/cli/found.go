package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/worker"
)

// withFound is a configuration with the backends that the fleet's workers found by
// themselves (worker.Detect), as far as one was looked at, so that commands in a
// terminal without their keys show them too. One that declares anything, or forbids
// it, stays as it is.
func withFound(ctx context.Context, s *lua.Store, cfg *config.Config) (*config.Config, error) {
	if !cfg.Fleet.Detect || len(cfg.Backends) > 0 || len(cfg.Models) > 0 || len(cfg.Pools) > 0 {
		return cfg, nil
	}
	records, _, err := s.Observations(ctx)
	if err != nil {
		return nil, err
	}
	found := *cfg
	for _, id := range worker.Detectable() {
		if slices.ContainsFunc(records, func(o lua.Observation) bool { return o.Name.Backend == id }) {
			found.Backends = append(found.Backends, config.Backend{ID: id, Provider: id})
		}
	}
	found.Fleet.AutoDiscover = cfg.Fleet.AutoDiscover || len(found.Backends) > 0
	return &found, nil
}

// printFailing says which backends could not be listed, those without a declared
// model too.
func printFailing(out io.Writer, providers []fleet.ProviderState) {
	for _, p := range providers {
		if p.Failing != "" {
			fmt.Fprintf(out, "\nbackend %s: not listed for %s: %s; the worker's log and, where its key is, `lighterman reconcile` say why", p.ID, ago(p.FailingSince), p.Failing)
		}
	}
	if slices.ContainsFunc(providers, func(p fleet.ProviderState) bool { return p.Failing != "" }) {
		fmt.Fprintln(out)
	}
}

// replies keeps what backends said when they could not be listed; the fleet's
// records have only its kind.
type replies struct {
	mu   sync.Mutex
	said map[string]string
}

// asked is a lister whose errors are kept.
type asked struct {
	fleet.Lister
	backend string
	replies *replies
}

// List satisfies fleet.Lister.
func (a asked) List(ctx context.Context) ([]lm.Offering, error) {
	list, err := a.Lister.List(ctx)
	if err != nil {
		a.replies.keep(a.backend, err)
	}
	return list, err
}

func (a *replies) keep(backend string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var e *lm.Error
	if errors.As(err, &e) && e.Err != nil {
		err = e.Err // without its kind, which stands before it
	}
	a.said[backend] = err.Error()
}

// of is what a backend said; empty: nothing.
func (a *replies) of(backend string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.said[backend]
}

// listenTo has listers keep their errors in a.
func (a *replies) listenTo(listers map[string]fleet.Lister) {
	a.said = make(map[string]string)
	for id, l := range listers {
		listers[id] = asked{Lister: l, backend: id, replies: a}
	}
}
