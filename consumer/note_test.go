package consumer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/rs/zerolog"
)

// logLines is a log that is read while it is written.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// of are the lines with a message.
func (l *logLines) of(t testing.TB, message string) (found []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if fields["message"] == message {
			found = append(found, fields)
		}
	}
	return found
}

// TestRetry_TheErrorOfEachAttemptIsKeptAndLoggedOnce: redacted, at warn, in the trace
// also after the operation has succeeded; a park's reason is kept whole.
func TestRetry_TheErrorOfEachAttemptIsKeptAndLoggedOnce(t *testing.T) {
	each(t, func(e *env) {
		var n calls
		var log logLines
		reason := "chat: all members cold, and that is said in more than forty bytes"
		id := e.enqueue(lm.NewTraceID(0, "op"))
		w := e.worker(n.of(func(_ context.Context, c lm.Claim) (lm.Result, error) {
			switch n.get(c.ID) {
			case 1:
				return lm.Result{}, lm.Errorf(lm.ProviderFailed, "HTTP 404 at http://host/chat/completions, PROMPT")
			case 2:
				return lm.Result{}, lm.Park(time.Now(), reason)
			case 3:
				return lm.Result{}, errors.New("no such page")
			}
			return lm.Result{}, nil
		}), Options{
			Log:    zerolog.New(&log).Level(zerolog.WarnLevel),
			Redact: func(text string, r *lm.Request) string { return strings.ReplaceAll(text, "PROMPT", string(r.Body)) },
		})
		e.ended(id)
		w.drain()
		var notes []string
		for _, note := range e.record(id).Notes {
			notes = append(notes, fmt.Sprintf("%d %t %s", note.Attempt, note.Counted, note.Text))
		}
		slices.Sort(notes)
		want := []string{`1 true provider: HTTP 404 at http://host/chat/completions, {"n":1}`, "2 false " + reason, "2 true handler: no such page"}
		if !slices.Equal(notes, want) {
			e.Errorf("notes %q, want %q", notes, want)
		}
		var logged []string
		for _, line := range log.of(e, "operation ends here") {
			logged = append(logged, fmt.Sprint(line["level"], " ", line["trace_id"], " ", line["attempt"], " ", line["reason"], " ", line["error"]))
		}
		want = []string{`warn 0-op 1 provider provider: HTTP 404 at http://host/chat/completions, {"n":1}`, "warn 0-op 2 handler handler: no such page"}
		if !slices.Equal(logged, want) {
			e.Errorf("logged %q, want %q", logged, want)
		}
		e.quiet()
	})
}
