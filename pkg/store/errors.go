package store

import (
	"errors"
	"fmt"

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
