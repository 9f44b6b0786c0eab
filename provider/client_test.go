package provider

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// get asks a server through the client of an adapter and reads all of its answer.
func get(ctx context.Context, t *testing.T, o Options, e *Exchange, address string) ([]byte, *lm.Error) {
	t.Helper()
	r, err := http.NewRequestWithContext(Watch(ctx, e), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := NewClient(o).Do(r)
	if err != nil {
		return nil, Failure(ctx, err, false)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return body, Failure(ctx, err, len(body) > 0)
	}
	return body, nil
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL
}

// silent writes some bytes and then nothing until the client leaves.
func silent(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", n))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

const short = 200 * time.Millisecond

func TestClient_TimeOuts(t *testing.T) {
	none := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		times   Timeouts
		e       Exchange
		want    error
	}{
		{"no first byte", none, Timeouts{FirstByte: short}, Exchange{Streaming: true}, errFirstByte},
		{"headers alone are no first byte", silent(0), Timeouts{FirstByte: short}, Exchange{Streaming: true}, errFirstByte},
		{"silent", silent(1), Timeouts{Idle: short}, Exchange{Streaming: true}, errIdle},
		{"silent while it reasons", silent(1), Timeouts{Reasoning: short}, Exchange{Streaming: true, Reasoning: true}, errIdle},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err := get(ctx, t, Options{Timeouts: c.times}, &c.e, serve(t, c.handler))
			if err == nil || err.Kind != lm.TimedOut || !errors.Is(err, c.want) {
				t.Errorf("%v, want timeout: %v", err, c.want)
			}
		})
	}
	t.Run("the idle time begins anew with every byte, and reasoning has its own", func(t *testing.T) {
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			for range 5 {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(short)
			}
		})
		body, err := get(t.Context(), t, Options{Timeouts: Timeouts{Idle: 20 * time.Second}}, &Exchange{Streaming: true}, address)
		if err != nil || string(body) != "xxxxx" {
			t.Errorf("%q, %v", body, err)
		}
		body, err = get(t.Context(), t, Options{Timeouts: Timeouts{Idle: time.Millisecond, Reasoning: 20 * time.Second}}, &Exchange{Streaming: true, Reasoning: true}, address)
		if err != nil || string(body) != "xxxxx" {
			t.Errorf("reasoning: %q, %v", body, err)
		}
	})
	t.Run("a whole answer has the context's time", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), short)
		defer cancel()
		if _, err := get(ctx, t, Options{}, &Exchange{}, serve(t, none)); err == nil || err.Kind != lm.TimedOut {
			t.Errorf("%v", err)
		}
	})
}

func TestClient_ExchangeHasWhatSDKsHide(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", r.Header.Get("X-Asked"))
		w.WriteHeader(429)
		_, _ = io.WriteString(w, strings.Repeat("e", maxErrorBody+100))
	})
	e := &Exchange{Streaming: true}
	body, err := get(t.Context(), t, Options{Header: map[string]string{"X-Asked": "9"}}, e, address)
	if err != nil || e.Status != 429 || e.Header.Get("Retry-After") != "9" || len(e.Body) != maxErrorBody || len(body) != maxErrorBody {
		t.Errorf("status %d, headers %v, %d and %d bytes, %v", e.Status, e.Header, len(e.Body), len(body), err)
	}
}

func TestClient_FollowsNoRedirect(t *testing.T) {
	asked := false
	there := serve(t, func(http.ResponseWriter, *http.Request) { asked = true })
	e := &Exchange{}
	if _, err := get(t.Context(), t, Options{}, e, serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, there, http.StatusTemporaryRedirect) })); err != nil || e.Status != 307 || asked {
		t.Errorf("status %d, followed %t, %v", e.Status, asked, err)
	}
}

func TestClient_AnAnswerIsBounded(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		block := []byte(strings.Repeat("x", 1<<20))
		for range 3 * MaxAnswer / len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	body, err := get(t.Context(), t, Options{}, &Exchange{Streaming: true}, address)
	if err == nil || err.Kind != lm.InvalidRequest || len(body) > MaxAnswer {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

func TestFailure(t *testing.T) {
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(lm.ErrExpired)
	late, done := context.WithTimeout(t.Context(), 0)
	defer done()
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for _, c := range []struct {
		name  string
		ctx   context.Context
		err   error
		begun bool
		want  lm.Kind
	}{
		{"the caller cancels", cancelled, context.Canceled, false, lm.CallCancelled},
		{"the caller cancels mid-stream", cancelled, io.ErrUnexpectedEOF, true, lm.CallCancelled},
		{"the deadline", late, context.DeadlineExceeded, false, lm.TimedOut},
		{"the deadline mid-stream", late, io.ErrUnexpectedEOF, true, lm.TimedOut},
		{"idle", t.Context(), errIdle, true, lm.TimedOut},
		{"too large", t.Context(), errTooLarge, true, lm.InvalidRequest},
		{"mid-stream", t.Context(), io.ErrUnexpectedEOF, true, lm.StreamInterrupted},
		{"a network time-out", t.Context(), &net.DNSError{Err: "i/o timeout", IsTimeout: true}, false, lm.TimedOut},
		{"refused", t.Context(), refused, false, lm.ProviderFailed},
	} {
		if got := Failure(c.ctx, c.err, c.begun); got.Kind != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
	if got := Failure(cancelled, context.Canceled, false); !errors.Is(got, lm.ErrExpired) {
		t.Errorf("the cause is lost: %v", got)
	}
	_, err := NewClient(Options{}).Get("http://127.0.0.1:1/path?key=canary-key")
	if got := Failure(t.Context(), err, false); strings.Contains(got.Error(), "canary") || got.Kind != lm.ProviderFailed {
		t.Errorf("the address is told: %v", got)
	}
}

func TestTimeouts_Filled(t *testing.T) {
	want := Timeouts{5 * time.Second, time.Minute, time.Minute, 2 * time.Minute, 10 * time.Minute, 10 * time.Second}
	if got := (Timeouts{Idle: -1}).Filled(); got != want {
		t.Errorf("%+v", got)
	}
	if got := (Timeouts{Idle: 3}).Filled(); got.Idle != 3 {
		t.Errorf("%+v", got)
	}
}
