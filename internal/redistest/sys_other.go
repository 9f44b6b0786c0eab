//go:build !linux

package redistest

import "syscall"

// sysProcAttr has no way to tie the server's life to the test binary's here;
// after a killed test binary its server must be ended by hand.
func sysProcAttr() *syscall.SysProcAttr { return nil }
