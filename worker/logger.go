package worker

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/lighterman/lighterman/config"
	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// Logger writes to standard error as the configuration says: JSON for machines,
// lines for people on a terminal.
func Logger(cfg *config.Config) zerolog.Logger {
	level, err := zerolog.ParseLevel(cfg.Log.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	terminal := isatty.IsTerminal(os.Stderr.Fd())
	var out io.Writer = os.Stderr
	if cfg.Log.Format == "console" || cfg.Log.Format == "auto" && terminal {
		out = zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: time.TimeOnly, NoColor: !terminal || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"}
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger()
}

// banner tells on standard error where the worker stands.
func (w *Worker) banner() {
	event := w.log.Info()
	if w.Embedded() {
		event = w.log.Warn().Bool("nothing_survives_this_process", true)
	}
	event.Str("redis", w.Redis()).Str("worker", w.consumer.Owner()).Int("slots", w.cfg.Worker.Concurrency).
		Str("queues", QueuesText(w.cfg)).Str("http", w.http.url()).Msg("worker ready")
}

// QueuesText is the served queues as --queue takes them, with a space between.
func QueuesText(cfg *config.Config) string {
	queues := make([]string, len(cfg.Queues))
	for i, q := range cfg.Queues {
		queues[i] = fmt.Sprintf("%s:%d", q.Name, q.Weight)
		if q.Concurrency > 0 {
			queues[i] += fmt.Sprintf(":%d", q.Concurrency)
		}
	}
	return strings.Join(queues, " ")
}
