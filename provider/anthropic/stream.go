package anthropic

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/anthropics/anthropic-sdk-go/packages/ssestream"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// drain is for how long the end of the connection is waited for behind the end of
// the answer: a connection that is read to its end can be used again.
const drain = 50 * time.Millisecond

// event is one of a stream, of which each kind fills a part.
type event struct {
	Type    string `json:"type"`
	Index   int    `json:"index"`
	Message struct {
		ID    string `json:"id"`
		Model string `json:"model"`
		Usage usage  `json:"usage"`
	} `json:"message"`
	Block struct {
		Type      string          `json:"type"`
		ID        string          `json:"id"`
		Name      string          `json:"name"`
		Input     json.RawMessage `json:"input"`
		Text      json.RawMessage `json:"text"`
		Thinking  json.RawMessage `json:"thinking"`
		Signature string          `json:"signature"`
		Data      string          `json:"data"`
	} `json:"content_block"`
	Delta delta `json:"delta"`
	Usage usage `json:"usage"`
}

type delta struct {
	Type       string          `json:"type"`
	Text       json.RawMessage `json:"text"`
	JSON       json.RawMessage `json:"partial_json"`
	Thinking   json.RawMessage `json:"thinking"`
	Signature  string          `json:"signature"`
	StopReason string          `json:"stop_reason"`
	Details    struct {
		Category string `json:"category"`
	} `json:"stop_details"`
}

// usage is what the API counts: the three of the input exclude each other, and the
// figures at the end of the answer replace those at its beginning.
type usage struct {
	Input    provider.Count `json:"input_tokens"`
	Created  provider.Count `json:"cache_creation_input_tokens"`
	Read     provider.Count `json:"cache_read_input_tokens"`
	Output   provider.Count `json:"output_tokens"`
	Detailed struct {
		Thinking provider.Count `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
}

// later takes over what a later event counts anew.
func (u *usage) later(v *usage) {
	for _, f := range []struct{ mine, theirs *provider.Count }{
		{&u.Input, &v.Input}, {&u.Created, &v.Created}, {&u.Read, &v.Read}, {&u.Output, &v.Output}, {&u.Detailed.Thinking, &v.Detailed.Thinking},
	} {
		if *f.theirs > 0 {
			*f.mine = *f.theirs
		}
	}
}

func (u *usage) normalised() lm.Usage {
	return lm.Usage{
		Input: int64(u.Input + u.Created + u.Read), Cached: int64(u.Read), Output: int64(u.Output), Reasoning: int64(u.Detailed.Thinking),
	}
}

// answer is an answer while it comes.
type answer struct {
	*provider.Completion
	origin string
	usage  usage
	reason string
	detail string
	blocks map[int]*open
	layout layout
	stray  bool // a piece belonged to no block
	ev     event
}

// open is a content block between its start and its stop.
type open struct {
	kind  string
	call  int                     // of a tool_use
	whole json.RawMessage         // the input that came with its start
	any   bool                    // pieces of its input came
	half  provider.Half           // of a character that the next piece ends
	think provider.ReasoningBlock // of a thinking
}

// read takes the stream in and ends c. cancel ends the request: it is called where
// the server keeps the connection open behind the end.
func (x *exchange) read(resp *http.Response, c *provider.Completion, cancel context.CancelFunc) error {
	a := &answer{Completion: c, origin: x.asked.origin, blocks: make(map[int]*open)}
	resp.Body = &lines{EventLines: provider.EventLines{From: resp.Body}, Closer: resp.Body}
	decoder := ssestream.NewDecoder(resp)
	for decoder.Next() {
		e := decoder.Event()
		kind := kindOf(&e)
		switch kind {
		case "message_stop":
			late := time.AfterFunc(drain, cancel)
			for decoder.Next() { // nothing counts behind the end
			}
			late.Stop()
			return a.end()
		case "error":
			return x.broken(e.Data)
		}
		if err := a.take(kind, e.Data); err != nil {
			return err
		}
	}
	if err := decoder.Err(); err != nil {
		return x.network(err, true)
	}
	return provider.Truncated()
}

// lines is a body as lines that the SDK's decoder can read.
type lines struct {
	provider.EventLines
	io.Closer
}

// kindOf is an event's name, or its type where a server leaves the name out.
func kindOf(e *ssestream.Event) string {
	if e.Type != "" || len(e.Data) == 0 {
		return e.Type
	}
	var w struct {
		Type string `json:"type"`
	}
	_ = provider.Decode(e.Data, &w) // what is no JSON has none
	return w.Type
}

// take adds an event to the answer. Unknown ones mean nothing: the API may send new
// ones any time.
func (a *answer) take(kind string, data []byte) error {
	switch kind {
	case "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta":
	default:
		return nil
	}
	if index, text, ok := textDelta(data); ok {
		if b := a.blocks[index]; b != nil && b.half == "" {
			a.text(text)
			return nil
		}
	}
	ev := &a.ev
	*ev = event{}
	if err := provider.Decode(data, ev); err != nil {
		return lm.Errorf(lm.StreamInterrupted, "a %s event of the stream is no JSON", kind)
	}
	switch kind {
	case "message_start":
		a.ID = ev.Message.ID
		if ev.Message.Model != "" {
			a.Model = ev.Message.Model
		}
		a.usage = ev.Message.Usage
	case "content_block_start":
		a.start(ev)
	case "content_block_delta":
		a.piece(ev.Index, &ev.Delta)
	case "content_block_stop":
		a.stop(ev.Index)
	case "message_delta":
		if ev.Delta.StopReason != "" {
			a.reason, a.detail = ev.Delta.StopReason, ev.Delta.Details.Category
		}
		a.usage.later(&ev.Usage)
	}
	return nil
}

// start begins a block. One whose number is taken ends the one before.
func (a *answer) start(ev *event) {
	a.stop(ev.Index)
	b := &open{kind: ev.Block.Type}
	a.blocks[ev.Index] = b
	switch b.kind {
	case "text":
		a.text(b.join(ev.Block.Text))
	case "tool_use":
		b.call, b.whole = a.Begin(ev.Block.ID, ev.Block.Name), ev.Block.Input
		a.layout.call()
	case "thinking":
		b.think = provider.ReasoningBlock{Type: "reasoning.text", Text: b.join(ev.Block.Thinking), Signature: ev.Block.Signature, Index: a.layout.thought()}
		a.Think(b.think.Text)
	case "redacted_thinking":
		b.think = provider.ReasoningBlock{Type: "reasoning.encrypted", Data: ev.Block.Data, Index: a.layout.thought()}
	}
}

func (a *answer) text(piece string) {
	if piece != "" {
		a.layout.text()
		a.Text(piece)
	}
}

// join is the text of a piece.
func (b *open) join(literal json.RawMessage) string {
	text, _ := b.half.Join(literal) // what is no text says nothing
	return text
}

// piece adds to a block. One of a block that was not started means nothing.
func (a *answer) piece(index int, d *delta) {
	b := a.blocks[index]
	if b == nil {
		a.stray = true
		return
	}
	switch d.Type {
	case "text_delta":
		a.text(b.join(d.Text))
	case "input_json_delta":
		if input := b.join(d.JSON); b.kind == "tool_use" && input != "" {
			b.any = true
			a.Arguments(b.call, input)
		}
	case "thinking_delta":
		text := b.join(d.Thinking)
		b.think.Text += text
		a.Think(text)
	case "signature_delta":
		b.think.Signature += d.Signature
	}
}

func (a *answer) stop(index int) {
	b := a.blocks[index]
	if b == nil {
		return
	}
	switch rest := b.half.Rest(); b.kind {
	case "text":
		a.text(rest)
	case "tool_use":
		a.Arguments(b.call, rest)
		if !b.any {
			a.Arguments(b.call, string(b.whole))
		}
		a.Done(b.call)
	case "thinking", "redacted_thinking":
		a.Think(rest)
		b.think.Text += rest
		b.think.Format, b.think.Origin = reasoningFormat, a.origin
		a.Blocks = append(a.Blocks, b.think)
	}
	delete(a.blocks, index)
}

// end closes the answer once message_stop has come.
func (a *answer) end() error {
	for _, index := range slices.Sorted(maps.Keys(a.blocks)) { // whose stop was left out
		a.stop(index)
	}
	if a.stray && a.layout.next == 0 {
		return lm.Errorf(lm.StreamInterrupted, "the stream has pieces of blocks that were not started, and no others")
	}
	a.Usage = a.usage.normalised()
	a.Finish = finishOf(a.reason)
	if !a.layout.restorable() {
		a.Blocks = nil
	}
	if a.Finish == "content_filter" && a.detail != "" {
		return lm.Errorf(lm.ContentFiltered, "the model refused: %s", provider.Redact(a.detail, nil, ""))
	}
	return nil
}

// finishOf is a stop_reason in OpenAI's words; a new one is a good end. Empty where
// the API gave none, which is no end.
func finishOf(reason string) string {
	switch reason {
	case "":
		return ""
	case "max_tokens", "model_context_window_exceeded", "pause_turn": // there would be more
		return "length"
	case "tool_use":
		return "tool_calls"
	case "refusal":
		return "content_filter"
	}
	return "stop"
}

// layout watches the order of an answer's blocks: OpenAI's form keeps one text and then
// the calls, so that thoughts can be put back at their places only where nothing but
// thoughts comes between.
type layout struct {
	next  int  // place of the next block
	last  byte // t: text, c: call, r: reasoning
	texts int
	calls int
	lost  bool
}

func (l *layout) text() {
	if l.last == 't' {
		return
	}
	l.lost = l.lost || l.texts > 0 || l.calls > 0
	l.texts++
	l.next++
	l.last = 't'
}

func (l *layout) call() {
	l.calls++
	l.next++
	l.last = 'c'
}

func (l *layout) thought() int {
	l.next++
	l.last = 'r'
	return l.next - 1
}

func (l *layout) restorable() bool { return !l.lost }
