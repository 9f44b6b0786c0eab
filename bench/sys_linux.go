package main

import "syscall"

// diesWithParent asks the kernel to kill a child when this process dies, even of
// SIGKILL.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
