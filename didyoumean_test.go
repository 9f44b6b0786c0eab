package lighterman_test

import (
	"strings"
	"testing"

	"github.com/lighterman/lighterman"
)

func TestDidYouMean(t *testing.T) {
	models := []string{"gpt-4o", "gpt-4o-mini", "sim", "sim-slow", "sim-tools", "日本語"}
	for word, want := range map[string]string{
		"gtp-4o": "gpt-4o", "GPT-4O": "gpt-4o", "gpt4o": "gpt-4o", "gpt-4o-minni": "gpt-4o-mini",
		"sin": "sim", "sm": "sim", "sim-slwo": "sim-slow", "sim": "sim", "日本誤": "日本語",
		"": "", "claude": "", "xyz": "", "s": "", "simulated": "",
		strings.Repeat("sim", 1000): "",
	} {
		if got := lighterman.DidYouMean(word, models); got != want {
			t.Errorf("DidYouMean(%q) = %q, want %q", word, got, want)
		}
	}
	if got := lighterman.DidYouMean("sim", nil); got != "" {
		t.Errorf("of nothing it means %q", got)
	}
}
