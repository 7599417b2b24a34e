package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// BlockedError says that an address is refused. Its text is fit for tenants: it names
// the kind of range, and the address only if Host is one.
type BlockedError struct {
	Host string // as the URL has it, a name or an address
	// Addr is what was to be dialled. It isn't valid if that wasn't known: CheckURL looks
	// nothing up.
	Addr   netip.Addr
	Reason string // as "leads to a private address (10.0.0.0/8), which is not called"
	Mend   string // what the author or an operator can do; "" if nothing sensible
}

func (e *BlockedError) Error() string {
	text := e.Host + " " + e.Reason
	if e.Mend != "" {
		text += "; " + e.Mend
	}
	return text
}

func blockedBy(host string, ip netip.Addr, s special) *BlockedError {
	verb := "leads to "
	if _, err := netip.ParseAddr(host); err == nil {
		verb = "is "
	}
	e := &BlockedError{Host: host, Addr: ip, Reason: verb + s.name}
	if s.prefix.IsValid() {
		e.Reason += " (" + s.prefix.String() + ")"
	}
	e.Reason += ", which is not called"
	if s.mend {
		e.Mend = "an operator can allow it by ROWBELL_EGRESS_ALLOW=" + s.prefix.String()
	}
	return e
}

func blockedPlain(host string, ip netip.Addr) *BlockedError {
	return &BlockedError{
		Host: host, Addr: ip, Reason: "is not called by plain http",
		Mend: "write https://, or an operator can allow its range by ROWBELL_EGRESS_ALLOW",
	}
}

func blockedPort(host string, ip netip.Addr, port uint16) *BlockedError {
	return &BlockedError{
		Host: host, Addr: ip, Reason: "is not called at port " + strconv.Itoa(int(port)) + ", where something else than a web server listens",
		Mend: "use 443 or a port of its own, as 8443; an operator can allow the host's range by ROWBELL_EGRESS_ALLOW",
	}
}

// Error says that no answer came, or only a part of one. Its text is Reason's. Err is for
// errors.Is and errors.As: its own text can name addresses of this network.
type Error struct {
	Host    string        // as the URL has it
	Elapsed time.Duration // since the request began
	// Partial says that status and headers had come, and the body broke off.
	Partial bool
	Err     error
}

func (e *Error) Error() string { return e.Host + ": " + Reason(e) }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Permanent says that another try can't help, because the URL is bad or its address
// blocked. All other errors are worth one: names get records, certificates are renewed.
func Permanent(err error) bool {
	_, blocked := errors.AsType[*BlockedError](err)
	_, bad := errors.AsType[*URLError](err)
	return blocked || bad
}

// Reason says in short words what went wrong, for whoever reads the log of deliveries.
// It quotes no URL, and no address but what a URL named as host. It is "" for nil.
func Reason(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*BlockedError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*URLError](err); ok {
		return e.Error()
	}
	var after, where string
	closed := "the connection was closed before an answer came"
	if e, ok := errors.AsType[*Error](err); ok {
		err = e.Err // not e, whose text is what is made here
		after = " after " + roundDuration(e.Elapsed).String()
		if e.Partial {
			where = ", in the middle of the answer"
			closed = "the connection was closed in the middle of the answer"
		}
	}
	if err == nil {
		return "failed" + after + where
	}
	if errors.Is(err, context.Canceled) {
		return "cancelled" + after
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok && !errors.Is(err, context.DeadlineExceeded) {
		switch {
		case e.IsNotFound:
			return "no such host"
		case e.IsTimeout:
			return "the name server did not answer in time"
		}
		return "the name server could not answer"
	}
	if e, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && e.Timeout() {
		return "timed out" + after + where
	}
	if text := tlsReason(err); text != "" {
		return text
	}
	switch {
	case errors.Is(err, errNoneAnswered):
		return errNoneAnswered.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no route to the host"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine has no address or port free to connect from"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "this process has too many files open"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return closed
	}
	return textReason(err, closed)
}

// roundDuration leaves the digits that mean something.
func roundDuration(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}

// tlsReason returns "" if it wasn't TLS that failed.
func tlsReason(err error) string {
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		if string(e.RecordHeader[:]) == "HTTP/" {
			return "the server speaks plain http on this port, not https"
		}
		return "the server does not speak TLS on this port"
	}
	const invalid = "the certificate is not valid: "
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return invalid + "it is not for " + e.Host
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return invalid + "who signed it is not known"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return invalid + "it has expired, or does not apply yet"
		}
		return invalid + cut(strings.TrimPrefix(e.Error(), "x509: "))
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return invalid + cut(strings.TrimPrefix(e.Err.Error(), "x509: "))
	}
	if e, ok := errors.AsType[tls.AlertError](err); ok {
		return "the server refused the TLS handshake: " + strings.TrimPrefix(e.Error(), "tls: ")
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && (e.Op == "remote error" || e.Op == "local error") { // how crypto/tls reports alerts
		return "the TLS handshake failed: " + cut(strings.TrimPrefix(e.Err.Error(), "tls: "))
	}
	return ""
}

// texts are the errors of net/http that have no type.
var texts = []struct{ part, reason string }{
	{"response headers exceeded", "the answer's headers are too long"},
	{"header list larger than", "the answer's headers are too long"},
	{"message too large", "the answer's headers are too long"},
	{"header field", "a header holds a character that headers don't have"}, // of the request: "invalid header field value for …"
	{"malformed", "the server did not answer in HTTP"},
	{"Content-Length", "the server did not answer in HTTP"},
	{"transfer encoding", "the server did not answer in HTTP"},
	{"suspiciously long trailer", "the server did not answer in HTTP"},
	{"invalid byte in chunk length", "the server did not answer in HTTP"},
	{"tls: ", "the TLS handshake failed"},
	{"server closed idle connection", ""},
	{"use of closed network connection", ""},
	{"connection broken", ""},
	{"client connection lost", ""},
	{"GOAWAY", ""},
	{"stream error", "the server broke off the answer"},
}

// textReason goes by the text of an error; closed stands for "" in texts.
func textReason(err error, closed string) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err // without the addresses
	}
	text := err.Error()
	for _, t := range texts {
		if strings.Contains(text, t.part) {
			if t.reason == "" {
				return closed
			}
			return t.reason
		}
	}
	return cut(anyURL.ReplaceAllString(text, "(URL)"))
}

// anyURL matches what could be one, and be it in quotes.
var anyURL = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"]*|\?[^\s"]*=[^\s"]*`)

// cut bounds a text that isn't ours.
func cut(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	for i := limit; ; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i] + "…"
		}
	}
}
