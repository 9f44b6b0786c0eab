package anthropic

import (
	"context"
	"encoding/json"
	"net/http"
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
	Index   int `json:"index"`
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
		Text      string          `json:"text"`
		Thinking  string          `json:"thinking"`
		Signature string          `json:"signature"`
		Data      string          `json:"data"`
	} `json:"content_block"`
	Delta delta `json:"delta"`
	Usage usage `json:"usage"`
}

type delta struct {
	Type       string `json:"type"`
	Text       string `json:"text"`
	JSON       string `json:"partial_json"`
	Thinking   string `json:"thinking"`
	Signature  string `json:"signature"`
	StopReason string `json:"stop_reason"`
	Details    struct {
		Category string `json:"category"`
	} `json:"stop_details"`
}

// usage is what the API counts: the three of the input exclude each other, and the
// figures at the end of the answer replace those at its beginning.
type usage struct {
	Input    int64 `json:"input_tokens"`
	Created  int64 `json:"cache_creation_input_tokens"`
	Read     int64 `json:"cache_read_input_tokens"`
	Output   int64 `json:"output_tokens"`
	Detailed struct {
		Thinking int64 `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
}

// later takes over what a later event counts anew.
func (u *usage) later(v *usage) {
	for _, f := range []struct{ mine, theirs *int64 }{
		{&u.Input, &v.Input}, {&u.Created, &v.Created}, {&u.Read, &v.Read}, {&u.Output, &v.Output}, {&u.Detailed.Thinking, &v.Detailed.Thinking},
	} {
		if *f.theirs > 0 {
			*f.mine = *f.theirs
		}
	}
}

func (u *usage) normalised() lm.Usage {
	return lm.Usage{Input: u.Input + u.Created + u.Read, Cached: u.Read, Output: u.Output, Reasoning: u.Detailed.Thinking}
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
	ev     event
}

// open is a content block between its start and its stop.
type open struct {
	kind  string
	call  int                     // of a tool_use
	whole json.RawMessage         // the input that came with its start
	any   bool                    // pieces of its input came
	think provider.ReasoningBlock // of a thinking
}

// read takes the stream in and ends c. cancel ends the request: it is called where
// the server keeps the connection open behind the end.
func (x *exchange) read(resp *http.Response, c *provider.Completion, cancel context.CancelFunc) error {
	a := &answer{Completion: c, origin: x.asked.origin, blocks: make(map[int]*open)}
	decoder := ssestream.NewDecoder(resp)
	for decoder.Next() {
		e := decoder.Event()
		switch e.Type {
		case "message_stop":
			late := time.AfterFunc(drain, cancel)
			for decoder.Next() { // nothing counts behind the end
			}
			late.Stop()
			return a.end()
		case "error":
			return x.broken(e.Data)
		}
		if err := a.take(e.Type, e.Data); err != nil {
			return err
		}
	}
	if err := decoder.Err(); err != nil {
		return x.network(err, true)
	}
	return provider.Truncated()
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
		a.piece(index, &delta{Type: "text_delta", Text: text})
		return nil
	}
	ev := &a.ev
	*ev = event{}
	if err := json.Unmarshal(data, ev); err != nil {
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

func (a *answer) start(ev *event) {
	b := &open{kind: ev.Block.Type}
	a.blocks[ev.Index] = b
	switch b.kind {
	case "text":
		a.text(ev.Block.Text)
	case "tool_use":
		b.call, b.whole = a.Begin(ev.Block.ID, ev.Block.Name), ev.Block.Input
		a.layout.call()
	case "thinking":
		b.think = provider.ReasoningBlock{Type: "reasoning.text", Text: ev.Block.Thinking, Signature: ev.Block.Signature, Index: a.layout.thought()}
		a.Think(ev.Block.Thinking)
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

func (a *answer) piece(index int, d *delta) {
	b := a.blocks[index]
	if b == nil {
		return
	}
	switch d.Type {
	case "text_delta":
		a.text(d.Text)
	case "input_json_delta":
		if b.kind == "tool_use" && d.JSON != "" {
			b.any = true
			a.Arguments(b.call, d.JSON)
		}
	case "thinking_delta":
		b.think.Text += d.Thinking
		a.Think(d.Thinking)
	case "signature_delta":
		b.think.Signature += d.Signature
	}
}

func (a *answer) stop(index int) {
	b := a.blocks[index]
	if b == nil {
		return
	}
	switch b.kind {
	case "tool_use":
		if !b.any {
			a.Arguments(b.call, string(b.whole))
		}
		a.Done(b.call)
	case "thinking", "redacted_thinking":
		b.think.Format, b.think.Origin = reasoningFormat, a.origin
		a.Blocks = append(a.Blocks, b.think)
	}
	delete(a.blocks, index)
}

// end closes the answer once message_stop has come.
func (a *answer) end() error {
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
