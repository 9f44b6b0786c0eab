package anthropic

import "testing"

func TestGenerationOf_ReadsTheVersionOffTheName(t *testing.T) {
	for name, want := range map[string]generation{
		"claude-3-haiku-20240307": 30, "claude-3-5-sonnet-20241022": 35, "claude-3-7-sonnet-latest": 37,
		"claude-opus-4-20250514": 40, "claude-opus-4-1-20250805": 41, "claude-sonnet-4-5-20250929": 45, "claude-haiku-4-5": 45,
		"claude-opus-4-5@20251101": 45, "anthropic/claude-opus-4.6": 46, "eu.anthropic.claude-opus-4-6-v1:0": 46, "claude-opus-4-8": 48, "anthropic.claude-opus-4-20250514-v1:2": 40,
		"claude-sonnet-5": 50, "Claude-Opus-5-5": 55, "claude-opus-4-12": 49,
		"claude-mythos-preview": newest, "my-alias": newest, "kimi-k2-5": newest, "": newest,
	} {
		if got := generationOf(name); got != want {
			t.Errorf("%s is of generation %d, want %d", name, got, want)
		}
	}
}

func TestGeneration_BoundsThatEachTakes(t *testing.T) {
	for g, want := range map[generation]int{30: 4096, 35: 8192, 37: 32000, 40: 32000, newest: 32000} {
		if got := g.maxTokens(); got != want {
			t.Errorf("generation %d: %d tokens, want %d", g, got, want)
		}
	}
}

// A model that thinks before it says something may be silent for longer, one of which
// nothing is known may not.
func TestGeneration_ThinksUnasked(t *testing.T) {
	for g, want := range map[generation]bool{45: false, 48: false, 50: true, 55: true, newest: false} {
		if got := g.thinksUnasked(); got != want {
			t.Errorf("generation %d: %t", g, got)
		}
	}
}
