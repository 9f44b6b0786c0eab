package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is a redis-server of this run's own: a unix socket in a directory of
// its own, no persistence, nobody else's data.
type server struct {
	url string
	dir string
	cmd *exec.Cmd
}

// startRedis starts one and returns when it answers. It dies with this process,
// or when ctx ends.
func startRedis(ctx context.Context) (*server, error) {
	// Not os.TempDir: a unix socket's path is limited to 108 bytes.
	dir, err := os.MkdirTemp("/tmp", "lmbench-")
	if err != nil {
		return nil, err
	}
	sock := filepath.Join(dir, "s")
	s := &server{url: "unix://" + sock, dir: dir}
	s.cmd = exec.CommandContext(ctx, "redis-server", "--port", "0", "--unixsocket", sock, "--unixsocketperm", "700",
		"--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir", dir, "--logfile", filepath.Join(dir, "log"))
	s.cmd.SysProcAttr = diesWithParent()
	if err := s.cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start redis-server (install it, or name one with -redis): %w", err)
	}
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: sock})
	defer func() { _ = rdb.Close() }()
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := rdb.Ping(ctx).Err()
		if err == nil {
			return s, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			s.stop()
			return nil, fmt.Errorf("redis-server does not answer: %w; its log:\n%s", err, log)
		}
		_ = pause(ctx, 5*time.Millisecond)
	}
}

// stop ends the server, by its process ID; it has nothing to save.
func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
	_ = os.RemoveAll(s.dir)
}

// connect opens the Redis that is measured. Its database must be empty, because
// it is flushed between measurements.
func connect(ctx context.Context, url string) (*redis.Client, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	rdb := redis.NewClient(o)
	size, err := rdb.DBSize(ctx).Result()
	if err == nil && size > 0 {
		err = fmt.Errorf("database %d holds %d keys; it would be flushed, so name an empty one (-redis redis://HOST:PORT/DB)", o.DB, size)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("redis: %w", err), rdb.Close())
	}
	return rdb, nil
}
