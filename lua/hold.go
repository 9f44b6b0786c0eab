package lua

import (
	"context"
	"time"
)

// Holding is what a call that still runs was admitted with.
type Holding struct {
	Model       string
	Key         string // of the call
	Reservation string // as Admit gave it
	Lease       time.Duration
	Limited     bool // the model has limits, a budget or a quota: else only a probe is held
}

// Prolonged is the answer to a Holding. OK is false when the call's outcome is known:
// then nothing is held.
type Prolonged struct {
	OK  bool
	Now time.Time
}

// Hold prolongs a call's reservation and probe; see hold.lua. It is tried again for a
// second where contact is lost.
func (s *Store) Hold(ctx context.Context, h Holding) (Prolonged, error) {
	c := call{
		script: holdScript,
		keys:   []string{s.keys.model(h.Model), s.keys.seen(h.Key), s.keys.holds(h.Model)},
		args:   []any{h.Reservation, h.Lease.Milliseconds(), bit(h.Limited), modelKept.Milliseconds()},
	}
	var got Prolonged
	err := again(ctx, hotPatience, func() error {
		v, err := s.run(ctx, c)
		if err != nil {
			return err
		}
		items, err := list(v, 2)
		if err == nil {
			got = Prolonged{OK: text(items[0]) == "OK", Now: atMS(number(items[1]))}
		}
		return err
	})
	return got, err
}
