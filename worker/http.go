package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// server is the worker's own HTTP address: health, metrics, profiles.
type server struct {
	srv      *http.Server
	listener net.Listener
	done     chan struct{}
}

// Listen starts the HTTP server on http.addr, or on the next free port. Run does
// it itself.
func (w *Worker) Listen() error {
	if w.http != nil {
		return nil
	}
	listener, err := listen(w.cfg.HTTP.Addr)
	if err != nil {
		return fmt.Errorf("http.addr %s: %w", w.cfg.HTTP.Addr, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintln(rw, "ok") })
	mux.HandleFunc("GET /readyz", w.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.metrics, promhttp.HandlerOpts{}))
	if isLoopback(listener.Addr()) {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	w.http = &server{srv: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, listener: listener, done: make(chan struct{})}
	go func() {
		defer close(w.http.done)
		if err := w.http.srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			w.log.Error().Err(err).Msg("http server ended")
		}
	}()
	return nil
}

// readyz answers 200 while Redis answers and handlers do not hang. /healthz never asks Redis: an outage
// there is no reason to restart workers.
func (w *Worker) readyz(rw http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := w.store.Ping(ctx); err != nil {
		http.Error(rw, "redis does not answer", http.StatusServiceUnavailable)
		return
	}
	if err := w.consumer.Err(); err != nil {
		http.Error(rw, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(rw, "ready")
}

// portsTried bounds the search for a free port.
const portsTried = 100

func listen(addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	first, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	for n := first; ; n++ {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(n)))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || n >= min(first+portsTried, 65535) {
			return listener, err
		}
	}
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func (s *server) url() string { return "http://" + s.listener.Addr().String() }

func (s *server) close(ctx context.Context) {
	_ = s.srv.Shutdown(ctx)
	_ = s.srv.Close()
	<-s.done
}

// URL is where the worker's HTTP server listens; empty before Listen.
func (w *Worker) URL() string {
	if w.http == nil {
		return ""
	}
	return w.http.url()
}
