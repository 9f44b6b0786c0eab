package router

import (
	"encoding/json"
	"strconv"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// bytesPerToken is generous to the call: what is estimated too small the provider
// refuses itself.
const bytesPerToken = 4

// needsOf reads off a call's body what it asks of a model: only where some member
// of the pool says what it can do or is counted in tokens.
func needsOf(snap *fleet.Snapshot, pool *fleet.Pool, call *lm.Call) Needs {
	n := Needs{Kind: fleet.Capability(call.Kind)}
	particular := false
	for _, i := range pool.Members {
		m := &snap.Models[i].Spec
		particular = particular || m.Window > 0 || particularOf(m.Capabilities) || m.Limits.TPM > 0 || m.Budget.USD > 0
	}
	if !particular {
		return n
	}
	var body struct {
		Stream   bool              `json:"stream"`
		Tools    []json.RawMessage `json:"tools"`
		Messages []struct {
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
		Prompt     json.RawMessage `json:"prompt"`
		Input      json.RawMessage `json:"input"`
		Max        json.RawMessage `json:"max_tokens"`
		Completion json.RawMessage `json:"max_completion_tokens"`
	}
	if json.Unmarshal(call.Body, &body) != nil {
		return n // the provider says what is wrong with it
	}
	n.Stream, n.Tools = body.Stream, len(body.Tools) > 0
	size := len(body.Prompt) + len(body.Input)
	for _, m := range body.Messages {
		length, image := weigh(m.Content)
		size += length
		n.Vision = n.Vision || image
	}
	n.Tokens, n.Output = size/bytesPerToken, max(whole(body.Max), whole(body.Completion))
	return n
}

// particularOf reports whether capabilities can refuse a call for more than its
// kind. What most models are said to do can not, and no body is read for it.
func particularOf(c fleet.Capabilities) bool {
	for _, what := range [...]fleet.Capability{fleet.CanStream, fleet.CanTools, fleet.CanThink, fleet.CanVision} {
		if yes, said := c[what]; said && !yes {
			return true
		}
	}
	return false
}

// weigh is the length of a message's text, and whether there is an image in it,
// whose bytes count for nothing here.
func weigh(content json.RawMessage) (length int, image bool) {
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if len(content) == 0 || content[0] != '[' || json.Unmarshal(content, &parts) != nil {
		return len(content), false
	}
	for _, p := range parts {
		length += len(p.Text)
		image = image || strings.HasPrefix(p.Type, "image")
	}
	return length, image
}

// whole is a number of tokens in a body; 0 for what is none: the provider says what
// is wrong with it.
func whole(raw json.RawMessage) int {
	n, err := strconv.Atoi(string(raw))
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// String lists what is needed.
func (n *Needs) String() string {
	words := []string{}
	if n.Kind != "" {
		words = append(words, string(n.Kind))
	}
	for _, w := range []struct {
		needed bool
		word   fleet.Capability
	}{{n.Stream, fleet.CanStream}, {n.Tools, fleet.CanTools}, {n.Think, fleet.CanThink}, {n.Vision, fleet.CanVision}} {
		if w.needed {
			words = append(words, string(w.word))
		}
	}
	return strings.Join(words, ", ")
}
