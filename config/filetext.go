package config

import (
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// text is a file's content as lines, so that no message points outside of it.
type text struct{ lines []string }

// lineBreaks are YAML 1.1's, by which the parser counts.
var lineBreaks = regexp.MustCompile("\r\n|[\r\n\u0085\u2028\u2029]")

func newText(content []byte) text { return text{lineBreaks.Split(string(content), -1)} }

// clamp moves a position into the file: the parser puts some behind its end,
// and has none (0) for others.
func (t text) clamp(line, column int) (int, int) {
	line = min(max(line, 1), len(t.lines))
	return line, min(max(column, 1), utf8.RuneCountInString(t.lines[line-1])+1)
}

// tabIndent finds a tab among the blanks before a line's text: in the line that the
// parser stumbled over or, where it noticed late, the one before.
func (t text) tabIndent(at int) (line, column int, ok bool) {
	for _, n := range []int{at, at - 1} {
		if n < 1 || n > len(t.lines) {
			continue
		}
		text := t.lines[n-1]
		blanks := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
		if i := strings.IndexByte(blanks, '\t'); i >= 0 {
			return n, i + 1, true
		}
	}
	return 0, 0, false
}

type position struct{ line, column int }

// illegal finds what is not UTF-8 and control characters, for which the parser
// has no position.
func (t text) illegal() (position, bool) {
	for i, line := range t.lines {
		column := 0
		for j, r := range line {
			column++
			_, width := utf8.DecodeRuneInString(line[j:])
			if r == utf8.RuneError && width == 1 || r < ' ' && r != '\t' || r == 0x7f {
				return position{i + 1, column}, true
			}
		}
	}
	return position{}, false
}

// wrongType says what is wrong with a node as a scalar of type t, or nothing.
// The value is shown only for plain text: others may be secrets.
func wrongType(n *yaml.Node, t reflect.Type) string {
	want, tags := scalarType(t)
	if n.Kind == yaml.ScalarNode && strings.Contains(tags, n.ShortTag()) {
		return ""
	}
	message := "want " + want + ", got " + kindOf(n)
	if t == reflect.TypeFor[string]() && n.Kind == yaml.ScalarNode && n.Value != "" && n.ShortTag() != "!!null" {
		message += "; quote it: " + quote(n.Value)
	}
	return message
}

func scalarType(t reflect.Type) (want, tags string) {
	switch t {
	case reflect.TypeFor[Duration]():
		return "a duration as in 10s", "!!str !!int !!float"
	case reflect.TypeFor[Size]():
		return "a size as in 4MiB", "!!str !!int !!float"
	case reflect.TypeFor[SecretURL]():
		return "a URL", "!!str"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return scalarType(t.Elem())
	case reflect.String:
		return "text", "!!str"
	case reflect.Bool:
		return "true or false", "!!bool"
	case reflect.Float64:
		return "a number", "!!int !!float"
	default:
	}
	return "a whole number", "!!int !!float" // YAML takes one of 20 digits for a float
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!str":
		return "text"
	case "!!int":
		return "a whole number"
	case "!!float":
		return "a number with a fraction"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	default:
		return "a value tagged " + quote(n.ShortTag())
	}
}

// plainKey is a key that can stand in a path as it is.
var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func keyText(key *yaml.Node) string {
	if key.Kind == yaml.ScalarNode && plainKey.MatchString(key.Value) {
		return key.Value
	}
	if key.Kind != yaml.ScalarNode {
		return kindOf(key)
	}
	return quote(key.Value)
}

func oneLine(s string) string { return clip(strings.Join(strings.Fields(s), " ")) }
