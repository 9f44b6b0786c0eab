package lua

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
)

// tlsParams are the parameters of a rediss URL that say whom to trust and who we
// are. They are ours, alike in all three forms; all files are PEM.
//
//	ca_file      who may sign the server's certificate; the system's authorities without it
//	cert_file    our certificate (with what is between it and its authority), read again at every connection
//	key_file     its key
//	server_name  the name in the server's certificate; the host that is dialled without it
//	skip_verify  true: believe any server; encrypts, and proves nothing
var tlsParams = []string{"ca_file", "cert_file", "key_file", "server_name", "skip_verify"}

// readTLS takes the parameters out of a URL's query. The configuration is nil
// without TLS.
func readTLS(scheme string, query url.Values) (*tls.Config, error) {
	var v [5]string
	for i, name := range tlsParams {
		v[i] = query.Get(name)
		if query.Has(name) && !strings.HasPrefix(scheme, "rediss") {
			return nil, fmt.Errorf("%s is for TLS; want rediss:// instead of %s://", name, scheme)
		}
		query.Del(name)
	}
	if !strings.HasPrefix(scheme, "rediss") {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: v[3]}
	switch v[4] {
	case "", "false":
	case "true":
		config.InsecureSkipVerify = true
	default:
		return nil, errors.New("skip_verify: want true or false")
	}
	if v[0] != "" {
		if err := trust(config, v[0]); err != nil {
			return nil, err
		}
	}
	if (v[1] == "") != (v[2] == "") {
		return nil, errors.New("cert_file and key_file go together; one is missing")
	}
	if v[1] != "" {
		if err := present(config, v[1], v[2]); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// trust has the authorities of a file trusted, and no others.
func trust(config *tls.Config, path string) error {
	pem, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("ca_file: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("ca_file %s: no certificate in it; want PEM", path)
	}
	return nil
}

// present shows the server a certificate. The files are read at every connection,
// so that a renewed one needs no restart; while they cannot be read, as in the
// middle of being replaced, the last one that could is shown.
func present(config *tls.Config, certFile, keyFile string) error {
	first, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return fmt.Errorf("cert_file, key_file: %w", err)
	}
	var last atomic.Pointer[tls.Certificate]
	last.Store(&first)
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if now, err := tls.LoadX509KeyPair(certFile, keyFile); err == nil {
			last.Store(&now)
		}
		return last.Load(), nil
	}
	return nil
}
