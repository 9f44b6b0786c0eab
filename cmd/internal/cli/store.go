package cli

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/internal/embedded"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/worker"
	"github.com/spf13/cobra"
)

// openStore opens the Redis of a configuration, or the embedded one that another
// Lighterman of this machine keeps.
func openStore(ctx context.Context, cfg *config.Config) (*lua.Store, error) {
	url := cfg.Redis.URL.Reveal()
	if url == "" {
		url = "redis://" + embedded.DefaultAddr
		if !answers(ctx, embedded.DefaultAddr) {
			return nil, interrupted(ctx, fmt.Errorf("%w: none is configured, and no Lighterman answers on %s; start `lighterman dev`, or set LIGHTERMAN_REDIS_URL", lua.ErrRedis, embedded.DefaultAddr))
		}
	}
	var store *lua.Store
	opened := make(chan error, 1)
	go func() {
		var err error
		opts := worker.StoreOptions(cfg)
		opts.Waiting = func(why string) { fmt.Fprintln(stderr, why) }
		store, err = lua.Open(ctx, url, opts)
		opened <- err
	}()
	select {
	case err := <-opened:
		return store, interrupted(ctx, err)
	case <-ctx.Done(): // which a read under way does not see; the process ends
		return nil, interrupted(ctx, ctx.Err())
	}
}

// answers reports whether somebody listens on an address of this machine.
func answers(ctx context.Context, addr string) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// reading is a command that only reads: it has the common flags, opens the
// store, and closes it after run.
func reading(cmd *cobra.Command, run func(ctx context.Context, s *lua.Store, args []string) error) *cobra.Command {
	return acting(cmd, func(ctx context.Context, _ *config.Config, s *lua.Store, args []string) error {
		return run(ctx, s, args)
	})
}

// acting is reading for a command that needs the configuration too, most often
// because it changes something.
func acting(cmd *cobra.Command, run func(ctx context.Context, cfg *config.Config, s *lua.Store, args []string) error) *cobra.Command {
	flags := worker.AddCommonFlags(cmd.Flags(), "redis")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		cfg, err := flags.Load()
		if err != nil {
			return err
		}
		ctx, cancel := interruptible()
		defer cancel()
		store, err := openStore(ctx, cfg)
		if err != nil {
			return err
		}
		defer store.Close() //nolint:errcheck // what was written has been answered
		return interrupted(ctx, run(ctx, cfg, store, args))
	}
	return cmd
}
