package providertest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// plenty is longer than any test takes on a machine under load.
const plenty = 30 * time.Second

func (s *suite) errors(t *testing.T) {
	for _, streamed := range []bool{false, true} {
		server, api := s.start(t)
		begin := time.Now()
		for _, e := range s.Format.Errors() {
			t.Run(fmt.Sprintf("%s streamed=%t", e.Name, streamed), func(t *testing.T) {
				server.Push(Fail(e))
				call := ask(CanaryPrompt)
				got := &frames{}
				if streamed {
					call.Stream = got.add
				}
				_, err := api.Call(t.Context(), call)
				s.failed(t, err, e.Kind)
				failure := lm.AsError(err)
				if slack := time.Second + time.Since(begin); failure.RetryAfter > e.RetryAfter+time.Second || failure.RetryAfter < e.RetryAfter-slack || e.RetryAfter > 0 && failure.RetryAfter <= 0 {
					t.Errorf("RetryAfter %v, want %v", failure.RetryAfter, e.RetryAfter)
				}
				if len(got.all) > 0 {
					t.Errorf("frames of an error: %+v", got.all)
				}
			})
		}
		if n, want := len(server.Calls()), len(s.Format.Errors()); n != want {
			t.Errorf("%d requests for %d calls: an SDK tried again", n, want)
		}
	}
}

func (s *suite) faults(t *testing.T) {
	for _, f := range s.Format.Faults(Asked{Kind: "chat", Model: "alpha", Stream: true}) {
		t.Run(f.Name, func(t *testing.T) {
			server, api := s.start(t)
			server.Push(Fault(f))
			call := ask(CanaryPrompt)
			call.Stream = (&frames{}).add
			_, err := api.Call(t.Context(), call)
			s.failed(t, err, f.Kind)
		})
	}
}

// truncated cuts a short stream at every byte, cleanly and by a reset: before the
// end of the terminal piece the answer was interrupted, behind it it is all there.
// Where only line breaks of that piece are missing both will do.
func (s *suite) truncated(t *testing.T) {
	reply := Reply{Text: "Hi you", Usage: lm.Usage{Input: 3, Output: 2}}
	total, marker, end := 0, 0, 0
	for _, p := range s.Format.Stream(Asked{Kind: "chat", Model: "alpha", Stream: true, Question: "short"}, reply) {
		if p.Terminal {
			marker, end = total+len(strings.TrimRight(p.Data, "\r\n")), total+len(p.Data)
		}
		total += len(p.Data)
	}
	if end == 0 {
		t.Fatal("no piece is terminal")
	}
	server, api := s.start(t)
	for _, how := range []End{EndEOF, EndReset} {
		for n := 0; n <= total; n++ {
			server.Push(Step{Reply: &reply, Limit: n, End: how})
			got := &frames{}
			call := ask("short")
			call.Stream = got.add
			answer, err := api.Call(t.Context(), call)
			switch {
			case n < marker || n < end && err != nil:
				if s.failed(t, err, lm.StreamInterrupted); t.Failed() {
					t.Fatalf("cut after %d of %d bytes (end %d), how %d", n, total, how, end)
				}
				if !strings.HasPrefix(reply.Text, got.text(lm.FrameToken)) {
					t.Fatalf("cut after %d: frames %q", n, got.text(lm.FrameToken))
				}
			case err != nil:
				t.Fatalf("cut after %d of %d bytes, behind the end at %d, how %d: %v", n, total, end, how, err)
			default:
				if out := read(t, answer); out.Text != reply.Text || got.text(lm.FrameToken) != reply.Text {
					t.Fatalf("cut after %d of %d bytes: %q", n, total, out.Text)
				}
			}
		}
	}
	t.Logf("%s: cut at each of %d bytes, cleanly and by a reset; the end is at %d", s.Format.Name(), total, end)
	for _, how := range []End{EndEOF, EndReset} { // an answer that is not streamed
		size := len(s.Format.Whole(Asked{Kind: "chat", Model: "alpha", Question: "short"}, reply).Body)
		for n := 0; n < size; n += 1 + size/40 {
			server.Push(Step{Reply: &reply, Limit: n, End: how})
			_, err := api.Call(t.Context(), ask("short"))
			s.failed(t, err, lm.StreamInterrupted, lm.ProviderFailed)
		}
	}
}

func (s *suite) garbage(t *testing.T) {
	server, api := s.start(t)
	for _, streamed := range []bool{false, true} {
		call := ask(CanaryPrompt)
		steps := []Step{Garbage(), {Answer: &Response{Body: ""}}, {Answer: &Response{Body: "null"}}, {Answer: &Response{Body: "{}"}}, {Answer: &Response{Body: "[1,2"}}}
		if streamed {
			call.Stream = (&frames{}).add
			good := s.Format.Stream(Asked{Kind: "chat", Model: "alpha", Stream: true}, usual)
			steps = append(steps, Step{Stream: append(append([]Piece(nil), good[:len(good)/2]...), Piece{Data: "\x00\xff\xfe{]} no such thing\r\n\r\n{{{{"})})
		}
		for i, step := range steps {
			server.Push(step)
			_, err := api.Call(t.Context(), call)
			if s.failed(t, err, lm.ProviderFailed, lm.StreamInterrupted); t.Failed() {
				t.Fatalf("garbage %d, streamed %t", i, streamed)
			}
		}
	}
}

// huge: an answer without an end is not read to its end.
func (s *suite) huge(t *testing.T) {
	const most = provider.MaxAnswer + 16<<20 // and what the kernel's buffers hold
	for _, streamed := range []bool{false, true} {
		server, api := s.start(t)
		server.Push(HugeLine(512 << 20))
		call := ask(CanaryPrompt)
		if streamed {
			call.Stream = func(lm.Frame) {}
		}
		_, err := api.Call(t.Context(), call)
		s.failed(t, err, lm.InvalidRequest, lm.ProviderFailed, lm.StreamInterrupted)
		until(t, "the server sees that the client left", func() bool { return server.Calls()[0].Gone })
		if sent := server.Calls()[0].Sent; sent > most {
			t.Errorf("streamed %t: %d MiB were read", streamed, sent>>20)
		}
	}
}

func (s *suite) network(t *testing.T) {
	server, api := s.start(t)
	server.Close()
	for _, streamed := range []bool{false, true} {
		call := ask(CanaryPrompt)
		if streamed {
			call.Stream = func(lm.Frame) {}
		}
		_, err := api.Call(t.Context(), call)
		s.failed(t, err, lm.ProviderFailed)
	}
	s.failed(t, api.Probe(t.Context()), lm.ProviderFailed)

	elsewhere := NewServer(s.Format)
	defer elsewhere.Close()
	server, api = s.start(t)
	server.Push(Step{Answer: &Response{Status: 307, Header: map[string][]string{"Location": {elsewhere.URL + "/v1/chat/completions"}}}})
	_, err := api.Call(t.Context(), ask(CanaryPrompt))
	s.failed(t, err, lm.ProviderFailed)
	if len(elsewhere.Seen())+len(elsewhere.Strange()) > 0 {
		t.Error("a redirect was followed")
	}
}

func (s *suite) timeouts(t *testing.T) {
	half := func() int {
		n := 0
		pieces := s.Format.Stream(Asked{Kind: "chat", Model: "alpha", Stream: true}, usual)
		for _, p := range pieces[:len(pieces)/2] {
			n += len(p.Data)
		}
		return n
	}()
	const short = 300 * time.Millisecond
	for _, c := range []struct {
		name     string
		step     Step
		streamed bool
		times    provider.Timeouts
		call     time.Duration
	}{
		{"no first byte of a stream", Late(time.Hour), true, provider.Timeouts{FirstByte: short}, 0},
		{"headers, but no first byte", Cut(0, EndSilent), true, provider.Timeouts{FirstByte: short, Idle: short}, 0},
		{"a stream falls silent", Step{Reply: &usual, Limit: half, End: EndSilent}, true, provider.Timeouts{Idle: short}, 0},
		{"slow loris outlives the idle time, not the call's", SlowLoris(20 * time.Millisecond), true, provider.Timeouts{}, 2 * short},
		{"slow loris outlives the idle time, not the total", SlowLoris(20 * time.Millisecond), true, provider.Timeouts{Total: 2 * short}, 0},
		{"a whole answer does not come in the call's time", Late(time.Hour), false, provider.Timeouts{}, short},
		{"a whole answer does not come in the total time", Late(time.Hour), false, provider.Timeouts{Total: short}, 0},
		{"a whole answer drips", SlowLoris(20 * time.Millisecond), false, provider.Timeouts{}, short},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, api := s.start(t, func(o *provider.Options) { o.Timeouts = c.times })
			server.Push(c.step)
			call := ask(CanaryPrompt)
			call.Timeout = c.call
			if c.streamed {
				call.Stream = func(lm.Frame) {}
			}
			within(t, plenty, func(ctx context.Context) {
				_, err := api.Call(ctx, call)
				s.failed(t, err, lm.TimedOut)
			})
			until(t, "the server sees that the client left", func() bool { return server.Calls()[0].Gone })
		})
	}
	server, api := s.start(t, func(o *provider.Options) { o.Timeouts = provider.Timeouts{List: short} })
	server.PushList(Late(time.Hour), Late(time.Hour))
	within(t, plenty, func(ctx context.Context) { s.failed(t, api.Probe(ctx), lm.TimedOut) })
	if !s.lacks("list") {
		within(t, plenty, func(ctx context.Context) {
			_, err := api.List(ctx)
			s.failed(t, err, lm.TimedOut)
		})
	}
}

func (s *suite) cancel(t *testing.T) {
	t.Run("mid-stream", func(t *testing.T) {
		server, api := s.start(t)
		size := 0
		for _, p := range s.Format.Stream(Asked{Kind: "chat", Model: "alpha", Stream: true}, usual) {
			if p.Terminal {
				break
			}
			size += len(p.Data)
		}
		server.Push(Step{Reply: &usual, Limit: size, End: EndSilent})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		call := ask(CanaryPrompt)
		call.Stream = func(f lm.Frame) {
			if f.Type == lm.FrameToken {
				cancel()
			}
		}
		s.cancelled(t, server, api, ctx, call)
	})
	for _, streamed := range []bool{false, true} {
		t.Run(fmt.Sprintf("before the first byte streamed=%t", streamed), func(t *testing.T) {
			server, api := s.start(t)
			server.Push(Late(time.Hour))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			call := ask(CanaryPrompt)
			if streamed {
				call.Stream = func(lm.Frame) {}
			}
			go func() {
				until(t, "the request arrives", func() bool { return len(server.Calls()) == 1 })
				cancel()
			}()
			s.cancelled(t, server, api, ctx, call)
		})
	}
}

func (s *suite) cancelled(t *testing.T, server *Server, api provider.API, ctx context.Context, call lm.Call) {
	t.Helper()
	within(t, plenty, func(context.Context) {
		_, err := api.Call(ctx, call)
		s.failed(t, err, lm.CallCancelled)
	})
	until(t, "the server sees that the client left", func() bool { return server.Calls()[0].Gone })
}

// kinds are the matrix' columns, in the order of the classification table.
var kinds = []lm.Kind{
	lm.QuotaExhausted, lm.RateLimited, lm.Overloaded, lm.Unauthorized, lm.ModelNotFound, lm.ContextOverflow, lm.ContentFiltered, lm.InvalidRequest,
	lm.ProviderFailed, lm.TimedOut, lm.StreamInterrupted, lm.CallCancelled,
}

// matrix logs how often each kind was met, and wants each.
func (s *suite) matrix(t *testing.T) {
	t.Helper()
	if s.parts < parts {
		return // only some tests were run
	}
	var head, row strings.Builder
	fmt.Fprintf(&head, "%-12s", "adapter")
	fmt.Fprintf(&row, "%-12s", s.Format.Name())
	for _, kind := range kinds {
		fmt.Fprintf(&head, " %*s", len(kind), kind)
		cell := fmt.Sprint(s.seen[kind])
		if s.lacks(string(kind)) {
			cell = "-"
			if s.seen[kind] > 0 {
				t.Errorf("%s is said to lack %s, but it came %d times", s.Format.Name(), kind, s.seen[kind])
			}
		} else if s.seen[kind] == 0 {
			t.Errorf("%s: no error of kind %s came; add one to its Errors or Faults, or say that it lacks it", s.Format.Name(), kind)
		}
		fmt.Fprintf(&row, " %*s", len(kind), cell)
	}
	lacks := "nothing"
	if len(s.Lacks) > 0 {
		lacks = strings.Join(s.Lacks, ", ")
	}
	t.Logf("matrix\n%s\n%s  lacks: %s", head.String(), row.String(), lacks)
}
