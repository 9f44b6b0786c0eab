package producer

import lm "github.com/lighterman/lighterman"

// Check says what Enqueue would refuse a request for before asking Redis, nil
// when nothing: a lighterman.Error of kind InvalidRequest or UnknownModel. It
// does not call the preprocess hook.
func (c *Client) Check(req lm.Request) error {
	req.Normalize()
	return validate(&req, c.opts.models)
}
