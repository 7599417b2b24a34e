package store_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestDraftSecrets(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, draft) values ('w', 'acme',
		'{"name": "x", "settings": {"Token": "t1"}, "secret": "t0", "actions": [{"action_type": "webhook", "action_config": {"secret": "whsec_1", "headers": {"token": {"ref": "mine"}, "password": ""}}},
			{"action_type": "log", "only_if": [{"token": "t2"}], "action_config": {"body": {"only_if": [{"password": "t3"}]}, "only_if": [{"condition_config": {"token": "red"}}]}}, null, {"action_config": ["only_if", {"only_if": [{"secret": "t4"}]}]}],
		"triggers": [{"field_conditions": {"token": "a value"}}], "conditions": [{"condition_config": {"password": {"eq": "b"}, "secret": "c"}}]}')`)
	got := pgtest.Query[string](t, db, "select concat_ws('|', plain, tenant_id, workflow_id, coalesce(action_id, '-')) from rowbell.secret order by plain")
	if want := "t0|acme|w|-,t1|acme|w|-,t2|acme|w|-,t3|acme|w|-,t4|acme|w|-,whsec_1|acme|w|-"; strings.Join(got, ",") != want {
		t.Errorf("secrets %q, want %q", got, want)
	}
	draft := db.QueryString(t, "select draft::text from rowbell.workflow_definition")
	for _, gone := range []string{`"t0"`, `"t1"`, `"t2"`, `"t3"`, `"t4"`, "whsec_1"} {
		if strings.Contains(draft, gone) {
			t.Errorf("%s stands in the draft: %s", gone, draft)
		}
	}
	for _, kept := range []string{`"ref": "mine"`, `"token": "a value"`, `"secret": "c"`, `"only_if": [{"condition_config": {"token": "red"}}]`, `"password": ""`, `"name": "x"`} {
		if !strings.Contains(draft, kept) {
			t.Errorf("%s doesn't stand in the draft: %s", kept, draft)
		}
	}
	// Writing it again, or no draft, moves nothing.
	db.Exec(t, `update rowbell.workflow_definition set draft = draft; update rowbell.workflow_definition set draft = null; update rowbell.workflow_definition set name = 'y'`)
	if n := pgtest.One[int64](t, db, "select count(*) from rowbell.secret"); n != 6 {
		t.Errorf("there are %d secrets, want 6", n)
	}
	wantVersions(t, db, "w", "1 draft, 2 draft")
	// So it is with a live action.
	db.Exec(t, `insert into rowbell.workflow_action (id, workflow_id, action_type, action_config) values ('a', 'w', 'log',
		'{"body": {"only_if": [{"password": "p1"}]}, "token": "p2", "only_if": [{"condition_config": {"token": "red"}}]}')`)
	if got := pgtest.Query[string](t, db, "select plain from rowbell.secret where action_id = 'a' order by plain"); !slices.Equal(got, []string{"p1", "p2"}) {
		t.Errorf("secrets of the action are %q", got)
	}
	if got := db.QueryString(t, "select action_config::text from rowbell.workflow_action"); strings.Contains(got, "p1") || !strings.Contains(got, `{"token": "red"}`) {
		t.Errorf("the action has %s", got)
	}
}

// Of two who publish at once by the same state, one is told that somebody else did.
func TestPublishAtOnce(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, `insert into rowbell.workflow_definition (id, status, draft) values ('w', 'active', '{"name": "x"}');
		insert into rowbell.workflow_trigger (id, workflow_id, entity_type, operation) values ('t', 'w', 'orders', 'create');
		insert into rowbell.workflow_action (id, workflow_id, action_type) values ('a', 'w', 'log'), ('b', 'w', 'log');
		insert into rowbell.workflow_recipient (id, workflow_id, action_id, recipient_type, recipient_id) values ('r', 'w', 'a', 'user', 'ann'), ('s', 'w', 'b', 'user', 'ben')`)
	s := store.OpenSource(db.Pool(t))
	d, err := s.Definition(t.Context(), "w")
	if err != nil {
		t.Fatal(err)
	}
	before := versions(t, db, "w")
	a, c := "a", "c"
	next := &workflow.Workflow{
		Name: "next", Status: workflow.Active,
		Triggers:   []workflow.Trigger{{ID: "t", EntityType: "orders", Operation: "update", Priority: 3}, {ID: "u", EntityType: "orders", Operation: "delete", Priority: 3}},
		Conditions: []workflow.Condition{{ID: "k", Type: "expression", Config: json.RawMessage(`{"expression": "true"}`)}},
		Actions:    []workflow.Action{{ID: "a", Type: "log", Order: 2}, {ID: "c", Type: "log"}},
		Recipients: []workflow.Recipient{{ID: "r", ActionID: &c, Type: "user", Value: "cid"}, {ID: "s", ActionID: &a, Type: "role", Value: "x"}},
	}
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = s.Publish(t.Context(), store.Edit{WorkflowID: "w", Actor: "ann", Action: "workflow.activate", Version: d.Version, Draft: d.DraftText}, next)
		})
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		switch {
		case err == nil:
			done++
		case !errors.Is(err, workflow.ErrConflict) || !strings.Contains(err.Error(), "somebody else has changed it"):
			t.Error(err)
		}
	}
	if done != 1 {
		t.Errorf("%d published, want 1", done)
	}
	wantVersions(t, db, "w", before+", 2 active")
	got, _ := json.Marshal(document(t, db, "w"))
	next.ID, next.Settings = "w", json.RawMessage("{}")
	next.Actions = []workflow.Action{next.Actions[1], next.Actions[0]} // by order
	for i := range next.Triggers {
		next.Triggers[i].FieldConditions = json.RawMessage("{}")
	}
	for i := range next.Actions {
		next.Actions[i].Config = json.RawMessage("{}")
	}
	if want, _ := json.Marshal(next); string(got) != string(want) {
		t.Errorf("it is\n%s\nwant\n%s", got, want)
	}
	if n := pgtest.One[int64](t, db, "select count(*) from rowbell.audit_log where actor = 'ann' and object_id = 'w'"); n != 1 {
		t.Errorf("audit_log has %d rows, want 1", n)
	}
	for err, e := range map[error]store.Edit{
		workflow.ErrNotFound: {WorkflowID: "none", Action: "workflow.activate"},
		workflow.ErrConflict: {WorkflowID: "w", Action: "workflow.activate", Version: 2, Draft: json.RawMessage(`{}`)},
	} {
		if _, got := s.SetStatus(t.Context(), e, workflow.Inactive); !errors.Is(got, err) {
			t.Errorf("SetStatus = %v, want %v", got, err)
		}
	}
}

// What an editor says of a version is kept with it, and with no other: by an edit, by SQL, and
// cut where SQL says too much.
func TestComment(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, `insert into rowbell.workflow_definition (id, name, status) values ('w', 'W', 'active'), ('other', 'O', 'active')`)
	s := store.OpenSource(onePool(t, db.URL)) // one connection, which a setting could stay on
	edit := func(version int32, comment string) store.Edit {
		return store.Edit{WorkflowID: "w", Actor: "ann", Action: "workflow.deactivate", Version: version, Comment: comment}
	}
	if _, err := s.SetStatus(t.Context(), edit(1, "Too many\nat once\x00"), workflow.Inactive); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SetStatus(t.Context(), edit(2, ""), workflow.Active); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `begin; select set_config('rowbell.comment', '  by hand ', true); update rowbell.workflow_definition set name = 'X' where id = 'w'; commit`)
	db.Exec(t, `update rowbell.workflow_definition set name = 'Y' where id = 'w'`)
	db.Exec(t, `begin; select set_config('rowbell.comment', repeat('é', 1200), true); update rowbell.workflow_definition set name = 'Z' where id = 'w'; commit`)
	list, err := s.History(t.Context(), "w", 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range list {
		got = append(got, v.Comment)
	}
	want := []string{strings.Repeat("é", 1000), "", "by hand", "", "Too many\nat once\ufffd", ""}
	if !slices.Equal(got, want) {
		t.Errorf("comments %q, want %q", got, want)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_version where workflow_id = 'other' and comment is not null`); n != 0 {
		t.Error("another workflow's version has a comment")
	}
}

// Of definitions those alone are read that are asked for: by what is in their settings, by the
// kind of an action, by their tables, and so many.
func TestDefinitionsOfSome(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values ('a', 'acme', 'A', 'active', '{"storm": 9}'), ('b', 'acme', 'B', 'active', '{"owners": ["user:ann"], "zone": "UTC"}'),
			('c', 'acme', 'C', 'active', '{"zone": "UTC"}'), ('d', 'globex', 'D', 'active', '{"storm": "off"}'), ('e', 'acme', 'E', 'draft', '{"storm": 9}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) select id, 'orders', 'create' from rowbell.workflow_definition;
		insert into rowbell.workflow_action (workflow_id, action_type) select id, 'log' from rowbell.workflow_definition;
		insert into rowbell.workflow_action (workflow_id, action_type, "order") values ('b', 'chat', 2), ('d', 'chat', 2), ('e', 'chat', 2);
		update rowbell.workflow_trigger set entity_type = 'public.invoices' where workflow_id = 'd';
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('a', 'sales.orders', 'create');
		update rowbell.workflow_definition set draft = '{}' where id = 'c'`)
	source := store.OpenSource(onePool(t, db.URL))
	acme := "acme"
	for want, f := range map[string]store.WorkflowFilter{
		"a b c e d": {},
		"a b d":     {Status: workflow.Active, Exceptional: true},
		"a b":       {Status: workflow.Active, Exceptional: true, Limit: 2},
		"a b e":     {Tenant: &acme, Exceptional: true},
		"b d":       {Status: workflow.Active, Kinds: []string{"chat", "webhook"}},
		"b":         {Tenant: &acme, Status: workflow.Active, Kinds: []string{"chat"}},
		"":          {Kinds: []string{"cha"}},
		"c d":       {Tables: []string{"invoices", "order"}},
		"a c":       {Tables: []string{"sales.orders"}, Tenant: &acme},
	} {
		list, err := source.Definitions(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for i := range list {
			ids = append(ids, list[i].ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("with %+v there are %q, want %q", f, got, want)
		}
	}
}
