package lua

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// Foreign entries of more than inlineBytes do not travel with others: a reader knows of
// them and reads them one by one, in pieces, as it adopts them.
const (
	entryPiece = 512 << 10
	maxEntry   = lm.MaxRequest + 64<<10 // of all its fields; a longer one is never read
	readBytes  = 8 << 20                // after which one read takes no more
)

// Fill returns a long entry, pending with consumer, with its fields. takenOver says that
// it was pending with another consumer before, which may have died of it: with the
// crash limit's number of such tries before it is not read any more. One that is not
// read has cut fields, and Derive refuses it. One that is gone, or another's, comes back
// without fields; Adopt says which.
func (s *Store) Fill(ctx context.Context, consumer string, e Entry, takenOver bool) (Entry, error) {
	try, most := 0, maxEntry
	if takenOver {
		try = e.tries + 1
	}
	if takenOver && e.tries >= s.opts.CrashLimit {
		e.refused, most = "crash_limit", 0
	}
	e.Long = 0
	if err := s.unread.Acquire(ctx, entryPiece); err != nil {
		return e, context.Cause(ctx)
	}
	defer s.unread.Release(entryPiece)
	var text strings.Builder
	for {
		c := call{
			script: pieceScript, keys: []string{s.keys.stream(e.Stream), s.keys.tries(e.Stream.Partition)},
			args: []any{Group, consumer, e.Stream.short(), e.ID, text.Len(), entryPiece, most, try},
		}
		var reply []any
		err := again(ctx, s.opts.Patience, func() error {
			v, err := s.run(ctx, c)
			reply, _ = v.([]any)
			return err
		})
		if err != nil {
			s.untry(ctx, e, takenOver)
			return e, fmt.Errorf("read a long entry: %w", err)
		}
		if len(reply) != 3 {
			return e, nil
		}
		if weight := number(reply[0]); weight > maxEntry && e.refused == "" {
			e.refused = "body_too_large"
			e.weight = int(weight)
		}
		text.WriteString(readText(reply[2]))
		if text.Len() >= int(number(reply[1])) || readText(reply[2]) == "" {
			e.Fields = readLengths(text.String())
			return e, nil
		}
	}
}

// untry takes a try back whose caller lives; where that fails it stays counted.
func (s *Store) untry(ctx context.Context, e Entry, takenOver bool) {
	if takenOver {
		_ = s.rdb.HSet(context.WithoutCancel(ctx), s.keys.tries(e.Stream.Partition), e.Names(), e.tries).Err()
	}
}

func readText(v any) string { s, _ := v.(string); return s }

// readLengths reads a text of LENGTH:STRING, one behind the other.
func readLengths(text string) []string {
	var all []string
	for text != "" {
		length, rest, _ := strings.Cut(text, ":")
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > len(rest) {
			return all
		}
		all, text = append(all, rest[:n]), rest[n:]
	}
	return all
}

// entries reads entries that were taken over by their IDs, at most 100.
func (s *Store) entries(ctx context.Context, st Stream, ids []string) ([]Entry, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	c := call{
		script: entriesScript, keys: []string{s.keys.stream(st), s.keys.tries(st.Partition)},
		args: append(make([]any, 0, 3+len(ids)), inlineBytes, st.short(), len(ids)),
	}
	for _, id := range ids {
		c.args = append(c.args, id)
	}
	v, err := s.run(ctx, c)
	if err != nil {
		return nil, err
	}
	return appendEntries(nil, st, v), nil
}
