//go:build !linux

package e2e

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

func sysProcAttr() *syscall.SysProcAttr { return nil }

// processState is ps's letter for what a process does: T is stopped.
func processState(pid int) string {
	b, _ := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output() // gone: empty
	state := strings.TrimSpace(string(b))
	return state[:min(1, len(state))]
}
