package email

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/rowbell/rowbell/pkg/egress"
)

// step is what was being done when something failed.
type step string

const (
	stepWait    step = "wait for a connection"
	stepConnect step = "connect"
	stepGreet   step = "greeting"
	stepTLS     step = "STARTTLS"
	stepAuth    step = "AUTH"
	stepSender  step = "MAIL FROM"
	stepTo      step = "RCPT TO"
	stepData    step = "DATA"
	stepEnd     step = "end of DATA" // whether the server has taken the mail is not known, unless it answered
)

// failure is why a mail was not sent.
type failure struct {
	step    step
	code    int    // of the server's answer; 0: there was none
	answer  string // what it said, without the code; it may be of any length
	message string // what went wrong, where it wasn't the server who said so
	mend    string // what an operator can do; "" if the step says it all
	err     error  // for errors.Is; nil if there is none
}

func (f *failure) Error() string {
	var b strings.Builder
	b.WriteString("the mail server ")
	switch {
	case f.code != 0:
		fmt.Fprintf(&b, "answered %s with %d", f.step, f.code)
		if said := oneLine(printable(f.answer, maxQuote)); said != "" {
			b.WriteString(" " + said)
		}
	default:
		fmt.Fprintf(&b, "(%s): %s", f.step, f.message)
	}
	if f.mend != "" {
		b.WriteString("; " + f.mend)
	}
	return b.String()
}

func (f *failure) Unwrap() error { return f.err }

// How much a server may say until it is hung up on, in bytes: while a connection is made
// (certificates among it), and of one mail.
const (
	maxHello  = 256 << 10
	maxAnswer = 64 << 10
)

var errTalks = errors.New("the answer has no end")

// bounded is a connection that is not read for ever.
type bounded struct {
	net.Conn
	left atomic.Int64 // bytes that may still be read
}

func (b *bounded) Read(p []byte) (int, error) {
	left := b.left.Load()
	if left <= 0 {
		return 0, errTalks
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), left)])
	b.left.Add(-int64(n))
	return n, err
}

// connection is one to the server, greeted, encrypted and authenticated.
type connection struct {
	*smtp.Client
	conn   *bounded
	mails  int       // sent over it
	idle   time.Time // since when
	secure string    // TLS 1.3; "" it is in the clear
	as     string    // the mechanism by which it authenticated; "" none
}

// during bounds what is done next: by ctx, by its deadline, and in what is read. done ends
// that; it must be called.
func (c *connection) during(ctx context.Context, most int64) (done func()) {
	return c.conn.during(ctx, most)
}

func (b *bounded) during(ctx context.Context, most int64) (done func()) {
	b.left.Store(most)
	deadline, _ := ctx.Deadline() // zero: none
	_ = b.SetDeadline(deadline)   // one that fails is closed, and reads say so
	stop := context.AfterFunc(ctx, func() { _ = b.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// connect makes a connection. Its errors are *failure.
func (m *Mailer) connect(ctx context.Context) (*connection, error) {
	s := m.server
	raw, err := m.egress.DialContext(ctx, "tcp", s.Address())
	if err != nil {
		return nil, &failure{step: stepConnect, message: egress.Reason(err), err: err}
	}
	conn := &bounded{Conn: raw}
	defer conn.during(ctx, maxHello)()
	c, err := m.hello(ctx, conn)
	if err != nil {
		_ = conn.Close() // it is of no use
		return nil, err
	}
	return c, nil
}

// hello does all that comes before a mail.
func (m *Mailer) hello(ctx context.Context, conn *bounded) (*connection, error) {
	s := m.server
	config := m.tls.Clone()
	config.ServerName = s.Host
	c := &connection{conn: conn}
	var over net.Conn = conn
	if s.Implicit {
		encrypted := tls.Client(conn, config)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return nil, tlsFailure(ctx, err)
		}
		over = encrypted
	}
	var err error
	if c.Client, err = smtp.NewClient(over, s.Host); err != nil {
		return nil, failed(ctx, stepGreet, err)
	}
	if err := c.Hello(s.Name); err != nil {
		return nil, failed(ctx, stepGreet, err)
	}
	if !s.Implicit && s.TLS != TLSNone {
		offers, _ := c.Extension("STARTTLS")
		switch {
		case offers:
			if err := c.StartTLS(config); err != nil {
				return nil, tlsFailure(ctx, err)
			}
		case s.TLS == TLSRequire:
			return nil, &failure{
				step: stepTLS, message: "it has no TLS",
				mend: "use its port for smtps in ROWBELL_SMTP_URL, or add tls=none if mails and password may go over the network in the clear",
			}
		}
	}
	state, encrypted := c.TLSConnectionState()
	if encrypted {
		c.secure = tls.VersionName(state.Version)
	}
	if s.User == "" {
		return c, nil
	}
	auth, err := m.mechanism(c, &state, encrypted)
	if err != nil {
		return nil, err
	}
	if err := c.Auth(auth); err != nil {
		f := failed(ctx, stepAuth, err)
		f.answer, f.message = m.hide(f.answer), m.hide(f.message)
		f.mend = "see that user, password and auth in ROWBELL_SMTP_URL are right"
		return nil, f
	}
	return c, nil
}

// mechanism chooses how to authenticate. PLAIN and LOGIN show the password to whoever
// reads along, so a connection in the clear has them only where the operator named one
// of them, or said tls=none.
func (m *Mailer) mechanism(c *connection, state *tls.ConnectionState, encrypted bool) (smtp.Auth, error) {
	s := m.server
	_, list := c.Extension("AUTH")
	offered := strings.Fields(strings.ToUpper(list))
	has := func(name string) bool { return slices.Contains(offered, name) }
	const mend = "see auth and tls in ROWBELL_SMTP_URL"
	name := mechanisms[s.Auth]
	inClear := encrypted || s.TLS == TLSNone || loopback(s.Host)
	if s.Auth == "auto" {
		for _, candidate := range []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5"} {
			shows := candidate == "PLAIN" || candidate == "LOGIN"
			if has(candidate) && (!shows || inClear) && (candidate != "SCRAM-SHA-256-PLUS" || encrypted) {
				name = candidate
				break
			}
		}
		if name == "" {
			return nil, &failure{step: stepAuth, message: fmt.Sprintf("it offers no way to authenticate that can be used here (it has: %s)", orNone(offered)), mend: mend}
		}
	} else if !has(name) {
		return nil, &failure{step: stepAuth, message: fmt.Sprintf("it does not offer %s (it has: %s)", name, orNone(offered)), mend: mend}
	}
	if (name == "PLAIN" || name == "LOGIN") && !inClear {
		return nil, &failure{step: stepAuth, message: name + " would send the password in the clear", mend: mend}
	}
	c.as = name
	switch name {
	case "PLAIN":
		return smtp.PlainAuth("", s.User, s.Password, s.Host, true), nil
	case "LOGIN":
		return smtp.LoginAuth(s.User, s.Password, s.Host, true), nil
	case "CRAM-MD5":
		return smtp.CRAMMD5Auth(s.User, s.Password), nil
	case "SCRAM-SHA-256-PLUS":
		return smtp.ScramSHA256PlusAuth(s.User, s.Password, state), nil
	}
	return smtp.ScramSHA256Auth(s.User, s.Password), nil
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return shorten(oneLine(strings.Join(list, ", ")), 100)
}

// hide takes out of what a server says what it was told when it authenticated us.
func (m *Mailer) hide(s string) string {
	for _, secret := range []string{
		m.server.Password,
		base64.StdEncoding.EncodeToString([]byte(m.server.Password)),
		base64.StdEncoding.EncodeToString([]byte("\x00" + m.server.User + "\x00" + m.server.Password)),
	} {
		if len(secret) >= 4 { // below that it is no secret, and would make a riddle of the rest
			s = strings.ReplaceAll(s, secret, "***")
		}
	}
	return s
}

// failed says why a step failed: by the server's answer, or by what became of the
// connection.
func failed(ctx context.Context, at step, err error) *failure {
	f := &failure{step: at, err: err}
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		f.code, f.answer = answer.Code, answer.Msg
		return f
	}
	_, protocol := errors.AsType[textproto.ProtocolError](err)
	switch {
	case errors.Is(err, errTalks):
		f.message = "its answer has no end"
	case ctx.Err() != nil:
		f.message = "no answer yet, and the attempt was broken off"
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			f.message = "no answer in time; timeout in ROWBELL_SMTP_URL says how long to wait"
		}
		f.err = errors.Join(ctx.Err(), err)
	case isTimeout(err):
		f.message = "no answer in time; timeout in ROWBELL_SMTP_URL says how long to wait"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.message = "it closed the connection"
	case protocol:
		f.message = "what it said is not SMTP"
		f.mend = "see that host and port in ROWBELL_SMTP_URL are a mail server's, and smtps:// where TLS begins at once"
	default:
		f.message = egress.Reason(err)
	}
	return f
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// tlsFailure is failed for a handshake.
func tlsFailure(ctx context.Context, err error) *failure {
	f := failed(ctx, stepTLS, err)
	if _, record := errors.AsType[tls.RecordHeaderError](err); record {
		f.mend = "write smtp:// in ROWBELL_SMTP_URL if TLS begins by STARTTLS there, as on port 587"
	} else if _, cert := errors.AsType[*tls.CertificateVerificationError](err); cert {
		f.mend = "give the name that the certificate is for in ROWBELL_SMTP_URL, and have this machine trust who signed it"
	}
	return f
}
