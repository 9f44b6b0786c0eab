package lua

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
)

// query is a URL with more parameters: pairs of a name and a value.
func query(raw string, pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	join := "?"
	if strings.Contains(raw, "?") {
		join = "&"
	}
	return raw + join + v.Encode()
}

// letIn opens a URL and writes.
func letIn(t *testing.T, url string, opts Options) {
	t.Helper()
	s, err := Open(ctx, url, opts)
	if err != nil {
		t.Errorf("%s: %v", url, err)
		return
	}
	defer s.Close()
	if err := s.PublishNames(ctx, []string{"m"}); err != nil {
		t.Errorf("%s: %v", url, err)
	}
}

func TestTLS_ServerIsProved(t *testing.T) {
	ca, other := redistest.NewAuthority(t), redistest.NewAuthority(t)
	cert, key := ca.Issue("127.0.0.1", time.Hour)
	s := redistest.Start(t, redistest.WithTLS(ca.File, cert, key), redistest.WithConfig("tls-auth-clients", "no"))
	letIn(t, query(s.URL(), "ca_file", ca.File), Options{})
	letIn(t, query(s.URL(), "skip_verify", "true"), Options{})
	refused(t, s.URL(), Options{}, "an authority that is not trusted here", "?ca_file=")
	refused(t, query(s.URL(), "ca_file", other.File), Options{}, "an authority that is not trusted here")
	refused(t, query(s.URL(), "ca_file", ca.File, "server_name", "redis.example"), Options{}, "not for redis.example but for 127.0.0.1", "server_name")
	refused(t, strings.Replace(s.URL(), "rediss", "redis", 1), Options{}, "does it want TLS (rediss://)?")

	short, stop := context.WithTimeout(ctx, 300*time.Millisecond) // Redis waits for the end of the line that a ClientHello is to it
	defer stop()
	plain := strings.Replace(redistest.Start(t, redistest.WithTCP()).URL(), "redis", "rediss", 1)
	if _, err := Open(short, plain, Options{}); err == nil || !strings.Contains(err.Error(), "is this its TLS port?") {
		t.Errorf("no TLS there: %v", err)
	}

	cert, key = ca.Issue("127.0.0.1", -time.Hour)
	old := redistest.Start(t, redistest.WithTLS(ca.File, cert, key), redistest.WithConfig("tls-auth-clients", "no"))
	refused(t, query(old.URL(), "ca_file", ca.File), Options{}, "is valid from", "and not now")

	cert, key = ca.Issue("redis.example", time.Hour)
	named := redistest.Start(t, redistest.WithTLS(ca.File, cert, key), redistest.WithConfig("tls-auth-clients", "no"))
	refused(t, query(named.URL(), "ca_file", ca.File), Options{}, "redis.example", "server_name")
	letIn(t, query(named.URL(), "ca_file", ca.File, "server_name", "redis.example"), Options{})
}

func TestTLS_ClientIsProved(t *testing.T) {
	ca, other := redistest.NewAuthority(t), redistest.NewAuthority(t)
	cert, key := ca.Issue("127.0.0.1", time.Hour)
	s := redistest.Start(t, redistest.WithTLS(ca.File, cert, key), redistest.WithPassword("s3cret"))
	ours, oursKey := ca.Issue("worker", time.Hour)
	at := query(s.URL(), "ca_file", ca.File)
	letIn(t, query(at, "cert_file", ours, "key_file", oursKey), Options{})
	for range 10 { // who closes first is a race
		refused(t, at, Options{}, "client's certificate", "?cert_file=FILE&key_file=FILE")
	}
	theirs, theirsKey := other.Issue("worker", time.Hour)
	refused(t, query(at, "cert_file", theirs, "key_file", theirsKey), Options{}, "certificate")
	late, lateKey := ca.Issue("worker", -time.Hour)
	refused(t, query(at, "cert_file", late, "key_file", lateKey), Options{}, "certificate")
	refused(t, strings.Replace(query(at, "cert_file", ours, "key_file", oursKey), "s3cret", "other", 1), Options{}, "wrong user or password")
}

// TestTLS_ARenewedCertificateNeedsNoRestart: the files are read at each
// connection, and while they are broken the last good ones are used.
func TestTLS_ARenewedCertificateNeedsNoRestart(t *testing.T) {
	ca := redistest.NewAuthority(t)
	cert, key := ca.Issue("127.0.0.1", time.Hour)
	server := redistest.Start(t, redistest.WithTLS(ca.File, cert, key))
	ours, oursKey := ca.Issue("old", time.Hour)
	s, err := Open(ctx, query(server.URL(), "ca_file", ca.File, "cert_file", ours, "key_file", oursKey), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	again := func() error {
		server.Kill()
		server.Restart()
		return s.retryPing()
	}
	if err := os.WriteFile(ours, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Errorf("while the file is half written: %v", err)
	}
	late, lateKey := ca.Issue("late", -time.Hour)
	for to, from := range map[string]string{ours: late, oursKey: lateKey} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := again(); err == nil {
		t.Error("the new certificate, which is over, was not shown")
	}
}

// retryPing is Ping past connections that a restart has ended.
func (s *Store) retryPing() (err error) {
	for range 20 {
		if err = s.Ping(ctx); err == nil {
			return nil
		}
	}
	return err
}

func TestTLS_BadParameters(t *testing.T) {
	ca := redistest.NewAuthority(t)
	cert, key := ca.Issue("127.0.0.1", time.Hour)
	_, otherKey := ca.Issue("127.0.0.1", time.Hour)
	missing := filepath.Join(t.TempDir(), "none.pem")
	at := "rediss://:s3cret@127.0.0.1:1"
	for _, form := range []string{at, strings.Replace(at, "rediss", "rediss+cluster", 1), strings.Replace(at, "rediss", "rediss+sentinel", 1) + "?master_name=m"} {
		refused(t, query(form, "ca_file", missing), Options{}, "ca_file", missing, "no such file")
		refused(t, query(form, "ca_file", key), Options{}, "ca_file", "no certificate in it")
		refused(t, query(form, "cert_file", cert), Options{}, "go together")
		refused(t, query(form, "cert_file", missing, "key_file", key), Options{}, "cert_file", "no such file")
		refused(t, query(form, "cert_file", cert, "key_file", otherKey), Options{}, "cert_file, key_file", "does not match")
		refused(t, query(form, "cert_file", key, "key_file", cert), Options{}, "cert_file, key_file")
		refused(t, query(form, "skip_verify", "yes"), Options{}, "want true or false")
	}
	refused(t, query("redis://:s3cret@127.0.0.1:1", "ca_file", ca.File), Options{}, "want rediss://")
	refused(t, "rediss+sentinel://:s3cret@127.0.0.1:1", Options{}, "master_name")
	refused(t, "redis+cluster://:s3cret@127.0.0.1:1?read_only=true", Options{}, "replicas")
}

func TestTLS_Cluster(t *testing.T) {
	ca := redistest.NewAuthority(t)
	cert, key := ca.Issue("127.0.0.1", time.Hour)
	shards := redistest.StartShards(t, 3, 0, redistest.WithTLS(ca.File, cert, key))
	at := query(shards.URL(), "ca_file", ca.File)
	letIn(t, query(at, "cert_file", cert, "key_file", key), Options{Partitions: 8})
	refused(t, at, Options{Partitions: 8}, "client's certificate")
	refused(t, query(shards.URL(), "cert_file", cert, "key_file", key), Options{Partitions: 8}, "not trusted here")
}

func TestTLS_Sentinel(t *testing.T) {
	ca := redistest.NewAuthority(t)
	cert, key := ca.Issue("127.0.0.1", time.Hour)
	w := redistest.StartWatched(t, redistest.WithTLS(ca.File, cert, key))
	at := query(w.URL(), "ca_file", ca.File)
	letIn(t, query(at, "cert_file", cert, "key_file", key), Options{})
	refused(t, at, Options{}, "client's certificate")
	refused(t, query(w.URL(), "cert_file", cert, "key_file", key), Options{}, "not trusted here")
	refused(t, strings.Replace(query(at, "cert_file", cert, "key_file", key), "master_name="+redistest.MasterName, "master_name=other", 1), Options{}, "know no master of this name", "master_name")
}
