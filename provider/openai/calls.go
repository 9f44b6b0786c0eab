package openai

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/lighterman/lighterman/provider"
)

// call is a tool call as it grows.
type call struct {
	index     int
	id        string
	name      string
	arguments strings.Builder
	half      provider.Half
	rest      merged
}

// wireCall is a piece of a tool call.
type wireCall struct {
	Index    *int   `json:"index"`
	ID       string `json:"id"`
	Function struct {
		Name      json.RawMessage `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// call takes a piece of a tool call.
func (s *stream) call(c *choice, raw []byte, l *look) {
	var w wireCall
	if raw[0] != '{' {
		l.wrong = "a tool call that is none"
		return
	}
	_ = provider.Decode(raw, &w) // it is valid
	name, piece, ok := w.said()
	if !ok {
		l.wrong = "a tool call whose name is none"
		return
	}
	c.open, s.grown = true, true
	one := c.callOf(&w, name, piece)
	one.id, one.name = or(one.id, w.ID), or(one.name, name)
	if text, ok := one.half.Join([]byte(piece)); ok {
		piece = text
	}
	one.arguments.WriteString(piece)
	_, _ = members(raw, 0, func(key []byte, from, to int) bool { // it was decoded above
		switch field := string(key[1 : len(key)-1]); field {
		case "index", "id", "type", "function":
		default:
			one.rest.take(field, raw[from:to])
		}
		return true
	})
}

// said are the name of a piece and its arguments, which are a text's literal or an
// object, as some servers have it. False: the name is none.
func (w *wireCall) said() (name, arguments string, ok bool) {
	if present(w.Function.Name) && json.Unmarshal(w.Function.Name, &name) != nil {
		return "", "", false
	}
	if present(w.Function.Arguments) {
		arguments = string(w.Function.Arguments)
	}
	return name, arguments, true
}

// callOf is the call that a piece belongs to, a new one where it begins one. OpenAI
// numbers them. Others number each 0 (Ollama), or none, repeat ID and name with each
// piece, or make an ID for each piece. So an ID that is known decides, and under a
// number that is taken another ID with a name, or another name, begins a call.
func (c *choice) callOf(w *wireCall, name, piece string) *call {
	last := -1
	for i, one := range slices.Backward(c.calls) {
		same := w.Index == nil || one.index == *w.Index
		if w.ID != "" && one.id == w.ID && (same || name == "") {
			return one
		}
		if same && last < 0 {
			last = i
		}
	}
	if last >= 0 && !c.calls[last].followedBy(w.ID, name, piece) {
		return c.calls[last]
	}
	one := &call{index: len(c.calls)}
	if w.Index != nil {
		one.index = *w.Index
	}
	c.calls = append(c.calls, one)
	return one
}

// followedBy reports whether a piece under the same number begins another call.
func (c *call) followedBy(id, name, piece string) bool {
	switch {
	case name != "" && c.name != "" && name != c.name:
		return true
	case name != "" && id != "" && c.id != "": // another one: the same was found before
		return true
	case piece == "" || piece == `""`:
		return false
	}
	return (name != "" || id != "") && c.whole()
}

// whole reports whether the arguments that came are all.
func (c *call) whole() bool { return json.Valid([]byte(c.arguments.String())) }
