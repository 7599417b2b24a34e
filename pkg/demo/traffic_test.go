package demo

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/examples"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// Every step is valid on the shop: each of the opening changes one row of a new one, and
// in time each of the others changes something, for both tenants.
func TestTraffic(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	conn := db.Conn(t)
	if _, err := conn.Exec(t.Context(), examples.Shop, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	seed := pgtest.Rand(t)
	random := rand.New(rand.NewPCG(seed.Uint64(), seed.Uint64()))
	for _, s := range opening {
		if tag, err := conn.Exec(t.Context(), s.sql); err != nil || tag.RowsAffected() != 1 {
			t.Errorf("%s: %d rows, %v", s.sql, tag.RowsAffected(), err)
		}
	}
	changed := make([]int64, len(steps))
	for range 1500 {
		i := pick(random)
		var args []any
		if steps[i].args != nil {
			args = steps[i].args(random)
		}
		tag, err := conn.Exec(t.Context(), steps[i].sql, args...)
		if err != nil {
			t.Fatalf("%s: %v", steps[i].sql, err)
		}
		changed[i] += tag.RowsAffected()
	}
	for i, n := range changed {
		if n == 0 {
			t.Errorf("changed nothing in 1500 steps: %s", steps[i].sql)
		}
	}
	if n := pgtest.One[int64](t, db, "select count(*) from invoices where account_manager is null"); n != 0 {
		t.Errorf("%d invoices without an account manager", n)
	}
	if n := pgtest.One[int64](t, db, "select count(distinct tenant_id) from orders"); n != 2 {
		t.Errorf("orders of %d tenants, want 2", n)
	}
	if most := pgtest.One[float64](t, db, "select max(total)::float8 from orders"); most < 1000 {
		t.Errorf("no order of 1000 or more: the greatest is %v", most)
	}
}

func TestTrafficEnds(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	conn := db.Conn(t)
	if _, err := conn.Exec(t.Context(), examples.Shop, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	tr := &traffic{conn: conn, random: rand.New(rand.NewPCG(1, 2)), pause: time.Millisecond, first: opening}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tr.run(ctx) }()
	pgtest.Eventually(t, pgtest.Patience, "ten changes", func() bool { return tr.changes.Load() >= 10 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := tr.conn.Close(context.Background()); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
