package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// traffic is the shop at work: customers order, clerks approve and ship, invoices are
// paid or aren't. It is what an application would do, and knows nothing of Rowbell.
type traffic struct {
	conn    *pgx.Conn
	random  *rand.Rand
	pause   time.Duration // between two changes, on average
	first   []step        // what run does before it leaves things to chance
	changes atomic.Int64  // made so far
}

func newTraffic(conn *pgx.Conn, pause time.Duration) *traffic {
	return &traffic{conn: conn, random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), pause: pause}
}

// step is something that happens in the shop.
type step struct {
	weight int
	sql    string
	args   func(*rand.Rand) []any // nil: it has none
}

// cents is an amount between two, with two decimals, most of them small.
func cents(r *rand.Rand, least, most int) string {
	share := r.Float64() * r.Float64()
	n := least*100 + int(share*float64((most-least)*100))
	return fmt.Sprintf("%d.%02d", n/100, n%100)
}

var steps = []step{
	{
		30, `insert into orders (tenant_id, customer_id, total)
		select tenant_id, id, $1::numeric from customers order by random() limit 1`,
		func(r *rand.Rand) []any { return []any{cents(r, 15, 2400)} },
	},
	{26, `update orders set status = 'approved' where id = (select id from orders where status = 'new' order by random() limit 1)`, nil},
	{18, `with shipped as (
		update orders set status = 'shipped' where id = (select id from orders where status = 'approved' order by random() limit 1)
		returning id, tenant_id, customer_id, total)
		insert into invoices (tenant_id, order_id, account_manager, amount, due_on)
		select s.tenant_id, s.id, c.account_manager, s.total, current_date + 14 from shipped s join customers c on c.id = s.customer_id`, nil},
	{12, `update orders set status = 'delivered' where id = (select id from orders where status = 'shipped' order by random() limit 1)`, nil},
	{10, `update invoices set status = 'paid' where id = (select id from invoices where status <> 'paid' order by random() limit 1)`, nil},
	{4, `update invoices set status = 'overdue' where id = (select id from invoices where status = 'open' order by random() limit 1)`, nil},
	{4, `update orders set status = 'cancelled' where id = (select id from orders where status = 'new' order by random() limit 1)`, nil},
	{
		4, `update customers set credit_limit = credit_limit + $1 where id = (select id from customers order by random() limit 1)`,
		func(r *rand.Rand) []any { return []any{[]int{-200, -100, 100, 250, 500}[r.IntN(5)]} },
	},
	{
		2, `insert into customers (tenant_id, name, email, city, account_manager)
		select case when n < 60 then 'acme' else 'globex' end, 'Customer ' || n, 'customer' || n || '@shop.example', 'Porto', case when n < 60 then 'rui' else 'lena' end
		from (select $1::int as n) x`,
		func(r *rand.Rand) []any { return []any{r.IntN(90) + 10} },
	},
	{
		3, `update customers set city = $1 where id = (select id from customers order by random() limit 1)`,
		func(r *rand.Rand) []any {
			return []any{[]string{"Lisbon", "Porto", "Braga", "Hamburg", "Bremen", "Kiel"}[r.IntN(6)]}
		},
	},
	{
		4, `update orders set note = $1 where id = (select id from orders order by random() limit 1)`,
		func(r *rand.Rand) []any {
			return []any{[]string{"call before delivery", "gift wrap", "leave at the door"}[r.IntN(3)]}
		},
	},
	{3, `delete from orders where id = (select id from orders where status in ('new', 'approved', 'cancelled') order by random() limit 1)`, nil},
}

// opening is what happens first, so that each workflow is seen soon. None of it needs
// more than the shop has from the start.
var opening = []step{
	{sql: `insert into orders (tenant_id, customer_id, total) select tenant_id, id, 129.90 from customers where tenant_id = 'acme' order by random() limit 1`},
	{sql: `update orders set status = 'approved' where id = (select max(id) from orders where tenant_id = 'acme' and status = 'new')`},
	{sql: `insert into orders (tenant_id, customer_id, total) select tenant_id, id, 1480.00 from customers where tenant_id = 'globex' order by random() limit 1`},
	{sql: `update customers set credit_limit = credit_limit + 250 where id = (select id from customers where tenant_id = 'acme' order by random() limit 1)`},
	{sql: `insert into orders (tenant_id, customer_id, total) select tenant_id, id, 64.50 from customers where tenant_id = 'acme' order by random() limit 1`},
	{sql: `update orders set status = 'approved' where id = (select max(id) from orders where tenant_id = 'acme' and status = 'new')`},
	{sql: `insert into invoices (tenant_id, account_manager, amount, due_on) select tenant_id, account_manager, 2350.00, current_date + 14 from customers order by random() limit 1`},
	{sql: `insert into customers (tenant_id, name, email, city, account_manager) values ('acme', 'Ole Lund', 'ole@lund.example', 'Braga', 'rui')`},
	{sql: `insert into invoices (tenant_id, account_manager, amount, due_on) values ('globex', 'lena', 310.00, current_date - 1)`},
	{sql: `update invoices set status = 'overdue' where id = (select max(id) from invoices where status = 'open' and tenant_id = 'globex')`},
	{sql: `delete from orders where id = (select max(id) from orders where tenant_id = 'globex' and status = 'new')`},
}

// pick chooses a step by weight.
func pick(r *rand.Rand) int {
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	n := r.IntN(total)
	for i, s := range steps {
		if n -= s.weight; n < 0 {
			return i
		}
	}
	return len(steps) - 1
}

// run lets things happen until ctx ends.
func (t *traffic) run(ctx context.Context) error {
	for {
		// Between half the pause and one and a half, so that it doesn't tick.
		wait := time.Duration(float64(t.pause) * (0.5 + t.random.Float64()))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		s := steps[pick(t.random)]
		if len(t.first) > 0 {
			s, t.first = t.first[0], t.first[1:]
		}
		if err := t.do(ctx, s); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// do lets one thing happen.
func (t *traffic) do(ctx context.Context, s step) error {
	var args []any
	if s.args != nil {
		args = s.args(t.random)
	}
	tag, err := t.conn.Exec(ctx, s.sql, args...)
	if err != nil {
		return fmt.Errorf("the shop's traffic: %w", err)
	}
	t.changes.Add(tag.RowsAffected())
	return nil
}
