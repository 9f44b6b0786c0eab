package aimock_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/aimock"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/anthropic"
	"github.com/lighterman/lighterman/provider/bedrock"
	"github.com/lighterman/lighterman/provider/gemini"
	"github.com/lighterman/lighterman/provider/ollama"
	"github.com/lighterman/lighterman/provider/openai"
)

// format is an adapter as it asks the mock.
type format struct {
	name  string
	base  string // the path beneath the mock's address
	model string
	open  func(o provider.Options) (provider.API, error)
	lacks []string // what the mock does not play of it
}

const geminiModel = "gemini-2.5-flash"

var formats = []format{
	{name: "openai", base: "/v1", model: "o4-mini", open: vendor("openai"), lacks: []string{"prompt"}},
	{name: "azure", base: "/openai/v1", model: "o4-mini", open: vendor("azure"), lacks: []string{"prompt"}},
	{name: "openrouter", base: "/api/v1", model: "openai/o4-mini", open: vendor("openrouter"), lacks: []string{"prompt"}},
	{name: "ollama", model: "deepseek-r1", lacks: []string{"prompt", "probe"},
		open: func(o provider.Options) (provider.API, error) { return ollama.New(o) }},
	{name: "anthropic", model: "claude-sonnet-4-5", lacks: []string{"embed"},
		open: func(o provider.Options) (provider.API, error) { return anthropic.Open(anthropic.Options{Options: o}) }},
	{name: "gemini", base: "/v1beta", model: geminiModel, lacks: []string{"embed", "list", "probe"},
		open: func(o provider.Options) (provider.API, error) {
			return gemini.New(context.Background(), gemini.Options{Options: o})
		}},
	{name: "vertex", base: "/v1", model: geminiModel, open: vertex, lacks: []string{"embed", "list", "probe"}},
	{name: "bedrock", model: "anthropic.claude-sonnet-4-5-20250929-v1:0", lacks: []string{"embed", "list", "probe"},
		open: func(o provider.Options) (provider.API, error) {
			return bedrock.New(context.Background(), bedrock.Options{Options: o, Region: "us-east-1"})
		}},
}

func vendor(name string) func(o provider.Options) (provider.API, error) {
	return func(o provider.Options) (provider.API, error) { return openai.New(openai.Vendor(name, o)) }
}

func vertex(o provider.Options) (provider.API, error) {
	token := o.Key
	o.Key = ""
	return gemini.New(context.Background(), gemini.Options{
		Options: o, Project: "project", Location: "global", Token: func(context.Context) (lm.Secret, error) { return token, nil },
	})
}

// each runs a test for every format that the mock plays it of, as a subtest with an
// X-Test-Id of its own, and notes in the matrix how it went.
func (m *matrix) each(t *testing.T, what string, test func(t *testing.T, f *format, api provider.API, id string)) {
	t.Helper()
	m.columns = append(m.columns, what)
	for i := range formats {
		f := &formats[i]
		if slices.Contains(f.lacks, what) {
			m.note(f.name, what, "-")
			continue
		}
		t.Run(what+"/"+f.name, func(t *testing.T) {
			defer func() { m.note(f.name, what, map[bool]string{true: "FAIL", false: "ok"}[t.Failed()]) }()
			id := what + "-" + f.name
			header := maps.Clone(m.header)
			header["X-Test-Id"] = id
			api, err := f.open(provider.Options{BaseURL: m.server.URL + f.base, Key: "sk-mock", Header: header})
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			test(t, f, api, id)
		})
	}
}

// matrix is what passed of which format.
type matrix struct {
	server  *aimock.Server
	header  map[string]string // sent with the requests of the next each
	columns []string

	mu    sync.Mutex
	cells map[string]map[string]string // by format and column
}

// begin starts the mock with the fixtures, with an AWS environment that holds nothing.
func begin(t *testing.T, fixtures []aimock.Fixture) *matrix {
	t.Helper()
	aimock.Need(t)
	for name, value := range map[string]string{
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
	} {
		t.Setenv(name, value)
	}
	return &matrix{server: aimock.Start(t, ".", fixtures), header: map[string]string{}, cells: map[string]map[string]string{}}
}

func (m *matrix) note(format, column, cell string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cells[format] == nil {
		m.cells[format] = map[string]string{}
	}
	m.cells[format][column] = cell
}

// print logs the matrix, and fails the test where a format has no good cell.
func (m *matrix) print(t *testing.T) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%-11s", "")
	for _, c := range m.columns {
		fmt.Fprintf(&b, " %*s", max(len(c), 4), c)
	}
	for i := range formats {
		row := m.cells[formats[i].name]
		fmt.Fprintf(&b, "\n%-11s", formats[i].name)
		for _, c := range m.columns {
			fmt.Fprintf(&b, " %*s", max(len(c), 4), row[c])
		}
		if !slices.Contains(slices.Collect(maps.Values(row)), "ok") {
			t.Errorf("%s: nothing passed", formats[i].name)
		}
	}
	t.Logf("aimock; - is what it does not play\n%s", &b)
}
