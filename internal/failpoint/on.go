//go:build failpoints

// Package failpoint lets process tests kill a worker at a named edge of the
// lifecycle. With the build tag failpoints, LIGHTERMAN_FAILPOINT=NAME:N kills the
// process with SIGKILL when it comes to the edge NAME for the Nth time (from 1),
// and NAME:N:stop stops it with SIGSTOP instead. The edge is told on standard
// error first, so that a test knows that its fault was reached.
package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var (
	want  = strings.Split(os.Getenv("LIGHTERMAN_FAILPOINT")+"::", ":")
	nth   = max(1, atoi(want[1]))
	count atomic.Int64
)

// At marks an edge.
func At(name string) {
	if name != want[0] || count.Add(1) != int64(nth) {
		return
	}
	fmt.Fprintf(os.Stderr, "failpoint reached: %s %d\n", name, nth)
	if want[2] == "stop" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
