//go:build linux

package cdc

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// setReceiveBuffer is a net.Dialer's Control. A kernel that refuses leaves its
// default, which is slower and nothing else.
func setReceiveBuffer(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
	})
}

// quiet tells the kernel to wake nobody before the receive buffer is well filled (on),
// or at every byte, as usual. Without it each message that arrives wakes the thread in
// which the runtime polls the network, although we pause: that cost the server's send
// as much as it cost us (see doc.go).
func (s *socket) quiet(on bool) {
	if s.raw == nil {
		return
	}
	n := 1
	if on {
		n = receiveBuffer
	}
	_ = s.raw.Control(func(fd uintptr) { // a kernel that refuses is slower and nothing else
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, n)
	})
}

// readNow reads what is there without waiting. It returns 0 and no error if nothing
// is, or if the connection has ended.
func (s *socket) readNow(p []byte) (int, error) {
	if s.raw == nil {
		return s.Conn.Read(p)
	}
	if s.fd == nil {
		s.fd = func(fd uintptr) bool {
			for {
				if s.n, s.err = syscall.Read(int(fd), s.room); !errors.Is(s.err, syscall.EINTR) {
					return true
				}
			}
		}
	}
	s.room, s.n, s.err = p, 0, nil
	if err := s.raw.Read(s.fd); err != nil {
		return 0, err
	}
	s.room = nil
	if errors.Is(s.err, syscall.EAGAIN) {
		return 0, nil
	}
	return max(s.n, 0), s.err
}

// nap sleeps for less than the runtime's timers can.
func nap() {
	t := unix.NsecToTimespec(napTime.Nanoseconds())
	_ = unix.Nanosleep(&t, nil) // cut short by a signal is as good
}

// queued says how many bytes wait to be read.
func (s *socket) queued() int {
	if s.raw == nil {
		return 0
	}
	n := 0
	_ = s.raw.Control(func(fd uintptr) { // a closed connection has none; reading it will say so
		n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	})
	return n
}
