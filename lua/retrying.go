package lua

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// Every script is idempotent under replay, so a call whose reply was lost is
// simply made again. These bound the backoff between tries.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// again calls try until it succeeds, fails for a reason that waiting does not
// mend, patience is over or ctx is done. A server that denies the command is
// unavailable at once: only a person changes rights and passwords, and until then
// nothing may be counted against an operation.
func again(ctx context.Context, patience time.Duration, try func() error) error {
	until := time.Now().Add(patience)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := try()
		if IsDenied(err) {
			return fmt.Errorf("%w: %w", lm.ErrUnavailable, err)
		}
		if err == nil || !IsPassing(err) {
			return err
		}
		err = fmt.Errorf("%w: %w", lm.ErrUnavailable, err)
		if time.Now().After(until) {
			return err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(context.Cause(ctx), err)
		case <-timer.C:
		}
	}
}

// IsPassing reports whether an error of Redis is one that passes by itself:
// lost contact, a server that starts, fails over, moves slots or is busy. The
// command may have been executed.
func IsPassing(err error) bool {
	if IsLost(err) {
		return true
	}
	if err == nil {
		return false
	}
	if errors.Is(err, lm.ErrUnavailable) {
		return true
	}
	if strings.Contains(err.Error(), "all sentinels") || strings.Contains(err.Error(), "cluster has no nodes") {
		return true // go-redis found nobody to ask
	}
	code, text := answerCode(err)
	return slices.Contains(passing, code) || strings.HasPrefix(text, "max number of clients")
}

// passing are the codes of Redis's errors that pass by themselves. Only the code
// is looked at: the text behind it may hold any word, the name of a key too.
var passing = []string{
	"LOADING", "BUSY", // starts; runs somebody's long script
	"TRYAGAIN", "MOVED", "ASK", "UNBLOCKED", "CLUSTERDOWN", // slots move, or a master is being replaced
	"MASTERDOWN", "READONLY", "NOREPLICAS", // fails over
	"MISCONF", // cannot write its disk, and takes no more until it can
}

// IsDenied reports whether Redis refused a whole command because of the user's
// rights or password; nothing was written.
func IsDenied(err error) bool {
	code, _ := answerCode(err)
	return slices.Contains(denied, code)
}

// answerCode returns the code of Redis's error answer and the text behind it; both
// are empty for other errors. Redis 7.0 puts "ERR -" before the code of an error
// that ended a script.
func answerCode(err error) (code, text string) {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return "", ""
	}
	code, text, _ = strings.Cut(strings.TrimPrefix(answer.Error(), "ERR -"), " ")
	return code, text
}

var denied = []string{"NOPERM", "NOAUTH", "WRONGPASS"}

// IsLost reports whether contact with Redis was lost: no connection, none in
// time, or one that broke before the reply.
func IsLost(err error) bool {
	var network net.Error
	return err != nil && (errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrClosed))
}

// IsOutOfMemory reports whether Redis refused a write because maxmemory is
// reached; nothing was written.
func IsOutOfMemory(err error) bool {
	return err != nil && (errors.Is(err, lm.ErrOutOfMemory) || strings.Contains(err.Error(), "OOM "))
}
