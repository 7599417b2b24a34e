package faulttest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// refuses starts a worker that must end by itself with exit code 1, and one message that
// holds these words.
func (w *world) refuses(t *testing.T, env []string, words ...string) {
	t.Helper()
	k, err := w.start("refused", env...)
	if err != nil {
		t.Fatal(err)
	}
	code, err := k.exitCode(patience)
	if err != nil {
		t.Fatal(err)
	}
	said := k.log.tail(400)
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	last := said[max(0, strings.LastIndex(said, "rowbell: ")):]
	for _, word := range words {
		if !strings.Contains(last, word) {
			t.Errorf("the message lacks %q:\n%s", word, said)
		}
	}
}

func TestRefusesOtherInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, migrated(t), binary(t, ""))
	k, err := w.start("first")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.drain(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	if err := k.stop(patience); err != nil {
		t.Fatal(err)
	}
	w.refuses(t, []string{"ROWBELL_INSTANCE=staging"}, `"rowbell"`, `"staging"`, "ROWBELL_INSTANCE", "rowbell adopt")
	if k, err = w.start("again"); err != nil {
		t.Fatal(err)
	}
	if err := w.drain(t.Context(), patience); err != nil {
		t.Error(err)
	}
	if err := k.stop(patience); err != nil {
		t.Error(err)
	}
}

func TestRefusesWALLevel(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, localpg.Options{Template: true, Settings: map[string]string{"wal_level": "replica"}})
	db := pgtest.DBOn(t, server)
	w := &world{t: t, db: db, binary: binary(t, ""), source: db.URL, state: db.URL, slot: "rowbell"}
	t.Cleanup(w.endAll)
	w.refuses(t, nil, "wal_level", "logical", "restart")
}

// TestBrokenDefinitions: what is wrong with a workflow stands in workflow_health, in
// words that name the place, and the others go on.
func TestBrokenDefinitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, migrated(t), binary(t, ""))
	w.db.Exec(t, "create table bare (note text, tenant_id text)")
	k, err := w.start("worker")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.drain(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id, table, operation, conditions, kind, config, action string
		verdict                                                string
		words                                                  []string
	}{
		{"column", "orders", "create", `{"statsu": "new"}`, "", "", "log", "broken", []string{"statsu", "status"}},
		{"type", "orders", "create", `{"total": {"gt": "many"}}`, "", "", "log", "broken", []string{"total", "many"}},
		{"operator", "orders", "create", `{"total": {"above": 1}}`, "", "", "log", "broken", []string{"above"}},
		{"syntax", "orders", "create", `{}`, "expression", `{"expression": "new.total >"}`, "log", "broken", []string{"condition 1"}},
		{"shape", "orders", "create", `{}`, "expression", `{"expr": "new.total > 1"}`, "log", "broken", []string{"condition 1", "expression"}},
		{"kind", "orders", "create", `{}`, "", "", "pigeon", "broken", []string{"pigeon", "webhook"}},
		{"old", "orders", "update", `{"status": {"changed_to": "paid"}}`, "", "", "log", "broken", []string{"status", "REPLICA IDENTITY FULL"}},
		{"identity", "bare", "update", `{}`, "", "", "log", "broken", []string{"bare", "REPLICA IDENTITY"}},
		{"bare", "bare", "create", `{}`, "", "", "log", "ok", nil},
		{"table", "ordres", "create", `{}`, "", "", "log", "not_captured", []string{"ordres"}},
		{"incomplete", "orders", "create", `{}`, "", "", "", "incomplete", []string{"action"}},
	} {
		w.db.Exec(t, "insert into rowbell.workflow_definition (id, name, status, tenant_id) values ($1, $1, 'draft', 'acme')", c.id)
		w.db.Exec(t, "insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ($1, $2, $3, $4)", c.id, c.table, c.operation, c.conditions)
		if c.kind != "" {
			w.db.Exec(t, "insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values ($1, $2, $3)", c.id, c.kind, c.config)
		}
		if c.action != "" {
			w.db.Exec(t, "insert into rowbell.workflow_action (workflow_id, action_type) values ($1, $2)", c.id, c.action)
		}
		w.db.Exec(t, "update rowbell.workflow_definition set status = 'active' where id = $1", c.id)
		// The catalog's description is judged at once; the stream's comes with a change.
		if c.table == "bare" {
			if err := w.eventually(t.Context(), w.db.URL, patience, "table bare is captured", "select exists (select from rowbell.captured_table where label = 'bare')"); err != nil {
				t.Fatal(err)
			}
			w.db.Exec(t, "insert into bare values ('a', 'acme')")
		}
		if err := w.drain(t.Context(), patience); err != nil {
			t.Fatalf("with %s: %v", c.id, err)
		}
		if err := w.eventually(t.Context(), w.db.URL, patience, fmt.Sprintf("workflow_health calls %s %s", c.id, c.verdict),
			"select exists (select from rowbell.workflow_health where workflow_id = $1 and verdict = $2)", c.id, c.verdict); err != nil {
			t.Errorf("%v\nworkflow_health: %s", err, pgtest.Query[string](t, w.db, "select to_jsonb(h)::text from rowbell.workflow_health h where workflow_id = $1", c.id))
			continue
		}
		message := w.db.QueryString(t, "select message from rowbell.workflow_health where workflow_id = $1", c.id)
		for _, word := range c.words {
			if !strings.Contains(message, word) {
				t.Errorf("%s: the message lacks %q: %s", c.id, word, message)
			}
		}
	}
	w.db.Exec(t, "insert into bare values ('b', 'acme')")
	w.db.Exec(t, "insert into orders (writer, tenant_id, status, total) values (-4, 'acme', 'new', 1)")
	if err := w.drain(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	if ran := pgtest.Query[string](t, w.db, "select distinct workflow_id from rowbell.workflow_log order by 1"); fmt.Sprint(ran) != "[bare marker]" {
		t.Errorf("these workflows ran: %v, want bare and marker", ran)
	}
	w.db.Exec(t, "alter table bare add column more int")
	w.db.Exec(t, "update bare set note = 'c' where note = 'b'") // not in a publication of updates: allowed
	if err := k.stop(patience); err != nil {
		t.Error(err)
	}
}

// TestPublicationDropped drops a publication under a running worker. It must say so, and
// go on by itself once that is mended.
func TestPublicationDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, migrated(t), binary(t, ""))
	k, err := w.start("worker")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.drain(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	runs, err := k.waitFor(msgRuns, 1, patience)
	if err != nil {
		t.Fatal(err)
	}
	w.db.Exec(t, "drop publication rowbell")
	w.db.Exec(t, "insert into orders (writer, tenant_id, status, total) values (-4, 'acme', 'new', 1)")
	if err := poll(patience, func() error {
		h, err := readyz(runs)
		if err == nil && (h.Status == "ok" || !strings.Contains(h.message("stream"), "publication")) {
			err = fmt.Errorf("/readyz does not speak of the publication: %+v", h)
		}
		return err
	}); err != nil {
		t.Fatalf("%v\n%s", err, k.log.tail(20))
	}
	if !k.running() {
		t.Fatalf("the worker ended: %v\n%s", k.err, k.log.tail(20))
	}
	w.mustRun("resync")
	if err := w.drain(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	if err := k.stop(patience); err != nil {
		t.Error(err)
	}
	if n := pgtest.One[int](t, w.db, "select stream from rowbell.checkpoint"); n != 2 {
		t.Errorf("the stream is %d after a resync, want 2", n)
	}
}
