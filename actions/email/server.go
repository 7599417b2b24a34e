package email

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Server is the operator's mail server, and who writes. ParseServer makes one.
type Server struct {
	Host string
	Port uint16
	// Implicit says that TLS begins with the connection (smtps), and not by STARTTLS.
	Implicit bool
	// TLS says whether STARTTLS must be there.
	TLS TLSPolicy
	// User and Password are "" for a server that wants none.
	User, Password string
	// Auth is the mechanism, in lower case; "auto" for the best that the server has.
	Auth string
	// From is the sender, in the header and in the envelope. Its domain is ASCII.
	From mail.Address
	// Timeout bounds an attempt, from the connection to the server's last word.
	Timeout time.Duration
	// Name is what this process calls itself in EHLO.
	Name string
	// Connections bounds the connections to the server at once.
	Connections int
}

// TLSPolicy says whether the connection must be encrypted before anything is said.
type TLSPolicy string

const (
	TLSRequire       TLSPolicy = "require"
	TLSOpportunistic TLSPolicy = "opportunistic" // if the server has it; its certificate counts then too
	TLSNone          TLSPolicy = "none"
)

// The ranges and defaults of what the URL says.
const (
	defaultTimeout, minTimeout, maxTimeout = 45 * time.Second, time.Second, 55 * time.Second

	defaultConnections, maxConnections = 16, 256
)

// mechanisms are those that auth can name, and the names that servers have for them.
var mechanisms = map[string]string{
	"plain": "PLAIN", "login": "LOGIN", "cram-md5": "CRAM-MD5", "scram-sha-256": "SCRAM-SHA-256", "auto": "",
}

const urlMend = "write smtp://user:password@mail.example.com:587, or smtps:// for TLS from the start; percent-encode odd characters in user and password"

// ParseServer reads the URL of a mail server:
//
//	smtp://user:password@mail.example.com:587?tls=require&auth=plain&timeout=30s
//
// Its parameters are tls, auth, timeout, name, connections and from. from is the sender,
// "Shop <shop@example.com>", if not given the one in the URL, or a user that is an
// address. The error joins all that is wrong: each names the part, what is wrong with it,
// and the mend; never the password. What is wrong with the sender is a *SenderError.
func ParseServer(text, from string) (*Server, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Opaque != "" || u.Scheme != "smtp" && u.Scheme != "smtps" {
		return nil, errors.New("not the URL of a mail server: " + urlMend)
	}
	s := &Server{Host: u.Hostname(), Implicit: u.Scheme == "smtps", Timeout: defaultTimeout, Connections: defaultConnections}
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if s.Host == "" || strings.ContainsFunc(s.Host, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		bad("it names no host: %s", urlMend)
	}
	if (u.Path != "" && u.Path != "/") || u.Fragment != "" {
		bad("there is a path behind the host, which a mail server doesn't have: %s", urlMend)
	}
	s.Port = 587
	if s.Implicit {
		s.Port = 465
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			bad("%q is not a port: use 1 to 65535, most often 587, or 465 for smtps", p)
		}
		s.Port = uint16(n)
	}
	if u.User != nil {
		s.User = u.User.Username()
		s.Password, _ = u.User.Password()
		if s.User == "" || s.Password == "" {
			bad("it has a user without a password, or the other way round: %s", urlMend)
		}
		if strings.ContainsAny(s.User+s.Password, "\x00\r\n") {
			bad("user or password hold a line break or a NUL, which can't be sent: %s", urlMend)
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		bad("what stands behind the ? can't be read: write ?tls=require&timeout=30s, and percent-encode odd characters")
	}
	get := func(key string) string {
		if len(query[key]) > 1 {
			bad("%s is there %d times: leave one", key, len(query[key]))
		}
		return query.Get(key)
	}
	for key := range query {
		if !slices.Contains([]string{"tls", "auth", "timeout", "name", "connections", "from"}, key) {
			bad("%.40q is no parameter: use tls, auth, timeout, name, connections and from", key)
		}
	}
	switch s.TLS = TLSPolicy(get("tls")); s.TLS {
	case "":
		s.TLS = TLSRequire
		if loopback(s.Host) {
			s.TLS = TLSOpportunistic
		}
	case TLSRequire, TLSOpportunistic, TLSNone:
	default:
		bad("tls is %.40q: use require, opportunistic or none", s.TLS)
	}
	if s.Implicit && s.TLS == TLSNone {
		bad("smtps is TLS from the start, and tls is none: write smtp://, or leave tls out")
	}
	if s.Auth = strings.ToLower(get("auth")); s.Auth == "" {
		s.Auth = "auto"
	} else if _, ok := mechanisms[s.Auth]; !ok {
		bad("auth is %.40q: use auto, plain, login, cram-md5 or scram-sha-256", s.Auth)
	} else if s.User == "" {
		bad("auth is %s, and there is no user: %s", s.Auth, urlMend)
	}
	if text := get("timeout"); text != "" {
		if s.Timeout, err = time.ParseDuration(text); err != nil || s.Timeout < minTimeout || s.Timeout > maxTimeout {
			bad("timeout is %.40q: use %s to %s", text, minTimeout, maxTimeout)
		}
	}
	if text := get("connections"); text != "" {
		if s.Connections, err = strconv.Atoi(text); err != nil || s.Connections < 1 || s.Connections > maxConnections {
			bad("connections is %.40q: use 1 to %d", text, maxConnections)
		}
	}
	if s.Name = get("name"); s.Name == "" {
		s.Name = ownName()
	} else if !isDomain(s.Name) {
		bad("name is %.60q, which can't stand in EHLO: write this machine's name, as app1.example.com", s.Name)
	}
	switch inURL := get("from"); {
	case from != "":
	case inURL != "":
		from = inURL
	case strings.Contains(s.User, "@"):
		from = s.User
	}
	if err := s.readFrom(from); err != nil {
		problems = append(problems, &SenderError{err})
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return s, nil
}

// SenderError says what is wrong with the sender.
type SenderError struct{ Err error }

func (e *SenderError) Error() string {
	return "the sender: " + e.Err.Error() + `: write Shop <shop@example.com>`
}

// Unwrap returns Err.
func (e *SenderError) Unwrap() error { return e.Err }

func (s *Server) readFrom(from string) error {
	if from == "" {
		return errors.New("there is none, and mails need one")
	}
	a, err := mail.ParseAddress(from)
	if err != nil {
		return errors.New("it is no address")
	}
	address, err := parseAddress(a.Address)
	if err != nil {
		return err
	}
	if address.utf8 {
		return errors.New("letters that are not ASCII stand before the @, and few servers take such a sender")
	}
	if err := checkName(a.Name); err != nil {
		return fmt.Errorf("the name: %w", err)
	}
	s.From = mail.Address{Name: a.Name, Address: address.text}
	return nil
}

// loopback says that a host is this machine. A name is believed if it is localhost: any
// other may lead elsewhere tomorrow.
func loopback(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// ownName is this machine's, if it is one that mail servers take; RFC 5321 (4.1.4) has an
// address literal for a machine without one.
func ownName() string {
	if name, err := os.Hostname(); err == nil && isDomain(name) {
		return name
	}
	return "[127.0.0.1]"
}

// isDomain says that a text is letters, digits, dots and inner dashes.
func isDomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// Address is host:port.
func (s *Server) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) }

// String says what it reaches, without the password.
func (s *Server) String() string {
	scheme := "smtp"
	if s.Implicit {
		scheme = "smtps"
	}
	return scheme + "://" + s.Address()
}

// GoString is String, so that %#v doesn't show the password either.
func (s *Server) GoString() string { return s.String() }
