package providertest

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Local is an Ollama as its users have one: it answers few calls at a time and has the
// others wait, and its runner can crash under all of them. What it answers it takes from
// the Server within. All methods may be called concurrently.
type Local struct {
	*Server
	URL string // http://127.0.0.1:PORT

	turns chan struct{} // one for each call that is answered at a time
	took  time.Duration
	http  *http.Server

	mu     sync.Mutex
	crash  chan struct{} // closed: the runner is gone; the next call starts another
	inside int           // calls that are answered or wait for it
	most   int
}

// NewLocal starts one that answers so many calls at a time, each of which takes so long.
// It panics where 127.0.0.1 cannot be listened on.
func NewLocal(atOnce int, took time.Duration) *Local {
	within := NewServer(NewOllama())
	to, err := url.Parse(within.URL)
	if err != nil {
		panic("providertest: " + err.Error())
	}
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic("providertest: " + err.Error())
	}
	l := &Local{Server: within, URL: "http://" + listener.Addr().String(), turns: make(chan struct{}, atOnce), took: took, crash: make(chan struct{})}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, FlushInterval: -1}
	l.http = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/v1/") {
			proxy.ServeHTTP(w, r)
			return
		}
		l.call(w, r, proxy)
	})}
	go func() { _ = l.http.Serve(listener) }() // ends with Close
	return l
}

// Close ends both servers and every answer under way.
func (l *Local) Close() {
	l.Server.Close()
	_ = l.http.Close() // nothing can be done about it
}

// Crash ends the runner: every call that is answered or waits there fails.
func (l *Local) Crash() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.crash)
	l.crash = make(chan struct{})
}

// Inside is how many calls are answered or wait for it now, and how many there ever were
// at a time.
func (l *Local) Inside() (now, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inside, l.most
}

// call waits for its turn, takes its time and is answered.
func (l *Local) call(w http.ResponseWriter, r *http.Request, answer http.Handler) {
	body, err := io.ReadAll(r.Body) // only then is it noticed that the client leaves
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	crash := l.enter(1)
	defer l.enter(-1)
	select {
	case l.turns <- struct{}{}:
		defer func() { <-l.turns }()
	case <-crash:
		crashed(w)
		return
	case <-r.Context().Done():
		return
	case <-l.done:
		return
	}
	took := time.NewTimer(l.took)
	defer took.Stop()
	select {
	case <-took.C:
		answer.ServeHTTP(w, r)
	case <-crash:
		crashed(w)
	case <-r.Context().Done():
	case <-l.done:
	}
}

func (l *Local) enter(n int) (crash chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside += n
	l.most = max(l.most, l.inside)
	return l.crash
}

// crashed is what an Ollama says of a runner that is gone.
func crashed(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = w.Write([]byte(`{"error":{"message":"llama runner process has terminated: exit status 2","type":"api_error","param":null,"code":null}}`)) // the client may be gone
}
