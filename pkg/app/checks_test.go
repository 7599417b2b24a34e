package app

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/admin"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

func TestCheckSlot(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	slot := pgtest.Slot(t, db)
	a, err := New(Config{SourceURL: db.URL, Slot: slot, Listen: ListenOff, OpsListen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close() //nolint:errcheck // it never ran
	_, err = a.checkSlot(t.Context())
	var p *admin.Problem
	if !errors.As(err, &p) || p.Warning || p.Mend == "" || !strings.Contains(p.Message, "no slot") {
		t.Errorf("without a slot: %v", err)
	}
	db.Exec(t, "select pg_create_logical_replication_slot($1, 'pgoutput')", slot)
	if said, err := a.checkSlot(t.Context()); err != nil || !strings.Contains(said, "bytes of WAL") {
		t.Errorf("with the slot: %q, %v", said, err)
	}
}
