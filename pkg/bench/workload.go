package bench

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/store"
)

// workload is WAL that was written, and what is needed to read it again.
type workload struct {
	name   string
	url    string
	events int        // changes of orders
	want   int        // executions that they make, without the end marker's
	mark   change.LSN // before the transaction with the end marker
	end    change.LSN // after it
}

// spec says how a workload's WAL is written.
type spec struct {
	name      string
	events    int
	perTxn    int
	update    bool   // updates with REPLICA IDENTITY FULL instead of inserts
	condition string // field_conditions of the workflow on orders; "" = no workflow
	action    string
	matches   int      // of how many events one matches; 0 none
	to        string   // URL of webhook actions; one where nothing listens by default
	crowd     int      // active workflows on orders besides, of which none matches
	mixed     bool     // they are a mixed set
	among     []string // instead: one workflow for each of these URLs, each with its share of the events
}

const schema = `
create table orders (
	id bigint primary key, tenant_id text not null, status text not null, total numeric(12,2) not null,
	share int not null default 0,
	email text not null, note text not null, created_at timestamptz not null default now(),
	updated_at timestamptz not null default now(), meta jsonb not null);
create table marker (id int primary key, tenant_id text not null);
-- One order in n is status hit; the others are new. n = 0: none.
create procedure fill(events int, per_txn int, n int) language plpgsql as $$
begin
	for i in 0 .. events / per_txn - 1 loop
		insert into orders (id, share, tenant_id, status, total, email, note, meta)
		select k, k % 10, 'tenant-' || k % 50, case when n > 0 and k % n = 0 then 'hit' else 'new' end, k % 10000 + 0.25,
			'customer' || k || '@example.com', repeat('note ', 8) || k, jsonb_build_object('channel', 'web', 'k', k)
		from generate_series(i * per_txn, (i + 1) * per_txn - 1) k;
		commit;
	end loop;
end $$;
create procedure touch(events int, per_txn int) language plpgsql as $$
begin
	for i in 0 .. events / per_txn - 1 loop
		update orders set status = 'paid', updated_at = now() where id between i * per_txn and (i + 1) * per_txn - 1;
		commit;
	end loop;
end $$;`

// prepare makes a database with slot, first load and checkpoint, and writes the WAL.
func prepare(ctx context.Context, server *localpg.Server, s spec) (*workload, error) {
	name := "bench_" + strings.ReplaceAll(s.name, "-", "_")
	if err := execute(ctx, server.URL("postgres"), "create database "+name); err != nil {
		return nil, err
	}
	w := &workload{name: s.name, url: server.URL(name), events: s.events}
	conn, err := pgx.Connect(ctx, w.url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "set synchronous_commit = off; "+schema); err != nil {
		return nil, fmt.Errorf("make the tables: %w", err)
	}
	if s.update {
		for _, sql := range []string{"alter table orders replica identity full", fmt.Sprintf("call fill(%d, 10000, 0)", s.events)} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return nil, fmt.Errorf("%s: %w", sql, err)
			}
		}
	}
	if err := store.Migrate(ctx, w.url, w.url); err != nil {
		return nil, err
	}
	op, err := app.NewOperator(config(w.url), discard)
	if err != nil {
		return nil, err
	}
	defer op.Close()
	if err := op.Prepare(ctx); err != nil {
		return nil, err
	}
	for _, table := range []string{"orders", "marker"} {
		if err := op.Capture(ctx, table, store.CaptureOptions{}); err != nil {
			return nil, err
		}
	}
	if err := define(ctx, conn, "end", "marker", "create", "{}", "log", ""); err != nil {
		return nil, err
	}
	if s.condition != "" {
		operation := "create"
		if s.update {
			operation = "update"
		}
		to := cmp.Or(s.to, "http://127.0.0.1:9/")
		if len(s.among) == 0 {
			if err := define(ctx, conn, "match", "orders", operation, s.condition, s.action, to); err != nil {
				return nil, err
			}
		}
		for i, to := range s.among {
			condition := fmt.Sprintf(`{"share": %d}`, i)
			if err := define(ctx, conn, fmt.Sprint("match", i), "orders", operation, condition, s.action, to); err != nil {
				return nil, err
			}
		}
		w.want = s.events / s.matches
	}
	if s.crowd > 0 {
		if _, err := conn.Exec(ctx, crowd, s.crowd, s.mixed); err != nil {
			return nil, fmt.Errorf("define %d workflows: %w", s.crowd, err)
		}
	}
	if err := op.Start(ctx); err != nil {
		return nil, fmt.Errorf("make the slot and the first checkpoint: %w", err)
	}
	write := fmt.Sprintf("call fill(%d, %d, %d)", s.events, s.perTxn, s.matches)
	if s.update {
		write = fmt.Sprintf("call touch(%d, %d)", s.events, s.perTxn)
	}
	for _, sql := range []string{
		"select pg_copy_logical_replication_slot('rowbell', 'bench_base_" + name + "')",
		"create table bench_checkpoint as select * from rowbell.checkpoint",
		write,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return nil, fmt.Errorf("%s: %w", sql, err)
		}
	}
	if w.mark, err = insertLSN(ctx, conn); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "insert into marker values (1, 'tenant-1')"); err != nil {
		return nil, err
	}
	w.end, err = insertLSN(ctx, conn)
	return w, err
}

func insertLSN(ctx context.Context, conn *pgx.Conn) (change.LSN, error) {
	var lsn string
	if err := conn.QueryRow(ctx, "select pg_current_wal_insert_lsn()::text").Scan(&lsn); err != nil {
		return 0, err
	}
	return change.ParseLSN(lsn)
}

func define(ctx context.Context, conn *pgx.Conn, id, table, operation, conditions, action, to string) error {
	config := "{}"
	if action == "webhook" {
		config = fmt.Sprintf(`{"url": %q, "secret": %q}`, to, benchSecret)
	}
	_, err := conn.Exec(ctx, `with d as (insert into rowbell.workflow_definition (id, name, status) values ($1, $1, 'active')),
	t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ($1, $2, $3, $4::jsonb))
	insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ($1, $5, $6::jsonb)`, id, table, operation, conditions, action, config)
	if err != nil {
		return fmt.Errorf("define workflow %s: %w", id, err)
	}
	return nil
}

// reset puts slot, checkpoint and log back to where the workload's WAL begins.
func (w *workload) reset(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, w.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	// The last run's walsender may still be noticing that its reader has left.
	for busy := true; busy; {
		err := conn.QueryRow(ctx, "select active from pg_replication_slots where slot_name = 'rowbell'").Scan(&busy)
		if err != nil {
			return fmt.Errorf("look at the slot: %w", err)
		}
	}
	for _, sql := range []string{
		"select pg_drop_replication_slot('rowbell')",
		"select pg_copy_logical_replication_slot('bench_base_' || current_database(), 'rowbell')",
		"truncate rowbell.event, rowbell.execution, rowbell.execution_open, rowbell.queue, rowbell.delivery_ended, rowbell.attempt, rowbell.big_transaction",
		"delete from rowbell.checkpoint",
		"insert into rowbell.checkpoint select * from bench_checkpoint",
		"checkpoint",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// count returns how many executions of orders are recorded.
func (w *workload) count(ctx context.Context) (int, error) {
	conn, err := pgx.Connect(ctx, w.url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	var n int
	err = conn.QueryRow(ctx, "select count(*) from rowbell.workflow_log where workflow_id = 'match'").Scan(&n)
	return n, err
}

func execute(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}
