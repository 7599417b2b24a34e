//go:build unix

package egress

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// canPeek says that quiet knows.
const canPeek = true

// quiet says that a connection is open, and that nothing has come on it.
func quiet(conn syscall.Conn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	still := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		still = errors.Is(err, unix.EAGAIN)
		return true
	})
	return err == nil && still
}
