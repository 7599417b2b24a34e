// Package mailtest is a mail server that takes mails and shows them, or does what else it
// is told: for tests, and for whoever wants to see what would be sent.
package mailtest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// maxMail bounds a mail, in bytes.
const maxMail = 16 << 20

// Config says what kind of server it is. The zero value takes mails from everybody,
// without TLS.
type Config struct {
	Addr string // to listen on. Defaults to a free port of 127.0.0.1
	// TLS has the certificate; nil: there is no TLS.
	TLS      *tls.Config
	Implicit bool // TLS from the start, and not by STARTTLS
	UTF8     bool // has SMTPUTF8
	// Password returns a user's, and whether there is one. Nil: nobody authenticates.
	Password func(user string) (string, bool)
	// Mechanisms are how one can authenticate, by name. Defaults to PLAIN and LOGIN, by
	// Password.
	Mechanisms map[string]func() sasl.Server
	// Keep is how many mails are kept; older ones are forgotten. Defaults to 10,000.
	Keep int
}

// Step is where a server can be told to do something else.
type Step string

// The steps of a mail.
const (
	Connect Step = "connect" // before EHLO is answered
	From    Step = "from"
	To      Step = "to"
	Data    Step = "data" // before the mail is read, after its sender was told to go on
	End     Step = "end"  // after it was read; it counts as taken unless there is an error
)

// ErrDrop makes the server close the connection without a word. At End the mail has been
// taken then.
var ErrDrop = errors.New("drop the connection")

// Refuse is an answer other than success.
func Refuse(code int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 0, 0}, Message: text}
}

// Mail is one that was taken.
type Mail struct {
	From, To string // of the envelope
	UTF8     bool   // sent with SMTPUTF8
	TLS      bool
	User     string // who authenticated; "" nobody
	Raw      []byte
}

// Server is a running server. Close it.
type Server struct {
	Addr string // host:port

	config Config
	server *smtp.Server
	listen net.Listener
	done   chan struct{}

	mu          sync.Mutex
	mails       []Mail
	connections int
	do          func(at Step, value string) error
	arrived     chan struct{} // closed and made anew at each mail
}

// Listen starts a server.
func Listen(c Config) (*Server, error) {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.Keep == 0 {
		c.Keep = 10_000
	}
	l, err := net.Listen("tcp", c.Addr) //nolint:noctx // it is over at once
	if err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	s := &Server{Addr: l.Addr().String(), config: c, done: make(chan struct{}), arrived: make(chan struct{})}
	s.server = smtp.NewServer(smtp.BackendFunc(func(conn *smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		s.connections++
		s.mu.Unlock()
		if err := s.told(conn, Connect, ""); err != nil {
			return nil, err
		}
		return &session{server: s, conn: conn}, nil
	}))
	s.server.Domain = "mailtest.example"
	s.server.AllowInsecureAuth = true
	s.server.EnableSMTPUTF8 = c.UTF8
	s.server.MaxMessageBytes = maxMail
	s.server.ReadTimeout, s.server.WriteTimeout = time.Minute, time.Minute
	s.server.ErrorLog = quiet{}
	if c.TLS != nil && c.Implicit {
		l = tls.NewListener(l, c.TLS)
	} else {
		s.server.TLSConfig = c.TLS
	}
	s.listen = l
	go func() {
		defer close(s.done)
		_ = s.server.Serve(l) // it ends by Close
	}()
	return s, nil
}

// Close ends it, and the connections that it has.
func (s *Server) Close() {
	_ = s.listen.Close() // the server may not have got so far as to know it
	_ = s.server.Close() // what was open is closed
	<-s.done
}

// Do makes the server ask what to do at each step; value is the address, or the mail.
// What it returns goes to the client: Refuse(…), ErrDrop, or nil to go on. Nil takes what
// comes.
func (s *Server) Do(f func(at Step, value string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do = f
}

// Mails are those that were taken, the oldest first.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.mails...)
}

// Arrived is closed when the next mail has been taken.
func (s *Server) Arrived() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrived
}

// Connections is how many sessions there were: one that begins TLS by STARTTLS is two.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// asked is what to do.
func (s *Server) asked(at Step, value string) error {
	s.mu.Lock()
	do := s.do
	s.mu.Unlock()
	if do == nil {
		return nil
	}
	return do(at, value)
}

// told does what is to be done.
func (s *Server) told(c *smtp.Conn, at Step, value string) error {
	err := s.asked(at, value)
	if errors.Is(err, ErrDrop) {
		drop(c)
	}
	return err
}

func drop(c *smtp.Conn) {
	if tcp, ok := c.Conn().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset
	}
	_ = c.Conn().Close() // it is to be gone
}

// session is one of a client's.
type session struct {
	server *Server
	conn   *smtp.Conn
	mail   Mail
	user   string
}

func (s *session) Reset()        { s.mail = Mail{} }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, o *smtp.MailOptions) error {
	if s.server.config.Password != nil && s.user == "" {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	}
	s.mail = Mail{From: from, UTF8: o != nil && o.UTF8, User: s.user}
	_, s.mail.TLS = s.conn.TLSConnectionState()
	return s.server.told(s.conn, From, from)
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.To = to
	return s.server.told(s.conn, To, to)
}

func (s *session) Data(r io.Reader) error {
	if err := s.server.told(s.conn, Data, ""); err != nil {
		return err
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m := s.mail
	m.Raw = raw
	err = s.server.asked(End, string(raw))
	if err != nil && !errors.Is(err, ErrDrop) {
		return err
	}
	s.server.take(m)
	if err != nil {
		drop(s.conn)
	}
	return err
}

// take keeps a mail.
func (s *Server) take(m Mail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mails = append(s.mails, m); len(s.mails) > s.config.Keep {
		s.mails = append([]Mail(nil), s.mails[len(s.mails)-s.config.Keep/2:]...)
	}
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// AuthMechanisms implements smtp.AuthSession.
func (s *session) AuthMechanisms() []string {
	if s.server.config.Password == nil {
		return nil
	}
	var names []string
	for name := range s.mechanisms() {
		names = append(names, name)
	}
	return names
}

// Auth implements smtp.AuthSession.
func (s *session) Auth(name string) (sasl.Server, error) {
	mechanism, ok := s.mechanisms()[name]
	if !ok || s.server.config.Password == nil {
		return nil, smtp.ErrAuthUnknownMechanism
	}
	return &noting{Server: mechanism(), done: func() {
		if s.user == "" {
			s.user = name
		}
	}}, nil
}

func (s *session) mechanisms() map[string]func() sasl.Server {
	if m := s.server.config.Mechanisms; m != nil {
		return m
	}
	check := func(user, password string) error {
		if want, ok := s.server.config.Password(user); !ok || want != password {
			return smtp.ErrAuthFailed
		}
		s.user = user
		return nil
	}
	return map[string]func() sasl.Server{
		sasl.Plain: func() sasl.Server {
			return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) })
		},
		sasl.Login: func() sasl.Server { return &login{check: check} },
	}
}

// noting notes that somebody has authenticated.
type noting struct {
	sasl.Server
	done func()
}

// Next implements sasl.Server.
func (n *noting) Next(response []byte) ([]byte, bool, error) {
	challenge, done, err := n.Server.Next(response)
	if done && err == nil {
		n.done()
	}
	return challenge, done, err
}

// login is the mechanism LOGIN: two questions.
type login struct {
	check func(user, password string) error
	asked int
	user  string
}

// Next implements sasl.Server.
func (l *login) Next(response []byte) ([]byte, bool, error) {
	if l.asked == 0 && response != nil {
		l.asked = 1 // it began with the user
	}
	l.asked++
	switch l.asked {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// Read is a mail taken apart, by the standard library's readers.
type Read struct {
	Header     mail.Header
	Subject    string // decoded
	Text, HTML string
}

// Read takes a mail with a text and an HTML part apart.
func (m *Mail) Read() (*Read, error) {
	msg, err := mail.ReadMessage(bytes.NewReader(m.Raw))
	if err != nil {
		return nil, err
	}
	r := &Read{Header: msg.Header}
	if r.Subject, err = new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject")); err != nil {
		return nil, err
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	if kind != "multipart/alternative" {
		return nil, fmt.Errorf("it is %s", kind)
	}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return nil, err
		}
		if p.Header.Get("Content-Transfer-Encoding") != "quoted-printable" {
			return nil, fmt.Errorf("a part is in %s", p.Header.Get("Content-Transfer-Encoding"))
		}
		text, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			return nil, err
		}
		switch s := strings.ReplaceAll(string(text), "\r\n", "\n"); p.Header.Get("Content-Type") {
		case "text/plain; charset=utf-8":
			r.Text = s
		case "text/html; charset=utf-8":
			r.HTML = s
		default:
			return nil, fmt.Errorf("a part is %s", p.Header.Get("Content-Type"))
		}
	}
}
