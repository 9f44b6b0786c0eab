package worker

import (
	"bytes"
	"context"
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
	"github.com/rs/zerolog"
)

// probed is a shelf that can be probed too.
type probed struct {
	shelf
	probe error
}

func (p *probed) Probe(context.Context) error { return p.probe }

// TestHear_ABackendThatFailsIsToldOnce: with the reason and what it said, and once
// more when it is listed again; a worker that ends says nothing.
func TestHear_ABackendThatFailsIsToldOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	ctx := context.Background()
	plain, one := &shelf{names: "a"}, &probed{}
	all := hear(map[string]fleet.Lister{"plain": plain, "one": one}, zerolog.New(&log))
	if _, can := all["plain"].(fleet.Prober); can {
		t.Error("a lister that cannot be probed says it can")
	}
	said := func() string {
		text := log.String()
		log.Reset()
		return text
	}
	list := func(id string) { _, _ = all[id].List(ctx) }
	if list("plain"); said() != "" {
		t.Error("a good listing is told")
	}
	plain.err = lm.Errorf(lm.ProviderFailed, "connection refused")
	list("plain")
	list("plain")
	if got := said(); strings.Count(got, "backend not listed") != 1 || !containsEach(got, `"level":"warn"`, `"backend":"plain"`, `"reason":"provider"`, "connection refused") {
		t.Errorf("failing twice: %s", got)
	}
	plain.err = lm.Errorf(lm.Unauthorized, "wrong key")
	list("plain")
	if got := said(); !containsEach(got, `"reason":"unauthorized"`, "wrong key") {
		t.Errorf("failing otherwise: %s", got)
	}
	plain.err = lm.Errorf(lm.CallCancelled, "the worker ends")
	if list("plain"); said() != "" {
		t.Error("an end of ours is told")
	}
	plain.err = nil
	if list("plain"); !strings.Contains(said(), "backend listed again") {
		t.Error("listed again, and not told")
	}
	one.probe = lm.Errorf(lm.Unauthorized, "wrong key")
	if err := all["one"].(fleet.Prober).Probe(ctx); err == nil || !strings.Contains(said(), `"backend":"one"`) {
		t.Errorf("a failed probe: %v", err)
	}
	one.probe = nil
	if err := all["one"].(fleet.Prober).Probe(ctx); err != nil || said() != "" {
		t.Errorf("a good probe: %v", err)
	}
}

func containsEach(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}
