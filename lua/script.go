package lua

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed *.lua include/*.lua
var sources embed.FS

// script is one Lua file with its includes, ready to run.
type script struct {
	name string
	text string
	sha  string
}

// The scripts, by file.
var (
	enqueueScript   = load("enqueue")
	adoptScript     = load("adopt")
	readScript      = load("read")
	entriesScript   = load("entries")
	pieceScript     = load("piece")
	claimScript     = load("claim")
	advanceScript   = load("advance")
	heartbeatScript = load("heartbeat")
	putbackScript   = load("putback")
	retryScript     = load("retry")
	promoteScript   = load("promote")
	pullScript      = load("pull")
	finishScript    = load("finish")
	tickScript      = load("tick")
	forgetScript    = load("forget")
	frameScript     = load("frame")
	followScript    = load("follow")
	cancelScript    = load("cancel")
	reviveScript    = load("revive")
	purgeScript     = load("purge")
	trimScript      = load("trim")
	announceScript  = load("announce")
	repairScript    = load("repair")
	strayScript     = load("stray")
	recountScript   = load("recount")
	retireScript    = load("retire")
	probeScript     = load("probe")
	presenceScript  = load("presence")
	boardScript     = load("board")
	outcomeScript   = load("outcome")
	admitScript     = load("admit")
	holdScript      = load("hold")
	countScript     = load("count")
	spentScript     = load("spent")
	lostScript      = load("lost")
	operateScript   = load("operate")
	sessionScript   = load("session")
	lockScript      = load("lock")
	renewScript     = load("renew")
	unlockScript    = load("unlock")
	guardedScript   = load("guarded")
	observeScript   = load("observe")
	unlistScript    = load("unlist")
)

// load reads a script, puts its includes in front of it and drops comments and
// indentation, so that what travels to Redis on a cold cache is small.
func load(name string) *script {
	body := mustRead(name + ".lua")
	var text strings.Builder
	for _, include := range includes(body) {
		strip(&text, mustRead("include/"+include+".lua"))
	}
	strip(&text, body)
	sum := sha1.Sum([]byte(text.String()))
	return &script{name: name, text: text.String(), sha: hex.EncodeToString(sum[:])}
}

func mustRead(path string) string {
	b, err := sources.ReadFile(path)
	if err != nil {
		panic(err) // the binary was built without its scripts
	}
	return string(b)
}

// includes lists the words of the line "--#include a b c".
func includes(body string) []string {
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, "--#include"); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

func strip(to *strings.Builder, text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--") {
			to.WriteString(line)
			to.WriteByte('\n')
		}
	}
}

// call is one run of a script: its keys, then its arguments.
type call struct {
	script *script
	keys   []string
	args   []any
}

// command lays the call out for Redis, by hash or (whole) by text.
func (c call) command(ctx context.Context, whole bool) *redis.Cmd {
	all := make([]any, 0, 3+len(c.keys)+len(c.args))
	if whole {
		all = append(all, "eval", c.script.text)
	} else {
		all = append(all, "evalsha", c.script.sha)
	}
	all = append(all, len(c.keys))
	for _, k := range c.keys {
		all = append(all, k)
	}
	return redis.NewCmd(ctx, append(all, c.args...)...)
}

// run runs one script. A server that does not know it (restart, failover,
// SCRIPT FLUSH; caches are per node) is sent the whole text.
func (s *Store) run(ctx context.Context, c call) (any, error) {
	cmd := c.command(ctx, false)
	err := s.rdb.Process(ctx, cmd)
	if isNoScript(err) {
		cmd = c.command(ctx, true)
		err = s.rdb.Process(ctx, cmd)
	}
	s.ran(c.script)
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("%s: %w", c.script.name, err)
	}
	return cmd.Val(), nil
}

// runAll runs scripts in one pipeline, each with its own error.
func (s *Store) runAll(ctx context.Context, calls []call) ([]any, []error) {
	values, errs := make([]any, len(calls)), make([]error, len(calls))
	cmds := make([]*redis.Cmd, len(calls))
	pipe := s.rdb.Pipeline()
	for i, c := range calls {
		cmds[i] = c.command(ctx, false)
		_ = pipe.Process(ctx, cmds[i])
		s.ran(c.script)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, cmd := range cmds {
		err := cmd.Err()
		switch {
		case isNoScript(err):
			values[i], errs[i] = s.run(ctx, calls[i])
		case err != nil && !errors.Is(err, redis.Nil):
			errs[i] = fmt.Errorf("%s: %w", calls[i].script.name, err)
		default:
			values[i] = cmd.Val()
		}
	}
	return values, errs
}

func isNoScript(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") }
