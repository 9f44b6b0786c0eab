package aimock

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	installTimeout = 3 * time.Minute // npm ci, over a slow network
	startTimeout   = time.Minute     // node loads 200 files on a machine under load
	askTimeout     = 30 * time.Second
	endTimeout     = 5 * time.Second // from the end of its input to SIGKILL
)

// Fixture is one answer of the mock. The first whose Match fits a request is taken.
type Fixture struct {
	Match    Match          `json:"match"`
	Response map[string]any `json:"response"`

	// Faults of a streamed answer. Latency, in milliseconds, is before every chunk.
	Latency              int `json:"latency,omitempty"`
	ChunkSize            int `json:"chunkSize,omitempty"`
	TruncateAfterChunks  int `json:"truncateAfterChunks,omitempty"`
	DisconnectAfterMilli int `json:"disconnectAfterMs,omitempty"`
}

// Match says which requests a fixture is for: all that is set has to fit.
type Match struct {
	UserMessage        string `json:"userMessage,omitempty"` // in the last one
	SystemMessage      string `json:"systemMessage,omitempty"`
	InputText          string `json:"inputText,omitempty"` // of an embed call
	ToolResultContains string `json:"toolResultContains,omitempty"`
	HasToolResult      *bool  `json:"hasToolResult,omitempty"`
	Model              string `json:"model,omitempty"`         // those that are set are the mock's listing
	SequenceIndex      *int   `json:"sequenceIndex,omitempty"` // of the requests with one X-Test-Id that fit
}

// Server is a running mock. Its methods may be called concurrently.
type Server struct {
	URL string // without a slash at its end
}

// Need skips the test unless LIGHTERMAN_NIGHTLY=1, and fails it where node or npm is
// missing then.
func Need(t testing.TB) {
	t.Helper()
	if os.Getenv("LIGHTERMAN_NIGHTLY") != "1" {
		t.Skip("needs node, npm and the network: make nightly, or LIGHTERMAN_NIGHTLY=1")
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("LIGHTERMAN_NIGHTLY=1 wants %s: %v", tool, err)
		}
	}
}

// Start installs the mock where it is not, and runs it with the fixtures until the
// test ends. dir is this package's directory, as the test sees it.
func Start(t testing.TB, dir string, fixtures []Fixture) *Server {
	t.Helper()
	Need(t)
	if err := install(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]any{"fixtures": fixtures})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "fixtures.json")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	url, err := run(t, dir, path)
	if err != nil {
		t.Fatal(err)
	}
	return &Server{URL: url}
}

// install runs npm ci unless what it would install is there: npm leaves a copy of the
// lock file beside the packages.
func install(ctx context.Context, dir string) error {
	want, err := locked(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return fmt.Errorf("read what to install: %w", err)
	}
	if have, err := locked(filepath.Join(dir, "node_modules", ".package-lock.json")); err == nil && have == want {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
}

// locked is the digest of the mock that a lock file names.
func locked(file string) (string, error) {
	raw, err := os.ReadFile(file) //nolint:gosec // a file of this package
	if err != nil {
		return "", err
	}
	var lock struct {
		Packages map[string]struct {
			Integrity string `json:"integrity"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(raw, &lock); err != nil {
		return "", err
	}
	digest := lock.Packages["node_modules/@copilotkit/aimock"].Integrity
	if digest == "" {
		return "", fmt.Errorf("%s names no aimock", file)
	}
	return digest, nil
}

// run starts the process and returns its address. It ends with its input, which the
// kernel closes however this process goes.
func run(t testing.TB, dir, fixtures string) (string, error) {
	node := exec.Command("node", "serve.mjs", fixtures)
	node.Dir = dir
	var log bytes.Buffer
	node.Stderr = &log
	input, err := node.StdinPipe()
	if err != nil {
		return "", fmt.Errorf("start aimock: %w", err)
	}
	output, err := node.StdoutPipe()
	if err != nil {
		return "", fmt.Errorf("start aimock: %w", err)
	}
	if err := node.Start(); err != nil {
		return "", fmt.Errorf("start aimock: %w", err)
	}
	kill := time.AfterFunc(startTimeout, func() { _ = node.Process.Kill() })
	t.Cleanup(func() {
		kill.Reset(endTimeout)
		_ = input.Close()
		_ = node.Wait()
		kill.Stop()
		if t.Failed() && log.Len() > 0 {
			t.Logf("aimock's log:\n%s", &log)
		}
	})
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("start aimock: it ended without an address: %w", err)
		}
		if url := strings.TrimSpace(line); strings.HasPrefix(url, "http://") {
			kill.Stop()
			return strings.TrimRight(url, "/"), nil
		}
	}
}

// Asked is what a request asked for, as the mock read it: each format is turned into
// OpenAI's by its own hand.
type Asked struct {
	Path string `json:"path"`
	Body struct {
		Model    string            `json:"model"`
		Messages []json.RawMessage `json:"messages"`
		Tools    []struct {
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		} `json:"tools"`
		MaxTokens   int     `json:"max_tokens"`
		Temperature float64 `json:"temperature"`
	} `json:"body"`
	Response struct {
		Status int `json:"status"`
	} `json:"response"`
}

// Asked lists the requests that came with an X-Test-Id, in order.
func (s *Server) Asked(ctx context.Context, id string) ([]Asked, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/__aimock/journal?testId="+id, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for the journal: %w", err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask for the journal: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	var list []Asked
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("read the journal: %w: %.300s", err, body)
	}
	return list, nil
}
