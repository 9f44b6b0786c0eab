package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// Print writes the configuration as YAML, with the origin of every value in a
// comment behind it and "[redacted]" in place of every password. Where there
// was none to redact, Load reads it back. A URL that came from redis.url_file
// stands in that line's comment, since both in one file would be an error.
func (c *Config) Print(w io.Writer) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	p := &printer{cfg: c, w: t}
	p.section(reflect.ValueOf(c).Elem(), "", "")
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// printer writes lines of two cells, which the tabwriter aligns. It writes to
// memory, so that its writes cannot fail.
type printer struct {
	cfg *Config
	w   io.Writer
}

func (p *printer) section(v reflect.Value, path, indent string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		s := specOf(f)
		p.field(v.Field(i), s, join(path, s.name), indent)
	}
}

func (p *printer) field(v reflect.Value, s spec, path, indent string) {
	switch v.Kind() {
	case reflect.Struct:
		fmt.Fprintf(p.w, "%s%s:\n", indent, s.name)
		p.section(v, path, indent+"  ")
	case reflect.Slice:
		p.list(v, s, path, indent)
	default:
		if path == "redis.url" && p.cfg.Redis.URLFile != "" || v.Kind() == reflect.Pointer && v.IsNil() {
			return
		}
		fmt.Fprintf(p.w, "%s%s: %s\t# %s\n", indent, s.name, scalar(v), p.origin(s, path))
	}
}

func (p *printer) list(v reflect.Value, s spec, path, indent string) {
	if v.Len() == 0 {
		fmt.Fprintf(p.w, "%s%s: []\t# %s\n", indent, s.name, p.origin(s, path))
		return
	}
	if v.Index(0).Kind() == reflect.String {
		words := make([]string, v.Len())
		for i := range words {
			words[i] = scalar(v.Index(i))
		}
		fmt.Fprintf(p.w, "%s%s: [%s]\t# %s\n", indent, s.name, strings.Join(words, ", "), p.origin(s, path))
		return
	}
	fmt.Fprintf(p.w, "%s%s:\n", indent, s.name)
	for i := range v.Len() {
		item := v.Index(i)
		for j := range item.NumField() {
			field := specOf(item.Type().Field(j))
			lead := indent + "    "
			if j == 0 {
				lead = indent + "  - "
			}
			p.field(item.Field(j), field, path+"["+strconv.Itoa(i)+"]."+field.name, lead)
		}
	}
}

func (p *printer) origin(s spec, path string) string {
	origin := p.cfg.Origin(path)
	// A file's name may hold what a comment, or the tabwriter, cannot.
	text := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, origin.String())
	if origin.Source == FromDefault && s.derived != "" {
		text += ", " + s.derived
	}
	if path == "redis.url_file" && p.cfg.Redis.URLFile != "" {
		text += "; holds " + p.cfg.Redis.URL.String()
	}
	return text
}

// readsAsText asks the parser whether a scalar without quotes is text: 12,
// true, null and 2024-01-01 are not.
func readsAsText(text string) bool {
	var n yaml.Node
	return yaml.Load([]byte(text), &n) == nil && len(n.Content) == 1 && n.Content[0].ShortTag() == "!!str"
}

var plainScalar = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9_./+-]*(:[A-Za-z0-9_./+-]+)*$`)

// scalar is a value in YAML: as it is where that reads back as the same text,
// else in double quotes.
func scalar(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	text := fmt.Sprint(v.Interface())
	switch {
	case v.CanFloat():
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case v.CanInt(), v.Kind() == reflect.Bool:
		return text
	}
	if plainScalar.MatchString(text) && readsAsText(text) {
		return text
	}
	return jsonString(text)
}

// jsonString is text in double quotes, as JSON and YAML both read it.
func jsonString(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		panic("config: " + err.Error()) // a string always encodes
	}
	return strings.TrimSuffix(b.String(), "\n")
}
