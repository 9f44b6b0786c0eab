package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lighterman/lighterman/fleet"
)

// backends checks what the backends were last seen to say. Nobody is asked: the
// workers do that.
func (d *doctor) backends(ctx context.Context) {
	m, err := fleetOf(ctx, d.s, d.cfg)
	if err != nil {
		d.unknown("LM022", "backends", err)
		return
	}
	state, err := m.System(ctx)
	if err != nil {
		d.unknown("LM022", "backends", err)
		return
	}
	looked, failing := 0, []string{}
	for _, p := range state.Providers {
		if !p.LastProbe.IsZero() {
			looked++
		}
		if p.Failing != "" {
			failing = append(failing, fmt.Sprintf("%s: %s for %s", p.ID, p.Failing, ago(p.FailingSince)))
		}
	}
	switch {
	case len(failing) > 0:
		d.say("LM022", "backends", sevWarning, "not listed: "+strings.Join(failing, "; "), "unauthorized: its credential; else its address and whether it runs; then lighterman reconcile")
	default:
		d.say("LM022", "backends", sevOK, fmt.Sprintf("%d were looked at, none fails", looked), "")
	}
	d.models(m.Snapshot(), m)
	d.setAside(state)
}

// setAside tells the models that take no calls, or not all, for a reason that
// nobody has ordered or declared.
func (d *doctor) setAside(state fleet.SystemState) {
	var aside []string
	for _, m := range state.Models {
		if m.Reason != "" && m.Scope != fleet.AsideOperator && m.Reason != fleet.ReasonMissing && !passing(m, state.At) { // LM023 tells those
			aside = append(aside, m.ID+": "+reasonText(m, state.At))
		}
	}
	if len(aside) == 0 {
		d.say("LM024", "set aside", sevOK, "no model", "")
		return
	}
	d.say("LM024", "set aside", sevWarning, strings.Join(aside, "; "),
		"unauthorized: the credential, or what it may use; else it ends by itself; lighterman models reset MODEL ends it now, but for budgets")
}

// passing reports whether a limit is what holds, and gives way within a minute by itself:
// a busy model is no finding.
func passing(m fleet.ModelView, now time.Time) bool {
	return m.LimitedBy != "" && m.LimitedBy == m.SetAside && m.Until.After(now) && m.Until.Sub(now) <= time.Minute
}

func (d *doctor) models(snap *fleet.Snapshot, m *fleet.Manager) {
	var missing, otherwise []string
	for _, x := range snap.Drifts(m.Now()) {
		switch x.Drift { //nolint:exhaustive // the rest is no finding, or its backend's
		case fleet.DriftMissing:
			missing = append(missing, fmt.Sprintf("%s (%s on %s)", x.ID, x.Name, x.Backend))
		case fleet.DriftCapability:
			otherwise = append(otherwise, fmt.Sprintf("%s (%s)", x.ID, joinWords(x.Mismatch)))
		}
	}
	switch {
	case len(missing) > 0:
		d.say("LM023", "models", sevError, "their backends do not have: "+strings.Join(missing, ", "), "the names in models: lighterman models --observed says what there is")
	case len(otherwise) > 0:
		d.say("LM023", "models", sevInfo, "declared to do otherwise than their APIs tell: "+strings.Join(otherwise, ", "), "capabilities in models: the declaration wins")
	default:
		d.say("LM023", "models", sevOK, "none is missing, as far as anybody has looked", "")
	}
}
