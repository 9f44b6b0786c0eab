package worker

import (
	"encoding/json"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// redact makes an error's text fit to be stored and logged: what it repeats of the
// request, its model's name apart, and what looks like a credential are left out.
func redact(text string, r *lm.Request) string {
	model := r.Model
	if model == "" {
		var body struct {
			Model string `json:"model"`
		}
		_ = json.Unmarshal(r.Body, &body)
		model = body.Model
	}
	return provider.Redact(text, r.Body, model)
}
