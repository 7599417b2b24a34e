package faulttest

import "syscall"

// dieWithParent ends a worker with the thread that started it, so that none is left
// when the test process is killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
