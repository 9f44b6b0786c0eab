package openai

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// choice is one choice of an answer as it grows.
type choice struct {
	index     int
	text      strings.Builder
	reasoning strings.Builder
	field     string // which of reasoning_content and reasoning it comes in
	finish    string
	open      bool // something was said since the finish reason
	messages  bool // what it said came in a message, not in deltas
	calls     []*call
	message   merged   // what else the deltas had
	rest      []member // what else the choice had
	logprobs  merged
	half      provider.Half // of a character that the next text ends
	halfOf    lm.FrameType  // and of which text
}

// add takes a piece of a choice's text.
func (c *choice) add(s *stream, frame lm.FrameType, piece string) {
	if piece == "" {
		return
	}
	c.open, s.grown = true, true
	if frame == lm.FrameReasoning {
		c.reasoning.WriteString(piece)
	} else {
		c.text.WriteString(piece)
	}
	if c.index == 0 {
		s.x.call.Stream(lm.Frame{Type: frame, Data: piece})
	}
}

// look is what chunk finds out about a chunk on its way.
type look struct {
	from, to   int // of its text
	noise, end int
	choice     *choice
	frame      lm.FrameType
	texts      int  // that are not empty
	inert      bool // but for its text it would change nothing, were it to come again
	failed     []byte
	wrong      string // what cannot be told from something else, so that it must be right
}

// chunk decodes one chunk. Errors: the API's, or errScan where it is none.
func (s *stream) chunk(b []byte) error {
	if !json.Valid(b) {
		return errScan
	}
	l := look{inert: true}
	choices := -1
	if _, err := members(b, 0, func(key []byte, from, to int) bool {
		raw := b[from:to]
		switch field := name(key); {
		case field == "choices":
			choices = from
		case field == "error" && present(raw), field == "object" && string(raw) == `"error"`:
			l.failed = b
		case field == "usage":
			if present(raw) {
				l.inert = false
				s.raw, s.usage = bytes.Clone(raw), wireUsage{}
				_ = provider.Decode(raw, &s.usage) // it is valid
			}
		case (field == "obfuscation" || field == "p") && raw[0] == '"':
			l.noise, l.end = from, to
		default:
			s.meta = set(s.meta, field, raw)
		}
		return true
	}); err != nil {
		return err
	}
	s.hot.choice = nil
	if l.failed != nil {
		return s.failed(l.failed)
	}
	if choices < 0 || b[choices] != '[' {
		return nil
	}
	n := 0
	if _, err := elements(b, choices, func(from, _ int) bool {
		n++
		s.choice(b, from, &l)
		return true
	}); err != nil {
		return err
	}
	switch {
	case l.failed != nil:
		return s.failed(l.failed)
	case l.wrong != "":
		return lm.Errorf(lm.StreamInterrupted, "the stream has %s", l.wrong)
	}
	if n == 1 && l.inert && l.choice != nil && l.texts <= 1 {
		s.hot.learn(b, l.from, l.to, l.noise, l.end)
		s.hot.choice, s.hot.frame = l.choice, l.frame
	}
	return nil
}

// set keeps the last value of a field.
func set(list []member, name string, value []byte) []member {
	if i := slices.IndexFunc(list, func(m member) bool { return m.name == name }); i >= 0 {
		if present(value) && !bytes.Equal(list[i].value, value) {
			list[i].value = bytes.Clone(value)
		}
		return list
	}
	return append(list, member{name, bytes.Clone(value)})
}

// at is the choice of an index, made when it first comes.
func (s *stream) at(index int) *choice {
	for _, c := range s.choices {
		if c.index == index {
			return c
		}
	}
	c := &choice{index: index}
	s.choices = append(s.choices, c)
	return c
}

// choice takes the choice that begins at b[from].
func (s *stream) choice(b []byte, from int, l *look) {
	index, delta, message, text, end := 0, -1, -1, -1, 0
	finish := ""
	_, _ = members(b, from, func(key []byte, from, to int) bool { // a choice that is no object has no members
		raw := b[from:to]
		switch name(key) {
		case "index":
			_ = json.Unmarshal(raw, &index) // 0 where it is none
		case "delta":
			if raw[0] == '{' {
				delta = from
			}
		case "message":
			if raw[0] == '{' {
				message = from
			}
		case "text":
			text, end = from, to
		case "finish_reason":
			_ = json.Unmarshal(raw, &finish) // null is none
		case "error": // OpenRouter
			if present(raw) {
				l.failed = []byte(`{"error":` + string(raw) + `}`)
			}
		}
		return true
	})
	c := s.at(index)
	s.beside(c, b, from, l)
	// What a choice says counts once, however often it has it: a completion in text, a
	// chat in delta, and in message where a server does not stream.
	switch prompt := s.x.call.Kind == "prompt"; {
	case text >= 0 && (prompt || delta < 0 && message < 0):
		s.text(c, lm.FrameToken, b, text, end, l)
	case delta >= 0:
		s.delta(c, b, delta, l)
	case message >= 0 && c.messages:
		l.wrong = "a second message where its pieces were expected"
	}
	if message >= 0 && !c.begun() {
		l.inert, c.messages = false, true
		s.delta(c, b, message, l)
	}
	if finish != "" {
		l.inert = false
		if c.finish == "" || c.open { // of several behind the last words the first is meant
			c.finish = finish
		}
		c.open = false
	}
}

// begun reports whether a choice has said anything.
func (c *choice) begun() bool { return c.text.Len() > 0 || c.reasoning.Len() > 0 || len(c.calls) > 0 }

// beside takes what a choice has beside what it says.
func (s *stream) beside(c *choice, b []byte, from int, l *look) {
	_, _ = members(b, from, func(key []byte, from, to int) bool {
		raw := b[from:to]
		switch field := name(key); field {
		case "index", "delta", "message", "text", "finish_reason", "error":
		case "logprobs":
			if present(raw) {
				l.inert = false
				c.logprobs.take("logprobs", raw)
			}
		default:
			c.rest = set(c.rest, field, raw)
		}
		return true
	})
}

// text takes a text at b[from:to], which may become the template's.
func (s *stream) text(c *choice, frame lm.FrameType, b []byte, from, to int, l *look) {
	if b[from] != '"' {
		if present(b[from:to]) {
			l.wrong = "a text that is none"
		}
		return
	}
	if c.half != "" && c.halfOf != frame {
		s.endHalf(c)
	}
	split := c.half != ""
	piece, ok := c.half.Join(b[from:to])
	if !ok {
		return
	}
	if c.half != "" || split {
		c.halfOf, l.inert = frame, false
	}
	if piece != "" || l.choice == nil {
		l.from, l.to, l.choice, l.frame = from, to, c, frame
	}
	if piece != "" {
		l.texts++
		c.add(s, frame, piece)
	}
}

// endHalf says half a character of which the other half did not come.
func (s *stream) endHalf(c *choice) {
	c.add(s, c.halfOf, c.half.Rest())
}

// delta takes what is new in a message.
func (s *stream) delta(c *choice, b []byte, from int, l *look) {
	_, _ = members(b, from, func(key []byte, from, to int) bool { // null has no members
		raw := b[from:to]
		switch field := name(key); field {
		case "role":
		case "content":
			if raw[0] == '[' {
				l.inert = false
				s.parts(c, raw)
				return true
			}
			s.text(c, lm.FrameToken, b, from, to, l)
		case "reasoning_content", "reasoning":
			if raw[0] != '"' || len(raw) == 2 {
				return true
			}
			if c.field == "" {
				c.field = field
			}
			if c.field != field { // the same again, under its other name
				l.inert = false
				return true
			}
			s.text(c, lm.FrameReasoning, b, from, to, l)
		case "tool_calls":
			if raw[0] == '[' {
				l.inert = false
				_, _ = elements(raw, 0, func(from, to int) bool { s.call(c, raw[from:to], l); return true }) // it is valid
			}
		default:
			if present(raw) && string(raw) != "[]" && string(raw) != `""` && string(raw) != "{}" {
				l.inert = false
				c.message.take(field, raw)
			}
		}
		return true
	})
}

// parts takes a content that is a list, as Mistral's reasoning models stream it.
func (s *stream) parts(c *choice, raw []byte) {
	var list []struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Thinking []struct {
			Text string `json:"text"`
		} `json:"thinking"`
	}
	_ = provider.Decode(raw, &list) // it is valid
	for _, p := range list {
		if p.Type == "text" {
			c.add(s, lm.FrameToken, p.Text)
		}
		for _, t := range p.Thinking {
			c.add(s, lm.FrameReasoning, t.Text)
		}
	}
}
