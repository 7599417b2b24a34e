package app

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowbell/rowbell/cdc"
)

// Message says an error as one message for people: what could not be done, why, and
// the mend where one is known. Joined errors become a list. It holds no password.
func Message(err error) string {
	var list []string
	flatten(err, &list)
	if len(list) == 1 {
		return list[0]
	}
	return "several things are wrong:\n  - " + strings.Join(list, "\n  - ")
}

// Explain says one error as Message does, but with the mend apart where that isn't part of
// the text. Of several errors it is Message.
func Explain(err error) (text, mend string) {
	if _, several := err.(interface{ Unwrap() []error }); several {
		return Message(err), ""
	}
	return explain(err)
}

func flatten(err error, list *[]string) {
	// Only errors.Join makes a list of equals; fmt.Errorf with several %w is one sentence.
	if fmt.Sprintf("%T", err) == "*errors.joinError" {
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			flatten(e, list)
		}
		return
	}
	text, mend := explain(err)
	if mend != "" {
		text += ". " + mend
	}
	*list = append(*list, text)
}

// explain returns what an error says to people, without passwords, and the mend where
// it isn't part of the text already.
func explain(err error) (text, mend string) {
	text = err.Error()
	var connect *pgconn.ConnectError
	var pg *pgconn.PgError
	var busy *cdc.BusyError
	var has interface {
		error
		Mend() string
	}
	switch {
	case errors.As(err, &connect):
		// What was attempted stays; pgconn's own account of it gives way to ours.
		before, _, _ := strings.Cut(text, connect.Error())
		text, mend = connectReason(connect)
		text = before + text
	case errors.As(err, &has):
		mend = has.Mend()
	case errors.As(err, &busy) && busy.Ours:
		mend = "Stop the workers of this instance first, then try again"
	case errors.As(err, &pg):
		text = strings.Replace(text, pg.Error(), pg.Message+" (SQLSTATE "+pg.Code+")", 1)
		if (pg.Code == "42P01" || pg.Code == "3F000" || pg.Code == "42883") && strings.Contains(pg.Message, "rowbell.") && !strings.Contains(text, "rowbell migrate") {
			mend = "Make the tables: rowbell migrate"
		}
	}
	return Redact(text), mend
}

// connectReason says why a connection could not be made, and what to do about it.
func connectReason(err *pgconn.ConnectError) (what, mend string) {
	at, user, database := "the server", "", ""
	if c := err.Config; c != nil {
		user, database = c.User, cmp.Or(c.Database, c.User)
		at = net.JoinHostPort(c.Host, fmt.Sprint(c.Port))
		if strings.HasPrefix(c.Host, "/") {
			at = fmt.Sprintf("socket %s, port %d", c.Host, c.Port)
		}
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		what = fmt.Sprintf("%s refused the connection: %s (SQLSTATE %s)", at, pg.Message, pg.Code)
		switch pg.Code {
		case "28P01":
			return what, "Check user and password in the URL; percent-encode odd characters in the password"
		case "28000":
			if strings.Contains(pg.Message, "pg_hba.conf") {
				return what, fmt.Sprintf("Let pg_hba.conf have a line for it, as: host %s %s ADDRESS scram-sha-256. If it has one for TLS only, add sslmode=require to the URL", database, user)
			}
			return what, fmt.Sprintf("Check the user in the URL, or make it: CREATE ROLE %s LOGIN REPLICATION PASSWORD '…';", quoteName(user))
		case "3D000":
			return what, "Check the database's name in the URL, or make it: createdb " + database
		case "53300":
			return what, "Raise max_connections, or end sessions that are not needed"
		case "57P03":
			return what, "Wait until the server is up"
		case "42501":
			return what, fmt.Sprintf("Grant it: GRANT CONNECT ON DATABASE %s TO %s", quoteName(database), quoteName(user))
		}
		return what, "See the server's log for more"
	}
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var netErr net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return "nothing answers at " + at, "Check host and port in the URL, and that the server runs and listens there (listen_addresses)"
	case errors.As(err, &dns):
		return fmt.Sprintf("the host %s is not known", dns.Name), "Check the host in the URL"
	case errors.As(err, &authority):
		return at + " shows a certificate of an unknown authority", "Give the authority's certificate: sslrootcert=/path/ca.pem in the URL"
	case errors.As(err, &hostname):
		return at + " shows a certificate for another host", "Use the name that stands in the certificate"
	case strings.Contains(err.Error(), "server refused TLS"):
		return at + " doesn't speak TLS", "Take sslmode=require out of the URL, or turn ssl on at the server"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "no answer from " + at + " in time", "Check host and port, and that no firewall is between"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return at + " closed the connection while it was being made", "Check that this is a PostgreSQL server's port, and that the server isn't stopping"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to " + at, "Check the host and the network"
	}
	return "can't connect to " + at + ": " + lastCause(err), "Check the URL"
}

// lastCause is the innermost error's text, without the layers that name Go's calls.
func lastCause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if several, ok := err.(interface{ Unwrap() []error }); ok {
			// Tried in several ways, as with and without TLS: the last one counts.
			if all := several.Unwrap(); len(all) > 0 {
				inner = all[len(all)-1]
			}
		}
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// quoteName writes an SQL identifier, quoted only where it must be.
func quoteName(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
