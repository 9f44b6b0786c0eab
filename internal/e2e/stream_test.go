package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/provider/sim"
)

// said is what a process has written to standard output, its last line included.
func said(p *process) string {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	return strings.Join(p.out.lines, "\n") + string(p.out.part)
}

// TestStream_AWorkerIsKilledWhileItsModelSpeaks: enqueue --follow prints a model's
// words as they come. Its worker is killed in the middle; another one's model says
// them again, and the command prints each once. A reader who joined late and one who
// knew of the reset end with the result too.
func TestStream_AWorkerIsKilledWhileItsModelSpeaks(t *testing.T) {
	t.Parallel()
	f := newFleet(t, time.Second)
	victim := f.start(crew{slots: 4})
	args := []string{"enqueue", "--redis", f.redis.URL(), "--model", "sim-slow", "--follow", "Why do rivers bend?"}
	command := launch(t, "enqueue", binary(t, "lighterman"), args, nil, nil)
	until(t, patience, "the first words", func() bool { return strings.Count(said(command), " ") > 6 })
	words := said(command)
	notices, err := f.store.Newest(t.Context(), lua.Filter{}, 1)
	if err != nil || len(notices) != 1 {
		t.Fatalf("%v %v", notices, err)
	}
	id := notices[0].ID

	type read struct {
		text   string
		resets int
		result lm.Result
	}
	follow := func() (r read) {
		for frame, err := range f.client.Follow(t.Context(), id, "") {
			if err != nil {
				t.Errorf("follow: %v", err)
				return r
			}
			switch frame.Type { //nolint:exhaustive // no others
			case lm.FrameToken:
				r.text += frame.Data
			case lm.FrameReset:
				r.text, r.resets = "", r.resets+1
			case lm.FrameFinal:
				r.result = *frame.Result
			}
		}
		return r
	}
	early := make(chan read, 1)
	go func() { early <- follow() }()
	victim.kill()
	f.start(crew{slots: 4})
	r := <-early
	if r.text == "" || r.text != r.result.Text() || r.resets != 1 {
		t.Errorf("a reader holds %q after %d resets, the result is %+v", r.text, r.resets, r.result)
	}
	if late := follow(); late.text != r.text {
		t.Errorf("one that came late holds %q", late.text)
	}
	if code := command.exit(patience); code != 0 || strings.TrimSpace(said(command)) != r.text || !strings.HasPrefix(r.text, words) {
		t.Errorf("the command ended with %d and printed %q; it had printed %q", code, said(command), words)
	}
}

// TestStream_FollowedInTheMiddle: who begins to follow while a model speaks gets what
// it said before, and the rest as it comes.
func TestStream_FollowedInTheMiddle(t *testing.T) {
	t.Parallel()
	f := newFleet(t, time.Second)
	f.start(crew{slots: 4})
	a, err := f.client.Enqueue(t.Context(), lm.Request{Model: sim.Slow, Body: chatBody("Why do rivers bend?")})
	if err != nil {
		t.Fatal(err)
	}
	until(t, patience, "a fifth of the text", func() bool {
		for _, account := range f.readLedger()[a.ID] {
			return time.Since(time.Unix(0, account.events[0].TS)) > 2*time.Second
		}
		return false
	})
	text, early := "", ""
	for frame, err := range f.client.Follow(t.Context(), a.ID, "") {
		if err != nil {
			t.Fatal(err)
		}
		if frame.Type == lm.FrameToken {
			text += frame.Data
			if r := f.records([]lm.TraceID{a.ID}); len(r) == 1 && r[0].State == lm.Inferring {
				early = text
			}
		}
		if frame.Result != nil && (text != frame.Result.Text() || len(early) < 20 || !strings.HasPrefix(text, early)) {
			t.Errorf("read %q, of it %q while the model spoke; the result is %q", text, early, frame.Result.Text())
		}
	}
}

// TestEmbed_AWorkerIsKilledBetweenBatches: a killed worker costs the batches in
// flight; those that were saved are not asked for again, and the result is whole.
func TestEmbed_AWorkerIsKilledBetweenBatches(t *testing.T) {
	t.Parallel()
	f := newFleet(t, time.Second)
	config := filepath.Join(t.TempDir(), "lighterman.yaml")
	if err := os.WriteFile(config, []byte("pipeline: {embed_batch: 5}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	texts := make([]string, 200)
	for i := range texts {
		texts[i] = fmt.Sprint("text ", i)
	}
	body, err := json.Marshal(map[string]any{"input": texts})
	if err != nil {
		t.Fatal(err)
	}
	victim := f.start(crew{config: config, latency: 150 * time.Millisecond})
	id := f.enqueue(1, func(int) ask { return ask{lm.Request{Kind: "embed", Body: body}, lm.Succeeded, "embedding"} })[0]
	until(t, patience, "a third of the batches", func() bool { return len(f.readLedger()[id]) > 13 })
	victim.kill()
	f.start(crew{config: config, latency: 150 * time.Millisecond})
	f.awaitAll()
	result, err := f.client.Wait(t.Context(), id)
	var list struct {
		Data []struct {
			Index     int
			Embedding []float64
		}
	}
	if err != nil || json.Unmarshal(result.Body, &list) != nil || len(list.Data) != 200 {
		t.Fatalf("%v, %.200s", err, result.Body)
	}
	for i, d := range list.Data {
		if d.Index != i || len(d.Embedding) != 8 {
			t.Fatalf("element %d: %+v", i, d)
		}
	}
	steps := f.readLedger()[id]
	if n := repeatsOf(steps); len(steps) != 40 || n > 5 { // 4 in flight, one saved meanwhile
		t.Errorf("%d batches, %d repeated", len(steps), n)
	} else {
		t.Logf("40 batches, %d repeated", n)
	}
}
