package lighterman

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a text that nobody prints by accident: fmt with every verb, JSON,
// YAML and slog show "[redacted]", or nothing when it is empty. Reveal is the
// only way to its value.
type Secret string

// Reveal is the value itself.
func (s Secret) Reveal() string { return string(s) }

// String is "[redacted]", or empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format writes String for every verb: without it %d would show the value.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) } //nolint:errcheck // fmt has no way to report it

// MarshalText writes String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// UnmarshalText takes any text.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = Secret(b)
	return nil
}
