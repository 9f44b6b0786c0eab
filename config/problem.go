package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Origin  Origin // where it was written; the zero Origin when nobody wrote it
	Path    string // of the setting, as worker.lease or queues[1].name; may be empty
	Message string
}

// String is "file:line:col: path: message", "LIGHTERMAN_X: message" or
// "--flag: message".
func (p Problem) String() string {
	var parts []string
	switch p.Origin.Source {
	case FromEnv, FromFlag:
		parts = append(parts, p.Origin.Name)
	case FromFile:
		parts = append(parts, p.Origin.position())
		fallthrough
	default:
		if p.Path != "" {
			parts = append(parts, p.Path)
		}
	}
	return strings.Join(append(parts, p.Message), ": ")
}

// Errors is everything that is wrong with a configuration: the problems of the
// file in its order, then those of the environment, then those of the flags.
type Errors []Problem

// Error is one problem per line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// orNil sorts the problems and is nil when there are none.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Origin.Source, b.Origin.Source),
			cmp.Compare(a.Origin.Line, b.Origin.Line),
			cmp.Compare(a.Origin.Column, b.Origin.Column),
		)
	})
	return e
}

// Source says who set a value; a later one wins over an earlier one.
type Source uint8

// The four sources.
const (
	FromDefault Source = iota
	FromFile
	FromEnv
	FromFlag
)

// Origin is where a value comes from. The zero Origin is the default.
type Origin struct {
	Source Source
	Name   string // the file as it was named, the variable, or the flag with its dashes
	Line   int    // in a file, from 1; 0 when it is about the whole file
	Column int    // in characters, from 1
}

// String is "default", "FILE:LINE", "env NAME" or "flag --NAME".
func (o Origin) String() string {
	switch o.Source {
	case FromFile:
		return fmt.Sprintf("%s:%d", o.Name, o.Line)
	case FromEnv:
		return "env " + o.Name
	case FromFlag:
		return "flag " + o.Name
	default:
		return "default"
	}
}

func (o Origin) position() string {
	if o.Line == 0 {
		return o.Name
	}
	return fmt.Sprintf("%s:%d:%d", o.Name, o.Line, o.Column)
}

// origins knows sections and lists by their paths too.
type origins map[string]Origin

// at is where path was written, else the section or list item around it.
func (o origins) at(path string) Origin {
	for {
		if origin, ok := o[path]; ok {
			return origin
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return Origin{}
		}
		path = path[:cut]
	}
}

// Origin is where the value at path comes from, as worker.lease or
// queues[0].weight; the default when nobody set it, nothing is known of it, or
// c was not loaded.
func (c *Config) Origin(path string) Origin { return c.origins[path] }
