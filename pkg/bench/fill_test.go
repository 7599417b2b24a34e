package bench_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/bench"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// TestFill fills a database, looks at what must hold in every log, and lets a worker go on
// from there.
func TestFill(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	o := bench.FillOptions{URL: db.URL, Workflows: 300, Rows: 6000, Tenants: 10, Tables: 3, Days: 3, Log: io.Discard}
	if err := bench.Fill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for what, sql := range map[string]string{
		"executions":                            `select count(*) < 6000 from rowbell.workflow_log`,
		"executions without an event":           `select count(*) > 0 from rowbell.workflow_log l where not exists (select from rowbell.workflow_event e where e.id = l.trigger_event_id and e.committed_at = l.committed_at)`,
		"events without an execution":           `select count(*) > 0 from rowbell.event e where not exists (select from rowbell.workflow_log l where l.trigger_event_id = e.event_id)`,
		"executions of no known version":        `select count(*) > 0 from rowbell.execution x where not exists (select from rowbell.surrogate v where v.ref = x.version_ref and v.kind = 'workflow')`,
		"executions of another tenant's rows":   `select count(*) > 0 from rowbell.workflow_log l join rowbell.workflow_event e on e.id = l.trigger_event_id where l.tenant_id <> e.tenant_id`,
		"versions that the source has not":      `select count(*) > 0 from rowbell.surrogate s where kind = 'workflow' and not exists (select from rowbell.workflow_version v where v.workflow_id = s.id and v.version = s.version)`,
		"open counts":                           `select count(*) > 0 from rowbell.execution_open o where o.open <> (select count(*) from rowbell.queue q where q.execution_id = o.id)`,
		"nothing pending":                       `select count(*) = 0 from rowbell.queue`,
		"settled and pending at once":           `select count(*) > 0 from rowbell.execution x join rowbell.queue q on q.execution_id = x.id`,
		"days":                                  `select count(distinct committed_at::date) < 3 from rowbell.event`,
		"ids that say another time":             `select count(*) > 0 from rowbell.event where side = 0 and left(event_id, 10) <> left((select max(f.event_id) from rowbell.event f where f.committed_at = event.committed_at), 10)`,
		"triggers that were not switched on":    `select count(*) > 0 from pg_trigger t join pg_class c on c.oid = t.tgrelid where c.relnamespace = 'rowbell'::regnamespace and not t.tgisinternal and (t.tgenabled = 'D' or t.tgname like 'version%' and t.tgenabled <> 'A')`,
		"partitions without their indexes":      `select count(*) > 0 from pg_class p where p.relnamespace = 'rowbell'::regnamespace and p.relname ~ '^execution_[0-9]{8}$' and (select count(*) from pg_index where indrelid = p.oid) <> (select count(*) from pg_index where indrelid = 'rowbell.execution'::regclass)`,
		"hours that were not counted":           `select count(*) < 72 from rowbell.statistic_hour where counted_at is not null`,
		"kinds that are not those of a version": `select count(*) > 0 from rowbell.execution x join rowbell.surrogate s on s.ref = x.version_ref join rowbell.workflow_version v on v.workflow_id = s.id and v.version = s.version where x.kind <> v.document #>> '{actions,0,action_type}'`,
	} {
		if pgtest.One[bool](t, db, sql) {
			t.Errorf("wrong: %s", what)
		}
	}
	if err := bench.Fill(t.Context(), o); err == nil || !strings.Contains(err.Error(), "give an empty one") {
		t.Errorf("filled again: %v", err)
	}

	// A worker goes on: what is inserted now is recorded, and nothing of before twice.
	before := pgtest.One[int64](t, db, `select count(*) from rowbell.event`)
	in, stop := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- bench.Deliver(context.WithoutCancel(t.Context()), db.URL, "live", "http://127.0.0.1:9/", in, io.Discard)
	}()
	target := pgtest.Structs[struct{ Table, Tenant, State string }](t, db, `select t.entity_type as table, d.tenant_id as tenant, t.field_conditions ->> 'status' as state
		from rowbell.workflow_trigger t join rowbell.workflow_definition d on d.id = t.workflow_id where t.operation = 'create' and d.status = 'active' and d.tenant_id is not null limit 1`)[0]
	db.Exec(t, fmt.Sprintf(`insert into %s (id, tenant_id, status, total, email, note) values (999999999, $1, $2, 1, 'ann@example.com', 'a note')`, target.Table), target.Tenant, target.State)
	for deadline := time.Now().Add(time.Minute); ; {
		if pgtest.One[bool](t, db, `select exists (select from rowbell.workflow_event where row_key = '999999999')`) {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("the worker ended: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("the worker has recorded nothing in a minute")
		}
	}
	if err := stop.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if after := pgtest.One[int64](t, db, `select count(*) from rowbell.event`); after != before+1 {
		t.Errorf("there are %d events, were %d", after, before)
	}
}

// TestFillRefuses has what is no empty database.
func TestFillRefuses(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	db.Exec(t, "create table customers (id int)")
	if err := bench.Fill(t.Context(), bench.FillOptions{URL: db.URL, Log: io.Discard}); err == nil || !strings.Contains(err.Error(), "not empty (tables: 1)") {
		t.Errorf("got %v", err)
	}
	if err := bench.Fill(t.Context(), bench.FillOptions{URL: db.URL, Days: 40, Log: io.Discard}); err == nil || !strings.Contains(err.Error(), "30") {
		t.Errorf("got %v", err)
	}
}
