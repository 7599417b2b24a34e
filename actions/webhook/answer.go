package webhook

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/egress"
)

const (
	maxResponse = 1 << 10 // bytes of an answer that are kept
	maxQuote    = 200     // bytes of an answer in an error's text

	maxRetryAfter     = 24 * time.Hour
	tooManyRetryAfter = time.Minute // for a 429 that asks for nothing
)

// mends are what can be done about a status that needs somebody's hand.
var mends = map[int]string{
	400: "the receiver can't read the request; see what it answered",
	401: "the receiver wants other credentials; check secret and headers",
	403: "the receiver refuses the credentials or the sender; check secret and headers",
	404: "there is nothing at this path; check url",
	405: "the receiver takes no POST at this path; check url",
	410: "the receiver is gone for good; put another url, or deactivate the workflow",
	413: "the receiver takes no body of this size",
	415: "the receiver takes no application/json",
	422: "the receiver refuses the content; see what it answered",
}

// judge returns nil for a success, else an *actions.Error.
func (p *poster) judge(res *egress.Response) error {
	code := res.StatusCode
	if code >= 200 && code < 300 {
		return nil
	}
	e := &actions.Error{}
	var b strings.Builder
	fmt.Fprintf(&b, "%s answered %d", p.url.Host, code)
	if text := http.StatusText(code); text != "" {
		b.WriteString(" " + text)
	}
	switch {
	case code >= 300 && code < 400:
		e.Permanent = true
		if to := p.location(res.Header.Get("Location")); to != "" {
			fmt.Fprintf(&b, " and Location %s", to)
		}
		b.WriteString("; redirects are not followed: put the final address into url")
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		wait := retryAfter(res.Header.Get("Retry-After"), time.Now())
		switch {
		case code == http.StatusTooManyRequests:
			e.RetryAfter, e.Busy = cmp.Or(wait, tooManyRetryAfter), true
		case code == http.StatusServiceUnavailable && wait > 0:
			e.RetryAfter, e.Busy = wait, true
		}
	default:
		e.Permanent = true
		if mend := mends[code]; mend != "" {
			b.WriteString("; " + mend)
		}
	}
	if said := strings.Join(strings.Fields(printable(res.Body, 2*maxQuote)), " "); said != "" {
		b.WriteString("; it said: " + cut(said, maxQuote))
	}
	e.Err = textError(b.String())
	return e
}

// textError is an error without a cause.
type textError string

func (e textError) Error() string { return string(e) }

// location is where a redirect leads, without what can hold a token; "" if that can't be
// read.
func (p *poster) location(header string) string {
	to, err := p.url.Parse(header)
	if header == "" || err != nil || to.Host == "" {
		return ""
	}
	return cut(printable([]byte(destinationOf(to)), 2*maxQuote), maxQuote)
}

// retryAfter reads the header of that name (RFC 9110, section 10.2.3): seconds, or a date.
// It returns 0 if there is nothing to wait for, and at most maxRetryAfter.
func retryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if header == "" {
		return 0
	}
	if strings.Trim(header, "0123456789") == "" {
		seconds, err := strconv.ParseInt(header, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter // more than fits
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// redact replaces what an answer repeats of hide. Texts below 6 bytes are no secrets, and
// would make a riddle of the rest.
func redact(body []byte, hide []string) []byte {
	for _, text := range hide {
		if len(text) >= 6 && bytes.Contains(body, []byte(text)) {
			body = bytes.ReplaceAll(body, []byte(text), []byte("***"))
		}
	}
	return body
}

// printable returns the start of an answer as a text that can be shown and stored: valid
// UTF-8 of at most limit bytes, without control characters but line breaks and tabs, and
// without those that turn the direction of a line.
func printable(b []byte, limit int) string {
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

// cut shortens s to at most limit bytes of whole characters, and says so by an ellipsis.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}
