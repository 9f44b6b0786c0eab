package providertest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// Adapter is what Run tests.
type Adapter struct {
	Format Format
	// Open makes the adapter against a server's address.
	Open func(o provider.Options) (provider.API, error)
	// Lacks names what the API cannot do, of embed, prompt, tools, images, reasoning,
	// list: those tests are not run, and the matrix says so. It also names the usage
	// that the API does not count (cached, thoughts), the kinds of error that it has no
	// word for, and whole where every answer is asked streaming.
	Lacks []string
}

// What the tests send: neither may be in the text of any error.
const (
	CanaryKey    = "sk-canary-4f1c9a7e2b8d6350"
	CanaryPrompt = "the canary of the coal mine sings at dawn, and nobody may hear it"
)

// Run is the conformance suite. Each test has a server of its own; at the end the
// matrix of the error kinds that were seen is logged, and a kind that was not, and is
// not among what the API lacks, is an error.
func Run(t *testing.T, a Adapter) {
	t.Helper()
	s := &suite{Adapter: a, seen: map[lm.Kind]int{}}
	for _, part := range []struct {
		name string
		test func(*testing.T)
	}{
		{"chat", s.chat}, {"request", s.request}, {"texts", s.texts}, {"finish", s.finish}, {"tools", s.tools}, {"reasoning", s.reasoning}, {"images", s.images},
		{"prompt", s.prompt}, {"embed", s.embed}, {"list", s.list}, {"probe", s.probe},
		{"errors", s.errors}, {"faults", s.faults}, {"truncated", s.truncated}, {"garbage", s.garbage}, {"huge", s.huge}, {"network", s.network},
		{"timeouts", s.timeouts}, {"cancel", s.cancel}, {"concurrent", s.concurrent},
	} {
		t.Run(part.name, func(t *testing.T) {
			s.parts++
			part.test(t)
		})
	}
	s.matrix(t)
}

// parts is how many tests there are.
const parts = 20

type suite struct {
	Adapter

	parts int // that were run

	mu   sync.Mutex
	seen map[lm.Kind]int // errors of each kind that came as they were to
}

func (s *suite) lacks(what string) bool { return slices.Contains(s.Lacks, what) }

func (s *suite) need(t *testing.T, what string) {
	if s.lacks(what) {
		t.Skipf("%s lacks %s", s.Format.Name(), what)
	}
}

// start opens the adapter against a server that ends with the test. A request that
// the format could not read fails the test.
func (s *suite) start(t *testing.T, edit ...func(*provider.Options)) (*Server, provider.API) {
	t.Helper()
	server := NewServer(s.Format)
	t.Cleanup(func() {
		for _, err := range server.Strange() {
			t.Errorf("the server could not read: %v", err)
		}
		server.Close()
	})
	o := provider.Options{BaseURL: server.URL, Key: CanaryKey}
	for _, e := range edit {
		e(&o)
	}
	api, err := s.Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return server, api
}

// frames collects what is streamed; Stream may be nil to ask for the whole answer.
type frames struct {
	mu  sync.Mutex
	all []lm.Frame
}

func (f *frames) add(one lm.Frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, one)
}

func (f *frames) text(kind lm.FrameType) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, one := range f.all {
		if one.Type == kind {
			b.WriteString(one.Data)
		}
	}
	return b.String()
}

func (f *frames) of(kind lm.FrameType) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, one := range f.all {
		if one.Type == kind {
			out = append(out, one.Data)
		}
	}
	return out
}

func ask(question string) lm.Call {
	body := compact(object{"model": "pool", "messages": []object{{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}}, "max_tokens": 300})
	return lm.Call{Kind: "chat", Model: "alpha", Body: json.RawMessage(body), Key: "t/1", Attempt: 1}
}

// both makes the same call whole and streamed and hands each to check.
func (s *suite) both(t *testing.T, call lm.Call, reply Reply, check func(t *testing.T, got said, answer lm.Answer)) {
	t.Helper()
	for _, streamed := range []bool{false, true} {
		t.Run(map[bool]string{false: "whole", true: "streamed"}[streamed], func(t *testing.T) {
			server, api := s.start(t)
			server.Push(Say(reply))
			got := &frames{}
			c := call
			if streamed {
				c.Stream = got.add
			}
			answer, err := api.Call(t.Context(), c)
			if err != nil {
				t.Fatalf("call: %v", err)
			}
			out := read(t, answer)
			check(t, out, answer)
			if streamed {
				agree(t, got, out, answer)
			}
		})
	}
}

// agree checks that what was streamed is what was answered.
func agree(t *testing.T, got *frames, out said, answer lm.Answer) {
	t.Helper()
	if text := got.text(lm.FrameToken); text != out.Text {
		t.Errorf("token frames are %q, the answer %q", text, out.Text)
	}
	if text := got.text(lm.FrameReasoning); text != out.Reasoning {
		t.Errorf("reasoning frames are %q, the answer's reasoning %q", text, out.Reasoning)
	}
	calls := got.of(lm.FrameToolCall)
	if len(calls) != len(out.Calls) {
		t.Fatalf("%d tool_call frames for %d calls: %q", len(calls), len(out.Calls), calls)
	}
	for i, frame := range calls {
		var c wireCall
		if err := json.Unmarshal([]byte(frame), &c); err != nil || c != out.Calls[i] {
			t.Errorf("tool_call frame %d is %s, want %+v (%v)", i, frame, out.Calls[i], err)
		}
	}
	usage := got.of(lm.FrameUsage)
	want := fmt.Sprintf("%d/%d", answer.Usage.Input, answer.Usage.Output)
	var u wireUsage
	if len(usage) != 1 || json.Unmarshal([]byte(usage[0]), &u) != nil || fmt.Sprintf("%d/%d", u.Input, u.Output) != want {
		t.Errorf("usage frames %q, want one of %s", usage, want)
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if n := len(got.all); n > 0 && got.all[n-1].Type != lm.FrameUsage {
		t.Errorf("the last frame is %s, want usage", got.all[n-1].Type)
	}
}

// said is an answer as a reader of OpenAI JSON sees it.
type said struct {
	Text      string
	Reasoning string
	Finish    string
	Calls     []wireCall
	Usage     wireUsage
}

type wireCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type wireUsage struct {
	Input  int64 `json:"prompt_tokens"`
	Output int64 `json:"completion_tokens"`
	Total  int64 `json:"total_tokens"`
}

func read(t *testing.T, a lm.Answer) said {
	t.Helper()
	var w struct {
		Object  string `json:"object"`
		ID      string `json:"id"`
		Model   string `json:"model"`
		Choices []struct {
			Text    string `json:"text"`
			Finish  string `json:"finish_reason"`
			Message struct {
				Role     string     `json:"role"`
				Content  *string    `json:"content"`
				Thoughts string     `json:"reasoning_content"`
				Thinking string     `json:"reasoning"`
				Calls    []wireCall `json:"tool_calls"`
			} `json:"message"`
		} `json:"choices"`
		Usage wireUsage `json:"usage"`
	}
	if err := json.Unmarshal(a.Body, &w); err != nil {
		t.Fatalf("the answer is no completion: %v\n%s", err, a.Body)
	}
	if len(w.Choices) != 1 || w.ID == "" || w.Model == "" || a.Model == "" {
		t.Fatalf("want one choice, an id and a model: %s (model %q)", a.Body, a.Model)
	}
	c := w.Choices[0]
	if c.Message.Thinking == c.Message.Thoughts {
		c.Message.Thinking = "" // the same under both its names
	}
	out := said{Text: c.Text, Reasoning: c.Message.Thoughts + c.Message.Thinking, Finish: c.Finish, Calls: c.Message.Calls, Usage: w.Usage}
	switch w.Object {
	case "chat.completion":
		if c.Message.Role != "assistant" {
			t.Errorf("role %q", c.Message.Role)
		}
		if c.Message.Content != nil {
			out.Text = *c.Message.Content
		} else if len(out.Calls) == 0 {
			t.Errorf("content is null without a tool call: %s", a.Body)
		}
	case "text_completion":
	default:
		t.Errorf("object %q", w.Object)
	}
	for _, call := range out.Calls {
		if call.Type != "function" {
			t.Errorf("tool call of type %q", call.Type)
		}
	}
	return out
}

// failed checks an error: its kind, that it is an *Error, and that it tells no secret.
func (s *suite) failed(t *testing.T, err error, kinds ...lm.Kind) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v", kinds)
	}
	e, ok := err.(*lm.Error) //nolint:errorlint // the promise is that it is one itself
	if !ok {
		t.Fatalf("%T is no *lighterman.Error: %v", err, err)
	}
	if slices.Contains(kinds, e.Kind) {
		s.mu.Lock()
		s.seen[e.Kind]++
		s.mu.Unlock()
	} else {
		t.Errorf("kind %s, want %v: %v", e.Kind, kinds, err)
	}
	text := fmt.Sprintf("%v %+v %s", err, err, compact(e))
	if strings.Contains(text, CanaryKey) || strings.Contains(text, CanaryKey[:16]) {
		t.Errorf("the credential is in the error: %s", text)
	}
	if strings.Contains(text, CanaryPrompt) || strings.Contains(text, CanaryPrompt[10:40]) {
		t.Errorf("the prompt is in the error: %s", text)
	}
	if len(err.Error()) > 1000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// within fails the test where f takes longer than any machine needs.
func within(t *testing.T, d time.Duration, f func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	begin := time.Now()
	f(ctx)
	if took := time.Since(begin); took >= d {
		t.Errorf("it took %v, want less than %v", took, d)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		}
	}
}
