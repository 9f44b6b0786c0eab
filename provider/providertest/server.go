package providertest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Server is a fake model API over real HTTP on 127.0.0.1. Unscripted it answers
// every call with DefaultReply. All methods may be called concurrently.
type Server struct {
	URL string // http://127.0.0.1:PORT

	format Format
	http   *http.Server
	done   chan struct{}
	once   sync.Once

	mu        sync.Mutex
	steps     []Step // of calls
	lists     []Step // of listings and probes
	decide    func(Asked) (Step, bool)
	offerings []lm.Offering
	strict    bool // only offerings are known
	key       string
	seen      []*Seen
	strange   []error
}

// Seen is a request that the server read.
type Seen struct {
	Asked
	Header http.Header
	Body   []byte
	Sent   int64 // bytes of the answer's body that were written
	Gone   bool  // the client left before the answer's end
}

type connKey struct{}

// NewServer starts a server. It panics where 127.0.0.1 cannot be listened on, as
// httptest does: nothing can be tested then.
func NewServer(format Format) *Server {
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Sprintf("providertest: %v", err))
	}
	s := &Server{URL: "http://" + listener.Addr().String(), format: format, done: make(chan struct{}), offerings: DefaultOfferings()}
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	go func() { _ = s.http.Serve(listener) }() // ends with Close
	return s
}

// Close ends the server and every answer under way.
func (s *Server) Close() {
	s.once.Do(func() { close(s.done) })
	_ = s.http.Close() // nothing can be done about it
}

// Push scripts the answers to the calls to come, one step per request.
func (s *Server) Push(steps ...Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, steps...)
}

// PushList scripts the answers to the listings and probes to come.
func (s *Server) PushList(steps ...Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists = append(s.lists, steps...)
}

// Decide lets f choose the step of every request for which none was pushed; false
// leaves it the good answer. Nil ends that.
func (s *Server) Decide(f func(Asked) (Step, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide = f
}

// Offer says what the server lists. From then on calls of other models are answered
// with the format's first ModelNotFound.
func (s *Server) Offer(offerings ...lm.Offering) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offerings, s.strict = offerings, true
}

// Require refuses every credential but key with the format's first Unauthorized.
func (s *Server) Require(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

// Seen is what was asked so far, in order.
func (s *Server) Seen() []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Seen, len(s.seen))
	for i, one := range s.seen {
		out[i] = *one
	}
	return out
}

// Calls are the chat, prompt and embed requests among Seen.
func (s *Server) Calls() []Seen {
	return slices.DeleteFunc(s.Seen(), func(one Seen) bool { return one.Kind == "list" || one.Kind == "probe" })
}

// Strange says what is wrong with the requests that were none of this API.
func (s *Server) Strange() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.strange)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client left
	}
	asked, err := s.format.Read(r, body)
	if err != nil {
		s.mu.Lock()
		s.strange = append(s.strange, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err))
		s.mu.Unlock()
		http.NotFound(w, r)
		return
	}
	asked.Path = r.URL.Path
	one := &Seen{Asked: asked, Header: r.Header.Clone(), Body: body}
	step, offerings := s.next(one)
	p := &play{server: s, seen: one, step: step, w: w, r: r}
	p.run(offerings)
}

// next records a request and takes its step.
func (s *Server) next(one *Seen) (Step, []lm.Offering) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, one)
	isCall := one.Kind != "list" && one.Kind != "probe"
	queue := &s.steps
	if !isCall {
		queue = &s.lists
	}
	switch {
	case s.key != "" && one.Key != s.key:
		return s.refusal(lm.Unauthorized), s.offerings
	case isCall && s.strict && !slices.ContainsFunc(s.offerings, func(o lm.Offering) bool { return o.Name == one.Model }):
		return s.refusal(lm.ModelNotFound), s.offerings
	case len(*queue) > 0:
		step := (*queue)[0]
		*queue = (*queue)[1:]
		return step, s.offerings
	case s.decide != nil:
		if step, ok := s.decide(one.Asked); ok {
			return step, s.offerings
		}
	}
	return Step{}, s.offerings
}

// refusal is the format's first error of a kind.
func (s *Server) refusal(kind lm.Kind) Step {
	for _, e := range s.format.Errors() {
		if e.Kind == kind {
			return Fail(e)
		}
	}
	return Step{Answer: &Response{Status: http.StatusTeapot, Body: "the format has no error for " + string(kind)}}
}

// play is one answer on its way.
type play struct {
	server *Server
	seen   *Seen
	step   Step
	w      http.ResponseWriter
	r      *http.Request
}

func (p *play) run(offerings []lm.Offering) {
	if !p.wait(p.step.Before) {
		return
	}
	f, a := p.server.format, p.seen.Asked
	reply := DefaultReply(a)
	if p.step.Reply != nil {
		reply = *p.step.Reply
	}
	switch {
	case p.step.Answer != nil:
		p.whole(quoting(*p.step.Answer, a))
	case a.Kind == "list" || a.Kind == "probe":
		p.whole(f.List(a, offerings))
	case p.step.Stream != nil:
		p.stream(p.step.Stream)
	case a.Stream:
		p.stream(f.Stream(a, reply))
	default:
		p.whole(f.Whole(a, reply))
	}
}

// quoting puts what the client sent into an error that quotes it: {{key}} and
// {{question}}, as some vendors do.
func quoting(r Response, a Asked) Response {
	escape := strings.NewReplacer("\\", `\\`, `"`, `\"`, "\n", `\n`)
	r.Body = strings.NewReplacer("{{key}}", escape.Replace(a.Key), "{{question}}", escape.Replace(a.Question)).Replace(r.Body)
	return r
}

func (p *play) whole(resp Response) {
	for name, values := range resp.Header {
		p.w.Header()[name] = values
	}
	if p.w.Header().Get("Content-Type") == "" {
		p.w.Header().Set("Content-Type", "application/json")
	}
	if p.step.Huge == 0 {
		p.w.Header().Set("Content-Length", strconv.Itoa(len(resp.Body)))
	}
	if resp.Status != 0 {
		p.w.WriteHeader(resp.Status)
	}
	if p.step.Huge > 0 {
		p.send(`{"`)
		p.huge()
		return
	}
	p.write([]Piece{{Data: resp.Body}})
}

// StreamHeader may be implemented by a Format whose streams are not text/event-stream.
type StreamHeader interface{ StreamHeader() http.Header }

func (p *play) stream(pieces []Piece) {
	p.w.Header().Set("Content-Type", "text/event-stream")
	if f, ok := p.server.format.(StreamHeader); ok {
		for name, values := range f.StreamHeader() {
			p.w.Header()[name] = values
		}
	}
	if p.step.Huge > 0 && len(pieces) > 0 {
		if p.send(pieces[0].Data) && p.send("data: {\"") {
			p.huge()
		}
		return
	}
	p.write(pieces)
}

// write sends the pieces as the step says and ends as it says.
func (p *play) write(pieces []Piece) {
	left := p.step.Limit
	p.flush()
	for i, piece := range pieces {
		data := piece.Data
		if p.step.End != EndWhole {
			data = data[:min(left, len(data))]
			left -= len(data)
		}
		if i > 0 && !p.wait(p.step.Every) {
			return
		}
		if p.step.Drip {
			if !p.drip(data) {
				return
			}
		} else if data != "" && !p.send(data) {
			return
		}
	}
	switch p.step.End {
	case EndSilent:
		p.wait(time.Hour)
		panic(http.ErrAbortHandler)
	case EndReset:
		if c, ok := p.r.Context().Value(connKey{}).(*net.TCPConn); ok {
			_ = c.SetLinger(0) // closing sends a reset then
		}
		panic(http.ErrAbortHandler)
	case EndEOF, EndWhole:
	}
}

func (p *play) drip(data string) bool {
	for i := range len(data) {
		if !p.wait(p.step.Every) || !p.send(data[i:i+1]) {
			return false
		}
	}
	return true
}

func (p *play) huge() {
	block := strings.Repeat("a", 64<<10)
	for left := p.step.Huge; left > 0; left -= int64(len(block)) {
		if !p.send(block) {
			return
		}
	}
}

// send writes and flushes; false: the client is gone.
func (p *play) send(data string) bool {
	n, err := io.WriteString(p.w, data)
	p.server.mu.Lock()
	p.seen.Sent += int64(n)
	p.seen.Gone = p.seen.Gone || err != nil
	p.server.mu.Unlock()
	p.flush()
	return err == nil
}

func (p *play) flush() {
	if f, ok := p.w.(http.Flusher); ok {
		f.Flush()
	}
}

// wait lasts d; false: the client left or the server closes.
func (p *play) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.server.done:
	case <-p.r.Context().Done():
		p.server.mu.Lock()
		p.seen.Gone = true
		p.server.mu.Unlock()
	}
	return false
}
