package lua

import (
	"context"
	"strings"
	"time"
)

// maxChannels bounds how many channels one run of the script counts.
const maxChannels = 1000

// Presence is what one moment showed of the fleet's workers, by owner.
type Presence struct {
	Listening map[string]bool // those that were asked for and whose control channel has a subscriber
	Deaf      map[string]bool // those that said that their subscription broke
	Busy      map[string]bool // those that said that they hold something
	Over      []string        // marks on the board whose time is over
}

// Presence counts the control channels of self and others, at most 999 others,
// and reads the board. An error for which IsPassing does not hold means that this
// server or proxy does not offer the count. It costs the script and three commands
// inside it, and travels with about 50 bytes per channel and mark.
func (s *Store) Presence(ctx context.Context, self string, others []string) (Presence, error) {
	owners := append([]string{self}, others[:min(len(others), maxChannels-1)]...)
	count := "NUMSUB"
	if s.sharded() {
		count = "SHARDNUMSUB"
	}
	c := call{script: presenceScript, keys: append(make([]string, 0, 1+len(owners)), s.keys.fleet("board")), args: []any{len(owners), count}}
	for _, o := range owners {
		c.keys = append(c.keys, s.keys.control(o))
	}
	v, err := s.run(ctx, c)
	if err != nil {
		return Presence{}, err
	}
	reply, err := list(v, 3)
	if err != nil {
		return Presence{}, err
	}
	counts, err := list(reply[1], len(owners))
	if err != nil {
		return Presence{}, err
	}
	p := Presence{Listening: make(map[string]bool), Deaf: make(map[string]bool), Busy: make(map[string]bool)}
	for i, n := range counts {
		p.Listening[owners[i]] = number(n) > 0
	}
	p.readBoard(number(reply[0]), texts(reply[2]))
	return p, nil
}

// The marks of the board.
const (
	markDeaf = "deaf "
	markBusy = "busy "
)

func (p *Presence) readBoard(now int64, flat []string) {
	for i := 0; i+1 < len(flat); i += 2 {
		mark := flat[i]
		if number(flat[i+1]) <= now {
			p.Over = append(p.Over, mark)
		} else if owner, ok := strings.CutPrefix(mark, markDeaf); ok {
			p.Deaf[owner] = true
		} else if owner, ok := strings.CutPrefix(mark, markBusy); ok {
			p.Busy[owner] = true
		}
	}
}

// MarkDeaf says that an owner's subscription broke, so that its silence is not
// taken for death. It holds for a time and is renewed while the break lasts.
func (s *Store) MarkDeaf(ctx context.Context, owner string, lasts time.Duration) error {
	return s.mark(ctx, []string{markDeaf + owner}, lasts)
}

// MarkBusy says that an owner holds something, so that others look whether it is
// still there. It holds for a time and is renewed while it does.
func (s *Store) MarkBusy(ctx context.Context, owner string, lasts time.Duration) error {
	return s.mark(ctx, []string{markBusy + owner}, lasts)
}

// Tidy takes down marks of the board that are over, at most 100.
func (s *Store) Tidy(ctx context.Context, marks []string) error {
	if len(marks) == 0 {
		return nil
	}
	return s.mark(ctx, marks[:min(len(marks), maxBatch)], 0)
}

func (s *Store) mark(ctx context.Context, marks []string, lasts time.Duration) error {
	c := call{script: boardScript, keys: []string{s.keys.fleet("board")}, args: []any{len(marks)}}
	for _, m := range marks {
		c.args = append(c.args, m, lasts.Milliseconds())
	}
	_, err := s.run(ctx, c)
	return err
}
