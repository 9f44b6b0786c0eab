package redistest

import "syscall"

// sysProcAttr asks the kernel to kill the server when the test binary dies, also
// of SIGKILL or a test timeout, after which no cleanup runs. To be exact the
// signal follows the thread that started the server; Go ends a thread only when
// a goroutine that is locked to it returns.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
