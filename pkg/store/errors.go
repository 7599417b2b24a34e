package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// explained is a PostgreSQL error whose text also has the detail and the hint, which
// pgconn leaves out and which, for errors of our own procedures, say how to mend it.
type explained struct{ err *pgconn.PgError }

func (e explained) Error() string {
	s := fmt.Sprintf("%s (SQLSTATE %s)", e.err.Message, e.err.Code)
	if e.err.Detail != "" {
		s += "; " + e.err.Detail
	}
	if e.err.Hint != "" {
		s += "; " + e.err.Hint
	}
	return s
}

func (e explained) Unwrap() error { return e.err }

// explain adds detail and hint to an error of the server; others stay as they are.
func explain(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Detail != "" || pg.Hint != "") {
		return explained{pg}
	}
	return err
}

// said is an error of package workflow whose text says it all.
type said struct {
	text string
	kind error
}

func (s said) Error() string        { return s.text }
func (s said) Is(target error) bool { return target == s.kind }

func notFound(format string, args ...any) error {
	return said{fmt.Sprintf(format, args...), workflow.ErrNotFound}
}

func conflict(format string, args ...any) error {
	return said{fmt.Sprintf(format, args...), workflow.ErrConflict}
}

func refused(format string, args ...any) error {
	return said{fmt.Sprintf(format, args...), workflow.ErrRefused}
}

// isRefusal tells of an error of the server that it is about what was sent: data exceptions,
// violated constraints, limits such as that of an index entry.
func isRefusal(pg *pgconn.PgError) bool {
	return strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "23") || strings.HasPrefix(pg.Code, "54")
}

// unreachable is an error of a database that could not be reached, or broke off: the text is
// the error's own.
type unreachable struct{ error }

func (u unreachable) Unwrap() error { return u.error }

func (u unreachable) Is(target error) bool { return target == workflow.ErrUnavailable }

// reached tells errors of the way to the database from those that it answered with.
func reached(err error) error {
	var connect *pgconn.ConnectError
	var network net.Error
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		// Connection exceptions, too many connections, shutdown.
		if !strings.HasPrefix(pg.Code, "08") && !strings.HasPrefix(pg.Code, "57P") && pg.Code != "53300" {
			return err
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &connect), errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
	default:
		return err
	}
	return unreachable{err}
}

// IsDatabaseError says that an error is what a database answered, or that it didn't, and no
// word for people.
func IsDatabaseError(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) || errors.Is(err, workflow.ErrUnavailable)
}

// IsTimeout says that a database ended a statement that took too long.
func IsTimeout(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "57014" // query canceled
}

// IsValueError says that a database couldn't take a value: it isn't of the type, is out of
// range, breaks a constraint, is too long, or has characters that a text can't have.
func IsValueError(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && len(pg.Code) == 5 && slices.Contains([]string{"22", "23", "54"}, pg.Code[:2])
}

// IsCollision says that a database ended a transaction because of another one: a deadlock, or
// no order in which both could have been.
func IsCollision(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40P01" || pg.Code == "40001")
}
