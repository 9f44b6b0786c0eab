package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
)

const redacted = "[redacted]"

// SecretURL is an address with a password in it. It prints as the address with
// "[redacted]" in place of every password, in the same places as a Secret; one
// that is too malformed to tell its parts prints as "[redacted]".
type SecretURL string

// Reveal is the address with its password.
func (u SecretURL) Reveal() string { return string(u) }

// Format writes String for every verb.
func (u SecretURL) Format(f fmt.State, _ rune) { io.WriteString(f, u.String()) } //nolint:errcheck // fmt has no way to report it

// MarshalText writes String.
func (u SecretURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// LogValue is String, for slog.
func (u SecretURL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// UnmarshalText takes any text; Validate says whether it is an address.
func (u *SecretURL) UnmarshalText(b []byte) error {
	*u = SecretURL(b)
	return nil
}

// String is the address without its passwords. A name without a password is
// taken for a misplaced password, because Redis has no use for a bare name.
func (u SecretURL) String() string {
	if u == "" {
		return ""
	}
	p, err := parseRedisURL(string(u))
	if err != nil {
		return redacted
	}
	var b strings.Builder
	b.WriteString(p.Scheme + "://")
	if p.User != nil {
		if _, ok := p.User.Password(); ok {
			b.WriteString(url.User(p.User.Username()).String() + ":")
		}
		b.WriteString(redacted + "@")
	}
	b.WriteString(p.Host + p.EscapedPath())
	if p.RawQuery != "" {
		b.WriteString("?" + redactQuery(p.RawQuery))
	}
	return b.String()
}

// redactQuery keeps the order of the parameters.
func redactQuery(raw string) string {
	pairs := strings.Split(raw, "&")
	for i, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		if n, err := url.QueryUnescape(name); err != nil || strings.Contains(strings.ToLower(n), "pass") {
			pairs[i] = name + "=" + redacted
		}
	}
	return strings.Join(pairs, "&")
}

// redisSchemes are the addresses that a Redis client of ours can dial.
var redisSchemes = []string{"redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"}

// parseRedisURL reads an address; its errors never quote it. An @ behind the
// host means that a password with a / in it was not escaped.
func parseRedisURL(text string) (*url.URL, error) {
	p, err := url.Parse(text)
	switch {
	case err != nil || p.Opaque != "":
		return nil, errors.New("not a URL; want redis://USER:PASSWORD@HOST:PORT/DB, with special characters of the password escaped as in %2F")
	case !slices.Contains(redisSchemes, p.Scheme):
		return nil, fmt.Errorf("want a URL that starts with %s://", strings.Join(redisSchemes, ":// or "))
	case p.Fragment != "" || strings.Contains(p.Path, "@"):
		return nil, errors.New("a # or / in the password must be escaped, as %23 or %2F")
	case p.Scheme == "unix" && p.Path == "":
		return nil, errors.New("no path; want unix:///run/redis.sock")
	case p.Scheme != "unix" && p.Hostname() == "":
		return nil, errors.New("no host; want redis://HOST:PORT")
	}
	return p, nil
}
