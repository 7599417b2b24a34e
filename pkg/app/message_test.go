package app

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowbell/rowbell/cdc"
)

func TestMessage(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"plain":                      {errors.New("no such thing"), "no such thing"},
		"one of a join":              {errors.Join(errors.New("a")), "a"},
		"joined in joins":            {errors.Join(errors.New("a"), errors.Join(errors.New("b"), errors.New("c"))), "several things are wrong:\n  - a\n  - b\n  - c"},
		"one sentence of two errors": {fmt.Errorf("stop: %w: %w", errors.New("a"), errors.New("b")), "stop: a: b"},
		"a password":                 {errors.New("reach postgres://u:hunter2@db/shop: gone"), "reach postgres://u:•••@db/shop: gone"},
		"the server's words": {
			fmt.Errorf("count orders: %w", &pgconn.PgError{Severity: "ERROR", Message: "permission denied", Code: "42501"}),
			"count orders: permission denied (SQLSTATE 42501)",
		},
		"no schema": {
			fmt.Errorf("read: %w", &pgconn.PgError{Severity: "ERROR", Message: `relation "rowbell.checkpoint" does not exist`, Code: "42P01"}),
			`read: relation "rowbell.checkpoint" does not exist (SQLSTATE 42P01). Make the tables: rowbell migrate`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Message(c.err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	got := Message(fmt.Errorf("drop the slot: %w", &cdc.BusyError{Slot: "rowbell", PID: 7, ApplicationName: "rowbell/rowbell/x", Ours: true}))
	if !strings.Contains(got, "held by process 7") || !strings.HasSuffix(got, "Stop the workers of this instance first, then try again") {
		t.Errorf("a busy slot: %s", got)
	}
}
