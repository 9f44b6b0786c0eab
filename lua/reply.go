package lua

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// ErrWrongType says that a key of an operation holds another type.
var ErrWrongType = errors.New("a key of this operation holds another type; somebody else uses its name")

// list reads a script's answer that holds one item per operation.
func list(v any, n int) ([]any, error) {
	items, ok := v.([]any)
	if !ok || n >= 0 && len(items) != n {
		return nil, fmt.Errorf("script answered %T, want %d items", v, n)
	}
	return items, nil
}

// refusal turns an operation's answer into its error; nil for those that did
// what was asked.
func refusal(answer string) error {
	code, rest, _ := strings.Cut(answer, " ")
	switch code {
	case "FENCED":
		return lm.ErrFenced
	case "NOTFOUND":
		return lm.ErrNotFound
	case "ILLEGAL":
		state, err := lm.ParseState(rest)
		if err != nil {
			return fmt.Errorf("%w: the trace is in %q", lm.ErrIllegal, rest)
		}
		return &lm.IllegalState{State: state}
	case "OOM":
		return lm.ErrOutOfMemory
	case "WRONGTYPE":
		return ErrWrongType
	case "NOPERM":
		return errors.New("the Redis user may not run a command or touch a key of this script")
	case "ERROR":
		return errors.New("the script failed for this operation and wrote nothing of it")
	default:
		return nil
	}
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	default:
		return ""
	}
}

func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	default:
		return 0
	}
}

func texts(v any) []string {
	items, _ := v.([]any)
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = text(item)
	}
	return out
}

func atMS(ms int64) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func unixMS(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
