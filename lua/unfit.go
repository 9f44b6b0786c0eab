package lua

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// unfit says in a line what first contact failed of, and what would be right.
func unfit(at string, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "WRONGPASS"), strings.Contains(text, "invalid password"), strings.Contains(text, "invalid username"):
		return fmt.Errorf("%w %s: wrong user or password; see redis.url or redis.url_file", ErrRedis, at)
	case strings.Contains(text, "NOAUTH"):
		return fmt.Errorf("%w %s: a password is required; put it into redis.url (redis://:PASSWORD@HOST) or redis.url_file", ErrRedis, at)
	case strings.Contains(text, "NOPERM"):
		return fmt.Errorf("%w %s: the user lacks a permission: %s", ErrRedis, at, text)
	case errors.Is(err, redis.Nil), strings.Contains(text, "all sentinels") && strings.Contains(text, redis.Nil.Error()):
		return fmt.Errorf("%w %s: the sentinels know no master of this name; see master_name in redis.url", ErrRedis, at)
	}
	if why := unfitTLS(err); why != "" {
		return fmt.Errorf("%w %s: %s", ErrRedis, at, why)
	}
	switch {
	case strings.HasPrefix(at, "rediss") && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)):
		return fmt.Errorf("%w %s: the connection was closed right after the TLS handshake; does the server want a client's certificate (?cert_file=FILE&key_file=FILE), or another one?", ErrRedis, at)
	case !strings.HasPrefix(at, "rediss") && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Errorf("%w %s: unreachable (the connection was closed at once); is it Redis, and does it want TLS (rediss://)?", ErrRedis, at)
	case strings.HasPrefix(at, "rediss") && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w %s: unreachable (%w); is it running, and is this its TLS port? Without TLS it is redis:// instead of rediss://", ErrRedis, at, context.DeadlineExceeded)
	case IsLost(err) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w %s: unreachable (%w); is it running? set redis.url or LIGHTERMAN_REDIS_URL", ErrRedis, at, rootCause(err))
	default:
		return fmt.Errorf("%w %s: %w", ErrRedis, at, err)
	}
}

// unfitTLS says what a TLS handshake failed of; empty when it was something else.
func unfitTLS(err error) string {
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var plain tls.RecordHeaderError
	text := err.Error()
	switch {
	case errors.As(err, &authority):
		return "the server's certificate is signed by an authority that is not trusted here; name its CA with ?ca_file=FILE in redis.url"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the server's certificate is valid from %s to %s, and not now; renew it, or set this machine's clock",
			invalid.Cert.NotBefore.UTC().Format("2006-01-02 15:04 MST"), invalid.Cert.NotAfter.UTC().Format("2006-01-02 15:04 MST"))
	case errors.As(err, &invalid):
		return "the server's certificate: " + invalid.Error()
	case errors.As(err, &name):
		return fmt.Sprintf("the server's certificate is not for %s but for %s; use that in redis.url, or name it with ?server_name=", name.Host, certified(name.Certificate))
	case errors.As(err, &plain): // Redis itself says nothing, but a proxy may
		return "the server does not speak TLS on this port; use its TLS port, or redis:// instead of rediss://"
	case strings.Contains(text, "tls: certificate required"), strings.Contains(text, "tls: handshake failure"):
		return "the server wants a client's certificate; give one with ?cert_file=FILE&key_file=FILE in redis.url"
	case strings.Contains(text, "remote error: tls: "):
		_, why, _ := strings.Cut(text, "remote error: tls: ")
		return "the server refuses our certificate (" + why + "); it must be signed by an authority that the server trusts (its tls-ca-cert-file), and be valid now"
	}
	return ""
}

// certified lists the names that a certificate is for.
func certified(c *x509.Certificate) string {
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name at all"
	}
	return strings.Join(names[:min(4, len(names))], ", ")
}

func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
