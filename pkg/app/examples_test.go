package app_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rowbell/rowbell/actions/email/mailtest"
	"github.com/rowbell/rowbell/engine/condition"
	shopfiles "github.com/rowbell/rowbell/examples"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

// exampleChanges is what sets off each example, by its id: transactions.
var exampleChanges = map[string][]string{
	"order-approved":      {`insert into orders (tenant_id, customer_id, status, total) values ('acme', 1, 'new', 10)`, `update orders set status = 'approved' where tenant_id = 'acme' and total = 10`},
	"order-cancelled":     {`insert into orders (tenant_id, customer_id, status, total) values ('acme', 1, 'approved', 40), ('acme', 1, 'approved', 4000)`, `update orders set status = 'cancelled' where total in (40, 4000)`},
	"large-order":         {`insert into orders (tenant_id, customer_id, total) values ('globex', 4, 1500)`},
	"credit-raised":       {`update customers set credit_limit = credit_limit + 1 where id = 2`},
	"order-deleted":       {`insert into orders (tenant_id, customer_id, total) values ('globex', 4, 3)`, `delete from orders where total = 3`},
	"invoice-attention":   {`insert into invoices (tenant_id, amount, due_on, account_manager) values ('globex', 2500, '2030-01-01', 'lena')`},
	"invoice-overdue":     {`insert into invoices (tenant_id, amount, due_on, account_manager) values ('globex', 7, '2030-01-01', 'karl')`, `update invoices set status = 'overdue' where amount = 7`},
	"customer-welcome":    {`insert into customers (tenant_id, name, email, city) values ('acme', 'Zoe', 'zoe@customers.example', 'Faro')`},
	"credit-milestone":    {`update customers set credit_limit = 3000 where id = 3`},
	"order-at-risk":       {`insert into orders (tenant_id, customer_id, total) values ('globex', 4, 20)`, `update orders set total = 2500 where total = 20`},
	"night-change":        {`begin; select rowbell.set_actor('eve', array['sales']); update customers set account_manager = 'maria' where id = 2; commit`},
	"invoice-due-soon":    {`insert into invoices (tenant_id, amount, due_on, account_manager) values ('acme', 5, (now() at time zone 'Europe/Lisbon')::date + 1, 'rui')`},
	"approved-by-manager": {`insert into orders (tenant_id, customer_id, total) values ('acme', 1, 600)`, `begin; select rowbell.set_actor('maria'); update orders set status = 'approved' where total = 600; commit`},
	"order-feed":          {`insert into orders (tenant_id, customer_id, total) values ('acme', 1, 1)`},
	"loyalty-points":      {`insert into orders (tenant_id, customer_id, status, total) values ('acme', 1, 'shipped', 8)`, `update orders set status = 'delivered' where total = 8`},
	"payment-failed":      {`select rowbell.emit('payment.failed', '{"order_id": 42, "attempts": 3}', 'globex')`},
}

// Each example in YAML is applied, passes its own tests, and is set off by a real change that
// arrives where it is meant to.
func TestExamplesInYAML(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shopfiles.Shop)
	db.Exec(t, `create table points (customer_id bigint primary key, points int not null);
		create function credit_points(key text, payload jsonb) returns void language sql as $$
			insert into points as p values ((payload -> 'new' ->> 'customer_id')::bigint, (payload -> 'arguments' ->> 'points')::int)
			on conflict (customer_id) do update set points = p.points + excluded.points $$`)
	posts := newPosts(t)
	mails, err := mailtest.Listen(mailtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mails.Close)
	broker, consumed := natsStream(t)
	settings := func(c *app.Config) {
		c.SMTPURL, c.MailFrom = "smtp://"+mails.Addr+"?tls=none", "The shop <shop@example.com>"
		c.NATSURL = broker
		c.DirectoryUsers, c.DirectoryRoleMembers = shopfiles.Users, shopfiles.RoleMembers
		c.DirectoryRoles = "select role from staff_roles join staff on id = staff_id where id = $1 and tenant_id = coalesce($2, tenant_id)"
		c.DirectoryGroupMembers = "select id, name, email from staff where $1 = 'staff' and tenant_id = coalesce($2, tenant_id)"
	}
	w := startWorker(t, db, delivers, settings)
	w.holds(t)
	db.Exec(t, `select rowbell.register_function('credit_points', 'public.credit_points(text,jsonb)', tenant => 'acme')`)

	o, err := app.NewOperator(config(db, delivers, settings), testLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	s, err := o.Workflows()
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := definition.ReadBundle([]string{exampleFiles(t, posts.URL)})
	if err != nil {
		t.Fatal(err)
	}
	if len(bundle.Workflows) != len(exampleChanges) {
		t.Errorf("there are %d workflows, and changes for %d", len(bundle.Workflows), len(exampleChanges))
	}
	shown := make(map[string]bool)
	for _, d := range bundle.Workflows {
		w := &d.Workflow
		firing, err := w.Firing()
		if err != nil {
			t.Error(err)
		}
		shown[string(firing)] = true
		for _, c := range w.Conditions {
			shown[c.Type] = true
		}
		for _, a := range w.Actions {
			shown[a.Type] = true
		}
		for _, r := range w.Recipients {
			shown[r.Type] = true
		}
	}
	wanted := append(condition.Types(), "every", "becomes_true", "once_per_row", "user", "role", "group", "attribute")
	for _, k := range s.Registry.Kinds() {
		wanted = append(wanted, k.Name)
	}
	for _, what := range wanted {
		if !shown[what] {
			t.Errorf("no example shows %s", what)
		}
	}
	plan, err := s.Plan(t.Context(), bundle, definition.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range plan.Steps {
		for _, p := range append(step.Report.Errors, step.Report.Warnings...) {
			if !strings.Contains(p.Message, "a worker captures what it may") {
				t.Errorf("%s: %s", step.File, p)
			}
		}
	}
	for _, step := range plan.Blocked() {
		t.Errorf("%s: %+v", step.File, step.Failed)
	}
	if _, err := s.Apply(t.Context(), plan, "ann"); err != nil {
		t.Fatal(err)
	}
	tested, err := s.TestStored(t.Context(), "", store.WorkflowFilter{})
	if err != nil || len(tested) != len(exampleChanges) {
		t.Errorf("%d workflows have tests, %v", len(tested), err)
	}
	for _, of := range tested {
		if of.Problem != "" || len(of.Failed()) > 0 {
			t.Errorf("%s: %s%+v", of.ID, of.Problem, of.Failed())
		}
	}
	again, err := s.Plan(t.Context(), bundle, definition.PlanOptions{})
	if err != nil || again.Changed() != 0 {
		t.Errorf("a second time there is something to do: %v, %+v", err, again)
	}

	pgtest.Eventually(t, pgtest.Patience, "the workflows to be in order", func() bool {
		return pgtest.One[int](t, db, `select count(*)::int from rowbell.workflow_health where verdict = 'ok'`) == len(exampleChanges) &&
			pgtest.One[int](t, db, `select count(*)::int from rowbell.applied where kind = 'table'`) == 3
	})
	for id, changes := range exampleChanges {
		for _, transaction := range changes {
			db.Exec(t, transaction)
		}
		status := ""
		pgtest.Eventually(t, pgtest.Patience, id+" to be done", func() bool {
			status = pgtest.One[string](t, db, `select coalesce(string_agg(distinct status, ' '), '') from rowbell.workflow_log where workflow_id = $1`, id)
			return status != "" && !strings.Contains(status, "pending")
		})
		if !strings.Contains(status, "success") || strings.Contains(status, "failure") {
			t.Errorf("%s: %s, %s", id, status, pgtest.One[string](t, db, `select coalesce(string_agg(distinct coalesce(error, '') || ' ' || coalesce(result::text, ''), '; '), '') from rowbell.workflow_log where workflow_id = $1`, id))
		}
	}
	// What arrived, where.
	if got := posts.paths(); !slices.Contains(got, "/webhook") || !slices.Contains(got, "/hooks/night") {
		t.Errorf("posted to %v", got)
	}
	inboxes := strings.Join(pgtest.Query[string](t, db, `select distinct recipient_id || ': ' || title from rowbell.notification`), "\n")
	for _, want := range []string{
		"maria: Order ", "lena: Auftrag ", "is at risk", "rui: Invoice ", "rui: Order ", "has credit of 3000", "lena: Payment of order 42 failed 3 times", "lena: Invoice ", " was cancelled",
	} {
		if !strings.Contains(inboxes, want) {
			t.Errorf("nobody has %q in\n%s", want, inboxes)
		}
	}
	var texts []string
	for _, m := range mails.Mails() {
		texts = append(texts, string(m.Raw))
	}
	if all := strings.Join(texts, "\n"); !strings.Contains(all, "over 4000.00 was cancelled") || strings.Contains(all, "over 40.00 was cancelled") {
		t.Errorf("the mails of cancelled orders are\n%s", all)
	}
	if all := strings.Join(texts, "\n"); !strings.Contains(all, "Welcome, Zoe") || !strings.Contains(all, "is overdue") || !strings.Contains(all, "Fragen? Schreiben Sie an") {
		t.Errorf("the mails are\n%s", all)
	}
	if n := pgtest.One[int](t, db, `select coalesce(sum(points), 0)::int from points`); n != 10 {
		t.Errorf("%d points", n)
	}
	if got := consumed(); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "rowbell.acme.orders.create.") }) {
		t.Errorf("published to %v", got)
	}
}

// exampleFiles copies the examples, with another receiver, and with a night that is now.
func exampleFiles(t *testing.T, receiver string) string {
	t.Helper()
	dir := t.TempDir()
	names, err := filepath.Glob("../../examples/workflows/*.yaml")
	if err != nil || len(names) < 13 {
		t.Fatalf("%d examples, %v", len(names), err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.ReplaceAll(string(text), "http://127.0.0.1:8000", receiver)
		if filepath.Base(name) == "night-change.yaml" {
			// Its saved tests are at 23:30 and at 11:00; the rest of the day is night too.
			changed = strings.Replace(changed, `{from: "20:00", to: "06:00"}`, `{from: "11:30", to: "10:30"}`, 1)
			if hour := time.Now().UTC().Add(30 * time.Minute).Format("15"); hour == "10" || hour == "11" {
				changed = strings.Replace(changed, `{from: "11:30", to: "10:30"}`, `{from: "00:00", to: "24:00"}`, 1)
				a, b := strings.Index(changed, "  - name: By day\n"), strings.Index(changed, "  - name: The nightly batch\n")
				changed = changed[:a] + changed[b:]
			}
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// posts is a receiver that remembers which paths were posted to.
type posts struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func newPosts(t *testing.T) *posts {
	t.Helper()
	p := &posts{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seen = append(p.seen, r.URL.Path)
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *posts) paths() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

// natsStream starts a broker with a stream for what tenants publish, and returns its URL and
// what lists the subjects that it has.
func natsStream(t *testing.T) (url string, subjects func() []string) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the broker doesn't start")
	}
	conn, err := natsgo.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ROWBELL", Subjects: []string{"rowbell.>"}})
	if err != nil {
		t.Fatal(err)
	}
	return srv.ClientURL(), func() []string {
		info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(">"))
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for subject := range info.State.Subjects {
			list = append(list, subject)
		}
		return list
	}
}
