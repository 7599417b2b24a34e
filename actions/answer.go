package actions

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxRetryAfter is the longest wait that RetryAfter returns.
const MaxRetryAfter = 24 * time.Hour

// RetryAfter reads the header of that name (RFC 9110, section 10.2.3): seconds, or a date.
// It returns 0 if there is nothing to wait for, and at most MaxRetryAfter.
func RetryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if header == "" {
		return 0
	}
	if strings.Trim(header, "0123456789") == "" {
		seconds, err := strconv.ParseInt(header, 10, 64)
		if err != nil || seconds > int64(MaxRetryAfter/time.Second) {
			return MaxRetryAfter // more than fits
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}

// Redact replaces what an answer repeats of hide. Texts below 6 bytes are no secrets, and
// would make a riddle of the rest.
func Redact(body []byte, hide []string) []byte {
	for _, text := range hide {
		if len(text) >= 6 && bytes.Contains(body, []byte(text)) {
			body = bytes.ReplaceAll(body, []byte(text), []byte("***"))
		}
	}
	return body
}

// Printable returns the start of an answer as a text that can be shown and stored: valid
// UTF-8 of at most limit bytes, without control characters but line breaks and tabs, and
// without those that turn the direction of a line.
func Printable(b []byte, limit int) string {
	b = b[:min(len(b), limit+utf8.UTFMax)]
	plain := true
	for _, c := range b {
		if c < ' ' || c >= 0x7f {
			plain = false
			break
		}
	}
	if plain {
		return string(b[:min(len(b), limit)])
	}
	var s strings.Builder
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 && !utf8.FullRune(b) {
			break // its rest is beyond the limit
		}
		b = b[size:]
		switch {
		case r == '\r':
			continue
		case r == '\n' || r == '\t':
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			r = unicode.ReplacementChar
		}
		if s.Len()+utf8.RuneLen(r) > limit {
			break
		}
		s.WriteRune(r)
	}
	return s.String()
}
