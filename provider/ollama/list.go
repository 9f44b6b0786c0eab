package ollama

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// atOnce is how many models are shown at a time.
const atOnce = 4

type tag struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// List satisfies provider.API: /api/tags, and /api/show of each model for what it can
// do and its context length. A model that was shown once is shown again only when its
// digest changes. One that goes away meanwhile is left out; where showing fails
// otherwise the model is listed without what it can do.
func (a *API) List(ctx context.Context) ([]lm.Offering, error) {
	var w struct {
		Models []tag `json:"models"`
	}
	if err := a.ask(ctx, http.MethodGet, "/api/tags", nil, &w); err != nil {
		return nil, err
	}
	if w.Models == nil {
		return nil, lm.Errorf(lm.ProviderFailed, "/api/tags: the answer has no models")
	}
	offerings := make([]lm.Offering, len(w.Models))
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, t := range w.Models {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			offerings[i] = a.show(ctx, t)
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, provider.Failure(ctx, err, false)
	}
	a.forget(w.Models)
	return slices.DeleteFunc(offerings, func(o lm.Offering) bool { return o.Name == "" }), nil
}

// show says what a model can do; without a name it is gone.
func (a *API) show(ctx context.Context, t tag) lm.Offering {
	key := t.Name + "\x00" + t.Digest
	a.mu.Lock()
	known, ok := a.shown[key]
	a.mu.Unlock()
	if ok {
		return known
	}
	var w struct {
		Capabilities []string                   `json:"capabilities"`
		Info         map[string]json.RawMessage `json:"model_info"`
		Parameters   string                     `json:"parameters"` // the Modelfile's
	}
	body, err := json.Marshal(map[string]string{"model": t.Name})
	if err != nil {
		return lm.Offering{Name: t.Name}
	}
	switch err := a.ask(ctx, http.MethodPost, "/api/show", body, &w); {
	case lm.KindOf(err) == lm.ModelNotFound:
		return lm.Offering{}
	case err != nil:
		return lm.Offering{Name: t.Name}
	}
	o := lm.Offering{Name: t.Name, Window: least(window(w.Info), numCtx(w.Parameters)), Can: can(w.Capabilities)}
	if t.Digest != "" {
		a.mu.Lock()
		a.shown[key] = o
		a.mu.Unlock()
	}
	return o
}

// forget drops what was shown of models that are no longer there.
func (a *API) forget(models []tag) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key := range a.shown {
		if !slices.ContainsFunc(models, func(t tag) bool { return t.Name+"\x00"+t.Digest == key }) {
			delete(a.shown, key)
		}
	}
}

// window is the model's context length, which Ollama writes under its architecture's
// name: llama.context_length. 0: it does not say.
func window(info map[string]json.RawMessage) int {
	var n provider.Count
	for name, raw := range info {
		if strings.HasSuffix(name, ".context_length") && n.UnmarshalJSON(raw) == nil && n > 0 {
			return int(n)
		}
	}
	return 0
}

// numCtx is with which context length a Modelfile has its model loaded, whatever the
// server's usual one is: the parameter num_ctx, one of a line each. 0: it does not say.
func numCtx(parameters string) int {
	n := 0
	for line := range strings.Lines(parameters) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == "num_ctx" {
			n, _ = strconv.Atoi(words[1]) // 0 where it is none
		}
	}
	return max(n, 0)
}

// least is the smaller of two lengths, of which 0 is unknown.
func least(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// can reads a list of capabilities; nil where there is none, as before Ollama 0.6.4.
func can(words []string) map[lm.Capability]bool {
	if words == nil {
		return nil
	}
	out := map[lm.Capability]bool{}
	for word, capabilities := range map[string][]lm.Capability{
		"completion": {lm.CanChat, lm.CanPrompt, lm.CanStream}, "embedding": {lm.CanEmbed}, "tools": {lm.CanTools}, "thinking": {lm.CanThink}, "vision": {lm.CanVision},
	} {
		for _, c := range capabilities {
			out[c] = slices.Contains(words, word)
		}
	}
	return out
}

// Running is a model that is in memory.
type Running struct {
	Name    string    `json:"name"`
	Window  int       `json:"context_length"` // with which it was loaded; 0: the server does not say
	VRAM    int64     `json:"size_vram"`      // bytes
	Expires time.Time `json:"expires_at"`     // when it goes unless it is asked again
}

// Loaded is which models are in memory: /api/ps. Another one has to be loaded before
// its first token, which may take minutes.
func (a *API) Loaded(ctx context.Context) ([]Running, error) {
	var w struct {
		Models []Running `json:"models"`
	}
	if err := a.ask(ctx, http.MethodGet, "/api/ps", nil, &w); err != nil {
		return nil, err
	}
	return w.Models, nil
}
