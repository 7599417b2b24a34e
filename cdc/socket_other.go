//go:build !unix

package cdc

import "syscall"

// setReceiveBuffer leaves the system's default.
func setReceiveBuffer(_, _ string, _ syscall.RawConn) error { return nil }
