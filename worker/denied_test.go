package worker

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
)

// rotate gives a server another password and closes all connections but one's own.
func rotate(t *testing.T, s *redistest.Server, password string) (newURL string) {
	t.Helper()
	rdb := s.Client()
	pipe := rdb.Pipeline()
	pipe.ConfigSet(t.Context(), "requirepass", password)
	pipe.Do(t.Context(), "client", "kill", "type", "normal", "skipme", "yes")
	pipe.Do(t.Context(), "client", "kill", "type", "pubsub")
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("", password)
	return u.String()
}

func ready(t *testing.T, w *Worker) bool {
	t.Helper()
	reply, err := http.Get(w.URL() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	return reply.StatusCode == http.StatusOK
}

// TestWorker_ReadsARotatedPasswordOfAFile with its next connection, is not ready until
// then, and goes on with its work.
func TestWorker_ReadsARotatedPasswordOfAFile(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithTCP(), redistest.WithPassword("first"))
	file := filepath.Join(t.TempDir(), "url")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(server.URL())
	cfg, err := config.Load(config.Options{Environ: []string{"LIGHTERMAN_REDIS_URL_FILE=" + file, "LIGHTERMAN_HTTP_ADDR=127.0.0.1:0", "LIGHTERMAN_LOG_LEVEL=error", "LIGHTERMAN_FLEET_DETECT=false"}})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorker(t, cfg)
	if err := w.Listen(); err != nil {
		t.Fatal(err)
	}
	run(t, w)
	eventually(t, "it is ready", func() bool { return ready(t, w) })

	next := rotate(t, server, "second")
	eventually(t, "it is not ready", func() bool { return !ready(t, w) })
	for _, half := range []string{"", "redis://", next} { // as it is while somebody writes it
		write(half)
	}
	eventually(t, "it is ready with the new password", func() bool { return ready(t, w) })
	if w.store.Refused() != 0 {
		t.Errorf("refused for %s", w.store.Refused())
	}
	if names, err := w.store.Names(t.Context()); err != nil || len(names) == 0 {
		t.Errorf("%v, %v", names, err)
	}
}

// TestWorker_EndsWhereNoNewPasswordCanBeRead, so that its supervisor starts it with the
// new one; with a file it waits for that.
func TestWorker_EndsWhereNoNewPasswordCanBeRead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithTCP(), redistest.WithPassword("first"))
	w := newWorker(t, settings(server))
	defer w.Close()
	if err := w.store.Ping(t.Context()); err != nil || w.store.Refused() != 0 {
		t.Fatalf("%v, refused for %s", err, w.store.Refused())
	}
	calm, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if err := w.watchAccess(calm, time.Millisecond, 0); err != nil {
		t.Errorf("while all is well: %v", err)
	}
	rotate(t, server, "second")
	eventually(t, "it is denied", func() bool { return lua.IsDenied(w.store.Ping(t.Context())) })
	w.cfg.Redis.URLFile = "somewhere"
	calm, stop = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := w.watchAccess(calm, time.Millisecond, time.Millisecond); err != nil {
		t.Errorf("with a file: %v", err)
	}
	w.cfg.Redis.URLFile = ""
	err := w.watchAccess(t.Context(), time.Millisecond, time.Millisecond)
	if !errors.Is(err, lua.ErrRedis) || !strings.Contains(err.Error(), "password has been refused") {
		t.Errorf("without a file: %v", err)
	}
}
