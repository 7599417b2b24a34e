package faulttest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestBigTransaction kills the worker in the middle of a transaction that is far bigger
// than what it keeps in memory, so that it is recorded in parts.
func TestBigTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, migrated(t), binary(t, ""))
	report(t, w)(bigScenario(w, 3*chaos(), 200000))
}

func bigScenario(w *world, kills, rows int) (outcome, error) {
	ctx := w.t.Context()
	w.db.Exec(w.t, `insert into rowbell.workflow_definition (id, name, status) values ('half', 'half', 'active'), ('few', 'few', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions)
			values ('half', 'orders', 'create', '{"total": {"gt": 1000}}'), ('few', 'orders', 'create', '{"status": "approved"}');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config)
			values ('half', 'log', '{}'), ('few', 'webhook', '{"url": "https://hooks.example.com/rowbell"}')`)
	k, err := w.start("big-0")
	if err != nil {
		return outcome{}, err
	}
	if err := w.drain(ctx, patience); err != nil {
		return outcome{}, err
	}
	conn, err := connect(ctx, w.db.URL)
	if err != nil {
		return outcome{}, err
	}
	defer closeConn(conn)
	if _, err = conn.Exec(ctx, `insert into orders (writer, tenant_id, status, total, note)
		select -3, (array['acme', 'globex', 'initech'])[1 + g % 3], case when g % 200 = 0 then 'approved' else 'new' end,
			(g * 7919 % 200000) / 100.0, repeat('x', 60 + g % 50) from generate_series(1, $1) g`, rows); err != nil {
		return outcome{}, err
	}
	inside := 0
	for n := 1; n <= kills; n++ {
		err := w.eventually(ctx, w.state, patience, "the big transaction is recorded in parts", "select exists (select from rowbell.big_transaction)")
		if err == nil {
			// The next part that is recorded shows that this worker has come so far.
			err = w.eventually(ctx, w.state, patience, "the next part of the big transaction is recorded, or its end",
				`select epoch = (select epoch from rowbell.holder where slot = c.slot) and (seq >= 0 and moved_at > $2 or seq < 0)
				from rowbell.checkpoint c where slot = $1`, w.slot, time.Now())
		}
		if err != nil {
			return outcome{}, err
		}
		if err := pause(ctx, w.upTo(200*time.Millisecond)); err != nil {
			return outcome{}, err
		}
		k.kill()
		open, err := w.bigIsOpen(ctx)
		if err != nil {
			return outcome{}, err
		}
		if k, err = w.start(fmt.Sprint("big-", n)); err != nil {
			return outcome{}, err
		}
		if !open {
			break
		}
		inside++
	}
	if inside == 0 {
		return outcome{}, errors.New("no kill was inside the big transaction: it was recorded too fast, make it bigger")
	}
	w.t.Logf("%d kills inside a transaction of %d rows", inside, rows)
	if err := w.drain(ctx, 2*patience); err != nil {
		return outcome{}, err
	}
	if err := k.stop(patience); err != nil {
		return outcome{}, err
	}
	var released int
	if err := conn.QueryRow(ctx, "select count(*) from rowbell.big_transaction where status = 'released'").Scan(&released); err != nil {
		return outcome{}, err
	}
	if released != 1 {
		return outcome{}, fmt.Errorf("%d big transactions are released, want 1", released)
	}
	return w.verify(ctx)
}

// bigIsOpen says that a part of the transaction is recorded, and not its end.
func (w *world) bigIsOpen(ctx context.Context) (open bool, err error) {
	conn, err := connect(ctx, w.db.URL)
	if err != nil {
		return false, err
	}
	defer closeConn(conn)
	err = conn.QueryRow(ctx, "select exists (select from rowbell.big_transaction where status = 'open')").Scan(&open)
	return open, err
}
