package lua

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// rights are what scripts and clients of a worker run, each with arguments that a
// key of ours fits into: what ACL DRYRUN is asked. KEY stands for a key of a
// partition, FLEET for one of the fleet, SESSION for one of a session, CHANNEL for a
// control channel.
// deploy/acl/users.acl and docs/redis.md grant them.
var rights = []string{
	"PING", "INFO", "TIME", "EVALSHA 0 0", "EVAL x 0", "SCAN 0",
	"XGROUP CREATE KEY g 0", "XREADGROUP GROUP g c STREAMS KEY >", "XACK KEY g 1", "XDEL KEY 1", "XADD KEY * a b", "XPENDING KEY g",
	"XCLAIM KEY g c 0 1", "XAUTOCLAIM KEY g c 0 0", "XRANGE KEY - +", "XREVRANGE KEY + -", "XREAD STREAMS KEY 0", "XINFO GROUPS KEY",
	"XTRIM KEY MINID 0", "HSET KEY a b", "HSETNX KEY a b", "HGET KEY a", "HMGET KEY a", "HGETALL KEY", "HDEL KEY a", "HINCRBY KEY a 1",
	"HSET FLEET a b", "HGETALL FLEET", "HEXISTS FLEET a", "HDEL FLEET a", "SET KEY a", "GET KEY", "INCR FLEET", "INCRBY FLEET 1",
	"GETRANGE KEY 0 1", "HKEYS KEY", "HSTRLEN KEY a",
	"EXISTS KEY", "DEL FLEET", "UNLINK KEY", "PEXPIRE KEY 1", "PTTL KEY", "PERSIST FLEET", "TYPE KEY", "HGETALL SESSION", "ZADD KEY 1 a", "ZREM KEY a",
	"ZSCORE KEY a", "ZCARD FLEET", "ZCOUNT FLEET 0 1", "ZRANGE KEY 0 1", "ZRANGEBYSCORE KEY 0 1", "PUBLISH CHANNEL a", "SUBSCRIBE CHANNEL", "PUBSUB NUMSUB CHANNEL",
}

// spared are commands without which a worker works all the same, with less: no
// janitor, no presence, large requests in one piece. It says so when it comes to it.
var spared = []string{"getrange", "hkeys", "hstrlen", "scan", "publish", "subscribe", "pubsub", "xtrim"}

// Denied asks the server what this user may not: names of commands, and patterns
// of keys and channels. An error means that it does not say.
func (s *Store) Denied(ctx context.Context) ([]string, error) {
	user, err := s.rdb.Do(ctx, "acl", "whoami").Text()
	if err != nil {
		return nil, fmt.Errorf("ask who we are: %w", err)
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.Cmd, len(rights))
	names := map[string]string{
		"KEY": s.keys.in(0, "stats"), "FLEET": s.keys.fleet("workers"), "SESSION": s.keys.prefix + ":session:{x}", "CHANNEL": s.keys.control("probe"),
	}
	for i, line := range rights {
		args := []any{"acl", "dryrun", user}
		for word := range strings.FieldsSeq(line) {
			args = append(args, cmp.Or(names[word], word))
		}
		cmds[i] = pipe.Do(ctx, args...)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var denied []string
	for i, cmd := range cmds {
		answer, err := cmd.Text()
		if err != nil {
			return nil, fmt.Errorf("ask what we may: %w", err)
		}
		if what := s.refused(rights[i], answer); what != "" && !slices.Contains(denied, what) {
			denied = append(denied, what)
		}
	}
	return denied, nil
}

// refused says what an answer of ACL DRYRUN refuses: a command, or the pattern of
// a key or channel; empty when nothing.
func (s *Store) refused(line, answer string) string {
	name, _, _ := strings.Cut(line, " ")
	switch {
	case answer == "OK":
		return ""
	case strings.Contains(answer, "' channel"):
		return "&{" + s.keys.prefix + ":fleet}:control:*"
	case strings.Contains(answer, "' key") && strings.Contains(line, "SESSION"):
		return "~" + s.keys.prefix + ":session:*"
	case strings.Contains(answer, "' key") && strings.Contains(line, "FLEET"):
		return "~{" + s.keys.prefix + ":fleet}:*"
	case strings.Contains(answer, "' key"):
		return "~{" + s.keys.prefix + ":[0-9]*"
	default:
		return strings.ToLower(name)
	}
}

// CheckRights holds the user against what a worker needs, and says in a line what
// is missing. A server that does not tell is no error: the first command that is
// refused will say it.
func (s *Store) CheckRights(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	denied, err := s.Denied(ctx)
	if err != nil {
		return nil // it does not say, or is away
	}
	denied = slices.DeleteFunc(denied, func(name string) bool {
		return slices.Contains(spared, name) || strings.HasPrefix(name, "&")
	})
	if len(denied) == 0 {
		return nil
	}
	return fmt.Errorf("%w: the user may not %s, which a worker needs; grant it as in deploy/acl/users.acl", ErrRedis, strings.Join(denied, " "))
}
