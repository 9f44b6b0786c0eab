package worker

import (
	"slices"
	"testing"

	"github.com/lighterman/lighterman/fleet"
)

func TestCheaper_OrdersByWhatIsKnown(t *testing.T) {
	t.Parallel()
	for what, want := range map[string][]string{
		"numbers":            {"smollm:135m", "llama3.2:1b", "qwen2.5:1.5b", "gemma-3n-e4b-it", "Qwen2.5-VL-7B-Instruct", "llama-3.1-8b", "mixtral:8x7b", "gpt-oss-120b"},
		"words":              {"a-nano", "z-mini", "b-flash", "zephyr", "b-large", "claude-opus-4"},
		"a number by a word": {"phi3:mini", "mistral-small3.1:24b", "big", "mistral-large:123b"},
		"known ones first":   {"gpt-5-mini-2026", "gpt-4o-mini", "claude-haiku-4-5", "gpt-5-nano", "gpt-4.1"},
		"two words":          {"gemini-1.5-flash-lite", "gemini-1.5-flash", "gemini-1.5-pro"},
		"guards last":        {"llama3:70b", "llama-guard3:1b"},
		"equal ones by ID":   {"qwen", "zephyr"},
	} {
		models := make([]*fleet.ModelSpec, len(want))
		for i, name := range want {
			models[len(want)-1-i] = &fleet.ModelSpec{ID: name, Name: name}
		}
		slices.SortStableFunc(models, cheaper)
		var got []string
		for _, m := range models {
			got = append(got, m.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	dear, cheap := &fleet.ModelSpec{ID: "a:1b", Name: "a:1b", Price: fleet.Price{Input: 3, Output: 15}}, &fleet.ModelSpec{ID: "b:70b", Name: "b:70b", Price: fleet.Price{Input: 1}}
	if cheaper(cheap, dear) >= 0 {
		t.Error("a known price does not come before the size")
	}
}
