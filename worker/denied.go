package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// Redis may take another password while a worker runs, and close its connections.
const (
	deniedLook = 5 * time.Second // between two looks, which ask Redis nothing while all is well
	deniedMost = time.Minute     // of refusals, after which a worker that cannot read a new password ends
)

// watchAccess returns an error when Redis has refused the password for long and this
// process cannot come by another one: whoever restarts it may know it. One from
// redis.url_file is read again with every connection, so that the worker waits.
func (w *Worker) watchAccess(ctx context.Context, look, most time.Duration) error {
	every := time.NewTicker(look)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
		if w.store.Refused() < most {
			continue
		}
		err := w.store.Ping(ctx)
		switch {
		case !lua.IsDenied(err):
		case w.cfg.Redis.URLFile != "":
			w.log.Warn().Err(err).Str("url_file", w.cfg.Redis.URLFile).Msg("Redis refuses the password; the file is read again with every connection")
		default:
			return fmt.Errorf("%w: the password has been refused for %s, and it was not read from a file (redis.url_file) that could be read again: %w", lua.ErrRedis, most, err)
		}
	}
}
