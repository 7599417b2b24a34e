package webhook

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/egress"
)

const (
	maxResponse = 1 << 10 // bytes of an answer that are kept
	maxQuote    = 200     // bytes of an answer in an error's text

	maxRetryAfter     = actions.MaxRetryAfter
	tooManyRetryAfter = time.Minute // for a 429 that asks for nothing
)

// mends are what can be done about a status that needs somebody's hand.
var mends = map[int]string{
	400: "the receiver can't read the request; see what it answered",
	401: "the receiver wants other credentials; check secret and headers",
	403: "the receiver refuses the credentials or the sender; check secret and headers",
	404: "there is nothing at this path; check url",
	405: "the receiver takes no POST at this path; check url",
	410: "the receiver says that it is gone for good, and gets nothing more; put another url, or deactivate the workflow",
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
		e.Down = code == http.StatusTooManyRequests || code >= 500
		wait := retryAfter(res.Header.Get("Retry-After"), time.Now())
		switch {
		case code == http.StatusTooManyRequests:
			e.RetryAfter, e.Busy = cmp.Or(wait, tooManyRetryAfter), true
		case code == http.StatusServiceUnavailable && wait > 0:
			e.RetryAfter, e.Busy = wait, true
		}
	default:
		e.Permanent, e.Gone = true, code == http.StatusGone
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

func retryAfter(header string, now time.Time) time.Duration { return actions.RetryAfter(header, now) }

func redact(body []byte, hide []string) []byte { return actions.Redact(body, hide) }

func printable(b []byte, limit int) string { return actions.Printable(b, limit) }

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
