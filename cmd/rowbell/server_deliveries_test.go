package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// heeded is after how long workers know what was paused or disabled.
const heeded = 2 * time.Second

// refusing is a receiver that takes nothing as long as it is told so.
func refusing(t *testing.T) (url string, refuses *atomic.Bool) {
	refuses = &atomic.Bool{}
	refuses.Store(true)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refuses.Load() {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte("no such <hook>"))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, refuses
}

// newOrders are twins whose workflows send to a receiver; of the first workflow three
// deliveries are dead.
func newOrders(t *testing.T) (w *twins, hook string, refuses *atomic.Bool) {
	t.Helper()
	hook, refuses = refusing(t)
	hook += "/hook"
	w = newTwins(t, func(db *pgtest.Database, _ []string) {
		db.Exec(t, `create table orders (id bigint primary key, tenant_id text not null, total numeric, note text); create table stock (sku text primary key, tenant_id text not null)`)
		db.Exec(t, `insert into rowbell.secret (tenant_id, name, plain) values ('acme', 'hook', 'whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE=')`)
		db.Exec(t, `begin;
			insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values
				('large-order', 'acme', 'Large order', 'active', '{}'), ('restocked', 'acme', 'Restocked', 'active', '{"storm": {"transaction": 2}}'), ('other', 'globex', 'Other', 'draft', '{}');
			insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('large-order', 'orders', 'create'), ('restocked', 'stock', 'create'), ('other', 'stock', 'create');
			insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
				('large-order', 'webhook', jsonb_build_object('url', '`+hook+`'::text, 'secret', '{"ref": "hook"}'::jsonb)), ('restocked', 'webhook', jsonb_build_object('url', '`+hook+`'::text)),
				('other', 'webhook', jsonb_build_object('url', '`+hook+`'::text));
			commit`)
	}, "ROWBELL_EGRESS_ALLOW=127.0.0.0/8", "ROWBELL_SECRET_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	w.each(func(db *pgtest.Database) {
		eventually(t, db, "tables to be captured", `select count(*) = 2 from rowbell.applied where kind = 'table'`)
		db.Exec(t, `insert into orders values (41, 'acme', 2000, 'a & b'), (42, 'acme', 1500.50, '<none>'), (43, 'acme', 4000, null)`)
		eventually(t, db, "deliveries to die", `select count(*) = 3 from rowbell.workflow_log where status = 'failure'`)
		eventually(t, db, "the destination to be noted", `select count(*) = 1 from rowbell.destination`)
	})
	return w, hook, refuses
}

func eventually(t *testing.T, db *pgtest.Database, what, sql string) {
	t.Helper()
	pgtest.Eventually(t, pgtest.Patience, what, func() bool { return pgtest.One[bool](t, db, sql) })
}

// with is a command line with what a query finds in place of its ?.
func with(t *testing.T, line, sql string) func(*pgtest.Database) []string {
	return func(db *pgtest.Database) []string {
		words := strings.Fields(line)
		for i := range words {
			if words[i] == "?" {
				words[i] = pgtest.One[string](t, db, sql)
			}
		}
		return words
	}
}

// What became of deliveries, where they go, and how it goes on.
func TestServerDeliveries(t *testing.T) {
	t.Parallel()
	w, hook, refuses := newOrders(t)
	run := func(code int, line string, texts ...string) result {
		t.Helper()
		return w.same(t, code, strings.Fields(line), texts...)
	}
	const second = `select id from rowbell.delivery_done order by id limit 1 offset 1`
	of := func(code int, line, sql string, texts ...string) result {
		t.Helper()
		return w.sameOf(t, code, with(t, line, sql), texts...)
	}
	// What is refused by both, in words of its own by each.
	differ := func(line, direct, served string) {
		t.Helper()
		wants(t, rowbell(t, w.directly, strings.Fields(line)...), 1, direct)
		wants(t, rowbell(t, w.byServer, strings.Fields(line)...), 1, served)
	}

	run(0, "delivery list", "orders 43", "404 Not Found")
	run(0, "delivery list --json", `"row_key": "42"`)
	run(0, "delivery list --output yaml --limit 2 --since 1h --kind webhook --workflow large-order --tenant acme", "row_key: \"42\"")
	run(0, "delivery list --status all --row orders 42 --cause NOTHING", "orders 42")
	run(0, "delivery list --tenant globex", "There are no such deliveries.")
	run(0, "delivery list --status succeeded --json", "[]")
	if r := of(0, "delivery list --before ?", second, "orders 41"); strings.Contains(r.stdout, "orders 42") {
		t.Errorf("behind a delivery comes\n%s", r.stdout)
	}
	wants(t, rowbell(t, w.byServer, "delivery", "list", "--cause", strings.Repeat("x", 300)), 1, "query.cause: expected length <= 200")
	wants(t, rowbell(t, w.byServer, "delivery", "list", "--before", "x"), 1, "there is no delivery x in the queue or in the log. Give the id of a delivery in the list")
	of(0, "delivery show ?", second, "attempt 1, ", `{"new":{"id":42,"tenant_id":"acme","total":1500.50,"note":"<none>"}`, "no such <hook>")
	of(0, "delivery show ? --json", second, `"tries": [`, `"total": 1500.50`)
	run(1, "delivery show 01M8ACT0GY00003H4CB0000000-7_0", "there is no delivery 01M8ACT0GY00003H4CB0000000-7_0 in the queue or in the log")
	differ("delivery show x", `"x" is not the id of a delivery`, "there is no delivery x in the queue or in the log")
	of(1, "delivery cancel ?", second, "in the queue")

	run(0, "view list", "There are no views.")
	run(0, "view save Failed --status failure --within day", "Saved: Failed shows status failure, within day")
	run(0, "view save Failed --status failure --table orders --shared", "Saved: Failed shows status failure, table orders")
	run(2, "view save Failed", "say what it is to show")
	run(2, "view save Failed --status lost", "--status is pending, success, failure, cancelled, not")
	of(0, "view delete ?", `select id from rowbell.saved_view`, "is deleted")
	run(1, "view delete none", "there is no view")
	of(1, "delivery cancel --execution ?", `select min(execution_id) from rowbell.delivery_done`, "has ended")
	run(0, "failure list", "large-order", "Not Found", "3")
	run(0, "failure list --json --workflow large-order --since 1h", `"count": 3`, `"example_error"`)
	run(0, "failure list --tenant globex", "Nothing has failed, but for what is dismissed.")
	run(2, "failure dismiss x", "--note is missing")
	run(1, "failure dismiss x --note y", "no cause of failures has the id x")
	cause := strings.Fields(rowbell(t, w.directly, "failure", "list").stdout)[7]
	run(0, "failure dismiss "+cause+" --note they-move", "Dismissed, until another execution of large-order fails like this")
	run(0, "failure list", "Nothing has failed, but for what is dismissed.")
	run(0, "failure list --dismissed", "they-move", "Not Found")
	run(0, "failure dismiss "+cause+" --note they-have-moved", "Dismissed")
	run(0, "failure list --dismissed --output yaml", "note: they-have-moved")
	run(0, "failure restore "+cause, "is listed again")
	run(1, "failure restore "+cause, "no cause of failures is dismissed under")
	run(0, "failure list --dismissed", "Nothing is dismissed.")

	id := workflow.LaneID(workflow.Lane("acme", hook))
	run(0, "destination list", id, "closed")
	run(0, "destination list --json --tenant acme --kind webhook --state closed", `"disabled_at": null`)
	run(0, "destination list --tenant none", "There are no such destinations.")
	run(0, "destination show "+hook, "Waiting       0 deliveries")
	run(0, "destination show "+id+" --output yaml", "waiting: 0")
	run(1, "destination show https://ann:secret@example.com/", "there is no destination https://ann:")
	run(1, "destination show 00000000000000ff", "there is no destination 00000000000000ff")
	run(0, "destination disable "+id+" --reason moves", "Nothing is sent to "+hook)
	run(0, "destination show "+hook+" --tenant acme", "disabled since", "moves")
	time.Sleep(heeded)
	w.each(func(db *pgtest.Database) {
		db.Exec(t, `insert into orders values (44, 'acme', 1, null)`)
		eventually(t, db, "it to be cancelled", `select count(*) = 1 from rowbell.workflow_log where status = 'cancelled'`)
	})
	run(0, "destination enable "+hook, "are tried from now on")
	run(0, "destination rotate-secret "+hook+" --keep 1500h", "whsec_", "secret hook of tenant acme", "It signs for: large-order.")
	run(0, "destination rotate-secret "+id+" --json", `"tenant_id": "acme"`)
	differ("destination rotate-secret https://nowhere.example.com/", "no active workflow has a webhook to https://nowhere.example.com/", "there is no destination https://nowhere.example.com/; rowbell destination list has all")
	w.each(func(db *pgtest.Database) {
		db.Exec(t, `begin; insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('unsigned', 'acme', 'Unsigned', 'active');
			insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('unsigned', 'stock', 'delete');
			insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('unsigned', 'webhook', jsonb_build_object('url', '`+hook+`'::text, 'secret', '{"ref": "absent"}'::jsonb)); commit`)
	})
	if r := run(1, "destination rotate-secret "+hook, "whsec_", "secret hook of tenant acme", "read secret absent"); strings.Count(r.stdout, "whsec_") != 1 {
		t.Errorf("of two secrets, of which one can't be changed, it shows\n%s", r.stdout)
	}
	w.each(func(db *pgtest.Database) { db.Exec(t, `delete from rowbell.workflow_definition where id = 'unsigned'`) })

	// What is shown, and done, goes by the key's rights.
	w.each(func(db *pgtest.Database) {
		db.Exec(t, `update rowbell.execution set address = '{"id": "ann", "name": "Ann", "email": "ann@example.com"}' where id = (select execution_id from rowbell.delivery_done order by id limit 1 offset 1)`)
	})
	of(0, "delivery show ? --json", second, `"email": "ann@example.com"`)
	made := rowbell(t, w.byServer, "key", "create", "--role", "viewer", "--tenant", "acme")
	wants(t, made, 0)
	viewer := []string{w.byServer[0], "ROWBELL_KEY=" + strings.TrimSpace(made.stdout)}
	id2 := pgtest.One[string](t, w.served, second)
	wants(t, rowbell(t, viewer, "delivery", "show", id2, "--json"), 0, `"email": "***"`)
	wants(t, rowbell(t, viewer, "delivery", "list", "--tenant", "acme"), 0, "orders 42")
	wants(t, rowbell(t, viewer, "delivery", "retry", id2, "no-delivery"), 1, "several things are wrong", "this needs the right delivery.write (key 01", "Use a key with a role that has it")
	wants(t, rowbell(t, viewer, "destination", "disable", id), 1, "this needs the right destination.write")

	refuses.Store(false)
	of(0, "delivery retry ?", second, "is in the queue again")
	w.each(func(db *pgtest.Database) {
		eventually(t, db, "the retried one to arrive", `select count(*) = 1 from rowbell.workflow_log where status = 'success'`)
	})
	of(1, "delivery retry ?", `select id from rowbell.delivery_done where status = 'succeeded'`, "has succeeded")

	run(0, "pause list", "Nothing is paused.")
	run(0, "pause --kind webhook --tenant acme --for 2h --reason moving", "Paused: tenant acme, kind webhook, until 2")
	run(0, "pause --workflow large-order", "Paused: workflow large-order, until it is resumed: rowbell resume ")
	run(0, "pause list", "moving")
	run(0, "pause list --json", `"scope": "tenant_kind"`)
	run(1, "pause --kind webhok", "there is no action kind webhok. Did you mean webhook?")
	differ("pause --workflow nothing", "there is no workflow nothing; rowbell workflow list has all", "there is no workflow nothing")
	run(1, "pause --tenant nobody", "no workflow belongs to tenant nobody")
	run(1, "resume --kind email", "there is no pause of kind email; paused are: tenant acme, kind webhook; workflow large-order")
	run(1, "resume 01M8ACT0GY5N3C8Q7V2T4B9D6E", "there is no pause 01M8ACT0GY5N3C8Q7V2T4B9D6E; rowbell pause list has all")
	time.Sleep(heeded)
	w.each(func(db *pgtest.Database) {
		db.Exec(t, `insert into orders values (45, 'acme', 1, null)`)
		eventually(t, db, "it to wait", `select count(*) = 1 from rowbell.delivery where state = 'ready'`)
	})
	of(0, "delivery cancel ?", `select id from rowbell.delivery where state = 'ready'`, "is cancelled")
	for _, line := range []string{"destination show", "delivery retry", "delivery cancel", "delivery list --tenant", "resume"} {
		if r := w.same(t, 0, append(append([]string{completeWord}, strings.Fields(line)...), "")); line != "delivery cancel" && strings.HasPrefix(r.stdout, ":") {
			t.Errorf("behind %s comes nothing", line)
		}
	}
	of(0, "resume ?", `select id from rowbell.pause where workflow_id = 'large-order'`, "Resumed: workflow large-order")
	run(0, "resume --all", "Resumed: tenant acme, kind webhook")
	run(0, "resume --all", "Nothing was paused.")

	run(0, "replay list", "There are no replays.")
	run(0, "replay --workflow large-order --since 2h --dry-run", "large-order  ", "2 executions of changes from ")
	run(0, "replay --tenant acme --since 2h --status all --dry-run --json", `"total": 5`)
	run(0, "replay --tenant globex --since 2h --dry-run", "No ended execution is as asked for")
	differ("replay --workflow large-order --since 2h --rate 100000/s --yes", "the rate 100000/s is out of range", "rate: expected number <= 10000")
	run(0, "replay --workflow large-order --since 2h --as current --rate 1000/s --yes --wait", "done     2 of 2", "as       current")
	run(0, "replay --workflow large-order --since 2h --status cancelled --yes", "Replay 2 runs 2 executions again, at 50/s.")
	w.each(func(db *pgtest.Database) {
		eventually(t, db, "the replay to end", `select bool_and(status = 'done') from rowbell.replay`)
	})
	run(0, "replay list", "recorded")
	run(0, "replay list --output yaml", "id: \"1\"")
	run(0, "replay show 2", "done     2 of 2")
	run(1, "replay show 9", "there is no replay 9")
	run(1, "replay cancel 2", "replay 2 ")
	w.each(func(db *pgtest.Database) {
		db.Exec(t, `update rowbell.workflow_definition set status = 'inactive' where id = 'large-order'`)
	})
	run(1, "replay --workflow large-order --since 2h --status success --yes", "workflow large-order is inactive, so that")

	run(0, "storm list", "The storm guard holds nothing.")
	for _, n := range []string{"1", "2"} {
		w.each(func(db *pgtest.Database) {
			db.Exec(t, `insert into stock select 'sku-' || $1::text || '-' || n, 'acme' from generate_series(1, 5) n`, n)
			eventually(t, db, "the storm to be held", `select count(*) = 3 * `+n+` from rowbell.queue where big_stream < 0`)
		})
	}
	run(0, "storm list", "restocked")
	w.same(t, 0, []string{completeWord, "replay", "show", ""})
	wants(t, rowbell(t, w.byServer, completeWord, "storm", "release", ""), 0, "3 executions of restocked", "large-order")
	run(1, "storm release nothing", `nothing is held under "nothing"; give the id of a storm`)
	of(0, "storm release ?", `select -stream || '-' || commit_lsn from rowbell.big_transaction where status = 'held' and stream < 0 order by committed_at limit 1`, "of workflow restocked is released: 3 executions")
	run(0, "storm discard restocked --yes", "of workflow restocked is discarded: 3 executions")
	run(1, "storm discard restocked --yes", `nothing is held under "restocked"`)
	w.each(func(db *pgtest.Database) {
		eventually(t, db, "what was held to be gone", `select count(*) = 0 from rowbell.queue where big_stream < 0`)
	})
	run(0, "storm list --all --json", `"status": "released"`)
	wants(t, rowbell(t, w.byServer, "storm", "release", "restocked", "--actor", "ann"), 2, "--actor goes with the databases")
}
