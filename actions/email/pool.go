package email

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rowbell/rowbell/pkg/egress"
)

// Connections are kept for a moment: a batch's mails come at once, and a handshake with
// TLS and AUTH takes several times as long as a mail.
const (
	keepIdle  = 10 * time.Second // less than the least that servers are known to have
	mostMails = 100              // over one connection; some servers count
	quitWait  = time.Second

	// longestWait is how long an attempt waits for a connection to become free. It keeps a
	// worker, which other kinds could have.
	longestWait = 5 * time.Second
	// authPause is how long nothing is tried after the server refused user and password:
	// servers lock out who goes on.
	authPause = 10 * time.Second
)

// Mailer sends mails through one server. It may be used by several goroutines, and must
// be closed.
type Mailer struct {
	server *Server
	egress *egress.Client
	tls    *tls.Config
	tokens chan struct{}  // one for each connection in use
	sweeps sync.WaitGroup // that run

	mu      sync.Mutex
	closed  bool
	idle    []*connection // the last one used is the last
	sweep   *time.Timer   // nil until there was an idle one
	refused *failure      // how AUTH ended last, if it failed
	until   time.Time     // when it is tried again
}

// NewMailer returns what sends through server, over connections that client makes.
func NewMailer(server *Server, client *egress.Client) *Mailer { return newMailer(server, client, nil) }

// newMailer believes the certificates of roots; nil: the system's.
func newMailer(server *Server, client *egress.Client, roots *x509.CertPool) *Mailer {
	return &Mailer{
		server: server, egress: client, tokens: make(chan struct{}, server.Connections),
		tls: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(16)},
	}
}

// Close ends the idle connections. Those in use end with what they are used for.
func (m *Mailer) Close() {
	m.mu.Lock()
	m.closed = true
	idle := m.idle
	m.idle = nil
	if m.sweep != nil {
		m.sweep.Stop()
	}
	m.mu.Unlock()
	quitAll(idle)
	m.sweeps.Wait()
}

// Connection is how a connection to the server came to be.
type Connection struct {
	Server string // smtp://mail.example.com:587
	TLS    string // TLS 1.3; "" it is in the clear
	Auth   string // PLAIN; "" without authentication
}

// Check does all that comes before a mail. Its errors are for Explain.
func (m *Mailer) Check(ctx context.Context) (Connection, error) {
	ctx, cancel := context.WithTimeout(ctx, m.server.Timeout)
	defer cancel()
	c, err := m.connect(ctx)
	if err != nil {
		return Connection{}, err
	}
	defer c.quit()
	return Connection{Server: m.server.String(), TLS: c.secure, Auth: c.as}, nil
}

// Local says that the server is on this machine.
func (m *Mailer) Local() bool { return loopback(m.server.Host) }

// acquire returns a connection: an idle one if there is any, and fresh says that none is
// wanted. Its errors are *failure. What it returned goes to release.
func (m *Mailer) acquire(ctx context.Context) (*connection, error) {
	select {
	case m.tokens <- struct{}{}:
	default:
		wait := time.NewTimer(longestWait)
		defer wait.Stop()
		select {
		case m.tokens <- struct{}{}:
		case <-wait.C:
			return nil, &failure{step: stepWait, message: fmt.Sprintf("all %d connections are busy", cap(m.tokens)), mend: "connections in ROWBELL_SMTP_URL says how many there may be"}
		case <-ctx.Done():
			return nil, &failure{step: stepWait, message: "the attempt was broken off", err: ctx.Err()}
		}
	}
	if c := m.takeIdle(); c != nil {
		return c, nil
	}
	c, err := m.fresh(ctx)
	if err != nil {
		<-m.tokens
	}
	return c, err
}

// takeIdle returns nil if there is none.
func (m *Mailer) takeIdle() *connection {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.idle)
	if n == 0 {
		return nil
	}
	c := m.idle[n-1]
	m.idle[n-1], m.idle = nil, m.idle[:n-1]
	if time.Since(c.idle) < keepIdle {
		return c
	}
	m.idle = append(m.idle, c) // for the sweep, and those before it
	return nil
}

// fresh connects, unless the server has just refused who we are.
func (m *Mailer) fresh(ctx context.Context) (*connection, error) {
	m.mu.Lock()
	refused, until := m.refused, m.until
	m.mu.Unlock()
	if refused != nil && time.Now().Before(until) {
		return nil, refused
	}
	c, err := m.connect(ctx)
	f, _ := errors.AsType[*failure](err)
	m.mu.Lock()
	if m.refused = nil; f != nil && f.step == stepAuth && f.code >= 500 {
		m.refused, m.until = f, time.Now().Add(authPause)
	}
	m.mu.Unlock()
	return c, err
}

// release takes a connection back. One that is not to be used again is closed.
func (m *Mailer) release(c *connection, good bool) {
	defer func() { <-m.tokens }()
	if !good || c.mails >= mostMails {
		c.drop(good)
		return
	}
	c.idle = time.Now()
	m.mu.Lock()
	if !m.closed {
		m.idle = append(m.idle, c)
		if m.sweep == nil {
			m.sweep = time.AfterFunc(keepIdle, m.closeIdle)
		} else if len(m.idle) == 1 {
			m.sweep.Reset(keepIdle)
		}
		c = nil
	}
	m.mu.Unlock()
	if c != nil {
		c.quit()
	}
}

// closeIdle closes what nobody has used for a while, and comes again for the rest.
func (m *Mailer) closeIdle() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.sweeps.Add(1)
	defer m.sweeps.Done()
	n := 0
	for n < len(m.idle) && time.Since(m.idle[n].idle) >= keepIdle {
		n++
	}
	old := m.idle[:n:n]
	m.idle = append([]*connection(nil), m.idle[n:]...)
	if len(m.idle) > 0 {
		m.sweep.Reset(max(time.Millisecond, keepIdle-time.Since(m.idle[0].idle)))
	}
	m.mu.Unlock()
	quitAll(old)
}

func quitAll(list []*connection) {
	var wg sync.WaitGroup
	for _, c := range list {
		wg.Go(c.quit)
	}
	wg.Wait()
}

// drop closes a connection, and says good-bye first where the server still listens.
func (c *connection) drop(politely bool) {
	if politely {
		c.quit()
		return
	}
	_ = c.conn.Close() // nothing is expected of it any more
}

// quit is polite, and patient for a moment only.
func (c *connection) quit() {
	ctx, cancel := context.WithTimeout(context.Background(), quitWait)
	defer cancel()
	done := c.during(ctx, maxAnswer)
	_ = c.Quit()       // it goes either way
	_ = c.conn.Close() // if Quit didn't
	done()
}
