package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/lighterman/lighterman"
)

// MaxContent bounds the content of one tool message, in bytes. A larger result
// is not cut, which a model could take for the whole, but refused to it.
const MaxContent = 1 << 20

// content writes a tool's result as the text of a tool message.
func content(result any) string {
	var text string
	switch v := result.(type) {
	case nil:
	case string:
		text = v
	case []byte:
		text = string(v)
	case json.RawMessage:
		text = string(v)
	default:
		b, err := marshal(v)
		if err != nil {
			return errorContent(fmt.Errorf("the result cannot be written as JSON: %w", err))
		}
		text = string(b)
	}
	if len(text) > MaxContent {
		return errorContent(fmt.Errorf("the result of %d bytes is over the bound of %d; ask for less", len(text), MaxContent))
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// errorContent tells the model what went wrong.
func errorContent(err error) string {
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "") + "..."
	}
	b, err := marshal(struct {
		Error string `json:"error"`
	}{text})
	if err != nil {
		return `{"error":"unknown"}`
	}
	return string(b)
}

// maxError bounds an error's text, in bytes: some quote whole pages.
const maxError = 4096

// marshal is json.Marshal that leaves <, > and & readable.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// contained runs a handler and turns a panic into an Error of kind panic that
// names the line.
func contained(ctx context.Context, run Handler, call lighterman.ToolCall) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, lighterman.Errorf(lighterman.HandlerPanicked, "%v at %s", p, panicked())
		}
	}()
	return run(ctx, call)
}

// panicked finds the line of the panic that is being recovered: the first frame
// outside package runtime behind the panic's own.
func panicked() string {
	pc := make([]uintptr, 16)
	frames := runtime.CallersFrames(pc[:runtime.Callers(2, pc)])
	for behind := false; ; {
		f, more := frames.Next()
		inRuntime := strings.HasPrefix(f.Function, "runtime.")
		if behind && !inRuntime {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		behind = behind || inRuntime
		if !more {
			return "an unknown line"
		}
	}
}

// clip keeps a name that a model made up short.
func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:77], "") + "..."
	}
	return s
}
