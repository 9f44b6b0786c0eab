package config

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// schemaID names the schema; editors do not fetch it.
const schemaID = "https://github.com/lighterman/lighterman/config/schema.json"

// Schema is the JSON Schema (2020-12) of a configuration file, for editors:
// names, types, ranges, defaults and descriptions. The loader checks more. The
// committed schema.json is a copy of it, which go generate renews.
func Schema() []byte {
	r := jsonschema.Reflector{
		FieldNameTag: "yaml", DoNotReference: true, ExpandedStruct: true, Anonymous: true,
		RequiredFromJSONSchemaTags: true, Mapper: scalarSchema,
	}
	s := r.ReflectFromType(reflect.TypeFor[Config]())
	s.ID, s.Title = schemaID, "Lighterman configuration"
	annotate(s, reflect.TypeFor[Config]())

	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		panic("config: schema: " + err.Error()) // of our own types only
	}
	return b.Bytes()
}

// scalarSchema maps the types that have a text form of their own.
func scalarSchema(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: durationPattern}
	case reflect.TypeFor[Size]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Type: "string", Pattern: sizePattern},
			{Type: "integer", Minimum: "0"},
		}}
	case reflect.TypeFor[SecretURL]():
		return &jsonschema.Schema{Type: "string", Pattern: "^((" + strings.ReplaceAll(strings.Join(redisSchemes, "|"), "+", `\+`) + ")://.*)?$"}
	}
	return nil
}

// annotate adds what our tags say to the reflected properties of a struct.
func annotate(s *jsonschema.Schema, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		spec := specOf(f)
		p, _ := s.Properties.Get(spec.name)
		p.Description = spec.desc
		switch f.Type.Kind() {
		case reflect.Struct:
			annotate(p, f.Type)
		case reflect.Slice:
			if f.Type.Elem().Kind() == reflect.Struct {
				annotate(p.Items, f.Type.Elem())
			}
		default:
			annotateScalar(p, spec)
		}
		if spec.required {
			s.Required = append(s.Required, spec.name)
		}
	}
}

func annotateScalar(p *jsonschema.Schema, s spec) {
	for _, word := range s.enum {
		p.Enum = append(p.Enum, word)
	}
	if s.def != "" {
		p.Default = s.def
	}
	switch {
	case p.Type == "integer":
		p.Minimum, p.Maximum = json.Number(s.min), json.Number(s.max)
		if s.def != "" {
			p.Default = json.Number(s.def)
		}
	case s.min != "":
		p.Description += " From " + s.min + " to " + s.max + "."
	}
	if s.derived != "" {
		p.Description += " Default: " + s.derived + "."
	}
}
