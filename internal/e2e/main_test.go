package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := binaries.dir(); err == nil && dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// full asks for the counts that the project's promises are measured with.
var full = os.Getenv("LIGHTERMAN_E2E") == "full"

// rounds is how often a story is told.
func rounds(usual, all int) int {
	if full {
		return all
	}
	return usual
}

// binaries are built once, when the first test asks.
var binaries built

type built struct {
	once sync.Once
	at   string
	err  error
}

// build compiles the commands with failpoints into a directory of their own.
func (b *built) build() {
	b.once.Do(func() {
		if b.at, b.err = os.MkdirTemp("", "lighterman-e2e-"); b.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-tags", "failpoints", "-o", b.at+"/",
			"./cmd/worker", "./cmd/enqueue", "./cmd/lighterman", "./internal/e2e/testworker")
		cmd.Dir = filepath.Join("..", "..")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
}

// dir is where they are, empty when nobody asked for them; it keeps a later
// build from starting.
func (b *built) dir() (string, error) {
	b.once.Do(func() {})
	return b.at, b.err
}

// binary is the path of one of them.
func binary(t testing.TB, name string) string {
	t.Helper()
	binaries.build()
	if binaries.err != nil {
		t.Fatal(binaries.err)
	}
	return filepath.Join(binaries.at, name)
}
