package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

func offers(names string) []lm.Offering {
	var list []lm.Offering
	for name := range strings.FieldsSeq(names) {
		list = append(list, lm.Offering{Name: name})
	}
	return list
}

// TestMatch_ExactFirstThenOnlyWhereNobodyCanMistakeIt.
func TestMatch_ExactFirstThenOnlyWhereNobodyCanMistakeIt(t *testing.T) {
	for _, c := range []struct{ name, offered, want string }{
		{"llama3", "llama3 llama3:latest", "llama3"},
		{"llama3", "llama3:latest llama3:8b", "llama3:latest"},
		{"llama3:latest", "llama3 llama3:8b", "llama3"},
		{"llama3", "llama3:8b", ""},
		{"gemini-2.5-pro", "models/gemini-2.5-pro models/gemini-2.5-flash", "models/gemini-2.5-pro"},
		{"models/gemini-2.5-pro", "gemini-2.5-pro", "gemini-2.5-pro"},
		{"GPT-4o", "gpt-4o", "gpt-4o"},
		{"gpt-4o", "GPT-4o Gpt-4o", ""}, // two of them: nobody can say which
		{"GPT-4o", "GPT-4o Gpt-4o", "GPT-4o"},
		{"gpt-4o", "gpt-4o-mini openai/gpt-4o", ""},
		{"x", "", ""},
	} {
		list := settle(nil, offers(c.offered))
		got := ""
		if i := match(c.name, list); i >= 0 {
			got = list[i].Name
		}
		if got != c.want {
			t.Errorf("%s among %s: %q, want %q", c.name, c.offered, got, c.want)
		}
	}
}

// TestSettle_AModelIsGoneWithTheSecondListWithoutIt, and not before; one that
// comes back begins anew.
func TestSettle_AModelIsGoneWithTheSecondListWithoutIt(t *testing.T) {
	var list []offered
	for i, step := range []struct{ fresh, want string }{
		{"b a b", "a b"}, {"a", "a b-1"}, {"a b", "a b"}, {"a", "a b-1"}, {"c", "a-1 c"}, {"c", "c"}, {"a c", "a c"},
	} {
		list = settle(list, offers(step.fresh))
		var got []string
		for _, o := range list {
			word := o.Name
			if o.Missed > 0 {
				word += fmt.Sprint("-", o.Missed)
			}
			got = append(got, word)
		}
		if strings.Join(got, " ") != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
}

// TestSettle_KeepsNothingThatIsNoName, and is bounded.
func TestSettle_KeepsNothingThatIsNoName(t *testing.T) {
	fresh := []lm.Offering{{Name: ""}, {Name: "a\nb"}, {Name: strings.Repeat("x", nameMost+1)}, {Name: "ok"}, {Name: strings.Repeat("x", nameMost)}}
	if got := settle(nil, fresh); len(got) != 2 || got[0].Name != "ok" {
		t.Errorf("%+v", got)
	}
	for i := range offeringsMost + 10 {
		fresh = append(fresh, lm.Offering{Name: fmt.Sprint("m", i)})
	}
	if got := settle(nil, fresh); len(got) != offeringsMost {
		t.Errorf("%d are kept", len(got))
	}
}

// TestFind_TakesWhatOneModelAloneMeans: a request's model, as it is and normalised.
func TestFind_TakesWhatOneModelAloneMeans(t *testing.T) {
	t.Parallel()
	spec := Spec{Pools: []PoolSpec{{ID: "Fast", Members: []Member{{Model: "ollama/big:latest"}}}, {ID: "both", Members: []Member{{Model: "x"}}}}}
	for _, id := range []string{"ollama/big:latest", "x", "BOTH", "a", "A"} {
		spec.Models = append(spec.Models, ModelSpec{ID: id, Backend: "b", Name: id})
	}
	snap := NewSnapshot(1, time.Now(), spec, nil)
	for name, want := range map[string]string{"ollama/big": "ollama/big:latest", "ollama/big:latest": "ollama/big:latest", "fast": "Fast", "both": "both", "a": "a", "ollama/bigger": "", "Both": "", "": ""} {
		got := ""
		if p := snap.Find(name); p != nil {
			got = p.Spec.ID
		}
		if got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
