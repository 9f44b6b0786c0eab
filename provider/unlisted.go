package provider

import (
	"errors"
	"net/http"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// wrongKey are words with which a 403 speaks of the credential itself.
var wrongKey = []string{
	"signature", "security token", "expired", "invalid api key", "incorrect api key", "api key not valid", "invalid_api_key", "unrecognizedclient", "invalidclienttokenid", "leaked", "suspended",
}

// Unlisted is the error of a listing or probe: a credential that is good may still
// not be allowed to list (an OpenAI key without the scope, an AWS role with InvokeModel
// alone), which is a 403 too. Such a one may call, so it is no Unauthorized, by which
// the backend's models would get no calls; it is ProviderFailed: nobody knows.
func (e *Exchange) Unlisted(err error) error {
	if e.Status != http.StatusForbidden || lm.KindOf(err) != lm.Unauthorized {
		return err
	}
	said := strings.ToLower(string(e.Body) + e.Header.Get("X-Amzn-Errortype"))
	if speaksOf(said, wrongKey) {
		return err
	}
	text := errors.Unwrap(lm.AsError(err))
	return lm.Errorf(lm.ProviderFailed, "the credential may not list models, and may still call them: %w", text)
}
