package openai

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lighterman/lighterman/provider"
)

// TestStream_ConnectionsAreUsedAgain: a stream that has ended leaves its connection
// to the next one, also where the end of the body comes a moment after [DONE].
func TestStream_ConnectionsAreUsedAgain(t *testing.T) {
	var conns atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
		_ = http.NewResponseController(w).Flush()
		time.Sleep(2 * time.Millisecond)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	a, err := New(Vendor("vllm", provider.Options{BaseURL: s.URL}))
	if err != nil {
		t.Fatal(err)
	}
	const calls = 20
	for range calls {
		call, _ := streamed(chat(""))
		if _, err := a.Call(t.Context(), call); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n > calls/2 { // more than 1 where this machine was busy
		t.Errorf("%d connections for %d streams", n, calls)
	}
}

// TestStream_ABodyWithoutAnEndIsNotWaitedFor: [DONE] is the end, whether the server
// then closes or not.
func TestStream_ABodyWithoutAnEndIsNotWaitedFor(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	a, err := New(Vendor("vllm", provider.Options{BaseURL: s.URL}))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	call, _ := streamed(chat(""))
	if _, err := a.Call(t.Context(), call); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second { // the idle time-out is 60 s
		t.Errorf("took %v", took)
	}
}
