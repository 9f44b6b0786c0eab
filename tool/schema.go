package tool

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/invopop/jsonschema"
)

// schemaOf derives the JSON Schema of a tool's arguments and lists the required
// ones. The schema has no references, because not every model API follows them.
func schemaOf[In any](name string) (schema json.RawMessage, required []string) {
	t := reflect.TypeFor[In]()
	if recursive(t, nil) {
		panic(fmt.Sprintf("tool %q: %s contains itself and has no schema without references", name, t))
	}
	r := jsonschema.Reflector{Anonymous: true, ExpandedStruct: true, DoNotReference: true}
	s := r.ReflectFromType(t)
	s.Version = "" // model APIs want the bare schema
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("tool %q: schema of %s: %v", name, t, err))
	}
	return b, s.Required
}

// recursive reports whether a type is among its own parts.
func recursive(t reflect.Type, outer []reflect.Type) bool {
	if slices.Contains(outer, t) {
		return true
	}
	outer = append(outer[:len(outer):len(outer)], t)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return recursive(t.Elem(), outer)
	case reflect.Struct:
		for f := range t.Fields() {
			if f.IsExported() || f.Anonymous {
				if recursive(f.Type, outer) {
					return true
				}
			}
		}
	}
	return false
}
