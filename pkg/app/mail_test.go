package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/actions/email/mailtest"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

func mailServer(t *testing.T, c mailtest.Config) *mailtest.Server {
	t.Helper()
	s, err := mailtest.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// staff are people with and without an address, and a workflow that mails them.
const staff = `create table staff (id text primary key, tenant text, name text, email text, locale text);
	insert into staff values ('ann', 'acme', 'Ann Lee', 'ann@acme.example', 'de-AT'), ('bob', 'acme', 'Bob Ray', 'bob@acme.example', null), ('cid', 'acme', 'Cid', null, null)`

const staffSQL = `select id, name, email, locale from staff where id = any ($1) and tenant = $2`

func defineMail(t *testing.T, db *pgtest.Database, config string) {
	t.Helper()
	db.Exec(t, `with d as (insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values ('mail', 'acme', 'Large order', 'active', '{"retry": ["10ms", "10ms"], "locale": "en"}')),
		t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('mail', 'orders', 'create')),
		r as (insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('mail', 'user', 'ann'), ('mail', 'user', 'bob'), ('mail', 'user', 'cid'), ('mail', 'attribute', 'note'))
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('mail', 'email', $1::jsonb)`, config)
}

// A row changes, and each person's mail arrives once, in their language, whatever the server
// says at first; who has no address, and who is refused, is in the log.
func TestMailArrives(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop+`;`+staff)
	s := mailServer(t, mailtest.Config{Password: func(user string) (string, bool) { return "hunter2hunter2", user == "rowbell" }})
	var mu sync.Mutex
	ids := map[string]int{} // how often each Message-ID was offered
	s.Do(func(at mailtest.Step, value string) error {
		mu.Lock()
		defer mu.Unlock()
		switch at {
		case mailtest.To:
			if value == "nobody@customers.example" {
				return mailtest.Refuse(550, "no such user; hunter2hunter2")
			}
		case mailtest.End:
			id := regexp.MustCompile(`Message-ID: (\S*)`).FindStringSubmatch(value)[1]
			if ids[id]++; ids[id] == 1 {
				return mailtest.Refuse(451, "try again")
			}
		}
		return nil
	})
	w := startWorker(t, db, delivers, func(c *app.Config) {
		c.DirectoryUsers = staffSQL
		c.SMTPURL, c.MailFrom = "smtp://rowbell:hunter2hunter2@"+s.Addr+"?connections=1", "Shop <rowbell@shop.example>"
	})
	w.holds(t)
	defineMail(t, db, `{"subject": {"en": "Order {{ new.id }}", "de": "Auftrag {{ new.id }}"}, "body": "{{ recipient.name | default: 'You' }}: **{{ new.total }}** {{ new.note }}"}`)
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, total, note) values ('acme', 12.50, 'jo.<b>@customers.example')`) // no address: nobody
	db.Exec(t, `insert into orders (tenant_id, total, note) values ('acme', 99, 'jo@customers.example'), ('acme', 7, 'nobody@customers.example'), ('globex', 1, null)`)
	pgtest.Eventually(t, pgtest.Patience, "all to have ended", func() bool {
		return pgtest.One[bool](t, db, `select count(*) = 3 and bool_and(status <> 'pending') from rowbell.workflow_log`)
	})
	got := map[string]string{}
	for _, m := range s.Mails() {
		read, err := m.Read()
		if err != nil {
			t.Fatal(err)
		}
		got[m.To+" "+read.Subject] += read.Text
		if m.From != "rowbell@shop.example" || !strings.Contains(read.Text, "Large order") || !strings.Contains(read.Text, "acme") || strings.Contains(read.HTML, "<b>@") {
			t.Errorf("%s got\n%s", m.To, m.Raw)
		}
	}
	for mail, text := range map[string]string{
		"ann@acme.example Auftrag 2":   "Ann Lee: 99.00 jo@customers.example\n\n-- \nDiese E-Mail kommt wegen Ihres Kontos im Workflow „Large order“ von acme.",
		"bob@acme.example Order 2":     "Bob Ray: 99.00 jo@customers.example\n\n-- \nYou get this e-mail because of your account",
		"jo@customers.example Order 2": "You: 99.00 jo@customers.example\n\n-- \nYou get this e-mail because of the field note",
		"ann@acme.example Auftrag 3":   "Ann Lee: 7.00 nobody@customers.example",
		"bob@acme.example Order 3":     "Bob Ray: 7.00",
	} {
		if !strings.HasPrefix(got[mail], text) {
			t.Errorf("%s: %q", mail, got[mail])
		}
	}
	// Each of the seven was offered twice, under one id.
	for id, n := range ids {
		if n != 2 || len(ids) != 7 {
			t.Errorf("%s was offered %d times, and there are %d", id, n, len(ids))
		}
	}
	log := pgtest.One[string](t, db, `select string_agg(concat_ws(' ', e.row_key, d.recipient, d.status, d.attempts, d.code, d.reason), E'\n' order by e.row_key, d.recipient)
		from rowbell.delivery_done d join rowbell.workflow_log l on l.id = d.execution_id join rowbell.workflow_event e on e.id = l.trigger_event_id`)
	for _, want := range []string{
		"2 ann succeeded 2 250", "2 cid cancelled 0 no_address: ", "2 jo@customers.example succeeded 2 250", "3 nobody@customers.example dead 1 550 the mail server answered RCPT TO with 550 5.0.0 no such user; ***",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("there is no %q in\n%s", want, log)
		}
	}
	if strings.Contains(pgtest.One[string](t, db, `select string_agg(to_jsonb(a)::text, ' ') from rowbell.delivery_attempt a`), "hunter2") {
		t.Error("the password is in the log")
	}
	if n := s.Connections(); n > 3 {
		t.Errorf("there were %d connections", n)
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
}

// Without a mail server a workflow that mails is broken, and says what to do; but not if
// all is sent elsewhere.
func TestMailWithoutServer(t *testing.T) {
	t.Parallel()
	verdict := func(db *pgtest.Database, want string) {
		got := ""
		pgtest.Eventually(t, pgtest.Patience, "the verdict "+want, func() bool {
			got = db.QueryString(t, `select coalesce(max(verdict || ' ' || message), '') from rowbell.workflow_health where workflow_id = 'mail'`)
			return strings.HasPrefix(got, want)
		})
		if !strings.HasPrefix(got, want) {
			t.Errorf("it is %s", got)
		}
	}
	db := migrated(t)
	db.Exec(t, shop+`;`+staff)
	w := startWorker(t, db, delivers, func(c *app.Config) { c.DirectoryUsers = staffSQL })
	w.holds(t)
	defineMail(t, db, `{"subject": "Order {{ new.id }}", "body": "x"}`)
	verdict(db, "broken action 1 (email): this worker has no mail server; ask an operator to set ROWBELL_SMTP_URL")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var kinds []string
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if json.Valid(body) {
			kinds = append(kinds, r.Header.Get("Rowbell-Kind"))
		}
	}))
	t.Cleanup(sink.Close)
	db = migrated(t)
	db.Exec(t, shop+`;`+staff)
	w = startWorker(t, db, delivers, func(c *app.Config) {
		c.DirectoryUsers = staffSQL
		c.Delivery = app.DeliveryMode("redirect:" + sink.URL)
	})
	w.holds(t)
	defineMail(t, db, `{"subject": "Order {{ new.id }}", "body": "x"}`)
	captured(t, db)
	verdict(db, "ok ")
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	settled(t, db, "success 1")
	mu.Lock()
	defer mu.Unlock()
	if strings.Join(kinds, " ") != "email email" { // ann and bob
		t.Errorf("what came are %q", kinds)
	}
}

// The manual's example of an e-mail, as it stands there, arrives as it says.
func TestMailManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/actions.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)\n## email\n\n```sql\n(.*?)```").FindSubmatch(text)
	if example == nil {
		t.Fatal("the manual has no example")
	}
	db := migrated(t)
	db.Exec(t, shop+`;`+staff)
	s := mailServer(t, mailtest.Config{})
	w := startWorker(t, db, delivers, func(c *app.Config) {
		c.DirectoryUsers = staffSQL
		c.SMTPURL, c.MailFrom = "smtp://"+s.Addr, "rowbell@shop.example"
	})
	w.holds(t)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values ('large-order', 'acme', 'Large order', 'active', '{"locale": "en"}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('large-order', 'orders', 'create');
		insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('large-order', 'user', 'ann'), ('large-order', 'user', 'bob')`)
	if _, err := db.Conn(t).Exec(t.Context(), string(example[1]), pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, total, note) values ('acme', 1200.50, '**free** | <b>')`)
	settled(t, db, "success 1")
	mails := s.Mails()
	if len(mails) != 2 {
		t.Fatalf("%d mails arrived", len(mails))
	}
	for _, m := range mails {
		read, err := m.Read()
		if err != nil {
			t.Fatal(err)
		}
		subject, start := "Order 1 over €1,200.50", "Hello Bob Ray,\n\norder 1 was placed:\n\nTotal | Note\n------------\n€1,200.50 | **free** | <b>\n\nOpen the order: https://shop.example.com/orders/1\n\n-- \nYou get this"
		if m.To == "ann@acme.example" {
			subject, start = "Auftrag 1 über € 1.200,50", "Guten Tag Ann Lee,\n\nAuftrag 1 ist da:\n\nSumme | Notiz\n-------------\n€\u00a01.200,50 | **free** | <b>\n\nAuftrag öffnen: https://shop.example.com/orders/1\n\n-- \nDiese E-Mail"
		}
		from, err := read.Header.AddressList("From")
		if read.Subject != subject || !strings.HasPrefix(read.Text, start) || err != nil || from[0].Name != "Acme Orders" || read.Header.Get("Reply-To") != "orders@acme.example" {
			t.Errorf("%s got %q\n%s", m.To, read.Subject, m.Raw)
		}
		if !strings.Contains(read.HTML, "**free** | &lt;b&gt;</td>") || !strings.Contains(read.HTML, `<a href="https://shop.example.com/orders/1"`) {
			t.Errorf("%s got\n%s", m.To, read.HTML)
		}
	}
}

func TestDoctorMail(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	s := mailServer(t, mailtest.Config{Password: func(user string) (string, bool) { return "hunter2hunter2", user == "rowbell" }})
	for url, want := range map[string]string{
		"": "",
		"smtp://rowbell:hunter2hunter2@" + s.Addr:                  "ok smtp://" + s.Addr + " answers, on this machine, authenticated by PLAIN []",
		"smtp://rowbell:hunter3hunter3@" + s.Addr:                  "failed the mail server answered AUTH with 535 5.7.8 Authentication failed [See that user, password and auth in ROWBELL_SMTP_URL are right.]",
		"smtp://rowbell:hunter2hunter2@" + s.Addr + "?tls=require": "failed the mail server (STARTTLS): it has no TLS [Use its port for smtps",
		"smtp://127.0.0.1:1":                                       "failed the mail server (connect): connection refused [See that ROWBELL_SMTP_URL names the server",
	} {
		got := ""
		for _, f := range app.Doctor(t.Context(), app.Config{SourceURL: db.URL, SMTPURL: url, MailFrom: "rowbell@shop.example"}).Findings {
			if f.Check == "mail" {
				got += string(f.Level) + " " + f.Message + " [" + strings.Join(f.Mend, " ") + "]"
			}
		}
		if want == "" && got != "" || !strings.HasPrefix(got, want) || strings.Contains(got, "hunter") {
			t.Errorf("with %s the doctor says %s", url, got)
		}
	}
	if n := len(s.Mails()); n != 0 {
		t.Errorf("%d mails were sent", n)
	}
}
