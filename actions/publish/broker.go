package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/template"
)

// Config is what an operator says of the broker.
type Config struct {
	// URL is that of a NATS server, or of several with commas between: nats://, tls://,
	// with user and password or a token where the server asks for them. "" is none.
	URL string
	// Credentials is a file of an account's user, as nsc writes it. Defaults to none.
	Credentials string
	// Prefix is what a tenant's subjects begin with; {tenant} in it stands for the tenant's
	// id, as one token. Defaults to "rowbell.{tenant}".
	Prefix string
	// Name is what the server shows of the connection. Defaults to "rowbell".
	Name string
}

// DefaultPrefix is the default of Config.Prefix.
const DefaultPrefix = "rowbell.{tenant}"

// Check says what is wrong with the configuration. It quotes no URL, which may hold a
// password.
func (c Config) Check() error {
	for one := range strings.SplitSeq(c.URL, ",") {
		if c.URL == "" {
			break
		}
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			return errors.New("not the URL of a NATS server. Write nats://user:password@nats.example.com:4222, or tls:// where the server asks for TLS; several with commas between")
		}
	}
	return nil
}

// CheckPrefix says what is wrong with a prefix.
func CheckPrefix(prefix string) error {
	const mend = "Write it as " + DefaultPrefix
	if strings.Count(prefix, "{tenant}") != 1 {
		return fmt.Errorf("it must have {tenant} in it, once: else tenants publish under each other's subjects. %s", mend)
	}
	if err := checkSubject(strings.Replace(prefix, "{tenant}", "t", 1)); err != nil {
		return fmt.Errorf("%w. %s", err, mend)
	}
	return nil
}

// prefix is what a tenant's subjects begin with, with its dot; operators' are free.
func (c Config) prefix(tenantID string) string {
	if tenantID == "" {
		return ""
	}
	p := c.Prefix
	if p == "" {
		p = DefaultPrefix
	}
	return strings.Replace(p, "{tenant}", template.Token.Escape(tenantID), 1) + "."
}

// Broker is the connection to NATS of a process. It is made when something is first
// published, and made again for ever when it is lost. It may be used by several
// goroutines. Close it.
type Broker struct {
	cfg Config

	mu         sync.Mutex
	conn       *nats.Conn
	stream     jetstream.JetStream
	connecting chan struct{} // closed when an attempt to connect has ended; nil: there is none
	failed     error         // of the last attempt
	closed     bool
}

// NewBroker makes a Broker, and connects to nothing.
func NewBroker(cfg Config) *Broker { return &Broker{cfg: cfg} }

// Close ends the connection.
func (b *Broker) Close() {
	b.mu.Lock()
	b.closed = true
	conn, connecting := b.conn, b.connecting
	b.mu.Unlock()
	if connecting != nil {
		<-connecting // it sees that it is closed, and closes what it has made
	}
	if conn != nil {
		conn.Close()
	}
}

// connectTimeout bounds connecting once, and reconnectWait is between that.
const (
	connectTimeout = 5 * time.Second
	reconnectWait  = time.Second
)

var errNone = errors.New("there is no broker: an operator sets ROWBELL_NATS_URL")

// get returns the connection's JetStream, and connects where there is none yet.
func (b *Broker) get(ctx context.Context) (jetstream.JetStream, error) {
	if b.cfg.URL == "" {
		return nil, errNone
	}
	b.mu.Lock()
	switch {
	case b.closed:
		b.mu.Unlock()
		return nil, errors.New("the process ends")
	case b.stream != nil:
		defer b.mu.Unlock()
		return b.stream, nil
	case b.connecting == nil:
		b.connecting = make(chan struct{})
		go b.connect(b.connecting)
	}
	done := b.connecting
	b.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return nil, fmt.Errorf("not connected to NATS yet: %w", context.Cause(ctx))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stream == nil {
		return nil, fmt.Errorf("connect to NATS: %w", b.failed)
	}
	return b.stream, nil
}

// connect makes the connection, and tells those who wait.
func (b *Broker) connect(done chan struct{}) {
	conn, err := dial(b.cfg)
	var js jetstream.JetStream
	if err == nil {
		js, err = jetstream.New(conn)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	defer close(done)
	b.connecting = nil
	if b.closed && conn != nil {
		conn.Close()
		return
	}
	b.conn, b.stream, b.failed = conn, js, err
}

func dial(cfg Config) (*nats.Conn, error) {
	name := cfg.Name
	if name == "" {
		name = "rowbell"
	}
	options := []nats.Option{
		nats.Name(name), nats.Timeout(connectTimeout), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait),
		nats.ReconnectBufSize(-1), // what is published while it is lost fails, and is tried again from the queue
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2), nats.NoEcho(),
		// Refusals that the server sends apart: an attempt ends without an answer then.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		// Not more than what a refused user would be: nats.go gives up after two.
		nats.IgnoreAuthErrorAbort(),
	}
	if cfg.Credentials != "" {
		if _, err := os.Stat(cfg.Credentials); err != nil {
			var pe *os.PathError
			if errors.As(err, &pe) {
				err = pe.Err
			}
			return nil, fmt.Errorf("ROWBELL_NATS_CREDS: can't read %s: %w", cfg.Credentials, err)
		}
		options = append(options, nats.UserCredentials(cfg.Credentials))
	}
	conn, err := nats.Connect(cfg.URL, options...)
	return conn, cfg.quiet(err)
}

// quiet keeps addresses out of errors that may hold a password with them, and passwords out
// of what a server says, which may repeat all that it was told.
func (c Config) quiet(err error) error {
	if err == nil {
		return nil
	}
	err = withoutAddress(err)
	text := err.Error()
	if shown := c.shown(text); shown != text {
		return hushed{shown, err}
	}
	return err
}

// hushed is an error with another text.
type hushed struct {
	text string
	err  error
}

func (h hushed) Error() string { return h.text }
func (h hushed) Unwrap() error { return h.err }

const (
	maxSaid   = 500 // bytes of a server's words that are kept
	minSecret = 4   // bytes; what is shorter stands in any word
)

// shown is what may be shown of a server's words.
func (c Config) shown(text string) string {
	for _, secret := range c.secrets() {
		text = regexp.MustCompile("(?i)"+regexp.QuoteMeta(secret)).ReplaceAllLiteralString(text, "***")
	}
	return actions.Printable([]byte(text), maxSaid)
}

// secrets are the passwords and tokens of the URLs, in the forms in which they are sent and
// written.
func (c Config) secrets() []string {
	var list []string
	for one := range strings.SplitSeq(c.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.User == nil {
			continue
		}
		_, written, hasPassword := strings.Cut(u.User.String(), ":")
		secret, _ := u.User.Password()
		if !hasPassword { // what stands alone is a token
			secret, written = u.User.Username(), u.User.String()
		}
		quoted, _ := json.Marshal(secret) // never fails
		for _, form := range []string{secret, string(quoted[1 : len(quoted)-1]), written} {
			if len(form) >= minSecret && !slices.Contains(list, form) {
				list = append(list, form)
			}
		}
	}
	slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) }) // one may stand in another
	return list
}

func withoutAddress(err error) error {
	var bad *url.Error
	if errors.As(err, &bad) {
		return bad.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Status is what a look at the broker has found.
type Status struct {
	Server  string // its version
	Streams []string
	Subject string // that tenants' workflows publish under, with wildcards
}

// Look connects, sees that there is JetStream, and finds the streams that take what tenants
// publish. An error says what an operator can mend.
func Look(ctx context.Context, cfg Config) (Status, error) {
	b := NewBroker(cfg)
	defer b.Close()
	s := Status{Subject: strings.Replace(strings.TrimSuffix(cfg.prefix("{tenant}"), "."), template.Token.Escape("{tenant}"), "*", 1) + ".>"}
	js, err := b.get(ctx)
	if err != nil {
		return s, err
	}
	s.Server = cfg.shown(js.Conn().ConnectedServerVersion())
	names := js.StreamNames(ctx, jetstream.WithStreamListSubject(s.Subject))
	for name := range names.Name() {
		s.Streams = append(s.Streams, cfg.shown(name))
	}
	if err := names.Err(); err != nil {
		return s, fmt.Errorf("ask for JetStream's streams: %w", cfg.quiet(err))
	}
	return s, nil
}
