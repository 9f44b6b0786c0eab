package lighterman

import "testing"

func TestMatchModel_ExactFirstElseTheOnlyOneThatIsTheSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		all  []string
		want int
	}{
		{"ollama/big", []string{"ollama/big:latest", "ollama/small:latest"}, 0},
		{"ollama/big:latest", []string{"ollama/big"}, 0},
		{"big", []string{"big:7b", "big:latest"}, 1},
		{"big", []string{"big:latest", "big"}, 1}, // exact first
		{"Big", []string{"big", "BIG"}, -1},       // nobody can say which
		{"Big", []string{"big", "BIG", "Big"}, 2},
		{"gemini-2", []string{"models/gemini-2"}, 0},
		{"gemini/gemini-2", []string{"gemini/models/Gemini-2"}, 0},
		{"other/big", []string{"ollama/big:latest"}, -1},
		{"big", []string{"ollama/big:latest"}, -1},
		{"big:7b", []string{"big:latest", "big:8b"}, -1},
		{"org/Big-Model", []string{"x", "org/big-model"}, 1},
		{":latest", []string{"big"}, -1},
		{"big", nil, -1},
	} {
		if got := MatchModel(c.name, c.all, func(s *string) string { return *s }); got != c.want {
			t.Errorf("%s among %q: %d, want %d", c.name, c.all, got, c.want)
		}
	}
}
