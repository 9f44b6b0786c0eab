package redistest

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestProxy_CarriesAsItsLineSays: a narrow line takes as long as the bytes need, a
// delayed one as long as its round trip.
func TestProxy_CarriesAsItsLineSays(t *testing.T) {
	p := NewProxy(t, Start(t))
	rdb := p.Client()
	value := strings.Repeat("x", 1<<20)
	p.Shape(Line{BytesPerSecond: 4 << 20})
	began := time.Now()
	if err := rdb.Set(t.Context(), "k", value, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := rdb.Get(t.Context(), "k").Val(); got != value {
		t.Errorf("%d bytes came back, want %d", len(got), len(value))
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("2 MiB at 4 MiB/s took %v, want at least 0.5 s", took)
	}
	p.Shape(Line{Delay: 50 * time.Millisecond})
	began = time.Now()
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("a round trip took %v, want at least 0.1 s", took)
	}
}

// TestProxy_FrozenHoldsAndDelivers: a frozen line gives no answer and breaks
// nothing; what was sent runs when it thaws.
func TestProxy_FrozenHoldsAndDelivers(t *testing.T) {
	p := NewProxy(t, Start(t))
	rdb := p.Client()
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	p.Freeze()
	answered := make(chan error, 1)
	go func() { answered <- rdb.Incr(context.Background(), "n").Err() }()
	for p.Held() == 0 {
		select {
		case err := <-answered:
			t.Fatalf("answered while frozen: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	p.Thaw()
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	if n := rdb.Get(t.Context(), "n").Val(); n != "1" {
		t.Errorf("n is %q, want 1", n)
	}
}

// TestProxy_CutBreaksConnections: who had a connection sees it break, and can
// connect again.
func TestProxy_CutBreaksConnections(t *testing.T) {
	p := NewProxy(t, Start(t))
	conn := p.Client().Conn()
	defer conn.Close()
	if err := conn.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if n := p.Cut(); n != 1 {
		t.Errorf("%d connections cut, want 1", n)
	}
	if err := conn.Ping(t.Context()).Err(); err == nil {
		t.Error("the connection lives on")
	}
	if err := p.Client().Ping(t.Context()).Err(); err != nil {
		t.Errorf("a new connection: %v", err)
	}
}
