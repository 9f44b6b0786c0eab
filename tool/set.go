// Package tool calls the tools that a model asks for. A tool is a Go function
// with a name, a description and a JSON Schema of its arguments; Func makes one
// from a typed function, and a Set holds those that an operation may use.
//
// What a model can mend is told to the model: a tool that does not exist,
// arguments that do not fit, and an error of the tool become the content of the
// tool message, {"error": "..."}. What it cannot mend ends the call with an
// error: see Set.Call.
package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/lighterman/lighterman"
)

// Handler runs one call of a tool. A string, []byte or json.RawMessage becomes
// the content as it is, anything else as JSON, nil as empty. It must return
// soon after ctx ends, and should pass ToolCall.Key to whatever it changes
// outside: after a crash the same call comes again with the same key.
type Handler func(ctx context.Context, call lighterman.ToolCall) (any, error)

// Set is a collection of tools. The zero value is empty and ready. Declared and
// Call may be called concurrently once all tools are added.
type Set struct {
	tools    []lighterman.Tool
	handlers map[string]handler
}

type handler struct {
	run     Handler
	timeout time.Duration
	hidden  bool
}

// Option changes one tool of a Set.
type Option func(*handler)

// WithTimeout ends the context of each call of the tool after d. A tool that
// then returns an error has that told to the model as content.
func WithTimeout(d time.Duration) Option { return func(h *handler) { h.timeout = d } }

// Hidden keeps a tool out of Declared: it is called when a model asks for it, but
// never offered to one.
func Hidden() Option { return func(h *handler) { h.hidden = true } }

// names are what all model APIs accept as the name of a function.
var names = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Add adds a tool; what Func and Lookup return can be passed as it is. It
// reports all that is wrong: a name that is taken or no function name, a
// missing handler, parameters that are no schema of an object.
func (s *Set) Add(t lighterman.Tool, run Handler, options ...Option) error {
	h := handler{run: run}
	for _, option := range options {
		option(&h)
	}
	var errs []error
	if !names.MatchString(t.Name) {
		errs = append(errs, errors.New("want a name of 1 to 64 of A-Z a-z 0-9 _ -"))
	}
	if _, taken := s.handlers[t.Name]; taken {
		errs = append(errs, errors.New("added twice"))
	}
	if run == nil {
		errs = append(errs, errors.New("no handler"))
	}
	if h.timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout %s is negative", h.timeout))
	}
	errs = append(errs, validParameters(t.Parameters))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("tool %q: %w", t.Name, err)
	}
	if s.handlers == nil {
		s.handlers = map[string]handler{}
	}
	if !h.hidden {
		s.tools = append(s.tools, t)
	}
	s.handlers[t.Name] = h
	return nil
}

func validParameters(schema json.RawMessage) error {
	if len(schema) == 0 {
		return nil
	}
	var s struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	if s.Type != "object" {
		return fmt.Errorf(`parameters: want a schema of type "object", got %q`, s.Type)
	}
	return nil
}

// Has reports whether a tool of that name was added, hidden or not.
func (s *Set) Has(name string) bool { _, ok := s.handlers[name]; return ok }

// Declared lists the tools that are offered to models, in the order in which
// they were added.
func (s *Set) Declared() []lighterman.Tool { return append([]lighterman.Tool(nil), s.tools...) }

// Call runs one tool call and returns the content of its tool message. It
// returns an error only where the model cannot help: when ctx has ended and the
// tool did not finish, the context's cause; when the tool panicked, an Error of
// kind panic; and what the tool says to the fleet, unchanged in the chain: a
// lighterman.Error (Permanent, RetryAfter), Park, ErrFenced or ErrHandOver.
func (s *Set) Call(ctx context.Context, call lighterman.ToolCall) (string, error) {
	if ctx.Err() != nil {
		return "", fmt.Errorf("tool %q: %w", clip(call.Name), context.Cause(ctx))
	}
	h, ok := s.handlers[call.Name]
	if !ok {
		return errorContent(s.unknown(call.Name)), nil
	}
	result, err := h.call(ctx, call)
	switch {
	case err == nil:
		return content(result), nil
	case forFleet(err):
		return "", fmt.Errorf("tool %q: %w", call.Name, err)
	case ctx.Err() != nil:
		return "", fmt.Errorf("tool %q: %w", call.Name, context.Cause(ctx))
	default:
		return errorContent(err), nil
	}
}

func (h handler) call(ctx context.Context, call lighterman.ToolCall) (any, error) {
	if h.timeout == 0 {
		return contained(ctx, h.run, call)
	}
	limited, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	result, err := contained(limited, h.run, call)
	if err != nil && limited.Err() != nil && ctx.Err() == nil && !forFleet(err) {
		return nil, fmt.Errorf("no answer within %s", h.timeout)
	}
	return result, err
}

// forFleet tells an error that is meant for the fleet from one for the model.
func forFleet(err error) bool {
	var e *lighterman.Error
	var parked *lighterman.Parked
	return errors.As(err, &e) || errors.As(err, &parked) ||
		errors.Is(err, lighterman.ErrFenced) || errors.Is(err, lighterman.ErrHandOver)
}

func (s *Set) unknown(name string) error {
	if len(s.tools) == 0 {
		return fmt.Errorf("no tool %q; there are none", clip(name))
	}
	known := make([]string, len(s.tools))
	for i, t := range s.tools {
		known[i] = t.Name
	}
	return fmt.Errorf("no tool %q; there are: %s", clip(name), strings.Join(known, ", "))
}
