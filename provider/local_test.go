package provider

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	lm "github.com/lighterman/lighterman"
)

func TestLocal_IsAServerOfOnesOwn(t *testing.T) {
	for address, want := range map[string]bool{
		"http://127.0.0.1:11434": true, "http://localhost:8000/v1": true, "http://[::1]:1": true, "http://10.0.0.7:8000/v1": true, "http://192.168.1.2": true,
		"http://ollama:11434": true, "http://gpu.local:1": true, "http://gpu.lan.internal": true,
		"https://api.openai.com/v1": false, "http://8.8.8.8": false, "": false, "://": false,
	} {
		if got := Local(address); got != want {
			t.Errorf("%q: %t, want %t", address, got, want)
		}
	}
}

// oneByOne is a server that answers one call at a time, a byte each second, 13 of them.
// After so many calls it says nothing any more.
type oneByOne struct {
	turn chan struct{}
	left int // under turn
}

func (s *oneByOne) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case s.turn <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if s.left--; s.left < 0 {
		<-r.Context().Done()
		<-s.turn
		return nil, r.Context().Err()
	}
	body, answer := io.Pipe()
	go func() {
		for range 13 {
			time.Sleep(time.Second)
			_, _ = answer.Write([]byte("x")) // the client may be gone
		}
		<-s.turn
		_ = answer.Close()
	}()
	return &http.Response{StatusCode: http.StatusOK, Body: body, Header: http.Header{}}, nil
}

// askMany asks a server so many times at once, and says how many were answered and why
// and when the last of the others ended.
func askMany(t *testing.T, address string, n, answers int) (good int, took time.Duration, last error) {
	t.Helper()
	client := NewClient(Options{BaseURL: address, Transport: &oneByOne{turn: make(chan struct{}, 1), left: answers}})
	began := time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			ctx := Watch(t.Context(), &Exchange{Streaming: true})
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := client.Do(r)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				good++
				return
			}
			last, took = Failure(context.WithoutCancel(ctx), err, false), time.Since(began)
		})
	}
	all.Wait()
	return good, took, last
}

// TestClient_ACallThatWaitsInALocalServersQueueIsNotLate: 40 prompts of 13 s gave 17
// answers and 90 time-outs.
func TestClient_ACallThatWaitsInALocalServersQueueIsNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if good, _, err := askMany(t, "http://127.0.0.1:11434", 40, 40); good != 40 {
			t.Errorf("%d of 40 were answered: %v", good, err)
		}
	})
}

// TestClient_ALocalServerThatFallsSilentIsLate: 60 s after its last byte, not later.
func TestClient_ALocalServerThatFallsSilentIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, took, err := askMany(t, "http://127.0.0.1:11434", 8, 6)
		if good != 6 || lm.KindOf(err) != lm.TimedOut || !errors.Is(err, errFirstByte) || took != 6*13*time.Second+time.Minute {
			t.Errorf("%d of 8 were answered, then %v after %v", good, err, took)
		}
	})
}

// TestClient_AHostedAPIHasNoQueue: whoever waits there waits for nothing.
func TestClient_AHostedAPIHasNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if good, took, err := askMany(t, "https://api.example.com", 8, 8); good != 5 || lm.KindOf(err) != lm.TimedOut || took != time.Minute {
			t.Errorf("%d of 8 were answered, then %v after %v", good, err, took)
		}
	})
}
