package fleet

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// canDo are the capabilities that are a yes, sorted.
func canDo(c Capabilities) string {
	var words []string
	for _, what := range slices.Sorted(maps.Keys(c)) {
		if c[what] {
			words = append(words, string(what))
		}
	}
	return strings.Join(words, " ")
}

// TestInfer_ByProviderAndName is the table of what a name tells.
func TestInfer_ByProviderAndName(t *testing.T) {
	openai, local := BackendSpec{Provider: "openai"}, BackendSpec{Provider: "openai", URL: "http://127.0.0.1:8000/v1"}
	for _, c := range []struct {
		backend BackendSpec
		name    string
		can     string
		kinds   string // of call that it serves
	}{
		{openai, "gpt-4o", "chat prompt stream", "chat prompt"},
		{openai, "text-embedding-3-small", "embed", "embed"},
		{openai, "Text-Embedding-Ada-002", "embed", "embed"},
		{openai, "gpt-3.5-turbo-instruct", "prompt stream", "prompt"},
		{openai, "some-new-instruct", "prompt stream", "prompt"},
		{openai, "davinci-002", "prompt stream", "prompt"},
		{openai, "babbage-002", "prompt stream", "prompt"},
		{BackendSpec{Provider: "openai", URL: "https://api.openai.com/v1"}, "x-instruct", "prompt stream", "prompt"},
		{openai, "gpt-4o-audio-preview", "", ""},
		{openai, "gpt-image-1", "", ""},
		{openai, "sora-video-2", "", ""},
		{openai, "tts-1-hd", "", ""},
		{openai, "gpt-4o-mini-tts", "", ""},
		{openai, "whisper-1", "", ""},
		{openai, "gpt-4o-realtime-preview", "", ""},
		{openai, "matts-model", "chat prompt stream", "chat prompt"}, // tts inside a word
		{local, "qwen2.5-7b-instruct", "chat prompt stream", "chat prompt"},
		{local, "gpt-3.5-turbo-instruct", "prompt stream", "prompt"},
		{BackendSpec{Provider: "ollama"}, "nomic-embed-text", "embed", "embed"},
		{BackendSpec{Provider: "bedrock"}, "amazon.titan-embed-text-v2:0", "embed", "embed"},
		{BackendSpec{Provider: "anthropic"}, "claude-sonnet-4", "chat prompt stream", "chat prompt"},
		{BackendSpec{Provider: "sim"}, "sim-embed", "", "chat embed prompt"}, // nothing is guessed: a call takes it for yes
		{BackendSpec{}, "x", "", "chat embed prompt"},
	} {
		got := infer(c.backend, c.name)
		var kinds []string
		for _, kind := range []Capability{CanChat, CanEmbed, CanPrompt} {
			if got.Serve(kind) {
				kinds = append(kinds, string(kind))
			}
		}
		if canDo(got) != c.can || strings.Join(kinds, " ") != c.kinds {
			t.Errorf("%s %s: can %q and serves %q, want %q and %q", c.backend.Provider, c.name, canDo(got), kinds, c.can, c.kinds)
		}
	}
}

// TestCapable_DeclaredBeforeToldBeforeGuessed: an override of true, of false, and
// none.
func TestCapable_DeclaredBeforeToldBeforeGuessed(t *testing.T) {
	guess := Capabilities{CanChat: true, CanPrompt: true, CanStream: true}
	for _, c := range []struct {
		what                      string
		declared, told, want      Capabilities
		vision, mismatches, embed bool
	}{
		{what: "nothing said", want: guess, vision: true},
		{what: "the API says no", told: Capabilities{CanVision: false}, want: Capabilities{CanChat: true, CanPrompt: true, CanStream: true, CanVision: false}},
		{what: "an override of true", declared: Capabilities{CanVision: true}, told: Capabilities{CanVision: false},
			want: Capabilities{CanChat: true, CanPrompt: true, CanStream: true, CanVision: true}, vision: true, mismatches: true},
		{what: "an override of false", declared: Capabilities{CanVision: false}, told: Capabilities{CanVision: true},
			want: Capabilities{CanChat: true, CanPrompt: true, CanStream: true, CanVision: false}, mismatches: true},
		{what: "an override that agrees", declared: Capabilities{CanVision: true}, told: Capabilities{CanVision: true},
			want: Capabilities{CanChat: true, CanPrompt: true, CanStream: true, CanVision: true}, vision: true},
		{what: "an API that tells the kinds has told them all", told: Capabilities{CanEmbed: true}, want: Capabilities{CanEmbed: true}, vision: true, embed: true},
		{what: "an override of a guess", declared: Capabilities{CanStream: false}, want: Capabilities{CanChat: true, CanPrompt: true, CanStream: false}, vision: true},
	} {
		got := capable(c.declared, c.told, guess)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.what, diff)
		}
		if yes, said := got[CanVision]; (yes || !said) != c.vision || got.Serve(CanEmbed) != c.embed || (len(contradicted(c.declared, c.told)) > 0) != c.mismatches {
			t.Errorf("%s: vision %v, embed %v, contradicted %v", c.what, yes || !said, got.Serve(CanEmbed), contradicted(c.declared, c.told))
		}
	}
	if !maps.Equal(guess, Capabilities{CanChat: true, CanPrompt: true, CanStream: true}) {
		t.Error("a guess was changed by what came over it")
	}
	if got := capable(nil, nil, nil); got != nil {
		t.Errorf("nothing known: %v", got)
	}
}
