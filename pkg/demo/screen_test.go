package demo

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
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
			s.delivered(time.Duration(i) * time.Millisecond)
		}
		s.measure(t.Context(), begin.Add(time.Duration(i)*time.Second), int64(3*i), 0)
	}
	s.executions, s.succeeded, s.dead = 17, 32, 1
	s.queue = store.QueueStats{Depth: map[string]int64{"waiting": 1, "ready": 2, "leased": 0}, Retrying: 2}
	s.lagBytes, s.lagSeconds = 1500, 0.25
	for width, want := range map[int]string{
		140: "3.0 changes/s │ 17 executions │ 32 delivered, 2 retrying, 1 dead │ queue 3 │ commit → delivered 16 ms, p99 20 ms │ lag 250 ms, 1.5 kB",
		119: "3.0 changes/s │ 17 executions │ ✓ 32 ↻ 2 ✗ 1 │ queue 3 │ commit → delivered 16 ms, p99 20 ms │ lag 250 ms",
		79:  "3.0/s │ ✓ 32 ↻ 2 ✗ 1 │ queue 3 │ p50 16 ms p99 20 ms │ lag 250 ms",
		20:  "✓ 32 ↻ 2 ✗ 1",
	} {
		if got := s.line(width); got != want {
			t.Errorf("in %d columns\n got %s\nwant %s", width, got, want)
		}
	}
}

func TestWrapWords(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "one": "one", "one two three four": "one two|three|four", "a verylongword b": "a|verylongword|b", "ä ö ü ß é": "ä ö ü ß|é",
	} {
		if got := strings.Join(wrapWords(text, 7), "|"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for most, want := range map[int]string{1: "abcdefg…", 2: "abcdefgh|ijklmno…", 4: "abcdefgh|ijklmnop|qr"} {
		if got := strings.Join(wrap("abcdefghijklmnopqr", 8, most), "|"); got != want {
			t.Errorf("in %d lines %s, want %s", most, got, want)
		}
	}
}
