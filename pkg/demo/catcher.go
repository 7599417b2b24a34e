package demo

import (
	"context"
	"encoding/base64"
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

	"github.com/emersion/go-smtp"
)

// catcher is a mail server that keeps what it gets and passes nothing on. It knows
// nothing of Rowbell.
type catcher struct {
	server   *smtp.Server
	listener net.Listener
	served   chan struct{} // closed when the server has ended

	mu    sync.Mutex
	mails []caught
	total int
}

// caught is a mail, as far as it is shown.
type caught struct {
	From, To, Subject, MessageID string
	Unsubscribe                  string // header List-Unsubscribe
	Text                         string // its part of plain text
}

// mostMails is how many are kept, and mostMailBytes how big one may be.
const (
	mostMails     = 1000
	mostMailBytes = 4 << 20
)

// startCatcher listens on a free port of this machine. It must be closed.
func startCatcher(ctx context.Context) (*catcher, error) {
	c := &catcher{served: make(chan struct{})}
	var err error
	if c.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start the mail catcher: %w", err)
	}
	c.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{catcher: c}, nil }))
	c.server.Domain, c.server.MaxMessageBytes, c.server.MaxRecipients = "catcher.example", mostMailBytes, 100
	c.server.ReadTimeout, c.server.WriteTimeout = time.Minute, time.Minute
	c.server.ErrorLog = quiet{}
	go func() {
		defer close(c.served)
		_ = c.server.Serve(c.listener) // smtp.ErrServerClosed
	}()
	return c, nil
}

// quiet keeps what clients do out of the picture.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// close stops it at once.
func (c *catcher) close() error {
	err := c.server.Close()
	<-c.served
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, smtp.ErrServerClosed) {
		return fmt.Errorf("stop the mail catcher: %w", err)
	}
	return nil
}

// url is where it takes mails.
func (c *catcher) url() string { return "smtp://" + c.listener.Addr().String() + "?tls=none" }

// all are the mails that it has, oldest first, and how many came at all.
func (c *catcher) all() ([]caught, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]caught(nil), c.mails...), c.total
}

// session is one client's.
type session struct {
	catcher  *catcher
	from, to string
}

func (s *session) Reset()        { s.from, s.to = "", "" }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return nil
}

func (s *session) Data(r io.Reader) error {
	m, err := readMail(r)
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "this is no mail: " + err.Error()}
	}
	m.To = s.to
	c := s.catcher
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total++
	if c.mails = append(c.mails, m); len(c.mails) > mostMails {
		c.mails = c.mails[1:]
	}
	return nil
}

// readMail reads what is shown of a mail.
func readMail(r io.Reader) (caught, error) {
	var m caught
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return m, err
	}
	words := new(mime.WordDecoder)
	for name, to := range map[string]*string{"From": &m.From, "Subject": &m.Subject, "Message-Id": &m.MessageID, "List-Unsubscribe": &m.Unsubscribe} {
		if *to, err = words.DecodeHeader(msg.Header.Get(name)); err != nil {
			return m, err
		}
	}
	m.Text, err = plainText(msg.Header.Get("Content-Type"), msg.Header.Get("Content-Transfer-Encoding"), msg.Body)
	return m, err
}

// plainText is the part of a message, or of a part of it, that is plain text; "" if there
// is none.
func plainText(contentType, encoding string, body io.Reader) (string, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "", err
	}
	switch {
	case kind == "text/plain":
		switch strings.ToLower(encoding) {
		case "quoted-printable":
			body = quotedprintable.NewReader(body)
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, body)
		}
		text, err := io.ReadAll(body)
		return string(text), err
	case strings.HasPrefix(kind, "multipart/"):
		parts := multipart.NewReader(body, params["boundary"])
		for {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return "", nil
			}
			if err != nil {
				return "", err
			}
			text, err := plainText(part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding"), part)
			if text != "" || err != nil {
				return text, err
			}
		}
	}
	return "", nil
}
