package config

import (
	"errors"
	"os"
	"testing"
	"unicode/utf8"
)

// FuzzLoad reads any bytes as a file: it never panics, what it accepts is
// valid and can be printed, and what it refuses is at a place in the file.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"", "#", "worker: {lease: 10s}\nqueues: [{name: a, weight: 0}]\n", "redis: {url: redis://u:p@h, url_file: x}", "redis: {url_file: /run/x}",
		"x: &x [*x]\nworker: *x", "a: 1\n---\nb: 2", "log: [\n", "? {a: b}\n: c\n", "log: {<<: {level: info}}", "\xff\xfel\x00", "limits: {request: 1GiB}\r\nhttp:\r", "log: \"\u0085\u2028", "models: [{id: !!binary x}]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		l := newLoading()
		l.readSecret = func(string) ([]byte, error) { return nil, os.ErrNotExist }
		l.parseFile("f", content)
		c, err := l.finish()
		if err == nil {
			if err := c.Validate(); err != nil {
				t.Fatalf("accepted and not valid: %v", err)
			}
			if err := c.Print(discard{}); err != nil {
				t.Fatal(err)
			}
			return
		}
		var problems Errors
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("%T: %v; want Errors", err, err)
		}
		lines := newText(content).lines
		for _, p := range problems {
			o := p.Origin
			if o.Source != FromFile || o.Line < 1 || o.Line > len(lines) || o.Column < 1 || o.Column > utf8.RuneCountInString(lines[o.Line-1])+1 {
				t.Fatalf("%q: not in the file of %d lines", p, len(lines))
			}
			if p.Message == "" || lineBreaks.MatchString(p.String()) {
				t.Fatalf("%q: want a message on one line", p)
			}
		}
	})
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
