package ollama

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/providertest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Adapter{
		Format: providertest.NewOllama(), Lacks: []string{"key", "cached", "thoughts"},
		Open: func(o provider.Options) (provider.API, error) { return New(o) },
	})
}

func open(t *testing.T) (*providertest.Server, *API) {
	t.Helper()
	s := providertest.NewServer(providertest.NewOllama())
	t.Cleanup(s.Close)
	a, err := New(provider.Options{BaseURL: s.URL + "/v1/"})
	if err != nil {
		t.Fatal(err)
	}
	return s, a
}

func TestList_SaysWhatEachModelCanDo(t *testing.T) {
	s, a := open(t)
	s.Offer(
		lm.Offering{Name: "llama3.2:latest", Window: 131072, Can: map[lm.Capability]bool{lm.CanChat: true, lm.CanTools: true}},
		lm.Offering{Name: "nomic-embed-text:latest", Window: 2048, Can: map[lm.Capability]bool{lm.CanEmbed: true}},
		lm.Offering{Name: "old:latest"},
	)
	got, err := a.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []lm.Offering{
		{Name: "llama3.2:latest", Window: 131072, Can: map[lm.Capability]bool{
			"chat": true, "prompt": true, "stream": true, "tools": true, "embed": false, "think": false, "vision": false,
		}},
		{Name: "nomic-embed-text:latest", Window: 2048, Can: map[lm.Capability]bool{
			"chat": false, "prompt": false, "stream": false, "tools": false, "embed": true, "think": false, "vision": false,
		}},
		{Name: "old:latest"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestList_ShowsAModelAgainOnlyWhenItsDigestChanges(t *testing.T) {
	s, a := open(t)
	shows := func() int {
		n := 0
		for _, one := range s.Seen() {
			if one.Path == "/api/show" {
				n++
			}
		}
		return n
	}
	list := func(window int) {
		t.Helper()
		s.Offer(lm.Offering{Name: "a", Window: 10}, lm.Offering{Name: "b", Window: window})
		got, err := a.List(t.Context())
		if err != nil || len(got) != 2 || got[1].Window != window {
			t.Fatalf("listed %+v, %v", got, err)
		}
	}
	list(20)
	list(20)
	if n := shows(); n != 2 {
		t.Errorf("%d shows of 2 models in 2 listings, want 2", n)
	}
	list(30)
	if n := shows(); n != 3 {
		t.Errorf("%d shows after one model changed, want 3", n)
	}
	s.Offer(lm.Offering{Name: "a", Window: 10})
	if _, err := a.List(t.Context()); err != nil || len(a.shown) != 1 {
		t.Errorf("%d models are remembered of 1 (%v)", len(a.shown), err)
	}
}

func TestList_AModelThatGoesAwayIsLeftOut_OneThatCannotBeShownIsNot(t *testing.T) {
	for _, c := range []struct {
		name string
		step providertest.Step
		want []string
	}{
		{"gone", providertest.Step{Answer: &providertest.Response{Status: 404, Body: `{"error":"model 'alpha' not found"}`}}, []string{"beta"}},
		{"broken", providertest.Step{Answer: &providertest.Response{Status: 500, Body: `{"error":"no"}`}}, []string{"alpha", "beta"}},
	} {
		s, a := open(t)
		s.Decide(func(asked providertest.Asked) (providertest.Step, bool) {
			return c.step, asked.Path == "/api/show" && asked.Model == "alpha"
		})
		got, err := a.List(t.Context())
		var names []string
		for _, o := range got {
			names = append(names, o.Name)
		}
		if err != nil || !slices.Equal(names, c.want) {
			t.Errorf("%s: listed %q (%v), want %q", c.name, names, err, c.want)
		}
	}
}

func TestLoaded(t *testing.T) {
	_, a := open(t)
	got, err := a.Loaded(t.Context())
	if err != nil || len(got) != 1 || got[0].Name != "alpha" || got[0].Window != 4096 || got[0].VRAM == 0 || got[0].Expires.IsZero() {
		t.Errorf("loaded %+v, %v", got, err)
	}
}

func TestNew_TakesTheAddressWithAndWithoutVersion(t *testing.T) {
	for _, bad := range []string{"localhost:11434", "ftp://x", "http://"} {
		if _, err := New(provider.Options{BaseURL: bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := New(provider.Options{}); err != nil {
		t.Error(err)
	}
}

// TestRealServer asks the Ollama at OLLAMA_TEST_URL, of OLLAMA_TEST_MODEL or the
// first model that chats.
func TestRealServer(t *testing.T) {
	address := os.Getenv("OLLAMA_TEST_URL")
	if address == "" {
		t.Skip("OLLAMA_TEST_URL is not set: no real Ollama is asked")
	}
	a, err := New(provider.Options{BaseURL: address, Timeouts: provider.Timeouts{FirstByte: 5 * time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Probe(t.Context()); err != nil {
		t.Fatalf("probe: %v", err)
	}
	offerings, err := a.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	t.Logf("it offers %+v", offerings)
	model := os.Getenv("OLLAMA_TEST_MODEL")
	for _, o := range offerings {
		if model == "" && o.Can[lm.CanChat] {
			model = o.Name
		}
	}
	providertest.Real(t, a, model)
	if loaded, err := a.Loaded(t.Context()); err != nil || len(loaded) == 0 {
		t.Errorf("loaded %+v, %v", loaded, err)
	}
	_, err = a.Call(t.Context(), lm.Call{Kind: "chat", Model: "no-such-model", Body: json.RawMessage(`{"messages":[{"role":"user","content":"hi"}]}`)})
	if lm.KindOf(err) != lm.ModelNotFound {
		t.Errorf("no-such-model: %v", err)
	}
}

// TestList_TheModelfilesContextLengthCounts: Ollama loads the model with num_ctx, and
// cuts what is longer without an error.
func TestList_TheModelfilesContextLengthCounts(t *testing.T) {
	for name, c := range map[string]struct {
		show string
		want int
	}{
		"num_ctx":                   {`{"parameters":"stop                           \"<|end|>\"\nnum_ctx                        512\ntemperature 0.1","model_info":{"llama.context_length":2048}}`, 512},
		"more than the model has":   {`{"parameters":"num_ctx 8192","model_info":{"llama.context_length":2048}}`, 2048},
		"of a model that says none": {`{"parameters":"num_ctx 512","model_info":{}}`, 512},
		"none":                      {`{"parameters":"stop num_ctx","model_info":{"llama.context_length":2048}}`, 2048},
		"odd forms":                 {`{"parameters":7,"capabilities":"completion","model_info":{"llama.context_length":"2048"}}`, 2048},
	} {
		s, a := open(t)
		s.Offer(lm.Offering{Name: "alpha"})
		s.Decide(func(asked providertest.Asked) (providertest.Step, bool) {
			return providertest.Step{Answer: &providertest.Response{Body: c.show}}, asked.Path == "/api/show"
		})
		if got, err := a.List(t.Context()); err != nil || len(got) != 1 || got[0].Window != c.want {
			t.Errorf("%s: %+v, %v, want %d", name, got, err, c.want)
		}
	}
}
