package redistest_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
)

// orphanEnv makes TestStart_DiesWithTheTestBinary play the binary that is killed.
const orphanEnv = "REDISTEST_ORPHAN"

func TestStart_DiesWithTheTestBinary(t *testing.T) {
	if os.Getenv(orphanEnv) != "" {
		s := redistest.Start(t)
		_, _ = os.Stdout.WriteString("server " + strconv.Itoa(s.Pid()) + " " + s.Dir() + "\n")
		select {} // Until it is killed.
	}
	if !redistest.Available() {
		t.Skip("no redis-server")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.timeout=1m")
	binary.Env = append(os.Environ(), orphanEnv+"=1")
	out, err := binary.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := binary.Start(); err != nil {
		t.Fatal(err)
	}
	pid, dir := 0, ""
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[0] == "server" {
			pid, _ = strconv.Atoi(f[1])
			dir = f[2]
		}
	}
	if err := binary.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = binary.Wait() // It was killed.
	if pid == 0 {
		t.Fatal("the test binary started no server")
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for deadline := time.Now().Add(10 * time.Second); !gone(pid); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("redis-server %d outlived its test binary", pid)
		}
	}
}

// gone reports whether a process has ended. One that was adopted by a parent that
// does not wait for it stays as a zombie, which counts as gone.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}
