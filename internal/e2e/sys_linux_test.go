package e2e

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// sysProcAttr has the kernel kill a child, also a stopped one, when the test
// binary dies first.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// processState is the kernel's letter for what a process does: T is stopped.
func processState(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(b), ") ") // behind the program's name
	return rest[:min(1, len(rest))]
}
