package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tally counts what a worker's handler saw.
type tally struct {
	mu sync.Mutex
	tallied
}

type tallied struct {
	Handled int     `json:"handled"`
	First   int64   `json:"first_unix_ns"`
	Waited  []int64 `json:"waited_ns,omitempty"` // per operation, in the order of arrival
}

// saw counts operations that a handler was given.
func (t *tally) saw(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.First == 0 {
		t.First = time.Now().UnixNano()
	}
	t.Handled += n
}

// waited notes how old an operation was when its handler got it.
func (t *tally) waited(body []byte) {
	now := time.Now().UnixNano()
	var stamp struct {
		At int64 `json:"at"`
	}
	if json.Unmarshal(body, &stamp) != nil || stamp.At == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Waited = append(t.Waited, now-stamp.At)
}

func (t *tally) read() tallied {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tallied
}

// requestBytes is the size of every request.
const requestBytes = 200

// stamped is a request that says when it was made.
func stamped() string {
	body := `{"at":` + strconv.FormatInt(time.Now().UnixNano(), 10) + `,"pad":"`
	return body + strings.Repeat("x", requestBytes-len(body)-2) + `"}`
}

// chatBody is a plain chat for the simulated model.
func chatBody() string {
	body := `{"model":"sim","messages":[{"role":"user","content":"`
	return body + strings.Repeat("Why? ", 40)[:requestBytes-len(body)-4] + `"}]}`
}

// cpuMicros is the CPU time that this process has used.
func cpuMicros() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
}
