package cli

import (
	"context"
	"fmt"
	"slices"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// lastWord stands for the newest operation wherever an ID is asked for; the commands
// of dead letters take it for the newest of these.
const lastWord = "last"

// newest finds what lastWord stands for.
type newest func(context.Context, *lua.Store) (lm.TraceID, error)

// namedIDs reads arguments as trace IDs, each once; what lastWord stands for is
// looked up.
func namedIDs(ctx context.Context, s *lua.Store, args []string, last newest) ([]lm.TraceID, error) {
	var ids []lm.TraceID
	for _, arg := range args { // all of them before anything is asked
		if arg == lastWord {
			continue
		}
		if _, err := lm.ParseTraceID(arg); err != nil {
			return nil, usagef("%w", err)
		}
	}
	for _, arg := range args {
		id := lm.TraceID(arg)
		if arg == lastWord {
			var err error
			if id, err = last(ctx, s); err != nil {
				return nil, err
			}
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// newestOperation is the operation that was created last.
func newestOperation(ctx context.Context, s *lua.Store) (lm.TraceID, error) {
	traces, err := s.Newest(ctx, lua.Filter{}, 1)
	if err == nil && len(traces) == 0 {
		err = fmt.Errorf("%s: %w; enqueue one first", lastWord, lm.ErrNotFound)
	}
	if err != nil {
		return "", err
	}
	return traces[0].ID, nil
}

// newestLetter is the operation whose dead letter was written last.
func newestLetter(ctx context.Context, s *lua.Store) (lm.TraceID, error) {
	letters, err := deadLetters(ctx, s, &deadFilter{}, 1)
	if err == nil && len(letters) == 0 {
		err = fmt.Errorf("%s: %w; there is no dead letter", lastWord, lm.ErrNotFound)
	}
	if err != nil {
		return "", err
	}
	return slices.MaxFunc(letters, func(a, b lua.DeadLetter) int { return a.At.Compare(b.At) }).ID, nil
}
