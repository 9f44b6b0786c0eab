package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// format is how a command prints its data.
type format string

// validFormat checks --output against what a command offers.
func validFormat(value string, offered ...string) (format, error) {
	for _, o := range offered {
		if value == o {
			return format(value), nil
		}
	}
	return "", usagef("--output %q: want %s", value, strings.TrimPrefix(strings.Join(offered, ", "), ", "))
}

// printJSON writes one indented JSON value.
func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printLines writes one JSON value a line.
func printLines[T any](out io.Writer, items []T) error {
	e := json.NewEncoder(out)
	for _, item := range items {
		if err := e.Encode(item); err != nil {
			return err
		}
	}
	return nil
}

// ago is a short age.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return short(time.Since(t))
}

// short is a duration as a person wants it.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// orDash shows that there is nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
