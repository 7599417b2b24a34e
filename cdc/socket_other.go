//go:build !linux

package cdc

import "syscall"

// setReceiveBuffer leaves the system's default.
func setReceiveBuffer(_, _ string, _ syscall.RawConn) error { return nil }

// quiet does nothing: there is no such setting.
func (s *socket) quiet(bool) {}

// readNow waits until something is there, after a pause as good as at once.
func (s *socket) readNow(p []byte) (int, error) { return s.Conn.Read(p) }

// nap is nothing where readNow waits anyway.
func nap() {}

// queued says how many bytes wait to be read, as far as that is known.
func (s *socket) queued() int { return 0 }
