//go:build unix

package cdc

import "syscall"

// setReceiveBuffer is a net.Dialer's Control. A kernel that refuses leaves its
// default, which is slower and nothing else.
func setReceiveBuffer(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
	})
}
