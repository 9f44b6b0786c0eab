package bedrock

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/aws/smithy-go"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// failure says in our kinds why a call brought no answer. begun: its stream had.
func (c *Client) failure(ctx context.Context, err error, e *provider.Exchange, call *lm.Call, begun bool) error {
	signals := provider.Signals{Status: e.Status, Header: e.Header, Streaming: begun}
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && begun:
		signals.Status = 0 // it was 200
		signals.Code, signals.Message = api.ErrorCode(), api.ErrorMessage()
	case e.Status >= 400:
		signals.Code, signals.Message = errorType(e), message(e.Body)
		if signals.Code == "" && errors.As(err, &api) {
			signals.Code = api.ErrorCode()
		}
	case e.Status == 0 && strings.Contains(err.Error(), "get identity"), strings.Contains(err.Error(), "failed to retrieve credentials"):
		return lm.Errorf(lm.Unauthorized, "no AWS credentials were found")
	default:
		return provider.Failure(ctx, err, begun)
	}
	signals.Message = provider.Redact(signals.Message, call.Body, call.Model, c.key.Reveal())
	return provider.Classify(signals)
}

// errorType is the exception's name, from the header, as
// "ThrottlingException:http://internal...", else from the body.
func errorType(e *provider.Exchange) string {
	name := e.Header.Get("X-Amzn-Errortype")
	if name == "" {
		var body struct {
			Type string `json:"__type"`
		}
		_ = json.Unmarshal(e.Body, &body) // then there is none
		name = body.Type
	}
	name, _, _ = strings.Cut(name, ":")
	return name[strings.LastIndex(name, "#")+1:]
}

func message(body []byte) string {
	var m struct {
		Message string `json:"message"`
		Upper   string `json:"Message"`
	}
	if json.Unmarshal(body, &m) != nil {
		return string(body)
	}
	return m.Message + m.Upper
}
