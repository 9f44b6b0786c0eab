package pipeline_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/lighterman/lighterman/provider/sim"
)

func embedRequest(n int, more ...any) lm.Request {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprint("text <", i, "> & more")
	}
	return lm.Request{Kind: "embed", Body: body(append([]any{"input", texts}, more...)...)}
}

// embedder is a worker with batches of so many inputs.
func (w *world) embedder(batch int, change func(*rig)) *rig {
	w.Helper()
	return w.rig(func(r *rig) {
		r.opts.EmbedBatch = batch
		if change != nil {
			change(r)
		}
	})
}

// list is an embedding list as OpenAI writes it.
type list struct {
	Object string
	Model  string
	Data   []struct {
		Object    string
		Index     int
		Embedding json.RawMessage
	}
	Usage struct {
		Prompt int64 `json:"prompt_tokens"`
		Total  int64 `json:"total_tokens"`
	}
}

func (w *world) list(r lm.Result) (l list) {
	w.Helper()
	if err := json.Unmarshal(r.Body, &l); err != nil {
		w.Fatalf("%v: %.200s", err, r.Body)
	}
	return l
}

// Many inputs go in batches, and the result is that of one call.
func TestEmbed_BatchesAreOneResult(t *testing.T) {
	each(t, func(w *world) {
		req := embedRequest(10, "dimensions", 8, "own", map[string]any{"a": "<b>&"})
		whole := w.list(w.finish(w.embedder(10, nil), w.claim(w.enqueue(req))))
		r := w.embedder(3, nil)
		result := w.finish(r, w.claim(w.enqueue(req)))
		got := w.list(result)
		if diff := cmp.Diff(whole.Data, got.Data); diff != "" || got.Object != "list" || got.Model != whole.Model {
			w.Error(diff, got.Object, got.Model)
		}
		if got.Usage.Prompt != result.Usage.Input || got.Usage.Total != got.Usage.Prompt || result.Usage.Calls != 4 || got.Usage.Prompt < whole.Usage.Prompt {
			w.Errorf("usage %+v, of the operation %+v", got.Usage, result.Usage)
		}
		if diff := cmp.Diff(map[string]int{"embed:0": 1, "embed:1": 1, "embed:2": 1, "embed:3": 1}, r.calls.all()); diff != "" {
			w.Error(diff)
		}
		slices.Sort(r.calls.bodies)
		for i, n := range []int{3, 3, 3, 1} {
			var b struct {
				Input      []string
				Dimensions int
			}
			raw := r.calls.bodies[i]
			if json.Unmarshal([]byte(raw), &b) != nil || len(b.Input) != n && len(b.Input) != 3 && len(b.Input) != 1 || b.Dimensions != 8 || !strings.Contains(raw, `"own":{"a":"`) {
				w.Errorf("batch %s", raw)
			}
		}
	})
}

// What fits into one call is one, with the body as it came and no write more than
// a chat's.
func TestEmbed_OneCallIsNoMore(t *testing.T) {
	w := onRedis(t)
	for _, b := range []string{
		`{ "input": "one",  "x": "<&>" }`, `{"input":["a", "b"]}`, `{"input":[1, 2, 3]}`, `{"input":[[1,2],[3]], "encoding_format": "float"}`,
	} {
		r := w.embedder(2, nil)
		result := w.finish(r, w.claim(w.enqueue(lm.Request{Kind: "embed", Body: []byte(b)})))
		if r.calls.bodies[0] != b || len(r.calls.bodies) != 1 || result.Usage.Calls != 1 {
			t.Errorf("%s: called with %q", b, r.calls.bodies)
		}
		if r.blade.n != 1 {
			t.Errorf("%s: %d scripts", b, r.blade.n)
		}
	}
	r := w.embedder(2, nil)
	w.finish(r, w.claim(w.enqueue(lm.Request{Kind: "embed", Body: []byte(`{"input":[[1,2],[3],[4,5]]}`)})))
	slices.Sort(r.calls.bodies)
	if diff := cmp.Diff([]string{`{"input":[[1,2],[3]]}`, `{"input":[[4,5]]}`}, r.calls.bodies); diff != "" {
		t.Error(diff)
	}
}

// A worker that dies at any of its writes costs the batches in flight and no other.
func TestEmbed_KilledAtAnyWriteRepeatsNothingThatWasSaved(t *testing.T) {
	each(t, func(w *world) {
		req := embedRequest(13)
		want := w.list(w.finish(w.embedder(2, nil), w.claim(w.enqueue(req))))
		deaths, restored := 0, 0
		for _, after := range []bool{false, true} {
			for n := 1; n < 30; n++ {
				id := w.enqueue(req)
				first := w.embedder(2, nil)
				first.blade.at, first.blade.after = n, after
				claim := w.claim(id)
				result, err := first.Handle(ctx, claim)
				if !first.blade.fallen() {
					w.end(claim, result, err)
					break
				}
				if !errors.Is(err, errKilled) {
					w.Fatal(err)
				}
				deaths++
				before := first.calls.all()
				claim = w.takeover(id)
				saved := stepsIn(w, claim)
				restored += len(saved)
				second := w.embedder(2, func(r *rig) { r.calls = first.calls })
				if diff := cmp.Diff(want, w.list(w.finish(second, claim))); diff != "" {
					w.Errorf("write %d: %s", n, diff)
				}
				for name, calls := range second.calls.all() {
					if saved[name] && calls != before[name] || calls > 2 {
						w.Errorf("write %d (after %t): %s was called %d times", n, after, name, calls)
					}
				}
			}
		}
		if deaths < 12 || restored < 20 {
			w.Errorf("%d deaths, %d batches restored: this proves nothing", deaths, restored)
		}
	})
}

// members plays a pool of models whose vectors name them: a call of the pool goes to
// the first that has not failed for good.
type members struct {
	mu     sync.Mutex
	names  []string
	broken map[string]error
	calls  []string                         // whom each call named
	before func(c lm.Call, n int, m string) // called with the number of the call
	most   int                              // calls at the same time
	now    int
}

func (m *members) Call(_ context.Context, c lm.Call) (lm.Answer, error) {
	m.mu.Lock()
	m.calls = append(m.calls, c.Model)
	n := len(m.calls)
	m.now++
	m.most = max(m.most, m.now)
	m.mu.Unlock()
	if m.before != nil {
		m.before(c, n, c.Model)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now--
	who := c.Model
	if who == "pool" {
		for _, who = range m.names {
			if m.broken[who] == nil {
				break
			}
		}
	}
	if err := m.broken[who]; err != nil {
		return lm.Answer{}, err
	}
	var b struct{ Input []string }
	if err := json.Unmarshal(c.Body, &b); err != nil {
		return lm.Answer{}, err
	}
	data := make([]map[string]any, len(b.Input))
	for i, text := range b.Input {
		data[len(data)-1-i] = map[string]any{"object": "embedding", "index": i, "embedding": base64.StdEncoding.EncodeToString([]byte(who + " " + text))}
	}
	return lm.Answer{
		Model: who, Usage: lm.Usage{Calls: 1, Input: int64(len(b.Input))},
		Body: body("object", "list", "model", who, "data", data, "usage", map[string]int{"prompt_tokens": len(b.Input), "total_tokens": len(b.Input)}),
	}, nil
}

func (m *members) fail(who string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken[who] = err
}

func newMembers(names ...string) *members {
	return &members{names: names, broken: map[string]error{}}
}

// oneModel checks that all vectors are of one model, in order, and says of which.
func (w *world) oneModel(l list, n int) string {
	w.Helper()
	if len(l.Data) != n || l.Usage.Prompt != int64(n) {
		w.Errorf("%d vectors, %d tokens, want %d", len(l.Data), l.Usage.Prompt, n)
	}
	for i, d := range l.Data {
		var packed string
		_ = json.Unmarshal(d.Embedding, &packed)
		said, _ := base64.StdEncoding.DecodeString(packed)
		if want := fmt.Sprint(l.Model, " text <", i, "> & more"); string(said) != want || d.Index != i || d.Object != "embedding" {
			w.Errorf("vector %d is %q, want %q", i, said, want)
		}
	}
	return l.Model
}

// A member that breaks at any moment, in any way, and even where its worker dies
// while another member does anew what it had done: one result is of one model
// (docs/architecture.md).
func TestEmbed_AFailoverNeverMixesModels(t *testing.T) {
	for name, failure := range map[string]error{
		"down":         lm.Errorf(lm.ProviderFailed, "HTTP 500"),
		"unauthorized": lm.Errorf(lm.Unauthorized, "HTTP 401"),
		"cold":         lm.Park(time.Now().Add(time.Hour), "a: circuit_open"),
	} {
		t.Run(name, func(t *testing.T) {
			w := onMini(t)
			models := map[string]int{}
			for at := 1; at <= 9; at++ {
				for _, kill := range []int{0, 1, 2, 4, 6, 8} {
					m := newMembers("a", "b")
					m.before = func(_ lm.Call, n int, _ string) {
						if n == at {
							m.fail("a", failure)
						}
					}
					id := w.enqueue(embedRequest(13, "model", "pool"))
					r := w.embedder(2, func(r *rig) { r.opts.Caller = m })
					r.blade.at = kill // 0: never
					claim := w.claim(id)
					result, err := r.Handle(ctx, claim)
					if r.blade.fallen() {
						claim = w.takeover(id)
						result, err = w.embedder(2, func(r *rig) { r.opts.Caller = m }).Handle(ctx, claim)
					}
					w.end(claim, result, err)
					models[w.oneModel(w.list(result), 13)]++
				}
			}
			if models["a"] < 3 || models["b"] < 15 {
				t.Errorf("%v: this proves nothing", models)
			}
		})
	}
}

// The member that answered first is asked by its own name, and the pool again only
// when that one fails.
func TestEmbed_WhomIsAsked(t *testing.T) {
	w := onMini(t)
	m := newMembers("a", "b")
	r := w.embedder(2, func(r *rig) { r.opts.Caller = m })
	w.finish(r, w.claim(w.enqueue(embedRequest(8, "model", "pool"))))
	if diff := cmp.Diff([]string{"pool", "a", "a", "a"}, m.calls); diff != "" {
		t.Error(diff)
	}
	// The input's own fault is no reason to ask another one, nor is a model without a pool.
	for _, tt := range []struct {
		model string
		err   error
		calls int
	}{{"pool", lm.Errorf(lm.InvalidRequest, "no"), 2}, {"a", lm.Errorf(lm.ProviderFailed, "no"), 2}, {"pool", errStopped, 2}} {
		m := newMembers("a", "b")
		m.before = func(_ lm.Call, n int, _ string) {
			if n == 2 {
				m.fail("a", tt.err)
			}
		}
		r := w.embedder(6, func(r *rig) { r.opts.Caller = m })
		_, err := r.Handle(ctx, w.claim(w.enqueue(embedRequest(12, "model", tt.model))))
		if !errors.Is(err, tt.err) || len(m.calls) != tt.calls {
			t.Errorf("%v of %s: %v after %v", tt.err, tt.model, err, m.calls)
		}
	}
	// All members in turn: an error, no loop.
	m = newMembers("a", "b", "c", "d", "e", "f")
	m.before = func(_ lm.Call, _ int, who string) {
		if who != "pool" {
			m.fail(who, lm.Errorf(lm.ProviderFailed, "%s is down", who))
		}
	}
	r = w.embedder(6, func(r *rig) { r.opts.Caller = m })
	if _, err := r.Handle(ctx, w.claim(w.enqueue(embedRequest(12, "model", "pool")))); lm.KindOf(err) != lm.ProviderFailed || len(m.calls) != 8 {
		t.Errorf("%v after %v", err, m.calls)
	}
}

// Four calls at a time, all of them counted by the operation.
func TestEmbed_SomeAtATime(t *testing.T) {
	w := onMini(t)
	m := newMembers("a")
	var meet sync.WaitGroup
	meet.Add(4)
	m.before = func(_ lm.Call, n int, _ string) {
		if n >= 2 && n <= 5 {
			meet.Done()
			meet.Wait()
		}
	}
	r := w.embedder(1, func(r *rig) { r.opts.Caller = m })
	result := w.finish(r, w.claim(w.enqueue(embedRequest(30, "model", "pool"))))
	if m.most != 4 || result.Usage.Calls != 30 || result.Usage.Input != 30 {
		t.Errorf("%d at a time, usage %+v", m.most, result.Usage)
	}
}

// A drain hands over behind the batches that run, which are saved.
func TestEmbed_ADrainHandsOver(t *testing.T) {
	each(t, func(w *world) {
		m := newMembers("a")
		draining := make(chan struct{})
		m.before = func(_ lm.Call, n int, _ string) {
			if n == 5 {
				close(draining)
			}
			if n > 1 {
				<-draining
			}
		}
		id := w.enqueue(embedRequest(20, "model", "pool"))
		claim := w.claim(id)
		claim.Draining = draining
		change := func(r *rig) { r.opts.Caller = m }
		if _, err := w.embedder(2, change).Handle(ctx, claim); !errors.Is(err, lm.ErrHandOver) {
			w.Fatal(err)
		}
		if n := len(m.calls); n != 5 {
			w.Errorf("%d calls", n)
		}
		w.oneModel(w.list(w.finish(w.embedder(2, change), w.takeover(id))), 20)
		if n := len(m.calls); n != 10 {
			w.Errorf("%d calls for 10 batches", n)
		}
	})
}

// Batches that the checkpoint has no room for are repeated after a takeover, and the
// operation ends.
func TestEmbed_MoreThanACheckpointHolds(t *testing.T) {
	each(t, func(w *world) {
		small := func(r *rig) { r.opts.Codec = codec(w, checkpoint.Options{MaxBytes: 900}) }
		id := w.enqueue(embedRequest(20))
		first := w.embedder(2, small)
		first.blade.at = 5
		if _, err := first.Handle(ctx, w.claim(id)); !errors.Is(err, errKilled) && err != nil {
			w.Fatal(err)
		}
		second := w.embedder(2, small)
		if l := w.list(w.finish(second, w.takeover(id))); len(l.Data) != 20 {
			w.Errorf("%d vectors", len(l.Data))
		}
		if n := len(second.calls.all()); n < 6 || n > 10 {
			w.Errorf("%d calls", n)
		}
	})
}

// A result that would be too large is refused when the first batch shows it, with
// what would do.
func TestEmbed_TooLargeAResult(t *testing.T) {
	w := onMini(t)
	var calls atomic.Int32
	vector := json.RawMessage("[" + strings.Repeat("0.0123456789,", 1<<18) + "0]") // 3.4 MB
	item := func(i int) map[string]any { return map[string]any{"index": i, "embedding": vector} }
	answer := lm.Answer{Body: body("data", []any{item(0), item(1)}), Model: "a"}
	r := w.embedder(2, func(r *rig) {
		r.opts.Caller = callerFunc(func(context.Context, lm.Call) (lm.Answer, error) {
			calls.Add(1)
			return answer, nil
		})
	})
	_, err := r.Handle(ctx, w.claim(w.enqueue(embedRequest(40, "model", "pool"))))
	if lm.KindOf(err) != lm.InvalidRequest || calls.Load() != 1 || !strings.Contains(err.Error(), "at most 14 in one operation") || !strings.Contains(err.Error(), "base64") {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
	id := w.enqueue(embedRequest(14, "model", "pool"))
	if result, err := r.Handle(ctx, w.claim(id)); err != nil || len(result.Body) < 47_000_000 {
		t.Errorf("%v, %d bytes", err, len(result.Body))
	}
}

func TestEmbed_BadInputs(t *testing.T) {
	w := onMini(t)
	r := w.embedder(2, nil)
	many := `{"input":[` + strings.Repeat(`"a",`, 1<<14) + `"a"]}`
	for b, want := range map[string]string{
		`[]`:                       "want an embeddings object",
		`null`:                     "want an embeddings object",
		`{}`:                       "body.input: missing",
		`{"input":null}`:           "body.input: missing",
		`{"input":{}}`:             "body.input: want a text, a list of texts",
		`{"input":7}`:              "body.input: want a text, a list of texts",
		`{"input":""}`:             "body.input: an empty text",
		`{"input":[]}`:             "body.input: empty",
		`{"input":["a",""]}`:       "body.input[1]: an empty text",
		`{"input":["a","b",null]}`: "body.input[2]: want a text, as the first one is",
		`{"input":["a",[1]]}`:      "body.input[1]: want a text, as the first one is",
		`{"input":[[1],"a"]}`:      "body.input[1]: want a list of token numbers, as the first one is",
		`{"input":[[1],[]]}`:       "body.input[1]: empty",
		`{"input":[[1],[1,"x"]]}`:  "body.input[1][1]: want a token number",
		`{"input":[1,2,"x"]}`:      "body.input[2]: want a token number",
		`{"input":[1,-2]}`:         "body.input[1]: want a token number",
		`{"input":[{"text":"a"}]}`: "body.input[0]: want a text or a list of token numbers",
		`{"input":[true]}`:         "body.input[0]: want a text or a list of token numbers",
		many:                       "16385 inputs, at most 16384",
	} {
		_, err := r.Handle(ctx, w.claim(w.enqueue(lm.Request{Kind: "embed", Body: []byte(b)})))
		if lm.KindOf(err) != lm.InvalidRequest || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", b, err, want)
		}
	}
	if n := len(r.calls.all()); n != 0 {
		t.Errorf("%d calls", n)
	}
}

// An answer that does not have a vector for each input is the provider's failure.
func TestEmbed_BadAnswers(t *testing.T) {
	w := onMini(t)
	for _, answer := range []string{
		`[]`, `{}`, `{"data":[{"index":0,"embedding":[1]}]}`, `{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}`,
		`{"data":[{"index":0,"embedding":[1]},{"index":2,"embedding":[1]}]}`, `{"data":[{"index":0,"embedding":[1]},{"index":-1,"embedding":[1]}]}`,
		`{"data":[{"index":0,"embedding":[1]},{"index":1}]}`, `{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":null}]}`,
	} {
		r := w.embedder(2, func(r *rig) {
			r.opts.Caller = callerFunc(func(context.Context, lm.Call) (lm.Answer, error) { return lm.Answer{Body: []byte(answer)}, nil })
		})
		if _, err := r.Handle(ctx, w.claim(w.enqueue(embedRequest(4, "model", "m")))); lm.KindOf(err) != lm.ProviderFailed {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

// A list of prompts is one call, as it came, and comes back as it went.
func TestPrompt_GoesAsItIs(t *testing.T) {
	w := onMini(t)
	r := w.rig(func(r *rig) {
		r.opts.Caller = callerFunc(func(_ context.Context, c lm.Call) (lm.Answer, error) {
			r.calls.body(c.Body)
			return lm.Answer{Body: []byte(`{"choices":[{"text":"one","index":0},{"text":"two","index":1}]}`)}, nil
		})
	})
	b := `{"prompt":["a",  "<b>"], "suffix":"x"}`
	result := w.finish(r, w.claim(w.enqueue(lm.Request{Kind: "prompt", Body: []byte(b)})))
	if r.calls.bodies[0] != b || !strings.Contains(string(result.Body), `"two"`) || result.Text() != "one" {
		t.Errorf("%s: %s", r.calls.bodies, result.Body)
	}
}

// Images pass through rounds of tools untouched.
func TestChat_ImagesPassThrough(t *testing.T) {
	w := onMini(t)
	r := w.rig(func(r *rig) { lookups(w, r.tools) })
	parts := `[{"type":"text","text":"a <b> & c"},{"type":"image_url","image_url":{"url":"https://example.com/a.png?x=1&y=<2>","detail":"low"}},` +
		`{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]`
	id := w.enqueue(lm.Request{Model: sim.Tools, Body: []byte(`{"messages":[{"role":"user","content":` + parts + `}]}`)})
	w.finish(r, w.claim(id))
	if len(r.calls.bodies) != 4 {
		t.Fatalf("%d calls", len(r.calls.bodies))
	}
	for _, b := range r.calls.bodies {
		if !strings.Contains(b, parts) {
			t.Errorf("%s", b)
		}
	}
}
