package app_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// A person gets a notification, and whoever listens to their inbox hears of it; by the link
// they stop what comes, and the next one is cancelled.
func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db, delivers, func(c *app.Config) {
		c.PublicURL, c.Listen = "https://bell.example.com/rowbell/", "127.0.0.1:0"
	})
	w.holds(t)
	defineInbox(t, db, "told", "ann")
	captured(t, db)
	conn := db.Conn(t)
	if _, err := conn.Exec(t.Context(), `listen rowbell_inbox`); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	ctx, cancel := context.WithTimeout(t.Context(), pgtest.Patience)
	defer cancel()
	heard, err := conn.WaitForNotification(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := pgtest.One[string](t, db, `select rowbell.inbox_topic('ann', 'acme')`); heard.Payload != want {
		t.Errorf("heard %q, want %q", heard.Payload, want)
	}
	if n := pgtest.One[int](t, db, `select unread from rowbell.inbox_count('ann', 'acme')`); n != 1 {
		t.Errorf("%d unread", n)
	}
	settled(t, db, "success 1")

	link := w.UnsubscribeURL("notification")(&actions.Delivery{
		Recipient: "ann", Workflow: actions.Workflow{ID: "told", TenantID: "acme"}, Event: &workflow.Event{TenantID: "acme"},
	})
	path, ok := strings.CutPrefix(link, "https://bell.example.com")
	if !ok || !strings.HasPrefix(path, "/rowbell/unsubscribe/") {
		t.Fatalf("the link is %s", link)
	}
	// With the path of the public URL, and without.
	for i, path := range []string{path, strings.TrimPrefix(path, "/rowbell")} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.PublicAddr().String()+path, strings.NewReader("List-Unsubscribe=One-Click"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "Workflow told") {
			t.Errorf("%d: status %d\n%s", i, resp.StatusCode, body)
		}
	}
	// What is known of ann counts for two seconds.
	pgtest.Eventually(t, pgtest.Patience, "a delivery to be cancelled", func() bool {
		db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
		return pgtest.One[bool](t, db, `select exists (select from rowbell.delivery_done where status = 'cancelled')`)
	})
	if got := db.QueryString(t, `select reason from rowbell.delivery_done where status = 'cancelled' limit 1`); got != "opted_out: they don't want this workflow by notification" {
		t.Errorf("the reason is %s", got)
	}
	for _, d := range []*actions.Delivery{
		{Workflow: actions.Workflow{ID: "told"}},
		{Recipient: "ann", Workflow: actions.Workflow{ID: "told", Critical: true}},
	} {
		if link := w.UnsubscribeURL("email")(d); link != "" {
			t.Errorf("there is a link %s for %+v", link, d)
		}
	}
}

// Where only operators' workflows may be critical, a tenant's is broken.
func TestCriticalIsTheOperators(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db, delivers, func(c *app.Config) { c.Critical = app.CriticalOperators })
	w.holds(t)
	defineInbox(t, db, "told", "ann")
	verdict := func(want string) {
		t.Helper()
		got := ""
		pgtest.Eventually(t, pgtest.Patience, "the verdict "+want, func() bool {
			got = db.QueryString(t, `select coalesce((select concat_ws(' ', h.verdict, h.message) from rowbell.workflow_health h join rowbell.workflow_definition d on d.id = h.workflow_id and d.version = h.version), '')`)
			return strings.Contains(got, want)
		})
		if !strings.Contains(got, want) {
			t.Fatalf("the verdict is %s, want %s", got, want)
		}
	}
	verdict("ok")
	db.Exec(t, `update rowbell.workflow_definition set settings = '{"critical": true}'`)
	verdict("broken settings: critical is true, which only operators' workflows may be here (ROWBELL_CRITICAL_WORKFLOWS (--critical-workflows) is operators)")
	db.Exec(t, `update rowbell.workflow_definition set settings = '{"owners": ["ann"]}'`)
	verdict(`broken settings: owners: "ann" is no owner; write a list`)
}

// What the manual of preferences shows can be run as it stands, and what stands then is what
// it says.
func TestPreferencesManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/preferences.md")
	if err != nil {
		t.Fatal(err)
	}
	db := migrated(t)
	cfg := config(db)
	if err := app.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name) values ('large-order', 'acme', 'Large order')`)
	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 4 {
		t.Fatalf("%d blocks of SQL", len(blocks))
	}
	conn := db.Conn(t)
	for _, b := range blocks {
		sql := strings.ReplaceAll(b[1], "shop_app", "current_user")
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if got := db.QueryString(t, `select string_agg(concat_ws(' ', tenant_id, recipient_id, workflow_id, channel, wanted), ', ') from rowbell.preference`); got != "acme ann large-order email t" {
		t.Errorf("preferences are %s", got)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.quiet_hours`); n != 0 {
		t.Errorf("%d quiet hours", n)
	}
	if got := db.QueryString(t, `select document #>> '{settings,critical}' from rowbell.workflow_version order by version desc limit 1`); got != "true" {
		t.Errorf("critical is %s", got)
	}
}
