package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/lighterman/lighterman"
)

// spec is what the struct tags say about one field.
type spec struct {
	name     string
	typ      reflect.Type
	desc     string
	def      string
	derived  string
	min, max string // both or neither
	enum     []string
	required bool
}

func specOf(f reflect.StructField) spec {
	s := spec{
		name: f.Tag.Get("yaml"), typ: f.Type, desc: f.Tag.Get("desc"),
		def: f.Tag.Get("default"), derived: f.Tag.Get("derived"),
		min: f.Tag.Get("min"), max: f.Tag.Get("max"), required: f.Tag.Get("required") != "",
	}
	if e := f.Tag.Get("enum"); e != "" {
		s.enum = strings.Split(e, ",")
	}
	return s
}

// setting is a scalar that is not part of a list: what the environment and
// flags can set.
type setting struct {
	spec
	path  string
	index []int // for reflect.Value.FieldByIndex on a Config
}

// settings lists all of them in the order of the struct tree.
var settings = sync.OnceValue(func() []setting {
	return collect(reflect.TypeFor[Config](), "", nil)
})

func collect(t reflect.Type, prefix string, index []int) []setting {
	var all []setting
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		s, at := specOf(f), append(slices.Clone(index), i)
		switch f.Type.Kind() {
		case reflect.Struct:
			all = append(all, collect(f.Type, prefix+s.name+".", at)...)
		case reflect.Slice:
		default:
			all = append(all, setting{spec: s, path: prefix + s.name, index: at})
		}
	}
	return all
}

// lists names the settings that only a file can hold.
var lists = sync.OnceValue(func() []string {
	var names []string
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		if f := t.Field(i); f.Type.Kind() == reflect.Slice {
			names = append(names, specOf(f).name)
		}
	}
	return names
})

// settingAt finds a setting by its path.
func settingAt(path string) (setting, bool) {
	all := settings()
	i := slices.IndexFunc(all, func(s setting) bool { return s.path == path })
	if i < 0 {
		return setting{}, false
	}
	return all[i], true
}

// set parses text into v, within the field's bounds. On an error v keeps its
// value.
func (s spec) set(v reflect.Value, text string) error {
	next := reflect.New(v.Type()).Elem()
	if err := parse(next, text); err != nil {
		return err
	}
	if err := s.check(next); err != nil {
		return err
	}
	v.Set(next)
	return nil
}

// fill sets a zero v to the default. A default that is out of bounds is a
// mistake in this package.
func (s spec) fill(v reflect.Value) {
	if s.def == "" || !v.IsZero() {
		return
	}
	if err := s.set(v, s.def); err != nil {
		panic("config: default of " + s.name + ": " + err.Error())
	}
}

// check holds v against the tags enum, min and max.
func (s spec) check(v reflect.Value) error {
	if s.enum != nil && !slices.Contains(s.enum, v.String()) {
		return s.notInEnum(v.String())
	}
	if v.Kind() == reflect.Pointer { // one that may be left out
		if v.IsNil() {
			return nil
		}
		return s.check(v.Elem())
	}
	if s.min == "" {
		return nil
	}
	low, high := reflect.New(v.Type()).Elem(), reflect.New(v.Type()).Elem()
	if err := errors.Join(parse(low, s.min), parse(high, s.max)); err != nil {
		panic("config: bounds of " + s.name + ": " + err.Error())
	}
	if number(v) < number(low) || number(v) > number(high) {
		return fmt.Errorf("%v is out of range; want %s to %s", v.Interface(), s.min, s.max)
	}
	return nil
}

func (s spec) notInEnum(word string) error {
	if near := lighterman.DidYouMean(word, s.enum); near != "" {
		return fmt.Errorf("%s: unknown; did you mean %s?", quote(word), near)
	}
	return fmt.Errorf("%s: unknown; want %s", quote(word), strings.Join(s.enum, ", "))
}

// parse reads the text form of every type that a scalar of the tree has.
func parse(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		return nil
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return parse(v.Elem(), text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%s is neither true nor false", quote(text))
		}
		v.SetBool(text == "true")
		return nil
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("%s is not a number", quote(text))
		}
		v.SetFloat(x)
		return nil
	default:
	}
	n, err := decimal(text)
	if err != nil {
		return err
	}
	v.SetInt(n) // panics for a type that nobody taught this function
	return nil
}

// number is a scalar that has bounds, for comparing.
func number(v reflect.Value) float64 {
	if v.CanFloat() {
		return v.Float()
	}
	return float64(v.Int())
}

// decimal reads a whole number as people write it. 010 and 0x10 mean different
// numbers to different readers and are refused.
func decimal(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%s is out of range", clip(text))
	case err != nil || strconv.FormatInt(n, 10) != text:
		return 0, fmt.Errorf("%s is not a whole number in decimal", quote(text))
	}
	return n, nil
}

// quote shows a value in a message: on one line and not too long.
func quote(s string) string { return strconv.Quote(clip(s)) }

func clip(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:77]) + "..."
	}
	return s
}
