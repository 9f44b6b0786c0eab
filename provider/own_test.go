package provider_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/lighterman/lighterman/provider"
)

type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// An SDK that closes its request's body when the answer begins does not take it from
// under the transport.
func TestClient_RequestOutlivesItsSDKsBody(t *testing.T) {
	var sent *http.Request
	client := provider.NewClient(provider.Options{Transport: trip(func(r *http.Request) (*http.Response, error) {
		sent = r
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
	})})
	body := &closing{Reader: strings.NewReader("a request")}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://h/", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	body.Close()
	if got, err := io.ReadAll(sent.Body); string(got) != "a request" || err != nil || sent.ContentLength != 9 {
		t.Errorf("the transport reads %q of %d bytes (%v)", got, sent.ContentLength, err)
	}
}

// closing is a body that has nothing once it is closed, as smithy's.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Read(p []byte) (int, error) {
	if c.closed {
		return 0, io.EOF
	}
	return c.Reader.Read(p)
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}
