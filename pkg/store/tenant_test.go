package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// onePool is a pool of one connection, as whoever owns the URL.
func onePool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// untouched fails if something of a tenant has stayed with the pool's only connection.
func untouched(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	var got string
	err := pool.QueryRow(t.Context(), `select concat_ws('|', current_user = session_user, current_setting('rowbell.tenant', true), current_setting('rowbell.actor', true), pg_current_xact_id_if_assigned())`).Scan(&got)
	if err != nil || got != "t||" && got != "t" {
		t.Errorf("the connection was left with %s, %v", got, err)
	}
}

// event is the id of a tenant's nth event in what fillTenants has made, execution its
// execution's.
func eventOf(tenant string, n int) string {
	return fmt.Sprintf("%s%0*d", tenant, 26-len(tenant), n)
}

func executionOf(tenant string, n int) string {
	return fmt.Sprintf("%s-%d", eventOf(tenant, n), firstVersion+slices.Index(owners, tenant))
}

// Every method that the API calls for a tenant works on what is the tenant's, and finds
// nothing of others.
func TestStateAsTenant(t *testing.T) {
	t.Parallel()
	db := tenants(t)
	pool := onePool(t, db.URL)
	ctx := t.Context()
	acme := store.OpenState(pool).As(store.Tenant{ID: "acme", Actor: "key:1"})
	delivery := func(tenant string, n int) string { return executionOf(tenant, n) + "_0_ann" }
	of := func(int16) store.PutBack { return store.PutBack{Lane: firstVersion, Addressed: true} }
	since := time.Now().AddDate(-2, 0, 0)
	filter := store.ReplayFilter{Statuses: []workflow.ExecutionStatus{workflow.Failure}, Since: since, Until: time.Now().Add(time.Hour), Limit: 100}

	dead, err := acme.Deliveries(ctx, store.DeliveryFilter{Statuses: []store.DeliveryStatus{store.DeliveryDead, store.DeliveryRetrying, store.DeliveryPending, store.DeliverySucceeded}})
	if err != nil || len(dead) != 7 {
		t.Errorf("%d deliveries, %v; want 7", len(dead), err)
	}
	for _, d := range dead {
		if d.TenantID != "acme" || d.Table != "orders" || d.RowKey != "42" {
			t.Errorf("a delivery of %+v", d)
		}
	}
	if d, err := acme.Delivery(ctx, delivery("acme", 1)); err != nil || len(d.Data) == 0 || len(d.Tries) != 1 {
		t.Errorf("delivery: %+v, %v", d, err)
	}
	if _, err := acme.Delivery(ctx, delivery("globex", 1)); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("another's delivery: %v", err)
	}
	if parts, err := acme.CountReplay(ctx, filter); err != nil || len(parts) != 1 || parts[0].WorkflowID != "wf-acme" || parts[0].Count != 3 {
		t.Errorf("count of a replay: %+v, %v", parts, err)
	}
	if items, err := acme.ReplayItems(ctx, filter); err != nil || len(items) != 3 {
		t.Errorf("%d items of a replay, %v", len(items), err)
	}
	r, err := acme.StartReplay(ctx, filter, false, 1, "key:1")
	if err != nil || r.Total != 3 || r.Filter.TenantID == nil || *r.Filter.TenantID != "acme" {
		t.Errorf("a replay: %+v, %v", r, err)
	}
	if list, err := acme.Replays(ctx, 10); err != nil || len(list) != 2 {
		t.Errorf("%d replays, %v", len(list), err)
	}
	if r, err = acme.CancelReplay(ctx, r.ID); err != nil || r.Status != store.ReplayCancelled {
		t.Errorf("cancel: %+v, %v", r, err)
	}
	others := pgtest.One[int32](t, db, `select id from rowbell.replay where created_by = 'globex'`)
	if _, err := acme.Replay(ctx, others); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("another's replay: %v", err)
	}
	if _, err := acme.CancelReplay(ctx, others); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("another's replay is cancelled: %v", err)
	}
	filter.Workflows = []string{"wf-globex"}
	if _, err := acme.StartReplay(ctx, filter, false, 1, "key:1"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("a replay of another's workflow: %v", err)
	}

	// One of an execution with one delivery, and one of several.
	for _, n := range []int{1, 2} {
		if back, err := acme.RetryDelivery(ctx, delivery("acme", n), of); err != nil || len(back) != 1 {
			t.Errorf("retry %d: %v, %v", n, back, err)
		}
		if _, err := acme.RetryDelivery(ctx, delivery("globex", n), of); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("retry another's %d: %v", n, err)
		}
	}
	if list, err := acme.Storms(ctx, false, 10); err != nil || len(list) != 1 || list[0].WorkflowID != "wf-acme" {
		t.Errorf("storms: %+v, %v", list, err)
	}
	if list, err := acme.DecideStorm(ctx, "wf-acme", workflow.BigReleased, "key:1"); err != nil || len(list) != 1 {
		t.Errorf("release a storm: %+v, %v", list, err)
	}
	if _, err := acme.DecideStorm(ctx, "wf-globex", workflow.BigReleased, "key:1"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("release another's storm: %v", err)
	}
	if list, err := acme.Destinations(ctx, store.DestinationFilter{}); err != nil || len(list) != 1 || list[0].Lane != firstVersion {
		t.Errorf("destinations: %+v, %v", list, err)
	}
	for _, call := range []func(lane int64) error{
		func(lane int64) error { _, err := acme.Destination(ctx, lane); return err },
		func(lane int64) error { return acme.DisableDestination(ctx, lane, "key:1", "test") },
		func(lane int64) error { return acme.EnableDestination(ctx, lane) },
	} {
		if err := call(firstVersion); err != nil {
			t.Errorf("a destination: %v", err)
		}
		if err := call(firstVersion + 1); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("another's destination: %v", err)
		}
	}
	if n, err := acme.WaitingFor(ctx, 0); err != nil || n != 3 {
		t.Errorf("%d deliveries wait, %v", n, err)
	}
	for tenant, want := range map[string]int{"acme": 1, "globex": 0, "": 0} {
		if list, err := acme.Inbox(ctx, store.InboxQuery{RecipientID: "ann", TenantID: &tenant, Limit: 10}); err != nil || len(list) != want {
			t.Errorf("inbox of %q: %+v, %v", tenant, list, err)
		}
		if c, err := acme.CountInbox(ctx, "ann", &tenant); err != nil || c.Unread != want {
			t.Errorf("inbox of %q: %+v, %v", tenant, c, err)
		}
		who, no := workflow.PersonKey{TenantID: tenant, ID: "ann"}, false
		marked, err := acme.MarkInbox(ctx, "ann", &tenant, nil, store.MarkSeen)
		if want == 0 && !denied(err) || want == 1 && (err != nil || marked != 1) {
			t.Errorf("mark of %q: %d, %v", tenant, marked, err)
		}
		if err := acme.SetPreference(ctx, who, workflow.Preference{Channel: "email"}, &no, "key:1"); (want == 1) != (err == nil) || want == 0 && !denied(err) {
			t.Errorf("preference of %q: %v", tenant, err)
		}
		list, err := acme.Preferences(ctx, []workflow.PersonKey{who})
		if err != nil || len(list) != 1 || len(list[0].Wanted) != 2*want || len(list[0].Quiet) != want {
			t.Errorf("preferences of %q: %+v, %v", tenant, list, err)
		}
		cleared, err := acme.ClearQuietHours(ctx, who)
		if want == 1 && (err != nil || cleared != 1) || want == 0 && !denied(err) {
			t.Errorf("quiet hours of %q: %d, %v", tenant, cleared, err)
		}
	}
	if list, err := acme.ListPreferences(ctx, store.PreferenceFilter{Limit: 100}); err != nil || len(list) != 2 {
		t.Errorf("preferences: %+v, %v", list, err)
	}
	if list, err := acme.EventExecutions(ctx, eventOf("acme", 3)); err != nil || len(list) != 1 {
		t.Errorf("executions: %+v, %v", list, err)
	}
	if list, err := acme.EventExecutions(ctx, eventOf("globex", 3)); err != nil || len(list) != 0 {
		t.Errorf("executions of another's event: %+v, %v", list, err)
	}
	if _, err := acme.RecordedEvent(ctx, eventOf("globex", 3)); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("another's event: %v", err)
	}
	if list, err := acme.RowEvents(ctx, "orders", "42", 100); err != nil || len(list) != 6 {
		t.Errorf("%d events of a row, %v", len(list), err)
	}
	if list, err := acme.Feed(ctx, store.FeedCursor{}, 100); err != nil || len(list) != 6 {
		t.Errorf("%d executions in the feed, %v", len(list), err)
	}
	if list, err := acme.DeliveryFeed(ctx, []string{executionOf("acme", 3), executionOf("globex", 3)}); err != nil || len(list) != 1 {
		t.Errorf("%d deliveries in the feed, %v", len(list), err)
	}
	if name, err := acme.WorkflowName(ctx, "wf-globex"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("another's workflow is called %s, %v", name, err)
	}
	if fired, err := acme.HasFired(ctx, "wf-acme", "orders", "42"); err != nil || !fired {
		t.Errorf("has fired: %v, %v", fired, err)
	}
	if fired, err := acme.HasFired(ctx, "wf-globex", "orders", "42"); err != nil || fired {
		t.Errorf("another's has fired: %v, %v", fired, err)
	}
	if current, err := acme.CurrentVersions(ctx, "rowbell", []string{"wf-acme", "wf-globex"}); err != nil || len(current) != 1 {
		t.Errorf("versions: %+v, %v", current, err)
	}
	untouched(t, pool)

	// What works for all tenants is not done for one.
	if _, err := acme.Recorder(ctx, "rowbell", 1); err == nil {
		t.Error("there is a recorder for a tenant")
	}
	if _, err := acme.Queue("p", time.Minute).Take(ctx, delivery("acme", 1)); err == nil {
		t.Error("there is a queue for a tenant")
	}
	if err := acme.MaintainPartitions(ctx, 30, 90); err == nil {
		t.Error("partitions are maintained for a tenant")
	}
	if err := acme.SetTenantWeight(ctx, "acme", 100); !denied(err) {
		t.Errorf("a tenant gives itself weight: %v", err)
	}
}

func TestSourceAsTenant(t *testing.T) {
	t.Parallel()
	db := tenants(t)
	db.Exec(t, `create table orders (id int primary key, tenant_id text, total int); insert into orders values (1, 'acme', 10), (2, 'globex', 20);
		create table plain (id int primary key); insert into plain values (1)`)
	pool := onePool(t, db.URL)
	ctx := t.Context()
	acme := store.OpenSource(pool).As(store.Tenant{ID: "acme", Actor: "key:1"})

	if list, err := acme.Workflows(ctx, store.WorkflowFilter{}); err != nil || len(list) != 1 || list[0].ID != "wf-acme" || list[0].Verdict != workflow.OK {
		t.Errorf("workflows: %+v, %v", list, err)
	}
	if list, err := acme.Definitions(ctx, store.WorkflowFilter{}); err != nil || len(list) != 1 {
		t.Errorf("definitions: %+v, %v", list, err)
	}
	d, err := acme.Definition(ctx, "wf-acme")
	if err != nil {
		t.Fatal(err)
	}
	_, missing := acme.Definition(ctx, "nothing")
	if _, err := acme.Definition(ctx, "wf-globex"); !errors.Is(err, workflow.ErrNotFound) || strings.ReplaceAll(err.Error(), "wf-globex", "nothing") != missing.Error() {
		t.Errorf("another's workflow: %v, and of one that there isn't: %v", err, missing)
	}
	if _, err := acme.History(ctx, "wf-globex", 10); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("another's versions: %v", err)
	}
	edit := store.Edit{WorkflowID: "wf-acme", Action: "workflow.edit", Version: d.Version, Draft: d.DraftText}
	if err := acme.SetDraft(ctx, edit, []byte(`{"actions": [{"action_config": {"password": "p"}}]}`)); err != nil {
		t.Error(err)
	}
	if d, err = acme.Definition(ctx, "wf-acme"); err != nil || strings.Contains(string(d.DraftText), `"p"`) {
		t.Errorf("the draft is %s, %v", d.DraftText, err)
	}
	edit.Draft = d.DraftText
	w, err := workflow.Parse(d.Document)
	if err != nil {
		t.Fatal(err)
	}
	w.Description = "published"
	if edit.Version, err = acme.Publish(ctx, edit, w); err != nil || edit.Version != 2 {
		t.Errorf("version %d, %v", edit.Version, err)
	}
	edit.Draft = nil
	w.Triggers[0].ID = "t-globex"
	if _, err := acme.Publish(ctx, edit, w); !errors.Is(err, workflow.ErrConflict) || !strings.Contains(err.Error(), "leave its id out") {
		t.Errorf("another's part: %v", err)
	}
	if _, err := acme.SetStatus(ctx, edit, workflow.Inactive); err != nil {
		t.Error(err)
	}
	if _, err := acme.SetStatus(ctx, store.Edit{WorkflowID: "wf-globex", Action: "x", Version: 1}, workflow.Inactive); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("another's workflow is turned off: %v", err)
	}
	if got := db.QueryString(t, `select string_agg(distinct concat_ws(' ', tenant_id, actor), ', ') from rowbell.audit_log where actor like 'key:%'`); got != "acme key:1" {
		t.Errorf("the audit log has %s", got)
	}
	if got := db.QueryString(t, `select created_by from rowbell.workflow_version where workflow_id = 'wf-acme' order by version desc limit 1`); got != "key:1" {
		t.Errorf("the version was made by %s", got)
	}

	if _, _, err := acme.SetTemplate(ctx, store.Template{TenantID: "acme", Name: "head", Source: "x"}, ""); err != nil {
		t.Error(err)
	}
	for _, tenant := range []string{"globex", ""} {
		if _, _, err := acme.SetTemplate(ctx, store.Template{TenantID: tenant, Name: "head", Source: "x"}, ""); !errors.Is(err, store.ErrPrivilege) {
			t.Errorf("template of %q: %v", tenant, err)
		}
		if err := acme.DeleteTemplate(ctx, tenant, map[string]string{"globex": "footer", "": "shared"}[tenant], nil, ""); err == nil {
			t.Errorf("a template of %q was deleted", tenant)
		}
	}
	if list, err := acme.Templates(ctx, nil, ""); err != nil || len(list) != 3 { // two, and the operators' one that it may render
		t.Errorf("templates: %+v, %v", list, err)
	}
	if err := acme.DeleteTemplate(ctx, "acme", "head", nil, ""); err != nil {
		t.Error(err)
	}
	if err := acme.Audit(ctx, "", "acme", "x", "workflow", "wf-acme", map[string]any{}); err != nil {
		t.Error(err)
	}
	if err := acme.Audit(ctx, "", "globex", "x", "workflow", "wf-globex", map[string]any{}); !denied(err) {
		t.Errorf("a row in another's audit log: %v", err)
	}
	if _, err := acme.Secret(ctx, "acme", "token-acme"); !denied(err) {
		t.Errorf("the API reads a secret: %v", err)
	}
	if list, err := acme.CapturedTables(ctx); err != nil || len(list) != 1 {
		t.Errorf("tables: %+v, %v", list, err)
	}
	if statuses, err := acme.Statuses(ctx, []string{"wf-acme", "wf-globex"}); err != nil || statuses["wf-globex"] != workflow.Deleted {
		t.Errorf("statuses: %v, %v", statuses, err)
	}
	orders := &workflow.Table{Schema: "public", Name: "orders", Label: "orders", KeyColumns: []string{"id"}, TenantColumn: "tenant_id"}
	if row, err := acme.RowText(ctx, orders, []string{"total"}, []string{"1"}); err != nil || string(row[0]) != "10" {
		t.Errorf("row: %q, %v", row, err)
	}
	if row, err := acme.RowText(ctx, orders, []string{"total"}, []string{"2"}); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("another's row: %q, %v", row, err)
	}
	if row, err := acme.RowText(ctx, &workflow.Table{Schema: "public", Name: "plain", Label: "plain", KeyColumns: []string{"id"}}, []string{"id"}, []string{"1"}); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("a row of nobody's: %q, %v", row, err)
	}
	untouched(t, pool)
}

// Requests of two tenants that share the pool's only connection don't mix.
func TestTenantsOnOneConnection(t *testing.T) {
	t.Parallel()
	db := tenants(t)
	pool := onePool(t, db.URL)
	var g errgroup.Group
	for _, tenant := range []string{"acme", "globex", "", "*", "operators"} {
		source, state := store.OpenSource(pool).As(store.Tenant{ID: tenant, Actor: tenant}), store.OpenState(pool).As(store.Tenant{ID: tenant})
		want := map[string]string{"acme": "wf-acme", "globex": "wf-globex"}[tenant]
		g.Go(func() error {
			for n := range 100 {
				list, err := source.Workflows(t.Context(), store.WorkflowFilter{})
				if err != nil {
					return err
				}
				if len(list) > 1 || len(list) == 1 && list[0].ID != want || len(list) == 0 && want != "" {
					return fmt.Errorf("request %d of %s sees %+v", n, tenant, list)
				}
				dead, err := state.Deliveries(t.Context(), store.DeliveryFilter{})
				if err != nil {
					return err
				}
				if (len(dead) > 0) != (want != "") || slices.ContainsFunc(dead, func(d store.ListedDelivery) bool { return d.TenantID != tenant }) {
					return fmt.Errorf("request %d of %s sees %+v", n, tenant, dead)
				}
				if want == "" {
					continue
				}
				if err := source.Audit(t.Context(), "", tenant, "test", "", tenant, map[string]any{}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error { // a request that may see all, between them
		for range 100 {
			if list, err := store.OpenSource(pool).Workflows(t.Context(), store.WorkflowFilter{}); err != nil || len(list) != 3 {
				return fmt.Errorf("%d workflows, %w", len(list), err)
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if got := db.QueryString(t, `select string_agg(concat_ws(' ', tenant_id, actor, n), ', ' order by tenant_id) from (
		select tenant_id, actor, count(*) as n from rowbell.audit_log where action = 'test' and object_id = tenant_id group by 1, 2) a`); got != "acme acme 100, globex globex 100" {
		t.Errorf("the audit log has %s", got)
	}
	untouched(t, pool)
}

// What a deferred trigger says when the transaction of a single statement ends is its error.
func TestErrorsOfCommit(t *testing.T) {
	t.Parallel()
	db := tenants(t)
	pool := onePool(t, db.URL)
	acme := store.TenantDatabase(pool, store.Tenant{ID: "acme"})
	const insert = `insert into rowbell.workflow_recipient (workflow_id, action_id, recipient_type, recipient_id) values ('wf-acme', $1, 'user', 'x')`
	broken := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "action_id_must_be_an_action_of_the_same_workflow") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := acme.Exec(t.Context(), insert, "nothing")
	broken("Exec", err)
	var id string
	broken("QueryRow", acme.QueryRow(t.Context(), insert+` returning id`, "nothing").Scan(&id))
	rows, err := acme.Query(t.Context(), insert+` returning id`, "nothing")
	if err != nil {
		t.Fatal(err)
	}
	_, err = pgx.CollectRows(rows, pgx.RowTo[string])
	broken("Query", err)
	b := &pgx.Batch{}
	b.Queue(insert, "a-acme")
	b.Queue(insert, "nothing")
	broken("SendBatch", acme.SendBatch(t.Context(), b).Close())
	broken("Begin", pgx.BeginFunc(t.Context(), acme, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), insert, "nothing")
		return err
	}))
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_recipient where recipient_id = 'x'`); n != 0 {
		t.Errorf("%d rows were written", n)
	}
	// An error in the middle, rows that are not read to their end, and none at all.
	if err := acme.QueryRow(t.Context(), `select 1 / (n - 2) from generate_series(1, 3) n`).Scan(new(int)); err == nil || !strings.Contains(err.Error(), "division by zero") {
		t.Errorf("got %v", err)
	}
	if err := acme.QueryRow(t.Context(), `select n from generate_series(1, 100000) n`).Scan(new(int)); err != nil {
		t.Errorf("got %v", err)
	}
	if err := acme.QueryRow(t.Context(), `select 1 where false`).Scan(new(int)); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("got %v", err)
	}
	if _, err := acme.Query(t.Context(), `select nonsense`); err == nil {
		t.Error("nonsense has no error")
	}
	if tag, err := acme.Exec(t.Context(), insert, "a-acme"); err != nil || tag.RowsAffected() != 1 {
		t.Errorf("%v, %v", tag, err)
	}
	untouched(t, pool)
}

// Without the role, or without the right to take it on, the error has the mend.
func TestTenantRoleIsMissing(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, localpg.Options{Template: true})
	db := pgtest.DBOn(t, server)
	role, roleURL := db.Role(t, "bell", "")
	db.Exec(t, fmt.Sprintf(`grant create on database %s to %s`, db.Name, role))
	if err := store.Migrate(t.Context(), roleURL, roleURL); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), roleURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	source, state := store.OpenSource(pool), store.OpenState(pool)
	acme := store.Tenant{ID: "acme"}
	try := func(want string) {
		t.Helper()
		_, one := source.As(acme).Workflows(t.Context(), store.WorkflowFilter{})
		_, two := state.As(acme).Deliveries(t.Context(), store.DeliveryFilter{})
		_, three := state.As(acme).CancelReplay(t.Context(), 1)
		_, four := state.As(acme).Preferences(t.Context(), []workflow.PersonKey{{ID: "ann"}})
		for _, err := range []error{one, two, three, four} {
			if !errors.Is(err, store.ErrPrivilege) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	}
	try(fmt.Sprintf(`run: CREATE ROLE rowbell_api NOLOGIN; GRANT rowbell_api TO "%s"; then: rowbell migrate`, role))
	if r, err := source.TenantRole(t.Context()); err != nil || r != (store.TenantRole{}) {
		t.Errorf("%+v, %v", r, err)
	}
	db.Exec(t, `create role rowbell_api nologin`)
	try(fmt.Sprintf(`run: GRANT rowbell_api TO "%s"`, role))
	if r, err := state.TenantRole(t.Context()); err != nil || r != (store.TenantRole{Exists: true}) {
		t.Errorf("%+v, %v", r, err)
	}
	db.Exec(t, fmt.Sprintf(`grant rowbell_api to %s`, role))
	if err := store.Migrate(t.Context(), roleURL, roleURL); err != nil {
		t.Fatal(err)
	}
	if r, err := source.TenantRole(t.Context()); err != nil || r != (store.TenantRole{Exists: true, Granted: true, Member: true}) {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := source.As(acme).Workflows(t.Context(), store.WorkflowFilter{}); err != nil {
		t.Error(err)
	}
}

// A worker that does not see all tenants takes nothing for deleted.
func TestWhoDoesNotSeeAll(t *testing.T) {
	t.Parallel()
	db := tenants(t)
	role, roleURL := db.Role(t, "worker", "")
	db.Exec(t, fmt.Sprintf(`grant usage on schema rowbell to %[1]s; grant all on all tables in schema rowbell to %[1]s`, role))
	pool, err := pgxpool.New(t.Context(), roleURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	source := store.OpenSource(pool)
	for range 2 {
		if statuses, err := source.Statuses(t.Context(), []string{"wf-acme"}); !errors.Is(err, store.ErrPrivilege) || !strings.Contains(err.Error(), fmt.Sprintf("VALUES ('%s', '*', 'edit')", role)) {
			t.Errorf("statuses: %v, %v", statuses, err)
		}
		if _, err := source.FirstLoad(t.Context()); !errors.Is(err, store.ErrPrivilege) {
			t.Errorf("first load: %v", err)
		}
		db.Exec(t, `insert into rowbell.sql_member (role_name, tenant_id) values ($1, 'globex') on conflict do nothing`, role)
	}
	db.Exec(t, `insert into rowbell.sql_member (role_name, tenant_id) values ($1, '*')`, role)
	if statuses, err := source.Statuses(t.Context(), []string{"wf-acme", "nothing"}); err != nil || statuses["wf-acme"] != workflow.Active || statuses["nothing"] != workflow.Deleted {
		t.Errorf("statuses: %v, %v", statuses, err)
	}
	if f, err := source.FirstLoad(t.Context()); err != nil || len(f.Versions) != 3 {
		t.Errorf("first load: %+v, %v", f.Versions, err)
	}
}
