package demo

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Elsewhere than on a terminal there is nothing but plain lines.
func TestPlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := &screen{out: &out, width: func() int { return 80 }}
		s.line("%s", s.paint(green, "one"))
		s.setStatus("status 1") // nothing yet
		s.setStatus("status 2") // too soon
		s.line("two")
		time.Sleep(plainStatus) // of the bubble's clock
		s.setStatus("status 3")
		s.clearStatus()
		if got, want := out.String(), "one\ntwo\nstatus 3\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// On a terminal the status stays below the lines, and is gone at the end.
func TestStatusInPlace(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, terminal: true, width: func() int { return 10 }}
	s.setStatus("a status that is too long")
	s.line("one")
	s.clearStatus()
	s.line("two")
	want := "\r\x1b[Ka status…" + "\r\x1b[Kone\na status…" + "\r\x1b[K" + "\r\x1b[Ktwo\n"
	if got := out.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if strings.Contains(out.String(), "\x1b[3") {
		t.Error("colours where none were asked for")
	}
}

func TestStatusLine(t *testing.T) {
	s := newStatus("http://127.0.0.1:1")
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 21 { // 20 s, of which the last ten count
		if i > 10 {
			s.executed(time.Duration(i) * time.Millisecond)
		}
		s.measure(t.Context(), begin.Add(time.Duration(i)*time.Second), int64(3*i), 0)
	}
	s.lagBytes, s.lagSeconds = 1500, 0.25
	want := "60 changes (3.0/s)   10 executions (1.0/s)   commit to record 16 ms, p99 20 ms   lag 1.5 kB, 250 ms"
	if got := s.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
