//go:build !linux

package main

import "syscall"

// diesWithParent does nothing here: only Linux can tie a child's life to ours.
func diesWithParent() *syscall.SysProcAttr { return nil }
