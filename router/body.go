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
		N          json.RawMessage `json:"n"`
	}
	if json.Unmarshal(call.Body, &body) != nil {
		return n // the provider says what is wrong with it
	}
	n.Stream, n.Tools = body.Stream, len(body.Tools) > 0
	size := len(body.Prompt) + len(body.Input)
	charged := 0
	for _, m := range body.Messages {
		length, images := weigh(m.Content)
		size += length
		charged += images*imageTokens + messageTokens
		n.Vision = n.Vision || images > 0
	}
	for _, t := range body.Tools {
		charged += len(t) / chargedBytes
	}
	n.Input, n.Answers = charged+size/chargedBytes+1, max(whole(body.N), 1)*prompts(body.Prompt)
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

// prompts is how many prompts a completions body has: a list of texts, or of lists of
// token numbers, is several.
func prompts(raw json.RawMessage) int {
	var list []json.RawMessage
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &list) != nil || len(list) == 0 || list[0][0] != '"' && list[0][0] != '[' {
		return 1
	}
	return len(list)
}

// weigh is the length of a message's text, and how many images are in it, whose bytes
// count for nothing here.
func weigh(content json.RawMessage) (length, images int) {
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if len(content) == 0 || content[0] != '[' || json.Unmarshal(content, &parts) != nil {
		return len(content), 0
	}
	for _, p := range parts {
		length += len(p.Text)
		if strings.HasPrefix(p.Type, "image") {
			images++
		}
	}
	return length, images
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
