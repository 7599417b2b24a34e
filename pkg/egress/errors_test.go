package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestReason(t *testing.T) {
	t.Parallel()
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 9, 8, 7), Port: 443}, Err: err}
	}
	after := func(d time.Duration, err error) error { return &Error{Host: "h", Elapsed: d, Err: err} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{dial(syscall.ECONNREFUSED), "connection refused"},
		{dial(syscall.EHOSTUNREACH), "there is no route to the host"},
		{after(10004*time.Millisecond, context.DeadlineExceeded), "timed out after 10s"},
		{after(1540*time.Millisecond, dial(context.DeadlineExceeded)), "timed out after 1.5s"},
		{&Error{Elapsed: time.Second, Partial: true, Err: context.DeadlineExceeded}, "timed out after 1s, in the middle of the answer"},
		{context.DeadlineExceeded, "timed out"},
		{after(250*time.Millisecond, context.Canceled), "cancelled after 250ms"},
		{dial(&net.DNSError{Err: "no such host", Name: "x", Server: "10.0.0.2:53", IsNotFound: true}), "no such host"},
		{dial(&net.DNSError{Err: "server misbehaving", Name: "x", Server: "10.0.0.2:53"}), "the name server could not answer"},
		{dial(&net.DNSError{Err: "i/o timeout", Name: "x", Server: "10.0.0.2:53", IsTimeout: true}), "the name server did not answer in time"},
		{io.EOF, "the connection was closed before an answer came"},
		{fmt.Errorf("read: %w", syscall.ECONNRESET), "the connection was closed before an answer came"},
		{errors.New("http: server closed idle connection"), "the connection was closed before an answer came"},
		{x509.CertificateInvalidError{Cert: new(x509.Certificate), Reason: x509.Expired}, "the certificate is not valid: it has expired, or does not apply yet"},
		{x509.UnknownAuthorityError{}, "the certificate is not valid: who signed it is not known"},
		{&tls.CertificateVerificationError{Err: errors.New("x509: something else")}, "the certificate is not valid: something else"},
		{tls.AlertError(40), "the server refused the TLS handshake: handshake failure"},
		{tls.RecordHeaderError{RecordHeader: [5]byte{1}}, "the server does not speak TLS on this port"},
		{&url.Error{Op: "Get", URL: "https://u:p@h/?k=s3cret", Err: errors.New("odd")}, "odd"},
		{errors.New(`odd "https://u:s3cret@h/x?k=s3cret" and ?key=s3cret`), `odd "(URL)" and (URL)`},
		{dial(errors.New("odd")), "odd"},
		{errors.New(strings.Repeat("ü", 200)), strings.Repeat("ü", 100) + "…"},
	} {
		if got := Reason(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
