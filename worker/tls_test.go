package worker

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
)

// TestRun_OverMutualTLS: a worker and a producer who show certificates run an
// operation to its end; the listener of the control channel is one connection more.
func TestRun_OverMutualTLS(t *testing.T) {
	ca := redistest.NewAuthority(t)
	cert, key := ca.Issue("127.0.0.1", time.Hour)
	server := redistest.Start(t, redistest.WithTLS(ca.File, cert, key))
	ours, oursKey := ca.Issue("worker", time.Hour)
	at := server.URL() + "?" + url.Values{"ca_file": {ca.File}, "cert_file": {ours}, "key_file": {oursKey}}.Encode()
	cfg := settings(server)
	cfg.Redis.URL = config.SecretURL(at)
	w := newWorker(t, cfg)
	stop := run(t, w)
	if strings.Contains(w.Redis(), "PRIVATE") {
		t.Error("a key is shown")
	}
	s, err := lua.Open(context.Background(), at, StoreOptions(cfg))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := ask(t, client(t, s), lm.Request{Body: json.RawMessage(`{"messages":[{"role":"user","content":"Why?"}]}`)})
	if r.Outcome != lm.Succeeded {
		t.Errorf("%+v", r)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
