package lua

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Admission is one call that wants to begin.
type Admission struct {
	Model, Backend string
	Owner, Key     string
	Lease          time.Duration
	Tokens         int64
	CostNano       int64

	RPM, TPM, Concurrent int
	BudgetNano           int64
	BudgetPeriod         string
	Quota                int64
	QuotaPeriod          string
	Credential           string
	Window               time.Duration // of RPM and TPM: a minute but in tests
}

// Admitted is the answer to an Admission.
type Admitted struct {
	OK          bool
	Reason      string // why not
	Until       time.Time
	Reservation string
	Probe       bool
	Epoch       int64
	Version     uint64
	Now         time.Time
}

// CallToken identifies a call of an owner: what its probe is compared by.
func CallToken(owner, key string) string { return digest(owner, key) }

// ReservationToken is the call's token in a reservation.
func ReservationToken(reservation string) string {
	token, _, _ := strings.Cut(reservation, ":")
	return token
}

// Admit asks for one call; see admit.lua. Key must not be empty.
func (s *Store) Admit(ctx context.Context, a Admission) (Admitted, error) {
	c := call{
		script: admitScript,
		keys:   []string{s.keys.model(a.Model), s.keys.backend(a.Backend), s.keys.version(), s.keys.seen(a.Key), s.keys.holds(a.Model), s.keys.notices()},
		args: []any{CallToken(a.Owner, a.Key), a.Owner, a.Lease.Milliseconds(), a.Tokens, a.CostNano, a.RPM, a.TPM, a.Concurrent,
			a.BudgetNano, a.BudgetPeriod, a.Quota, a.QuotaPeriod, a.Credential, modelKept.Milliseconds(), a.Window.Milliseconds(), s.publish()},
	}
	var got Admitted
	err := again(ctx, hotPatience, func() error {
		v, err := s.run(ctx, c)
		if err != nil {
			return err
		}
		got, err = admittedOf(v)
		return err
	})
	return got, err
}

func admittedOf(v any) (Admitted, error) {
	items, err := list(v, -1)
	if err != nil || len(items) < 5 {
		return Admitted{}, fmt.Errorf("admit answered %v: %w", v, err)
	}
	a := Admitted{Now: atMS(number(items[1])), Version: uint64(number(items[2])), Until: atMS(number(items[4]))}
	if text(items[0]) != "OK" {
		a.Reason = text(items[3])
		return a, nil
	}
	if len(items) != 7 {
		return Admitted{}, fmt.Errorf("admit answered %d items", len(items))
	}
	a.OK, a.Reservation, a.Probe, a.Epoch = true, text(items[3]), number(items[5]) == 1, number(items[6])
	return a, nil
}
