package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
)

// listed is what one backend said. What its error's text is, is nobody's to keep:
// it is the provider's, and may hold anything.
type listed struct {
	backend   string
	offerings []lm.Offering
	kind      lm.Kind // empty: offerings is what it has
	took      time.Duration
}

// askers lists backends, each in a goroutine of its own. One that does not end with
// its context is not asked again until it has.
type askers struct {
	listers map[string]Lister
	timeout time.Duration
	probe   bool // first those that can be probed

	mu   sync.Mutex
	busy map[string]bool
	all  sync.WaitGroup
}

// laggard is how much longer than its timeout a lister may take to end by it.
const laggard = 0.04

// ask lists backends at the same time and hands each answer to each as it comes:
// the slowest ends at the timeout and a little more. An error of each ends it. It
// has not waited for a lister that does not end with its context.
func (a *askers) ask(ctx context.Context, backends []string, each func(listed) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan listed, len(backends))
	open := make(map[string]bool, len(backends))
	for _, b := range backends {
		open[b] = true
		if !a.begin(b) {
			answers <- listed{backend: b, kind: lm.TimedOut}
			continue
		}
		a.all.Go(func() {
			got := a.one(ctx, b)
			a.end(b) // before anybody knows the answer, and asks again
			answers <- got
		})
	}
	late := time.NewTimer(a.timeout + time.Duration(float64(a.timeout)*laggard))
	defer late.Stop()
	for len(open) > 0 {
		select {
		case got := <-answers:
			delete(open, got.backend)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := each(got); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			for b := range open {
				if err := each(listed{backend: b, kind: lm.TimedOut, took: a.timeout}); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return nil
}

// wait waits for the listers, but not for one that does not end with its context.
func (a *askers) wait() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.all.Wait()
	}()
	timer := time.NewTimer(a.timeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

func (a *askers) begin(backend string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy[backend] {
		return false
	}
	if a.busy == nil {
		a.busy = make(map[string]bool)
	}
	a.busy[backend] = true
	return true
}

func (a *askers) end(backend string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.busy, backend)
}

func (a *askers) one(ctx context.Context, backend string) listed {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	offerings, err := a.list(ctx, backend)
	got := listed{backend: backend, offerings: offerings, took: time.Since(began)}
	if err != nil {
		got.offerings, got.kind = nil, failureOf(ctx, err)
	}
	return got
}

// list asks one lister; a panic in it is that backend's failure.
func (a *askers) list(ctx context.Context, backend string) (offerings []lm.Offering, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = lm.Errorf(lm.ProviderFailed, "the lister of %s panicked", backend)
		}
	}()
	l := a.listers[backend]
	if p, ok := l.(Prober); ok && a.probe {
		if err := p.Probe(ctx); err != nil {
			return nil, fmt.Errorf("probe: %w", err)
		}
	}
	return l.List(ctx)
}

// failureOf is the kind of a listing's error. One without a kind is the provider's.
func failureOf(ctx context.Context, err error) lm.Kind {
	kind := lm.KindOf(err)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && (kind == lm.HandlerFailed || kind == lm.CallCancelled), errors.Is(err, context.DeadlineExceeded):
		return lm.TimedOut
	case kind == lm.HandlerFailed:
		return lm.ProviderFailed
	default:
		return kind
	}
}

// encode is a list as it is kept, with its etag.
func encode(list []offered) ([]byte, string, error) {
	text, err := json.Marshal(list)
	if err != nil {
		return nil, "", fmt.Errorf("encode a model list: %w", err)
	}
	return text, etagOf(text), nil
}

func etagOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
