package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// examples are the blocks of one language in a section of docs/actions.md.
func examples(t *testing.T, section, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/actions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "\n## "+section+"\n")
	if !ok {
		t.Fatalf("docs/actions.md has no section %s", section)
	}
	after, _, _ = strings.Cut(after, "\n## ")
	var list []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(after, -1) {
		list = append(list, m[1])
	}
	if len(list) == 0 {
		t.Fatalf("section %s of docs/actions.md has no example", section)
	}
	return list
}

// largeOrder is the workflow that the manual's examples add an action to.
const largeOrder = `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('large-order', 'acme', 'Large order', 'active');
insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('large-order', 'orders', 'create', '{"total": {"gt": 1000}}');
`

const shopOfManual = `create table orders (id bigint generated always as identity primary key, tenant_id text not null, customer text, total numeric(12,2) not null)`

// What the manual says of functions works as it stands there.
func TestManualFunction(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shopOfManual)
	w := startWorker(t, db)
	w.holds(t)
	list := examples(t, "function", "sql")
	for _, sql := range list[:len(list)-1] {
		db.Exec(t, sql)
	}
	db.Exec(t, largeOrder+list[len(list)-1])
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, customer, total) values ('acme', 'ann', 1200), ('acme', 'ann', 1300), ('acme', 'bob', 10), ('acme', null, 5000)`)
	settled(t, db, "failure 1, success 2")
	if got := db.QueryString(t, `select string_agg(l.customer || ' ' || l.points, '; ') from loyalty l`); got != "ann 20" {
		t.Errorf("the points are %s", got)
	}
	if got := db.QueryString(t, `select string_agg(coalesce(result ->> 'response', error), '; ' order by coalesce(result ->> 'response', error) collate "C" desc) from rowbell.workflow_log`); got != `{"balance": 20}; {"balance": 10}; call function credit_order: order 4 has no customer` {
		t.Errorf("the log has %s", got)
	}
	report := app.Doctor(t.Context(), config(db))
	if f := found(report, "functions"); f == nil || f.Level != app.LevelOK {
		t.Errorf("the doctor says %+v", f)
	}

	// What can't be called is found, and mended by what the doctor says; until then the
	// delivery waits for its next attempt.
	db.Exec(t, `select rowbell.unregister_function('credit_order', 'acme')`)
	db.Exec(t, `insert into orders (tenant_id, customer, total) values ('acme', 'cid', 1200)`)
	pgtest.Eventually(t, pgtest.Patience, "the delivery to be tried", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from rowbell.delivery where attempts > 0 and error like '%not registered for tenant acme%')`)
	})
	if f := found(app.Doctor(t.Context(), config(db)), "functions"); f == nil || f.Level != app.LevelFailed || !strings.Contains(f.Mend[0], "SELECT rowbell.register_function('credit_order', ") {
		t.Errorf("the doctor says of an unregistered function %+v", f)
	}
	db.Exec(t, strings.Replace(strings.Replace(found(app.Doctor(t.Context(), config(db)), "functions").Mend[0], "schema.function", "public.credit_order", 1), ");", ", 'acme');", 1))
	settled(t, db, "failure 1, success 3")

	// A role without the rights finds out which GRANTs it needs, and they help.
	role, url := db.Role(t, "poor", "superuser")
	as := func(c *app.Config) { c.SourceURL, c.StateURL = url, url }
	db.Exec(t, `create schema app; alter function credit_order set schema app; revoke execute on function app.credit_order from public;
select rowbell.register_function('credit_order', 'app.credit_order(text,jsonb)', 'acme')`)
	db.Exec(t, `alter role `+role+` nosuperuser; grant usage on schema rowbell to `+role+`; grant select on all tables in schema rowbell to `+role+`;
insert into rowbell.sql_member (role_name, tenant_id) values ('`+role+`', '*')`)
	for _, want := range []string{"GRANT USAGE ON SCHEMA app TO " + role + ";", "GRANT EXECUTE ON FUNCTION app.credit_order(text, jsonb) TO " + role + ";"} {
		f := found(app.Doctor(t.Context(), config(db, as)), "functions")
		if f == nil || f.Level != app.LevelFailed || f.Mend[0] != want {
			t.Fatalf("the doctor says %+v, want %s", f, want)
		}
		db.Exec(t, f.Mend[0])
	}
	if f := found(app.Doctor(t.Context(), config(db, as)), "functions"); f == nil || f.Level != app.LevelOK {
		t.Errorf("the doctor says after both %+v", f)
	}
}

// What the manual posts to Slack arrives as it says; the URL is a secret at once.
func TestManualChat(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shopOfManual)
	var mu sync.Mutex
	var got []string
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprint(r.URL.Path, " ", string(body), err))
		if len(got) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(slack.Close)
	w := startWorker(t, db, delivers)
	w.holds(t)
	const vendor, path = "https://hooks.slack.com", "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
	sql := examples(t, "chat", "sql")[0]
	if !strings.Contains(sql, vendor+path) {
		t.Fatalf("the example is %s", sql)
	}
	sql = strings.Replace(strings.Replace(sql, vendor, slack.URL, 1), `"title"`, `"retry": ["10ms"], "title"`, 1)
	db.Exec(t, largeOrder+sql)
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, customer, total) values ('acme', '<!channel>', 1200)`)
	settled(t, db, "success 1")
	mu.Lock()
	defer mu.Unlock()
	want := path + ` {"text":"Order 1","blocks":[{"type":"header","text":{"type":"plain_text","text":"Order 1","emoji":false}},` +
		`{"type":"section","text":{"type":"mrkdwn","text":"*\u0026lt;!channel\u0026gt;* ordered for 1200.00 EUR","verbatim":true}}],"replace_original":false,"delete_original":false}<nil>`
	if len(got) != 2 || got[0] != want || got[1] != want {
		t.Errorf("Slack got %q\nwant twice %q", got, want)
	}
	if n := db.QueryString(t, `select count(*)::text from rowbell.workflow_version where document::text like '%XXXXXX%'`); n != "0" {
		t.Errorf("the URL stands in %s versions", n)
	}
	if got := db.QueryString(t, `select string_agg(concat_ws(' ', code, error, response), '; ') from rowbell.attempt`); !strings.HasPrefix(got, "429 Slack answered 429") || strings.Contains(got, "XXXXXX") {
		t.Errorf("the attempt is %s", got)
	}
}

// What the manual publishes is in the stream that it makes, once, and the doctor sees it.
func TestManualPublish(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shopOfManual)
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, Username: "rowbell", Password: "planted-hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(20 * time.Second) {
		t.Fatal("the NATS server doesn't take connections")
	}
	at := strings.TrimPrefix(srv.ClientURL(), "nats://")
	nats := func(c *app.Config) { c.NATSURL = "nats://rowbell:planted-hunter2@" + at }
	if f := found(app.Doctor(t.Context(), config(db, nats)), "nats"); f == nil || f.Level != app.LevelWarning || !strings.Contains(f.Mend[0], "nats stream add ROWBELL --subjects='rowbell.*.>'") {
		t.Errorf("the doctor says without a stream %+v", f)
	}
	wrong := func(c *app.Config) { c.NATSURL = "nats://rowbell:planted-wrong@" + at }
	if f := found(app.Doctor(t.Context(), config(db, wrong)), "nats"); f == nil || f.Level != app.LevelFailed || strings.Contains(f.Message, "planted") || !strings.Contains(strings.ToLower(f.Message), "authorization") {
		t.Errorf("the doctor says of a wrong password %+v", f)
	}
	sh := examples(t, "publish", "sh")[0]
	subjects := regexp.MustCompile(`--subjects='([^']*)' --dupe-window=1h`).FindStringSubmatch(sh)
	if subjects == nil {
		t.Fatalf("the example is %s", sh)
	}
	conn, err := natsgo.Connect("nats://rowbell:planted-hunter2@" + at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ROWBELL", Subjects: []string{subjects[1]}, Duplicates: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if f := found(app.Doctor(t.Context(), config(db, nats)), "nats"); f == nil || f.Level != app.LevelOK || !strings.Contains(f.Message, "stream ROWBELL") {
		t.Errorf("the doctor says %+v", f)
	}

	w := startWorker(t, db, nats)
	w.holds(t)
	db.Exec(t, largeOrder+examples(t, "publish", "sql")[0])
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, customer, total) values ('acme', 'ann', 1200)`)
	settled(t, db, "success 1")
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	id := db.QueryString(t, `select id || '_' || action from rowbell.execution`)
	if m.Subject != "rowbell.acme.orders.create.1" || m.Header.Get("Nats-Msg-Id") != id || !strings.HasPrefix(string(m.Data), `{"type":"orders.create","timestamp":"`) {
		t.Errorf("the message is %s %v %s; the delivery %s", m.Subject, m.Header, m.Data, id)
	}

	// A worker without a broker says what it lacks.
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	startWorker(t, db).holds(t)
	pgtest.Eventually(t, pgtest.Patience, "the workflow to be broken", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from rowbell.workflow_health where verdict = 'broken' and message like '%set ROWBELL_NATS_URL%')`)
	})
}

func found(r *app.Report, check string) *app.Finding {
	for i := range r.Findings {
		if r.Findings[i].Check == check {
			return &r.Findings[i]
		}
	}
	return nil
}
