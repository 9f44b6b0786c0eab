package config

import (
	"errors"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// parseFile applies a YAML document. It walks the node tree beside the struct
// tree, because only the nodes know where everything was written.
func (l *loading) parseFile(name string, content []byte) {
	f := &file{loading: l, name: name, text: newText(content)}
	if at, ok := f.text.illegal(); ok {
		l.report(f.origin(at.line, at.column), "", "not UTF-8 text")
		return
	}
	root := f.document(content)
	if root == nil {
		return
	}
	f.section(root, reflect.ValueOf(l.cfg).Elem(), "")
}

// file is one configuration file while it is read.
type file struct {
	*loading
	name string
	text text
}

func (f *file) origin(line, column int) Origin {
	line, column = f.text.clamp(line, column)
	return Origin{Source: FromFile, Name: f.name, Line: line, Column: column}
}

func (f *file) at(n *yaml.Node) Origin { return f.origin(n.Line, n.Column) }

// document is the file's one mapping, or nil: for an empty file, and for one
// that is not YAML or holds several documents, which is reported.
func (f *file) document(content []byte) *yaml.Node {
	// Duplicate keys are left to section, which reports all of them.
	loader, err := yaml.NewLoader(strings.NewReader(string(content)), yaml.WithUniqueKeys(false))
	if err != nil {
		panic("config: " + err.Error()) // only for options that contradict each other
	}
	var first, second yaml.Node
	if err := loader.Load(&first); err != nil {
		f.syntax(err)
		return nil
	}
	if err := loader.Load(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			f.syntax(err)
		} else {
			f.report(f.at(&second), "", "a second document; want one")
		}
	}
	if len(first.Content) == 0 {
		return nil
	}
	return first.Content[0]
}

func (f *file) syntax(err error) {
	if errors.Is(err, io.EOF) {
		return
	}
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		f.report(f.origin(1, 1), "", "%s", oneLine(err.Error()))
		return
	}
	if line, column, ok := f.text.tabIndent(e.Mark.Line); ok {
		f.report(f.origin(line, column), "", "not YAML: a tab in the indentation; want spaces")
		return
	}
	message := e.Message
	if e.ContextMsg != "" {
		message = e.ContextMsg + ": " + message
	}
	f.report(f.origin(e.Mark.Line, e.Mark.Column), "", "not YAML: %s", oneLine(message))
}

// section applies a mapping to a struct. A section without content, as when
// all of it is commented out, is an empty one.
func (f *file) section(n *yaml.Node, v reflect.Value, path string) {
	n = follow(n)
	if n.ShortTag() == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		f.report(f.at(n), path, "want a mapping, got %s", kindOf(n))
		return
	}
	names := fieldNames(v.Type())
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := follow(n.Content[i]), n.Content[i+1]
		child := join(path, keyText(key))
		field, known := names[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || !known:
			f.report(f.at(n.Content[i]), child, "%s", unknownKey(path, key, v.Type()))
		case seen[key.Value] != nil:
			f.report(f.at(n.Content[i]), child, "set twice; first in line %d", seen[key.Value].Line)
		default:
			seen[key.Value] = key
			f.field(value, v.Field(field), specOf(v.Type().Field(field)), child)
		}
	}
}

func (f *file) field(n *yaml.Node, v reflect.Value, s spec, path string) {
	switch v.Kind() {
	case reflect.Struct:
		f.cfg.origins[path] = f.at(n)
		f.section(n, v, path)
	case reflect.Slice:
		f.list(n, v, path)
	default:
		f.scalar(n, v, s, path)
	}
}

// list replaces a list. One without content leaves the default.
func (f *file) list(n *yaml.Node, v reflect.Value, path string) {
	origin := f.at(n)
	n = follow(n)
	if n.ShortTag() == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode {
		f.report(origin, path, "want a list, got %s", kindOf(n))
		return
	}
	f.cfg.origins[path] = origin
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		f.cfg.origins[at] = f.at(item)
		fillItem(items.Index(i))
		f.field(item, items.Index(i), spec{}, at)
	}
	v.Set(items)
}

func (f *file) scalar(n *yaml.Node, v reflect.Value, s spec, path string) {
	origin := f.at(n)
	n = follow(n)
	if wrong := wrongType(n, v.Type()); wrong != "" {
		f.report(origin, path, "%s", wrong)
		return
	}
	if err := s.set(v, n.Value); err != nil {
		f.report(origin, path, "%s", err)
		return
	}
	f.cfg.origins[path] = origin
}

func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func fieldNames(t reflect.Type) map[string]int {
	names := map[string]int{}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			names[specOf(f).name] = i
		}
	}
	return names
}

// unknownKey also knows a key that was put into the wrong section.
func unknownKey(path string, key *yaml.Node, t reflect.Type) string {
	if key.ShortTag() == "!!merge" {
		return "merge keys are not supported"
	}
	if hint := misplacedSecret(path, key.Value, t); hint != "" {
		return hint
	}
	var names []string
	for i := range t.NumField() {
		names = append(names, specOf(t.Field(i)).name)
	}
	message := unknown(key.Value, names)
	if message != "unknown" {
		return message
	}
	for _, s := range settings() {
		if s.name == key.Value && s.path != join(path, key.Value) {
			return "unknown here; did you mean " + s.path + "?"
		}
	}
	return message
}

// secretKeys are what people call a secret that they are about to write into the file.
var secretKeys = []string{"api_key", "apikey", "api-key", "apiKey", "key", "token", "secret", "password", "passwd", "pass", "username", "user"}

// misplacedSecret says where a secret goes instead; empty where the key is not one.
func misplacedSecret(path, key string, t reflect.Type) string {
	switch {
	case !slices.Contains(secretKeys, key):
		return ""
	case t == reflect.TypeFor[Backend]():
		return "no key stands in this file; name the variable that holds it with " + keyEnv + ", or the file with " + keyFile
	case path == "redis":
		return "user and password are part of redis.url (redis://USER:PASSWORD@HOST), or of the URL in redis.url_file"
	default:
		return ""
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
