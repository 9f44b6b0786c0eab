package gemini

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// credential is what opens Vertex for one request.
type credential struct {
	token string
	quota string // the project whose quota counts; empty: the one that is asked
}

// tokens is where requests get their credential from: nil where a key opens the API.
func tokens(o *Options) func(context.Context) (credential, error) {
	switch {
	case o.Project == "":
		return nil
	case o.Token != nil:
		return func(ctx context.Context) (credential, error) {
			token, err := o.Token(ctx)
			if err != nil {
				return credential{}, refused(ctx, err)
			}
			return credential{token: token.Reveal()}, nil
		}
	default:
		d := &detected{file: o.CredentialsFile}
		return d.get
	}
}

// detected are credentials of a file or the Application Default Credentials. They are
// looked for when they are first needed and again until they are found, so that a
// worker may start before its secret is there.
type detected struct {
	file string

	mu    sync.Mutex
	found *auth.Credentials
}

func (d *detected) get(ctx context.Context) (credential, error) {
	found, err := d.look()
	if err != nil {
		text := provider.Redact(err.Error(), nil, "")
		return credential{}, lm.Errorf(lm.Unauthorized, "no Google credentials (want GOOGLE_APPLICATION_CREDENTIALS or a credentials file): %s", text)
	}
	token, err := found.Token(ctx) // it caches, and renews before the end
	if err != nil {
		return credential{}, refused(ctx, err)
	}
	quota, err := found.QuotaProjectID(ctx)
	if err != nil {
		return credential{}, refused(ctx, err)
	}
	return credential{token: token.Value, quota: quota}, nil
}

func (d *detected) look() (*auth.Credentials, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found != nil {
		return d.found, nil
	}
	found, err := credentials.DetectDefault(&credentials.DetectOptions{
		Scopes:          []string{"https://www.googleapis.com/auth/cloud-platform"},
		CredentialsFile: d.file,
		Client:          &http.Client{Timeout: 30 * time.Second}, // a renewal in the background has no context
	})
	if err != nil {
		return nil, err
	}
	d.found = found
	return found, nil
}

// refused says why there is no token. What the token's issuer wrote is not told: it
// may quote the credential.
func refused(ctx context.Context, err error) *lm.Error {
	var known *lm.Error
	var issuer *auth.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &issuer) && issuer.Response != nil:
		status := issuer.Response.StatusCode
		kind := lm.Unauthorized
		if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
			kind = lm.ProviderFailed
		}
		return lm.Errorf(kind, "no access token: its issuer answered HTTP %d", status)
	}
	failure := provider.Failure(ctx, err, false)
	if failure.Kind == lm.ProviderFailed {
		failure.Err = errors.New("no access token: its issuer cannot be reached or is not understood")
	}
	return failure
}
