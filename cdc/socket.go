package cdc

import (
	"net"
	"syscall"
	"time"
)

const (
	// receiveBuffer is SO_RCVBUF of a coalescing connection; Linux doubles it. It is set
	// before connect, which also keeps the kernel from growing it: the window must close
	// while we pause, since that is what makes the server's kernel merge its sends.
	receiveBuffer = 256 << 10

	// hotReads reads within hotWindow, or one read of hotBytes, say that there is a
	// backlog; coldReads reads of less than coldBytes in a row say that it is gone.
	hotReads  = 128
	hotWindow = 5 * time.Millisecond
	hotBytes  = 64 << 10
	coldReads = 2
	coldBytes = 8 << 10

	// When more than fullBytes are there again right after a read, the server's kernel
	// has held them back: the window was closed, and the pause can be shorter.
	fullBytes = 256 << 10

	minPause   = time.Millisecond
	startPause = minPause
	maxPause   = 6 * time.Millisecond

	// napTime is the pause of a connection that does not coalesce; the kernel adds about
	// as much.
	napTime = 50 * time.Microsecond

	// smallRead is what a reader above us asks for that does not read in bulk: TLS does
	// not, and gets its bytes out of one bulk read.
	smallRead = 32 << 10
)

// socket is the network connection below pgconn, or below TLS. While there is a backlog
// it pauses between reads: for milliseconds if it coalesces, so that the window closes;
// otherwise for no longer than a wake-up takes, so that not every message is one. One
// goroutine reads.
type socket struct {
	net.Conn
	coalesce bool
	raw      syscall.RawConn // nil if the connection has none
	room     []byte          // of the readNow that is being made
	n        int             // what it read
	err      error
	fd       func(uintptr) bool // does it; made once

	buf  []byte // for small reads; empty until one is made
	r, w int

	hot    bool
	pause  time.Duration
	reads  int       // since the window began
	window time.Time // when it began
	cold   int       // small reads in a row
}

// buffered says how many bytes were read from the network and not asked for yet.
func (s *socket) buffered() int { return s.w - s.r }

func (s *socket) Read(p []byte) (int, error) {
	if s.r == s.w && len(p) < smallRead {
		if s.buf == nil {
			s.buf = make([]byte, receiveBuffer)
		}
		n, err := s.read(s.buf)
		s.r, s.w = 0, n
		if n == 0 {
			return 0, err
		}
	}
	if s.r < s.w {
		n := copy(p, s.buf[s.r:s.w])
		s.r += n
		return n, nil
	}
	return s.read(p)
}

func (s *socket) read(p []byte) (int, error) {
	for s.hot {
		if s.coalesce {
			time.Sleep(s.pause)
		} else {
			nap()
		}
		n, err := s.readNow(p)
		s.temper(n)
		if n > 0 || err != nil {
			return n, err
		}
	}
	n, err := s.Conn.Read(p)
	if err == nil {
		s.temper(n)
	}
	return n, err
}

// temper decides from the size and rate of reads whether to pause before the next, and
// for how long.
func (s *socket) temper(n int) {
	if !s.hot {
		s.reads++
		if n < hotBytes || !s.coalesce {
			if s.reads < hotReads {
				return
			}
			now := time.Now()
			within := now.Sub(s.window) < hotWindow
			s.reads, s.window = 0, now
			if !within {
				return
			}
		}
		s.hot, s.pause, s.cold = true, startPause, 0
		s.quiet(true)
		return
	}
	least := 1
	if s.coalesce {
		least = coldBytes
	}
	if n >= least {
		s.cold = 0
	} else if s.cold++; s.cold >= coldReads {
		s.hot, s.reads, s.window = false, 0, time.Now()
		s.quiet(false)
		return
	}
	if s.coalesce {
		s.pace()
	}
}

// pace sets the next pause. The window should be closed most of the time: then the
// server's kernel merges what the walsender sends message by message, which costs both
// sides a fraction. It must not be closed for so long that the walsender has to wait.
func (s *socket) pace() {
	if s.queued() >= fullBytes {
		s.pause = max(s.pause*7/8, minPause)
	} else {
		s.pause = min(s.pause*8/7, maxPause)
	}
}
