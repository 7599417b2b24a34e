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
	switch p := e.rng.IntN(21); {
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
	case p < 15: // the same where the old row is known
		_, err = tx.Exec(ctx, `update rowbell.workflow_trigger t set field_conditions = $2 from rowbell.workflow_definition d
			where t.workflow_id = $1 and d.id = $1 and d.settings ->> 'firing' <> 'becomes_true' and t.operation = 'update' and t.entity_type = 'tickets'`, id, e.changes())
	case p < 16:
		_, err = tx.Exec(ctx, "update rowbell.workflow_definition set name = name where id = $1", id) // no version
	case p < 17:
		_, err = tx.Exec(ctx, "update rowbell.workflow_definition set name = $2 where id = $1", id, fmt.Sprint("name ", e.rng.Uint32()))
	case p < 19:
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
	firing := pick(e.rng, []string{"every", "every", "every", "every", "becomes_true", "becomes_true", "once_per_row"})
	if _, err := tx.Exec(ctx, "insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values ($1, $2, $1, $3, $4)",
		id, tenant, status, jsonOf(map[string]any{"firing": firing})); err != nil {
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
		case firing == "becomes_true":
			if op == "delete" {
				op = "update"
			}
			if op == "update" {
				table = "tickets" // what an order was before is not in the WAL
			}
		case firing == "every" && e.rng.IntN(5) == 0:
			table, op = "domain:"+pick(e.rng, domains), "create"
		case op == "delete" && table == "orders":
			conditions, bare = json.RawMessage(`{}`), true
		case op == "update" && table == "tickets" && e.rng.IntN(2) == 0:
			conditions = e.changes()
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
	if e.rng.IntN(4) == 0 {
		kind, config := e.timeOrRole()
		if _, err := tx.Exec(ctx, `insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values ($1, $2, $3)`, id, kind, config); err != nil {
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
	switch e.rng.IntN(8) {
	case 0:
		return json.RawMessage(`{}`)
	case 1:
		return jsonOf(map[string]any{"any": []any{e.comparison(), e.comparison()}})
	case 2:
		return jsonOf(map[string]any{"not": e.comparison(), "status": map[string]any{"ne": pick(e.rng, statuses)}})
	case 3:
		return jsonOf(map[string]any{"all": []any{e.comparison(), map[string]any{"not": map[string]any{"any": []any{e.comparison(), e.comparison()}}}}})
	}
	return jsonOf(e.comparison())
}

// comparison is one of a column or two.
func (e *editor) comparison() map[string]any {
	status := func() any {
		some := []string{pick(e.rng, statuses), pick(e.rng, statuses)}
		return pick(e.rng, []any{
			some[0], some[0],
			map[string]any{"in": some},
			map[string]any{"not_in": some},
			map[string]any{"ne": some[0]},
			map[string]any{"starts_with": some[0][:1]},
			map[string]any{"contains": some[0][1:3]},
		})
	}
	total := func() any {
		n := e.rng.IntN(2000)
		return pick(e.rng, []any{
			map[string]any{pick(e.rng, []string{"gt", "gte", "lt", "lte"}): n},
			map[string]any{"between": []int{n, n + e.rng.IntN(800)}},
			map[string]any{"gt": n, "lt": n + e.rng.IntN(800)},
		})
	}
	switch e.rng.IntN(4) {
	case 0:
		return map[string]any{"total": total()}
	case 1:
		return map[string]any{"status": status(), "total": total()}
	}
	return map[string]any{"status": status()}
}

// changes need the old row too.
func (e *editor) changes() json.RawMessage {
	some := []string{pick(e.rng, statuses), pick(e.rng, statuses)}
	c := pick(e.rng, []map[string]any{
		{"status": map[string]any{"changed_to": some[0]}},
		{"status": map[string]any{"changed_to": some}},
		{"status": map[string]any{"changed_from": some[0]}},
		{"status": map[string]any{"changed": true}, "total": map[string]any{"changed": false}},
		{"any_changed": []string{"status", "total"}},
		{"any_changed": []string{"total", "note"}},
		{"any_changed": []string{"note"}},
		{"not": map[string]any{"any_changed": []string{"status"}}},
	})
	if e.rng.IntN(3) == 0 {
		c["any"] = []any{e.comparison(), e.comparison()}
	}
	return jsonOf(c)
}

// zones are those of time_based conditions.
var zones = []string{"UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"}

// timeOrRole is a condition about when a change happens, perhaps one that begins or ends
// to hold within minutes, or about who makes it.
func (e *editor) timeOrRole() (kind string, config json.RawMessage) {
	some := []string{pick(e.rng, roles), pick(e.rng, roles)}
	if e.rng.IntN(2) == 0 {
		return "role_based", jsonOf(pick(e.rng, []map[string]any{
			{"roles": some},
			{"all_roles": some},
			{"not_roles": some},
			{"actors": []string{pick(e.rng, actors)}},
			{"not_actors": []string{pick(e.rng, actors)}},
			{"attributes": map[string]any{"level": map[string]any{"gte": e.rng.IntN(6)}}},
			{"roles": some, "not_actors": []string{pick(e.rng, actors)}},
		}))
	}
	name := pick(e.rng, zones)
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err) // Go has them all
	}
	at := func(minutes int) string {
		return time.Now().In(zone).Add(time.Duration(minutes) * time.Minute).Format("15:04")
	}
	day := func(days int) string { return time.Now().In(zone).AddDate(0, 0, days).Format("2006-01-02") }
	weekday := func(days int) string { return strings.ToLower(time.Now().In(zone).AddDate(0, 0, days).Format("Mon")) }
	c := pick(e.rng, []map[string]any{
		{"hours": map[string]any{"from": at(-1 - e.rng.IntN(2)), "to": at(1)}},
		{"hours": map[string]any{"from": at(1), "to": at(30)}},
		{"hours": []any{map[string]any{"from": at(-5), "to": at(0)}, map[string]any{"from": at(0), "to": at(700)}}},
		{"days": []string{weekday(0), weekday(1)}},
		{"days": []string{weekday(2)}},
		{"dates": map[string]any{"from": day(0), "to": day(1)}},
		{"dates": map[string]any{"from": day(1)}},
		{"holidays": []string{day(0)}, "on_holidays": true},
		{"holidays": []string{day(0), day(1)[5:]}},
		{"days": []string{weekday(0)}, "hours": map[string]any{"from": at(-3), "to": at(3)}},
	})
	if name != "UTC" || e.rng.IntN(2) == 0 {
		c["zone"] = name
	}
	return "time_based", jsonOf(c)
}

func jsonOf(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return b
}
