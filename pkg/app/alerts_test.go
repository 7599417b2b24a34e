package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// A workflow fails fifty times, while two workers run: its owner is told once at once, and
// once more in a digest that counts them; and no more after that.
func TestOwnerIsTold(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	h.answer = func(string, int) int { return http.StatusBadRequest }
	window := func(c *app.Config) { c.AlertWindow = 4 * time.Second }
	w := startWorker(t, db, delivers, window)
	w.holds(t)
	startWorker(t, db, delivers, window)
	defineHook(t, db, "hook", h.URL+"/in?token=hunter2", "")
	db.Exec(t, `update rowbell.workflow_definition set settings = '{"owners": ["user:ann"]}', name = 'Tell the CRM' where id = 'hook'`)
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	inbox := func() []string {
		return pgtest.Query[string](t, db, `select title from rowbell.notification where recipient_id = 'ann' and tenant_id = 'acme' order by id`)
	}
	pgtest.Eventually(t, pgtest.Patience, "the owner to be told", func() bool { return len(inbox()) == 1 })
	// However slow this machine is, all are in one window.
	db.Exec(t, `update rowbell.alert_watch set digest_at = digest_at + interval '1 hour'`)
	db.Exec(t, `insert into orders (tenant_id) select 'acme' from generate_series(1, 49)`)
	settled(t, db, "failure 50")
	db.Exec(t, `update rowbell.alert_watch set digest_at = now()`)
	pgtest.Eventually(t, pgtest.Patience, "the owner to have a digest", func() bool { return len(inbox()) == 2 })
	// The window after it ends without a failure, and without a word.
	pgtest.Eventually(t, pgtest.Patience, "the window to end", func() bool {
		return pgtest.One[bool](t, db, `select bool_and(digest_at is null) from rowbell.alert_watch`)
	})
	got := inbox()
	if len(got) != 2 || got[0] != "Workflow “Tell the CRM” fails" || !strings.HasPrefix(got[1], "Workflow “Tell the CRM” failed 50 times since ") {
		t.Fatalf("ann was told %q", got)
	}
	body := pgtest.One[string](t, db, `select body from rowbell.notification where title like '%50 times%'`)
	for _, want := range []string{"(hook) still fails: 50 times ", "What gave up: webhook.", "The last one, execution ", "400", "rowbell delivery list --workflow hook,", "rowbell workflow show hook"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in\n%s", want, body)
		}
	}
	if strings.Contains(body, "hunter2") {
		t.Errorf("a token is in\n%s", body)
	}
	if got := db.QueryString(t, `select string_agg(concat_ws(' ', kind, told, attempts, error), ', ' order by raised_at) from rowbell.alert`); got != "failing {notification:ann} 1, failing {notification:ann} 1" {
		t.Errorf("alerts are %s", got)
	}
	// It is no execution of anybody's.
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_log`); n != 50 {
		t.Errorf("%d executions", n)
	}
}

// alertHook is what an operator is told by.
type alertHook struct {
	*httptest.Server
	mu     sync.Mutex
	got    []map[string]any
	ids    []string
	refuse bool
}

func newAlertHook(t *testing.T) *alertHook {
	t.Helper()
	h := &alertHook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Type string
			Data struct{ New map[string]any }
		}
		raw, _ := io.ReadAll(r.Body)
		err := json.Unmarshal(raw, &body)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.ids = append(h.ids, r.Header.Get("webhook-id")); h.refuse || err != nil || body.Type != "rowbell.alert.emit" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		h.got = append(h.got, body.Data.New)
	}))
	t.Cleanup(h.Close)
	return h
}

// What fails is no way to tell of it; whom nothing else reaches, the operator stands in for.
// A worker that is broken off tells it again with the same key.
func TestOperatorIsTold(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newAlertHook(t)
	h.refuse = true
	w := startWorker(t, db, delivers, func(c *app.Config) {
		c.AlertWindow, c.Alerts = time.Second, []string{h.URL + "/ops?token=hunter2", "user:oscar"}
	})
	w.holds(t)
	// Its notifications fail for good: the title is empty.
	db.Exec(t, `begin; set local rowbell.actor = 'ann'; insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('told', 'acme', 'Told', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('told', 'orders', 'create');
		insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('told', 'user', 'ben');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('told', 'notification', '{"title": "{{ new.note }}"}'); commit`)
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	settled(t, db, "failure 1")
	const waits = `select concat_ws(' ', told, attempts, next_at > now(), error) from rowbell.alert`
	want := `{"operator 2"} 1 t there is no way to tell ann but by what fails operator 1: `
	pgtest.Eventually(t, pgtest.Patience, "the operator to have been tried", func() bool {
		return strings.HasPrefix(db.QueryString(t, `select coalesce((`+waits+`), '')`), want)
	})
	got := db.QueryString(t, waits)
	if !strings.HasPrefix(got, want) || strings.Contains(got, "hunter2") {
		t.Fatalf("the alert is %s", got)
	}
	if got := pgtest.Query[string](t, db, `select recipient_id || ' ' || title from rowbell.notification`); !slices.Equal(got, []string{"oscar Workflow “Told” fails"}) {
		t.Errorf("inboxes have %q", got)
	}
	h.mu.Lock()
	h.refuse = false
	h.mu.Unlock()
	db.Exec(t, `update rowbell.alert set next_at = now()`)
	pgtest.Eventually(t, pgtest.Patience, "the operator to be told", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from rowbell.alert where next_at is null and told_at is not null and told = '{operator 2,operator 1}')`)
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.got) != 1 || h.got[0]["kind"] != "failing" || h.got[0]["workflow_id"] != "told" || h.got[0]["subject"] != "Workflow “Told” fails" || h.got[0]["line1"] != nil {
		t.Errorf("the operator was told %v", h.got)
	}
	if len(h.ids) != 2 || h.ids[0] != h.ids[1] || !strings.HasPrefix(h.ids[0], "alert_") {
		t.Errorf("with the keys %q", h.ids)
	}
}

// A workflow that is broken is told of once, whatever becomes of the worker.
func TestBrokenIsTold(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	quick := func(c *app.Config) { c.AlertWindow = time.Second }
	w := startWorker(t, db, delivers, quick)
	w.holds(t)
	db.Exec(t, `begin; insert into rowbell.workflow_definition (id, tenant_id, name, status, settings)
			values ('odd', 'acme', 'Workflow odd', 'active', '{"owners": ["user:ann", "user:ben"]}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('odd', 'orders', 'create', '{"nothing": 1}');
		insert into rowbell.workflow_action (workflow_id, action_type) values ('odd', 'log'); commit`)
	told := func() string {
		return db.QueryString(t, `select coalesce(string_agg(recipient_id || ' ' || title, ', ' order by recipient_id), '') from rowbell.notification`)
	}
	const want = "ann Workflow “Workflow odd” is broken and does not run, ben Workflow “Workflow odd” is broken and does not run"
	pgtest.Eventually(t, pgtest.Patience, "the owners to be told", func() bool { return told() == want })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	second := startWorker(t, db, delivers, quick)
	second.holds(t)
	define(t, db, "odder", "acme", "create", `{"nothing": 1}`, "log")
	pgtest.Eventually(t, pgtest.Patience, "the other one to be found", func() bool {
		return pgtest.One[int64](t, db, `select count(*) from rowbell.alert where next_at is null`) == 2
	})
	if got := told(); got != want {
		t.Errorf("told is %s, want %s", got, want)
	}
	// A worker that dies after it told them, and before it wrote so, leaves it to another one.
	db.Exec(t, `update rowbell.alert set told = '{}', told_at = null, next_at = now() where workflow_id = 'odd'`)
	pgtest.Eventually(t, pgtest.Patience, "it to be told again", func() bool {
		return pgtest.One[bool](t, db, `select told_at is not null from rowbell.alert where workflow_id = 'odd'`)
	})
	if got := told(); got != want {
		t.Errorf("told again is %s, want %s", got, want)
	}
	if got := db.QueryString(t, `select error from rowbell.alert where workflow_id = 'odder'`); !strings.Contains(got, "there is nobody to tell: no owner of the workflow can be reached, and ROWBELL_ALERTS (--alerts) is not set") {
		t.Errorf("of a workflow without owner: %s", got)
	}
}
