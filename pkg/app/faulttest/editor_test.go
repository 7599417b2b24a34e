package faulttest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// editor changes definitions all the while, by plain SQL on the five tables.
type editor struct {
	url      string
	rng      *rand.Rand
	mayBreak bool
	every    time.Duration // on average
	hook     string        // action_config of webhooks
	conn     *pgx.Conn
}

// workflows is how many ids there are: they are used again after a delete.
const workflows = 40

// run makes a few workflows, and edits until ctx ends; it returns nil then.
func (e *editor) run(ctx context.Context) error {
	defer func() { closeConn(e.conn) }()
	edits := 3 * workflows
	for ctx.Err() == nil {
		err := e.edit(ctx, edits)
		if edits = 1 + e.rng.IntN(2); err != nil && ctx.Err() == nil {
			closeConn(e.conn)
			e.conn = nil
			if !e.mayBreak {
				return fmt.Errorf("editor: %w", err)
			}
		}
		_ = pause(ctx, time.Duration(1+e.rng.Int64N(2*int64(e.every))))
	}
	return nil
}

// edit is one transaction of an administrator, with so many edits.
func (e *editor) edit(ctx context.Context, edits int) error {
	if e.conn == nil {
		conn, err := pgx.Connect(ctx, e.url)
		if err != nil {
			return err
		}
		e.conn = conn
	}
	tx, err := e.conn.Begin(ctx)
	if err != nil {
		return err
	}
	for range edits {
		if e.rng.IntN(10) == 0 {
			// A change in the transaction that makes a version: the version doesn't apply to it.
			_, err := tx.Exec(ctx, "insert into tickets (writer, tenant_id, status, total) values (-1, $1, $2, $3)",
				pick(e.rng, tenants), pick(e.rng, statuses), e.rng.IntN(2000))
			if err != nil {
				return err
			}
		}
		if err := e.editOne(ctx, tx, fmt.Sprintf("wf-%02d", e.rng.IntN(workflows))); err != nil {
			return err
		}
	}
	if e.rng.IntN(12) == 0 {
		return tx.Rollback(ctx)
	}
	return tx.Commit(ctx)
}

func (e *editor) editOne(ctx context.Context, tx pgx.Tx, id string) error {
	var status string
	err := tx.QueryRow(ctx, "select status from rowbell.workflow_definition where id = $1", id).Scan(&status)
	switch p := e.rng.IntN(20); {
	case errors.Is(err, pgx.ErrNoRows):
		return e.create(ctx, tx, id)
	case err != nil:
		return err
	case p < 7:
		to := map[string]string{"active": "inactive", "inactive": "active", "draft": "active"}[status]
		_, err = tx.Exec(ctx, "update rowbell.workflow_definition set status = $2 where id = $1", id, to)
	case p < 14: // the trigger's condition becomes another one
		_, err = tx.Exec(ctx, `update rowbell.workflow_trigger set field_conditions = $2, priority = $3
			where workflow_id = $1 and operation <> 'delete'`, id, e.plainConditions(), 1+e.rng.IntN(200))
	case p < 15:
		_, err = tx.Exec(ctx, "update rowbell.workflow_definition set name = name where id = $1", id) // no version
	case p < 16:
		_, err = tx.Exec(ctx, "update rowbell.workflow_definition set name = $2 where id = $1", id, fmt.Sprint("name ", e.rng.Uint32()))
	case p < 18:
		_, err = tx.Exec(ctx, "delete from rowbell.workflow_definition where id = $1", id)
	default: // deleted and made again in one transaction
		if _, err = tx.Exec(ctx, "delete from rowbell.workflow_definition where id = $1", id); err == nil {
			err = e.create(ctx, tx, id)
		}
	}
	return err
}

func (e *editor) create(ctx context.Context, tx pgx.Tx, id string) error {
	var tenant *string
	if e.rng.IntN(4) > 0 {
		s := pick(e.rng, tenants)
		tenant = &s
	}
	status := pick(e.rng, []string{"active", "active", "active", "inactive", "draft"})
	if _, err := tx.Exec(ctx, "insert into rowbell.workflow_definition (id, tenant_id, name, status) values ($1, $2, $1, $3)", id, tenant, status); err != nil {
		return err
	}
	deletes, bare := false, false // bare: of a delete only the key is known
	for range 1 + e.rng.IntN(2) {
		table, op := pick(e.rng, tables), pick(e.rng, []string{"create", "create", "update", "update", "delete"})
		if op == "delete" && table == "orders" && tenant != nil {
			table = "tickets" // the tenant of a deleted order isn't in the WAL
		}
		conditions := e.plainConditions()
		switch {
		case op == "delete" && table == "orders":
			conditions, bare = json.RawMessage(`{}`), true
		case op == "update" && table == "tickets" && e.rng.IntN(2) == 0:
			conditions = jsonOf(map[string]any{"status": map[string]any{"changed_to": pick(e.rng, statuses)}})
		}
		deletes = deletes || op == "delete"
		if _, err := tx.Exec(ctx, `insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions, priority)
			values ($1, $2, $3, $4, $5)`, id, table, op, conditions, 1+e.rng.IntN(200)); err != nil {
			return err
		}
	}
	if !bare && e.rng.IntN(3) == 0 {
		row := "new"
		if deletes {
			row = "row" // the old one of a delete
		}
		expression := fmt.Sprintf("%s.total > %d", row, e.rng.IntN(2000))
		if e.rng.IntN(8) == 0 {
			expression = "new." + noColumn + " == 1" // broken: it never runs
		}
		if _, err := tx.Exec(ctx, `insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config)
			values ($1, 'expression', $2)`, id, jsonOf(map[string]any{"expression": expression})); err != nil {
			return err
		}
	}
	choice := [][]string{{"log"}, {"log"}, {"log"}, {"log"}, {"log"}, {"log"}, {"webhook"}, {"webhook", "log"}, {}}
	if e.hook != "" {
		choice = [][]string{{"log"}, {"webhook"}, {"webhook"}, {"webhook"}, {"webhook", "log"}, {"webhook", "webhook"}, {"log", "webhook", "webhook"}, {}}
	}
	for n, kind := range pick(e.rng, choice) {
		config := `{}`
		if kind == "webhook" {
			config = cmp.Or(e.hook, `{"url": "https://hooks.example.com/rowbell"}`)
			if e.hook != "" { // several destinations: each has limits of its own
				config = strings.Replace(config, "/hook", fmt.Sprintf("/hook/%d", e.rng.IntN(8)), 1)
			}
		}
		if _, err := tx.Exec(ctx, `insert into rowbell.workflow_action (workflow_id, action_type, action_config, "order") values ($1, $2, $3, $4)`,
			id, kind, json.RawMessage(config), n*e.rng.IntN(2)); err != nil {
			return err
		}
	}
	return nil
}

// noColumn is a column that no table has.
const noColumn = "no_such_column"

// plainConditions need the new row only, or the old one of a delete.
func (e *editor) plainConditions() json.RawMessage {
	switch e.rng.IntN(6) {
	case 0:
		return json.RawMessage(`{}`)
	case 1, 2:
		return jsonOf(map[string]any{"status": pick(e.rng, statuses)})
	case 3, 4:
		return jsonOf(map[string]any{"total": map[string]any{"gt": 500 + e.rng.IntN(1500)}})
	}
	return jsonOf(map[string]any{"status": pick(e.rng, statuses), "total": map[string]any{"lte": e.rng.IntN(1500)}})
}

func jsonOf(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return b
}
