//go:build !linux

package faulttest

import "syscall"

// dieWithParent has no counterpart here: a killed test process leaves its workers behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
