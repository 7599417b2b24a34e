package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

const deliveriesPage = "../../docs/deliveries.md"

// What the manual shows of deliveries, replays and storms is what the commands print, but
// for ids, times and people.
func TestDeliveriesManual(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(deliveriesPage)
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	var mended atomic.Bool
	crm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !mended.Load() {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte("no such hook"))
		}
	}))
	t.Cleanup(crm.Close)
	db := migrated(t)
	env := []string{
		"ROWBELL_SOURCE_URL=" + db.URL, "ROWBELL_SLOT=" + pgtest.Slot(t, db), "TZ=UTC", "ROWBELL_LISTEN=127.0.0.1:0", "ROWBELL_OPS_LISTEN=127.0.0.1:0",
		"ROWBELL_EGRESS_ALLOW=127.0.0.0/8",
	}
	if r := rowbell(t, env, "migrate"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	db.Exec(t, `create table orders (id bigint primary key, tenant_id text not null, total numeric); create table stock (sku text primary key, tenant_id text not null)`)
	db.Exec(t, `begin;
		insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values
			('large-order', 'acme', 'Large order', 'active', '{}'), ('restocked', 'acme', 'Restocked', 'active', '{"storm": {"transaction": 2}}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('large-order', 'orders', 'create'), ('restocked', 'stock', 'create');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
			('large-order', 'webhook', jsonb_build_object('url', '`+crm.URL+`/hook'::text)), ('restocked', 'webhook', jsonb_build_object('url', '`+crm.URL+`/hook'::text));
		commit`)
	worker := program(t, env, "run")
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = worker.Process.Signal(os.Interrupt); _ = worker.Wait() }) // it may have ended
	eventually := func(what, sql string) {
		t.Helper()
		pgtest.Eventually(t, pgtest.Patience, what, func() bool { return pgtest.One[bool](t, db, sql) })
	}
	eventually("tables to be captured", `select count(*) = 2 from rowbell.applied where kind = 'table'`)
	db.Exec(t, `insert into orders values (41, 'acme', 2000), (42, 'acme', 1500.50), (43, 'acme', 4000)`)
	eventually("deliveries to die", `select count(*) = 3 from rowbell.workflow_log where status = 'failure'`)
	mended.Store(true)
	ids := pgtest.Query[string](t, db, `select id from rowbell.delivery_done order by id desc`)

	before := map[string]func(){
		"replay show": func() { eventually("the replay to end", `select bool_and(status = 'done') from rowbell.replay`) },
		"replay --workflow": func() {
			eventually("the retried one to arrive", `select count(*) = 1 from rowbell.workflow_log where status = 'success' and id !~ '-.*-'`)
		},
		"storm list": func() {
			if pgtest.One[bool](t, db, `select not exists (select from stock)`) {
				db.Exec(t, `insert into stock select 'sku-' || n, 'acme' from generate_series(1, 5000) n`)
				eventually("the storm to be held", `select count(*) = 4998 from rowbell.queue where big_stream < 0`)
			}
		},
	}
	masked := func(s string) string {
		s = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`).ReplaceAllString(s, "0000-00-00 00:00:00")
		s = regexp.MustCompile(`01[0-9A-Z]{24}-\d+`).ReplaceAllString(s, "EVENT-0")
		s = regexp.MustCompile(`01[0-9A-Z]{24}`).ReplaceAllString(s, "EVENT")
		s = regexp.MustCompile(`\d+-[0-9A-F]+/[0-9A-F]+`).ReplaceAllString(s, "STORM")
		// A storm that is released has fewer from moment to moment.
		s = regexp.MustCompile(`(released\s+\S+\s+\d+\s+\S+ \S+\s+)\d+`).ReplaceAllString(s, "${1}0")
		s = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(s, "crm.example.com")
		s = regexp.MustCompile(`, \d+(\.\d+)?m?s, code`).ReplaceAllString(s, ", 0s, code")
		s = strings.ReplaceAll(s, " "+me.Username+"\n", " ann\n")
		return regexp.MustCompile(`(?m) +$`).ReplaceAllString(regexp.MustCompile(`  +`).ReplaceAllString(s, "  "), "")
	}
	commands := 0
	for _, m := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		for _, shot := range strings.Split(strings.TrimPrefix("\n"+m[1], "\n$ rowbell "), "\n$ rowbell ") {
			command, want, _ := strings.Cut(shot, "\n")
			commands++
			args := strings.Fields(command)
			if f := before[args[0]+" "+args[1]]; f != nil {
				f()
			}
			for i := range args {
				switch {
				case strings.HasPrefix(args[i], "01"):
					args[i] = ids[1]
				case strings.Contains(args[i], "/"):
					args[i] = pgtest.One[string](t, db, `select -stream || '-' || commit_lsn from rowbell.big_transaction where status = 'held' and stream < 0`)
				}
			}
			r := rowbell(t, env, args...)
			if got := r.stdout + r.stderr; strings.TrimSpace(masked(got)) != strings.TrimSpace(masked(want)) {
				t.Errorf("rowbell %s gives\n%s\nand %s shows\n%s", command, got, deliveriesPage, want)
			}
		}
	}
	if commands < 9 {
		t.Errorf("%s shows %d commands", deliveriesPage, commands)
	}
	eventually("all to have arrived", `select count(*) filter (where status = 'failure') = 2 and count(*) filter (where status = 'pending') = 0 from rowbell.workflow_log`)
}
