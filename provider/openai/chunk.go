package openai

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// choice is one choice of an answer as it grows.
type choice struct {
	index     int
	text      strings.Builder
	reasoning strings.Builder
	field     string // which of reasoning_content and reasoning it comes in
	finish    string
	calls     []*call
	message   merged   // what else the deltas had
	rest      []member // what else the choice had
	logprobs  merged
}

// call is a tool call as it grows.
type call struct {
	index     int
	id        string
	name      string
	arguments strings.Builder
	rest      merged
}

// add takes a piece of a choice's text.
func (c *choice) add(s *stream, frame lm.FrameType, piece string) {
	if piece == "" {
		return
	}
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
}

// chunk decodes one chunk. Errors: the API's, or errScan where it is none.
func (s *stream) chunk(b []byte) error {
	if !json.Valid(b) {
		return errScan
	}
	l := look{inert: true}
	var failed []byte
	choices := -1
	if _, err := members(b, 0, func(key []byte, from, to int) bool {
		raw := b[from:to]
		switch field := name(key); {
		case field == "choices":
			choices = from
		case field == "error" && present(raw), field == "object" && string(raw) == `"error"`:
			failed = b
		case field == "usage":
			if present(raw) {
				l.inert = false
				s.raw, s.usage = bytes.Clone(raw), wireUsage{}
				_ = json.Unmarshal(raw, &s.usage) // a usage of another form counts nothing
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
	if failed != nil {
		told := signals(failed)
		told.Streaming = true
		return s.x.classify(told)
	}
	s.hot.choice = nil
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
	index, delta := 0, -1
	_, _ = members(b, from, func(key []byte, from, to int) bool { // a choice that is no object has no members
		switch name(key) {
		case "index":
			_ = json.Unmarshal(b[from:to], &index) // 0 where it is none
		case "delta":
			delta = from
		}
		return true
	})
	c := s.at(index)
	finish := ""
	_, _ = members(b, from, func(key []byte, from, to int) bool {
		raw := b[from:to]
		switch field := name(key); field {
		case "index", "delta":
		case "text":
			s.text(c, lm.FrameToken, b, from, to, l)
		case "finish_reason":
			_ = json.Unmarshal(raw, &finish) // null is none
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
	if delta >= 0 {
		s.delta(c, b, delta, l)
	}
	if finish != "" && c.finish == "" {
		l.inert = false
		c.finish = finish
	}
}

// text takes a text at b[from:to], which may become the template's.
func (s *stream) text(c *choice, frame lm.FrameType, b []byte, from, to int, l *look) {
	var piece string
	if b[from] != '"' || json.Unmarshal(b[from:to], &piece) != nil {
		return
	}
	if piece != "" || l.choice == nil {
		l.from, l.to, l.choice, l.frame = from, to, c, frame
	}
	if piece != "" {
		l.texts++
		c.add(s, frame, piece)
	}
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
				_, _ = elements(raw, 0, func(from, to int) bool { c.call(raw[from:to]); return true }) // it is valid
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
	if json.Unmarshal(raw, &list) != nil {
		return
	}
	for _, p := range list {
		if p.Type == "text" {
			c.add(s, lm.FrameToken, p.Text)
		}
		for _, t := range p.Thinking {
			c.add(s, lm.FrameReasoning, t.Text)
		}
	}
}

// call takes a piece of a tool call. One without an index is the last one, unless it
// brings another ID.
func (c *choice) call(raw []byte) {
	var w struct {
		Index    *int   `json:"index"`
		ID       string `json:"id"`
		Function struct {
			Name      string          `json:"name"`
			Arguments json.RawMessage `json:"arguments"`
		} `json:"function"`
	}
	if json.Unmarshal(raw, &w) != nil {
		return
	}
	index := max(0, len(c.calls)-1)
	switch {
	case w.Index != nil:
		index = *w.Index
	case len(c.calls) > 0 && w.ID != "" && w.ID != c.calls[len(c.calls)-1].id:
		index = c.calls[len(c.calls)-1].index + 1
	}
	i := slices.IndexFunc(c.calls, func(one *call) bool { return one.index == index })
	if i < 0 {
		i = len(c.calls)
		c.calls = append(c.calls, &call{index: index})
	}
	one := c.calls[i]
	one.id, one.name = or(one.id, w.ID), or(one.name, w.Function.Name)
	var piece string
	if json.Unmarshal(w.Function.Arguments, &piece) != nil {
		piece = string(w.Function.Arguments) // an object, as some servers have it
	}
	one.arguments.WriteString(piece)
	_, _ = members(raw, 0, func(key []byte, from, to int) bool { // it was decoded above
		switch field := name(key); field {
		case "index", "id", "type", "function":
		default:
			one.rest.take(field, raw[from:to])
		}
		return true
	})
}
