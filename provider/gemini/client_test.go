package gemini_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/gemini"
)

// TestNew_Options: what contradicts itself is refused, in words that hold no secret.
func TestNew_Options(t *testing.T) {
	token := func(context.Context) (lm.Secret, error) { return "t", nil }
	key := provider.Options{Key: aKey}
	for name, c := range map[string]struct {
		o    gemini.Options
		fine bool
	}{
		"a key":                      {gemini.Options{Options: key}, true},
		"a project":                  {gemini.Options{Project: "p"}, true},
		"a project and its token":    {gemini.Options{Project: "p", Location: "l", Token: token}, true},
		"express":                    {gemini.Options{Options: key, Express: true}, true},
		"an address":                 {gemini.Options{Options: provider.Options{BaseURL: "http://127.0.0.1:1"}}, true},
		"nothing":                    {gemini.Options{}, false},
		"a project and a key":        {gemini.Options{Options: key, Project: "p"}, false},
		"a project in express mode":  {gemini.Options{Project: "p", Express: true}, false},
		"a location without project": {gemini.Options{Options: key, Location: "l"}, false},
		"a token without project":    {gemini.Options{Options: key, Token: token}, false},
		"a file without project":     {gemini.Options{Options: key, CredentialsFile: "f"}, false},
	} {
		_, err := gemini.New(t.Context(), c.o)
		if (err == nil) != c.fine {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), aKey) {
			t.Errorf("%s: the key is in %v", name, err)
		}
	}
}

// TestNew_TheEnvironmentChangesNothing: the SDK reads variables of its own; only the
// options count.
func TestNew_TheEnvironmentChangesNothing(t *testing.T) {
	for name, value := range map[string]string{
		"GOOGLE_API_KEY": "another", "GEMINI_API_KEY": "", "GOOGLE_GENAI_USE_VERTEXAI": "1", "GOOGLE_CLOUD_PROJECT": "another", "GOOGLE_CLOUD_LOCATION": "another",
		"GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:1", "GOOGLE_VERTEX_BASE_URL": "http://127.0.0.1:1",
	} {
		t.Setenv(name, value)
	}
	f := serve(t, fine)
	o := f.options()
	call(t, open(t, o), chatCall(gemini25, user("")))
	o.Key, o.Project, o.Token = "", "mine", func(context.Context) (lm.Secret, error) { return "token", nil }
	call(t, open(t, o), chatCall(gemini25, user("")))
	want := []string{"/v1beta/models/gemini-2.5-flash:generateContent", "/v1beta1/projects/mine/locations/global/publishers/google/models/gemini-2.5-flash:generateContent"}
	if d := cmp.Diff(want, f.paths()); d != "" {
		t.Errorf("asked (-want +got)\n%s", d)
	}
	if f.header(0, "X-Goog-Api-Key") != aKey || f.header(1, "X-Goog-Api-Key") != "" || f.header(1, "Authorization") != "Bearer token" {
		t.Errorf("credentials %q, %q and %q", f.header(0, "X-Goog-Api-Key"), f.header(1, "X-Goog-Api-Key"), f.header(1, "Authorization"))
	}
}

// TestNew_Addresses: express mode, a version in the base URL, an address without a
// key, other publishers, full names, headers.
func TestNew_Addresses(t *testing.T) {
	f := serve(t, fine)
	express, versioned, open2 := f.options(), f.options(), f.options()
	express.Express = true
	versioned.BaseURL += "/proxy/v1/"
	open2.Key, open2.Header = "", map[string]string{"X-Own": "1"}
	vertex := f.options()
	vertex.Key, vertex.Project, vertex.Location = "", "p", "europe-west4"
	vertex.Token = func(context.Context) (lm.Secret, error) { return "token", nil }
	for _, c := range []struct {
		o     gemini.Options
		model string
	}{{express, gemini25}, {versioned, "models/" + gemini25}, {open2, "tunedModels/x"}, {vertex, "meta/llama-3.3-70b-instruct-maas"}, {vertex, "projects/p/locations/l/endpoints/1"}} {
		call(t, open(t, c.o), chatCall(c.model, user("")))
	}
	if d := cmp.Diff([]string{
		"/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent", "/proxy/v1/models/gemini-2.5-flash:generateContent", "/v1beta/tunedModels/x:generateContent",
		"/v1beta1/projects/p/locations/europe-west4/publishers/meta/models/llama-3.3-70b-instruct-maas:generateContent", "/v1beta1/projects/p/locations/l/endpoints/1:generateContent",
	}, f.paths()); d != "" {
		t.Errorf("asked (-want +got)\n%s", d)
	}
	if f.header(0, "X-Goog-Api-Key") != aKey || f.header(2, "X-Goog-Api-Key") != "" || f.header(2, "X-Own") != "1" || f.header(0, "Authorization") != "" {
		t.Errorf("keys %q and %q, own header %q", f.header(0, "X-Goog-Api-Key"), f.header(2, "X-Goog-Api-Key"), f.header(2, "X-Own"))
	}
}

// tripper keeps the addresses that are asked, and answers.
type tripper struct{ asked []string }

func (r *tripper) RoundTrip(q *http.Request) (*http.Response, error) {
	r.asked = append(r.asked, q.URL.Host)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(fine))}, nil
}

// TestNew_Hosts: where requests go that have no base URL.
func TestNew_Hosts(t *testing.T) {
	r := &tripper{}
	o := provider.Options{Key: aKey, Transport: r}
	call(t, open(t, gemini.Options{Options: o}), chatCall(gemini25, user("")))
	call(t, open(t, gemini.Options{Options: o, Express: true}), chatCall(gemini25, user("")))
	o.Key = ""
	for _, location := range []string{"", "europe-west4", "eu"} {
		v := onVertex(gemini.Options{Options: o})
		v.Location = location
		call(t, open(t, v), chatCall(gemini25, user("")))
	}
	want := []string{"generativelanguage.googleapis.com", "aiplatform.googleapis.com", "aiplatform.googleapis.com", "europe-west4-aiplatform.googleapis.com", "aiplatform.eu.rep.googleapis.com"}
	if d := cmp.Diff(want, r.asked); d != "" {
		t.Errorf("asked (-want +got)\n%s", d)
	}
}

// serviceAccount writes a credentials file whose tokens come from issuer.
func serviceAccount(t *testing.T, issuer string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "credentials.json")
	content, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "p", "client_email": "x@p.iam.gserviceaccount.com", "private_key_id": "k", "token_uri": issuer,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "quota_project_id": "payer",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestVertex_ServiceAccount: a file's credentials bring a token, once for many calls;
// so do Application Default Credentials.
func TestVertex_ServiceAccount(t *testing.T) {
	var issued atomic.Int64
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		issued.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"access_token":"ya29.issued","token_type":"Bearer","expires_in":3600}`)) //nolint:errcheck // the client may be gone
	}))
	t.Cleanup(issuer.Close)
	f := serve(t, fine)
	file := serviceAccount(t, issuer.URL)
	for _, c := range []struct{ file, env string }{{file, ""}, {"", file}} {
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", c.env)
		o := f.options()
		o.Key, o.Project, o.Location, o.CredentialsFile = "", "p", "us-central1", c.file
		client := open(t, o)
		issued.Store(0)
		for range 3 {
			call(t, client, chatCall(gemini25, user("")))
		}
		if n := issued.Load(); n != 1 {
			t.Errorf("%d tokens for three calls", n)
		}
	}
	if got := f.header(5, "Authorization"); got != "Bearer ya29.issued" || f.header(5, "X-Goog-User-Project") != "payer" {
		t.Errorf("sent %q for %q", got, f.header(5, "X-Goog-User-Project"))
	}
}

// TestVertex_NoToken: each reason in its kind, none in the issuer's words.
func TestVertex_NoToken(t *testing.T) {
	issuer := func(status int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			w.Write([]byte(`{"error":"invalid_grant","error_description":"secret"}`)) //nolint:errcheck // the client may be gone
		}))
		t.Cleanup(s.Close)
		return serviceAccount(t, s.URL)
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, []byte(`{"type":"service_account","private_key":"secret`), 0o600); err != nil {
		t.Fatal(err)
	}
	f := serve(t, fine)
	own := func(err error) func(context.Context) (lm.Secret, error) {
		return func(context.Context) (lm.Secret, error) { return "", err }
	}
	for name, c := range map[string]struct {
		o    gemini.Options
		kind lm.Kind
	}{
		"refused":     {gemini.Options{CredentialsFile: issuer(400)}, lm.Unauthorized},
		"disabled":    {gemini.Options{CredentialsFile: issuer(401)}, lm.Unauthorized},
		"unavailable": {gemini.Options{CredentialsFile: issuer(503)}, lm.ProviderFailed},
		"unreachable": {gemini.Options{CredentialsFile: serviceAccount(t, gone.URL)}, lm.ProviderFailed},
		"no file":     {gemini.Options{CredentialsFile: filepath.Join(t.TempDir(), "none.json")}, lm.Unauthorized},
		"broken file": {gemini.Options{CredentialsFile: broken}, lm.Unauthorized},
		"own error":   {gemini.Options{Token: own(lm.Errorf(lm.QuotaExhausted, "mine"))}, lm.QuotaExhausted},
		"own other":   {gemini.Options{Token: own(errors.New("secret"))}, lm.ProviderFailed},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.BaseURL, c.o.Project = f.URL, "p"
			client := open(t, c.o)
			for _, l := range []lm.Call{chatCall(gemini25, user("")), streamed(chatCall(gemini25, user("")))} {
				_, err := client.Call(t.Context(), l)
				if lm.KindOf(err) != c.kind || strings.Contains(err.Error(), "secret") {
					t.Errorf("%v, want %s", err, c.kind)
				}
			}
			if err := client.Probe(t.Context()); lm.KindOf(err) != c.kind {
				t.Errorf("probe: %v, want %s", err, c.kind)
			}
		})
	}
	if n := len(f.paths()); n > 0 {
		t.Errorf("%d requests without a token", n)
	}
}

// TestVertex_CredentialsThatComeLater: a worker may start before its secret is there.
func TestVertex_CredentialsThatComeLater(t *testing.T) {
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"access_token":"t","token_type":"Bearer","expires_in":3600}`)) //nolint:errcheck // the client may be gone
	}))
	t.Cleanup(issuer.Close)
	file := filepath.Join(t.TempDir(), "later.json")
	f := serve(t, fine)
	client := open(t, gemini.Options{Options: provider.Options{BaseURL: f.URL}, Project: "p", CredentialsFile: file})
	if _, err := client.Call(t.Context(), chatCall(gemini25, user(""))); lm.KindOf(err) != lm.Unauthorized {
		t.Fatalf("without the file: %v", err)
	}
	if err := os.Rename(serviceAccount(t, issuer.URL), file); err != nil {
		t.Fatal(err)
	}
	call(t, client, chatCall(gemini25, user("")))
}

// TestErrors_PlainCredentials: a key or token is not told, though it looks like
// nothing in particular.
func TestErrors_PlainCredentials(t *testing.T) {
	f := serve(t, `401 {"error":{"code":401,"message":"no right for plainlooking","status":"UNAUTHENTICATED"}}`)
	key, token := f.options(), onVertex(f.options())
	key.Key = "plainlooking"
	token.Token = func(context.Context) (lm.Secret, error) { return "plainlooking", nil }
	for _, o := range []gemini.Options{key, token} {
		_, err := open(t, o).Call(t.Context(), chatCall(gemini25, user("")))
		if lm.KindOf(err) != lm.Unauthorized || strings.Contains(err.Error(), "plain") {
			t.Errorf("error %v", err)
		}
	}
}
