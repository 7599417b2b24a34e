package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// The limits of headers that a workflow brings.
const (
	maxHeaders     = 32
	maxHeaderBytes = 8 << 10 // names and values
)

// ownHeaders are those of each request that don't change.
func ownHeaders(version string) http.Header {
	return http.Header{
		"Content-Type": {"application/json"},
		"User-Agent":   {"Rowbell/" + version},
	}
}

// Headers that a workflow may not set, and why. A user-agent of its own it may have:
// some receivers let no other through. And so for cookies.
var refusedHeaders = map[string]string{
	"Host":              "it follows from url",
	"Content-Length":    "it follows from the body",
	"Content-Type":      "the body is always application/json",
	"Content-Encoding":  "the body is never packed",
	"Accept-Encoding":   "the start of the answer is shown to people",
	"Transfer-Encoding": "it belongs to the connection",
	"Connection":        "it belongs to the connection",
	"Keep-Alive":        "it belongs to the connection",
	"Proxy-Connection":  "it belongs to the connection",
	"Te":                "it belongs to the connection",
	"Trailer":           "it belongs to the connection",
	"Upgrade":           "it belongs to the connection",
	"Expect":            "it belongs to the connection",
	"Http2-Settings":    "it belongs to the connection",

	"Proxy-Authenticate":  "it is between a client and its proxy",
	"Proxy-Authorization": "it is between a client and its proxy",
}

// refusedPrefixes are of names that tell receivers what is Rowbell's.
var refusedPrefixes = []string{"Webhook-", "Rowbell-"}

func checkHeaderName(name string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isToken(r) }) {
		return errors.New("it is not a header name; use letters, digits and - alone, as X-Team")
	}
	canonical := http.CanonicalHeaderKey(name)
	if why, ok := refusedHeaders[canonical]; ok {
		return fmt.Errorf("it can't be set, for %s; remove it", why)
	}
	if i := slices.IndexFunc(refusedPrefixes, func(p string) bool { return strings.HasPrefix(canonical, p) }); i >= 0 {
		return fmt.Errorf("names that begin with %s are Rowbell's; use another one", strings.ToLower(refusedPrefixes[i]))
	}
	return nil
}

// isToken says that a header name may have it (RFC 9110, section 5.6.2).
func isToken(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// checkHeaderValue takes printable ASCII: whatever else there is, receivers read it in
// different ways, and a line break would begin another header. The error doesn't quote
// the value.
func checkHeaderValue(value string) error {
	for i := range len(value) {
		switch c := value[i]; {
		case c < ' ' || c == 0x7f:
			return fmt.Errorf("character %d is a line break, a tab or another control character, which a header can't hold; remove it", i+1)
		case c > 0x7f:
			return fmt.Errorf("character %d is not ASCII; write it as %%xx, or in base64, as the receiver reads it", i+1)
		}
	}
	if strings.Trim(value, " ") != value {
		return errors.New("it begins or ends with a space, which gets lost on the way; remove it")
	}
	return nil
}

// headerText makes an id fit for webhook-id: bytes that are not visible ASCII as %xx, and
// so the dot, which joins what is signed, and % itself, so that two ids stay two. Ids are
// plain, but for recipients, whose ids are the application's.
func headerText(id string) string {
	return escape(id, func(c byte) bool { return visible(c) && c != '%' && c != '.' })
}

// visible says that a byte may stand in a header, and is no space.
func visible(c byte) bool { return c > ' ' && c < 0x7f }

// escape writes bytes that are not plain as %xx.
func escape(id string, plain func(byte) bool) string {
	for i := range len(id) {
		if plain(id[i]) {
			continue
		}
		b := []byte(id[:i])
		for _, c := range []byte(id[i:]) {
			if plain(c) {
				b = append(b, c)
			} else {
				b = fmt.Appendf(b, "%%%02X", c)
			}
		}
		return string(b)
	}
	return id
}

// quoteName writes a header's name as a key of a message.
func quoteName(name string) string {
	if len(name) > 60 {
		name = name[:60]
	}
	if q := strconv.QuoteToASCII(name); q[1:len(q)-1] != name || name == "" {
		return q
	}
	return name
}
