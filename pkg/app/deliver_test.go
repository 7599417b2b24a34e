package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// hooks is a receiver of webhooks.
type hooks struct {
	*httptest.Server
	mu     sync.Mutex
	bodies map[string][]string // by webhook-id
	wrong  []string            // requests whose signature was not right
	answer func(id string, n int) int
}

func newHooks(t *testing.T) *hooks {
	t.Helper()
	verify, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	h := &hooks{bodies: make(map[string][]string)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		if err := verify.Verify(body, r.Header); err != nil {
			h.wrong = append(h.wrong, err.Error())
		}
		id := r.Header.Get("webhook-id")
		h.bodies[id] = append(h.bodies[id], string(body))
		if h.answer != nil {
			w.WriteHeader(h.answer(id, len(h.bodies[id])))
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hooks) count() (ids, requests int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.bodies {
		requests += len(b)
	}
	return len(h.bodies), requests
}

// delivers lets a worker send to this machine, with a key for secrets.
func delivers(c *app.Config) {
	c.EgressAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	c.SecretKey = app.Secret("0123456789abcdef0123456789abcdef")
}

// defineHook writes a workflow with a webhook on created orders.
func defineHook(t *testing.T, db *pgtest.Database, id, url, more string) {
	t.Helper()
	config := fmt.Sprintf(`{"url": %q, "secret": %q%s}`, url, hookSecret, more)
	db.Exec(t, `with d as (insert into rowbell.workflow_definition (id, tenant_id, name, status) values ($1, 'acme', 'Workflow ' || $1, 'active')),
		t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ($1, 'orders', 'create'))
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ($1, 'webhook', $2::jsonb)`, id, config)
}

func settled(t *testing.T, db *pgtest.Database, want string) {
	t.Helper()
	got := ""
	pgtest.Eventually(t, pgtest.Patience, "executions to be settled", func() bool {
		got = pgtest.One[string](t, db, `select coalesce(string_agg(status || ' ' || n, ', ' order by status), '') from (select status, count(*) n from rowbell.workflow_log group by 1) s`)
		return got == want
	})
	if got != want {
		t.Fatalf("executions: %s, want %s", got, want)
	}
}

// A row changes, and a webhook is received that the reference library verifies.
func TestWebhookArrives(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	h.answer = func(_ string, n int) int {
		if n == 1 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}
	w := startWorker(t, db, delivers)
	w.holds(t)
	defineHook(t, db, "hook", h.URL+"/in", `, "retry": ["10ms"]`)
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 12.50), ('acme', 1), ('globex', 2)`)
	settled(t, db, "success 2")
	if ids, requests := h.count(); ids != 2 || requests != 4 || len(h.wrong) != 0 {
		t.Errorf("%d ids in %d requests; not verified: %q", ids, requests, h.wrong)
	}
	for id, bodies := range h.bodies {
		if bodies[0] != bodies[1] {
			t.Errorf("%s had two bodies:\n%s\n%s", id, bodies[0], bodies[1])
		}
		if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.delivery_attempt where delivery_id = $1`, id); n != 2 {
			t.Errorf("%s has %d attempts in the log", id, n)
		}
		if !strings.Contains(bodies[0], `"type":"orders.create"`) {
			t.Errorf("the body is %s", bodies[0])
		}
	}
	// The secret is sealed, and stands nowhere in the clear.
	pgtest.Eventually(t, pgtest.Patience, "the secret to be sealed", func() bool {
		return pgtest.One[bool](t, db, `select bool_and(plain is null and sealed is not null and position(convert_to($1, 'UTF8') in sealed) = 0) from rowbell.secret`, hookSecret)
	})
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	settled(t, db, "success 3")
	if len(h.wrong) != 0 {
		t.Errorf("with the sealed secret: %q", h.wrong)
	}
}

// On hold everything is recorded and nothing is sent; turned on, what has gathered is.
func TestHoldThenOn(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	w := startWorker(t, db, delivers, func(c *app.Config) { c.Delivery = app.DeliveryHold })
	w.holds(t)
	defineHook(t, db, "hook", h.URL, "")
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) select 'acme' from generate_series(1, 20)`)
	logged(t, db, "hook", 20)
	if ready := w.ready(t); !strings.Contains(ready, "on hold") {
		t.Errorf("/readyz doesn't say that deliveries are on hold: %s", ready)
	}
	if got := db.QueryString(t, `select string_agg(state || attempts || coalesce(lease_by, ''), ' ') from (select distinct state, attempts, lease_by from rowbell.delivery) d`); got != "ready0" {
		t.Errorf("deliveries are %q", got)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if ids, _ := h.count(); ids != 0 {
		t.Errorf("%d webhooks were sent on hold", ids)
	}
	startWorker(t, db, delivers)
	settled(t, db, "success 20")
	if ids, requests := h.count(); ids != 20 || requests != 20 {
		t.Errorf("%d ids in %d requests", ids, requests)
	}
}

// Redirected, everything goes to one receiver and nothing to where it was meant to go,
// nor into anybody's inbox.
func TestRedirect(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	meant, sink := newHooks(t), newHooks(t)
	w := startWorker(t, db, delivers, func(c *app.Config) {
		c.Delivery, c.EgressAllow = app.DeliveryMode("redirect:"+sink.URL+"/all"), nil
	})
	w.holds(t)
	defineHook(t, db, "hook", strings.Replace(meant.URL, "http://", "https://", 1), `, "headers": {"authorization": "Bearer x"}`)
	defineInbox(t, db, "inbox", "ann")
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	settled(t, db, "success 2")
	if ids, _ := meant.count(); ids != 0 {
		t.Errorf("%d went where they were meant to go", ids)
	}
	if ids, requests := sink.count(); ids != 2 || requests != 2 {
		t.Errorf("the receiver got %d ids in %d requests, want 2", ids, requests)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.notification`); n != 0 {
		t.Errorf("%d notifications", n)
	}
	if ready := w.ready(t); !strings.Contains(ready, "one receiver") {
		t.Errorf("/readyz doesn't say that deliveries are redirected: %s", ready)
	}
}

// defineInbox writes a workflow that notifies a user of created orders.
func defineInbox(t *testing.T, db *pgtest.Database, id, user string) {
	t.Helper()
	db.Exec(t, `with d as (insert into rowbell.workflow_definition (id, tenant_id, name, status) values ($1, 'acme', 'Workflow ' || $1, 'active')),
		t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ($1, 'orders', 'create')),
		r as (insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ($1, 'user', $2), ($1, 'attribute', 'note'))
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ($1, 'notification', '{"title": "A new order"}')`, id, user)
}

func TestInbox(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db, delivers)
	w.holds(t)
	defineInbox(t, db, "inbox", "ann")
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, note) values ('acme', 'ben'), ('acme', null), ('acme', 'ann')`)
	settled(t, db, "success 3")
	if got := db.QueryString(t, `select string_agg(recipient_id || n, ' ' order by 1) from (select recipient_id, count(*) n from rowbell.notification where title = 'A new order' and tenant_id = 'acme' group by 1) x`); got != "ann3 ben1" {
		t.Errorf("the inboxes have %s", got)
	}
}

// A workflow that is turned off stops within a moment: what waits for its next try is
// cancelled, and stays so when it is turned on again.
func TestTurnedOff(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	h.answer = func(string, int) int { return http.StatusInternalServerError }
	w := startWorker(t, db, delivers)
	w.holds(t)
	defineHook(t, db, "hook", h.URL, `, "retry": ["1h"]`)
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) select 'acme' from generate_series(1, 5)`)
	pgtest.Eventually(t, pgtest.Patience, "first tries", func() bool {
		return pgtest.One[int](t, db, `select count(*)::int from rowbell.delivery where attempts = 1`) == 5
	})
	off := time.Now()
	db.Exec(t, `update rowbell.workflow_definition set status = 'inactive'`)
	settled(t, db, "cancelled 5")
	if took := time.Since(off); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	if got := db.QueryString(t, `select string_agg(distinct error, ' ') from rowbell.workflow_log`); got != "the workflow was turned off" {
		t.Errorf("they say %q", got)
	}
	db.Exec(t, `update rowbell.workflow_definition set status = 'active'`)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	settled(t, db, "cancelled 5, pending 1")
}

// Without a key, or with another one, a workflow with a secret says what to do.
func TestSecretKey(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	none := func(c *app.Config) { c.SecretKey = nil }
	w := startWorker(t, db, delivers, none)
	w.holds(t)
	defineHook(t, db, "hook", h.URL, `, "retry": ["1h"]`)
	verdict := func() string {
		return db.QueryString(t, `select coalesce((select verdict || ' ' || message from rowbell.workflow_health where workflow_id = 'hook'), '')`)
	}
	pgtest.Eventually(t, pgtest.Patience, "the workflow to be broken", func() bool { return strings.HasPrefix(verdict(), "broken") })
	if !strings.Contains(verdict(), "ROWBELL_SECRET_KEY") {
		t.Errorf("it says %q", verdict())
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, db, delivers)
	w.holds(t)
	pgtest.Eventually(t, pgtest.Patience, "the secret to be sealed and the workflow in order", func() bool {
		return strings.HasPrefix(verdict(), "ok") && pgtest.One[bool](t, db, `select bool_and(plain is null) from rowbell.secret`)
	})
	captured(t, db)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, db, delivers, func(c *app.Config) { c.SecretKey = app.Secret("ffffffffffffffffffffffffffffffff") })
	w.holds(t)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	pgtest.Eventually(t, pgtest.Patience, "a try", func() bool {
		return pgtest.One[int](t, db, `select count(*)::int from rowbell.delivery where attempts = 1`) == 1
	})
	if got := db.QueryString(t, `select error from rowbell.delivery`); !strings.Contains(got, "another ROWBELL_SECRET_KEY") {
		t.Errorf("the delivery says %q", got)
	}
	if ids, _ := h.count(); ids != 0 {
		t.Errorf("%d webhooks were sent unsigned", ids)
	}
}

// A transaction that is recorded in parts is delivered once it has ended.
func TestBigTransactionIsDelivered(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db, delivers)
	w.holds(t)
	h := newHooks(t)
	defineHook(t, db, "hook", h.URL, "")
	db.Exec(t, `update rowbell.workflow_trigger set field_conditions = '{"status": "hit"}'`)
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, status, note) select 'acme', case when n % 1000 = 0 then 'hit' else 'new' end, repeat('x', 500) from generate_series(1, 40000) n`)
	settled(t, db, "success 40")
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.big_transaction where status = 'released'`); n != 1 {
		t.Errorf("%d big transactions, want 1: the test is too small", n)
	}
	if ids, requests := h.count(); ids != 40 || requests != 40 {
		t.Errorf("%d ids in %d requests", ids, requests)
	}
}

// Two workers share the queue, also of what only one of them reads.
func TestTwoWorkersDeliver(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	unguarded := func(c *app.Config) { delivers(c); c.StormTransaction = app.StormOff }
	one := startWorker(t, db, unguarded)
	one.holds(t)
	defineHook(t, db, "hook", h.URL, "")
	captured(t, db)
	two := startWorker(t, db, unguarded)
	db.Exec(t, `insert into orders (tenant_id) select 'acme' from generate_series(1, 3000)`)
	settled(t, db, "success 3000")
	if ids, requests := h.count(); ids != 3000 || requests != 3000 {
		t.Errorf("%d ids in %d requests", ids, requests)
	}
	for _, w := range []*worker{one, two} {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	}
}

// What the manual of actions shows can be written as it stands, and makes a workflow that
// is in order.
func TestActionsManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/actions.md")
	if err != nil {
		t.Fatal(err)
	}
	db := migrated(t)
	db.Exec(t, shop)
	db.Exec(t, `alter table orders add account_manager text, add customer_email text`)
	w := startWorker(t, db, delivers, func(c *app.Config) {
		c.Delivery = app.DeliveryHold
		c.SMTPURL, c.MailFrom, c.NATSURL = "smtp://127.0.0.1:1", "rowbell@shop.example", "nats://127.0.0.1:4222" // nothing is sent
		c.DirectoryRoleMembers, c.DirectoryGroupMembers = `select $1 || $2 as id`, `select $1 || $2 as id`
	})
	w.holds(t)
	define(t, db, "large-order", "acme", "create", `{}`, "log")
	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 4 {
		t.Fatalf("%d blocks of SQL", len(blocks))
	}
	conn := db.Conn(t)
	for _, b := range blocks {
		if _, err := conn.Exec(t.Context(), b[1], pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", b[1], err)
		}
	}
	got := ""
	pgtest.Eventually(t, pgtest.Patience, "a verdict on the last version", func() bool {
		got = db.QueryString(t, `select coalesce((select verdict || ' ' || message from rowbell.workflow_health h join rowbell.workflow_definition d on d.id = h.workflow_id and d.version = h.version), '')`)
		return got != ""
	})
	if got != "ok " {
		t.Errorf("the workflow is %s", got)
	}
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, account_manager) values ('acme', 'ben')`)
	logged(t, db, "large-order", 1)
	if got := db.QueryString(t, `select string_agg(kind, ' ' order by kind) from rowbell.delivery`); got != "chat email email function log notification publish webhook" {
		t.Errorf("deliveries: %s", got)
	}
}
