package faulttest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// execution is what is compared of one: which version ran for which event, and the
// values by which the event can be told from others.
type execution struct {
	XID      uint64
	Seq      int32
	Side     int32 // 1: the create half of a change of tenant
	Workflow string
	Version  int32
	Op       string
	Table    string
	Row      string
	Tenant   string
	Actor    string // of the transaction
	Status   string // of the row
	Total    string
	Outcome  string
}

func (x execution) String() string {
	return fmt.Sprintf("%s v%d on %s of %s %s (tenant %q, actor %q, status %q, total %s): %s; xid %d, seq %d, side %d",
		x.Workflow, x.Version, x.Op, x.Table, x.Row, x.Tenant, x.Actor, x.Status, x.Total, x.Outcome, x.XID, x.Seq, x.Side)
}

// commits is the order of commits, as the independent slot tells it.
type commits struct {
	order []commit
	byXID map[uint64]int
}

type commit struct {
	xid uint64
	end uint64 // LSN of the end of its commit record
	at  time.Time
}

// oracleSlotSQL makes the slot; it must be there before anything that counts.
const oracleSlotSQL = "select pg_create_logical_replication_slot($1, 'test_decoding')"

// readCommits reads the slot without consuming it.
func readCommits(ctx context.Context, conn *pgx.Conn, slot string) (*commits, error) {
	if _, err := conn.Exec(ctx, "set timezone = 'UTC'"); err != nil {
		return nil, err
	}
	// COMMIT 740 (at 2026-01-31 10:00:00.123456+00)
	rows, err := conn.Query(ctx, `select lsn - '0/0'::pg_lsn, split_part(data, ' ', 2)::bigint, substring(data from '\(at (.*)\)')::timestamptz
		from pg_logical_slot_peek_changes($1, null, null, 'include-xids', '1', 'include-timestamp', '1') with ordinality c (lsn, xid, data, n)
		where data like 'COMMIT %' order by n`, slot)
	if err != nil {
		return nil, err
	}
	c := &commits{byXID: map[uint64]int{}}
	var end, xid int64
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&end, &xid, &at}, func() error {
		c.byXID[uint64(xid)] = len(c.order)
		c.order = append(c.order, commit{uint64(xid), uint64(end), at})
		return nil
	})
	return c, err
}

// transactionAt says whose commit record starts at lsn.
func (c *commits) transactionAt(lsn uint64) (uint64, bool) {
	i, _ := slices.BinarySearchFunc(c.order, lsn, func(k commit, lsn uint64) int {
		if k.end <= lsn {
			return -1
		}
		return 1
	})
	if i == len(c.order) {
		return 0, false
	}
	return c.order[i].xid, true
}

// record is a row of the application, as the audit table has it.
type record struct {
	ID     json.Number `json:"id"`
	Tenant string      `json:"tenant_id"`
	Status string      `json:"status"`
	Total  json.Number `json:"total"`
	Note   string      `json:"note"` // a hash of it
}

// actor is whom a transaction acts for.
type actor struct {
	ID         string         `json:"id"`
	Roles      []string       `json:"roles"`
	Attributes map[string]int `json:"attributes"`
	Skip       bool           `json:"skip"`
}

// rowChange is one row of the audit table.
type rowChange struct {
	table, op string
	old, new  *record
}

// definition is the part of a version's document that the oracle understands: the
// conditions that the editor writes.
type definition struct {
	version  int32
	Tenant   *string `json:"tenant_id"`
	Status   string  `json:"status"`
	Settings struct {
		Firing string `json:"firing"`
	} `json:"settings"`
	Triggers []struct {
		Table      string `json:"entity_type"`
		Op         string `json:"operation"`
		Conditions form   `json:"field_conditions"`
	} `json:"triggers"`
	Conditions []struct {
		Type   string `json:"condition_type"`
		Config config `json:"condition_config"`
	} `json:"conditions"`
	Actions []struct {
		Type string `json:"action_type"`
	} `json:"actions"`
}

// transaction is what one transaction did that matters here.
type transaction struct {
	changes  []rowChange
	actor    *actor // the last that it named; nil: none
	versions []versionRow
	captures []captureRow
}

type versionRow struct {
	workflow   string
	definition *definition // nil: deleted
}

type captureRow struct {
	table   string
	fromXID uint64
}

// history is everything that decides about executions.
type history struct {
	commits *commits
	before  transaction // what the first load's snapshot saw: definitions only
	by      map[uint64]*transaction
	count   int // of versions

	deleted map[string]bool  // workflows that were, at some time
	fired   map[firing]place // of once_per_row: where each row fired first
	seen    map[string]int   // how often each thing that is worth testing came
}

// firing is what rowbell.fired has a row for.
type firing struct{ workflow, table, row string }

// place is where an event stands.
type place struct {
	xid       uint64
	seq, side int32
}

// worthTesting are the keys of history.seen that a long scenario must have come across.
var worthTesting = []string{
	"becomes_true fires", "becomes_true held it back", "once_per_row fires", "once_per_row fires again", "a domain event", "an update that changed nothing", "a skipped change",
	"a time_based condition holds", "a time_based condition doesn't", "a role_based condition holds", "a role_based condition doesn't", "any_changed",
}

func (h *history) of(xid uint64, seen bool) *transaction {
	if seen {
		return &h.before
	}
	if h.by[xid] == nil {
		h.by[xid] = &transaction{}
	}
	return h.by[xid]
}

// readHistory reads it from the application's database. snapshot is that of the first
// load, as the checkpoint has it.
func readHistory(ctx context.Context, conn *pgx.Conn, oracleSlot, snapshot string) (*history, error) {
	h := &history{by: map[uint64]*transaction{}}
	var err error
	if h.commits, err = readCommits(ctx, conn, oracleSlot); err != nil {
		return nil, fmt.Errorf("oracle: read the order of commits: %w", err)
	}
	rows, err := conn.Query(ctx, `select xmin::text::bigint, pg_visible_in_snapshot(xmin::text::xid8, $1::text::pg_snapshot),
		workflow_id, version, coalesce(document::text, '') from rowbell.workflow_version order by workflow_id, version`, snapshot)
	if err != nil {
		return nil, err
	}
	var xid int64
	var seen bool
	var workflow, document string
	var version int32
	if _, err = pgx.ForEachRow(rows, []any{&xid, &seen, &workflow, &version, &document}, func() error {
		if _, ok := h.commits.byXID[uint64(xid)]; !ok {
			return fmt.Errorf("oracle: version %d of %s was written by xid %d, which the slot has not seen commit", version, workflow, xid)
		}
		v := versionRow{workflow: workflow}
		if document != "" {
			v.definition = &definition{version: version}
			if err := json.Unmarshal([]byte(document), v.definition); err != nil {
				return fmt.Errorf("oracle: version %d of %s: %w", version, workflow, err)
			}
		}
		h.count++
		t := h.of(uint64(xid), seen)
		t.versions = append(t.versions, v)
		return nil
	}); err != nil {
		return nil, err
	}

	rows, err = conn.Query(ctx, `select xmin::text::bigint, pg_visible_in_snapshot(xmin::text::xid8, $1::text::pg_snapshot), label, from_xid::text::bigint
		from rowbell.captured_table order by label, version`, snapshot)
	if err != nil {
		return nil, err
	}
	var label string
	var from int64
	if _, err = pgx.ForEachRow(rows, []any{&xid, &seen, &label, &from}, func() error {
		t := h.of(uint64(xid), seen)
		t.captures = append(t.captures, captureRow{label, uint64(from)})
		return nil
	}); err != nil {
		return nil, err
	}

	rows, err = conn.Query(ctx, `select xid::text::bigint, tab, op, coalesce(old_row::text, ''), coalesce(new_row::text, '')
		from change_log where not pg_visible_in_snapshot(xid, $1::text::pg_snapshot) order by n`, snapshot)
	if err != nil {
		return nil, err
	}
	var table, op, oldRow, newRow string
	_, err = pgx.ForEachRow(rows, []any{&xid, &table, &op, &oldRow, &newRow}, func() error {
		if _, ok := h.commits.byXID[uint64(xid)]; !ok {
			return fmt.Errorf("oracle: the application changed %s in xid %d, which the slot has not seen commit", table, xid)
		}
		t := h.of(uint64(xid), false)
		if table == "context" {
			t.actor = &actor{}
			return json.Unmarshal([]byte(newRow), t.actor)
		}
		c := rowChange{table: table, op: op}
		for _, r := range []struct {
			text string
			to   **record
		}{{oldRow, &c.old}, {newRow, &c.new}} {
			if r.text == "" {
				continue
			}
			*r.to = &record{}
			if err := json.Unmarshal([]byte(r.text), *r.to); err != nil {
				return fmt.Errorf("oracle: change_log: %w", err)
			}
		}
		t.changes = append(t.changes, c)
		return nil
	})
	return h, err
}

// expected goes through the transactions in the order of their commits. A version
// applies to those that commit after its own.
func (h *history) expected() map[execution]int {
	want := map[execution]int{}
	h.deleted, h.fired, h.seen = map[string]bool{}, map[firing]place{}, map[string]int{}
	active := map[string]*definition{}
	captured := map[string]uint64{}
	take := func(xid uint64, at time.Time, t *transaction) {
		var seq int32
		for _, c := range t.changes {
			if from, ok := captured[c.table]; c.op != "emit" && (!ok || xid < from) {
				continue
			}
			for _, e := range c.events() {
				e.actor, e.at = t.actor, at
				// What these are about has a seq, and nobody is to know.
				if t.actor != nil && t.actor.Skip {
					h.seen["a skipped change"]++
					break
				}
				if c.idle() {
					h.seen["an update that changed nothing"]++
					break
				}
				for workflow, d := range active {
					if d.matches(e, h.seen) {
						want[e.execution(xid, seq, workflow, d)]++
						h.note(e, d, place{xid, seq, e.side}, workflow)
					}
				}
			}
			seq++
		}
		for _, v := range t.versions {
			if delete(active, v.workflow); v.definition != nil {
				active[v.workflow] = v.definition
			} else {
				h.deleted[v.workflow] = true
			}
		}
		for _, c := range t.captures {
			captured[c.table] = c.fromXID
		}
	}
	take(0, time.Time{}, &h.before)
	for _, c := range h.commits.order {
		if t := h.by[c.xid]; t != nil {
			take(c.xid, c.at, t)
		}
	}
	return want
}

// note counts an execution among what is worth testing, and keeps where rows fired first.
func (h *history) note(e event, d *definition, at place, workflow string) {
	if e.op == "emit" {
		h.seen["a domain event"]++
	}
	switch d.Settings.Firing {
	case "becomes_true":
		h.seen["becomes_true fires"]++
	case "once_per_row":
		f := firing{workflow, e.table, e.row().ID.String()}
		if _, again := h.fired[f]; again {
			h.seen["once_per_row fires again"]++
			return
		}
		h.seen["once_per_row fires"]++
		h.fired[f] = at
	}
}

// unlike lists what is wrong with rowbell.fired. What deleted workflows have fired for is
// forgotten after a while.
func (h *history) unlike(ctx context.Context, conn *pgx.Conn) (problems []string, err error) {
	rows, err := conn.Query(ctx, `select f.workflow_id, f.table_label, f.row_key, (e.commit_lsn - '0/0')::bigint, e.seq, e.side::int
		from rowbell.fired f join rowbell.workflow_event e on e.id = left(f.execution_id, 26)`)
	if err != nil {
		return nil, err
	}
	got := map[firing]place{}
	var f firing
	var p place
	var lsn int64
	if _, err := pgx.ForEachRow(rows, []any{&f.workflow, &f.table, &f.row, &lsn, &p.seq, &p.side}, func() error {
		p.xid, _ = h.commits.transactionAt(uint64(lsn))
		got[f] = p
		return nil
	}); err != nil {
		return nil, err
	}
	for f, want := range h.fired {
		if p, ok := got[f]; !h.deleted[f.workflow] && (!ok || p != want) {
			problems = append(problems, fmt.Sprintf("%s fired for %s %s first at %v, rowbell.fired has %v", f.workflow, f.table, f.row, want, p))
		}
	}
	for f, p := range got {
		if _, ok := h.fired[f]; !ok {
			problems = append(problems, fmt.Sprintf("%s never fired for %s %s, and rowbell.fired has %v", f.workflow, f.table, f.row, p))
		}
	}
	return problems[:min(len(problems), 10)], nil
}

// event is a row change as workflows see it.
type event struct {
	rowChange
	side  int32
	actor *actor
	at    time.Time // of the commit
}

// idle says that an update changed nothing, as far as the WAL tells: of an order it has
// only the new row.
func (c rowChange) idle() bool { return c.op == "update" && c.table == "tickets" && *c.old == *c.new }

// events of a change: two, if it moves the row to another tenant.
func (c rowChange) events() []event {
	if c.op == "update" && c.old.Tenant != c.new.Tenant {
		return []event{
			{rowChange: rowChange{c.table, "delete", c.old, nil}},
			{rowChange: rowChange{c.table, "create", nil, c.new}, side: 1},
		}
	}
	return []event{{rowChange: c}}
}

// row is the new one; of a delete the old one.
func (e event) row() *record {
	if e.new == nil {
		return e.old
	}
	return e.new
}

// keyOnly says that the WAL holds nothing but the key.
func (e event) keyOnly() bool { return e.op == "delete" && e.table == "orders" }

func (e event) execution(xid uint64, seq int32, workflow string, d *definition) execution {
	x := execution{
		XID: xid, Seq: seq, Side: e.side, Workflow: workflow, Version: d.version, Op: e.op, Table: e.table,
		Row: e.row().ID.String(), Outcome: "success",
	}
	if !e.keyOnly() {
		x.Tenant, x.Status, x.Total = e.row().Tenant, e.row().Status, e.row().Total.String()
	}
	if e.actor != nil {
		x.Actor = e.actor.ID
	}
	for _, a := range d.Actions {
		if a.Type != "log" {
			x.Outcome = "pending"
		}
	}
	if d.Settings.Firing == "once_per_row" { // the executor decides which of them goes on
		x.Outcome = "pending"
	}
	return x
}

// expression is the one that the editor writes.
var expression = regexp.MustCompile(`^(?:new|row)\.total > (\d+)$`)

// matches evaluates the conditions that the editor writes.
func (d *definition) matches(e event, seen map[string]int) bool {
	if d.Status != "active" || len(d.Actions) == 0 || d.Tenant != nil && (e.keyOnly() || *d.Tenant != e.row().Tenant) {
		return false
	}
	for _, c := range d.Conditions {
		if strings.Contains(c.Config.Expression, noColumn) {
			return false
		}
	}
	for _, t := range d.Triggers {
		op := t.Op
		if strings.HasPrefix(t.Table, "domain:") {
			op = "emit"
		}
		if t.Table != e.table || op != e.op {
			continue
		}
		all := func(e event) bool {
			for _, c := range d.Conditions {
				ok := e.meets(c.Type, c.Config)
				seen["a "+c.Type+" condition "+map[bool]string{true: "holds", false: "doesn't"}[ok]]++
				if !ok {
					return false
				}
			}
			if _, ok := t.Conditions["any_changed"]; ok {
				seen["any_changed"]++
			}
			return e.holds(t.Conditions)
		}
		if !all(e) {
			continue
		}
		if d.Settings.Firing == "becomes_true" && e.op == "update" {
			before := e
			before.new = e.old
			if all(before) {
				seen["becomes_true held it back"]++
				continue
			}
		}
		return true
	}
	return false
}

func (e event) total() *big.Rat { return number(e.row().Total.String()) }

func number(s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		panic("not a number: " + s)
	}
	return r
}

// delivered is the outcome of an execution whose deliveries have ended as they should: it
// has succeeded, or is cancelled because the editor turned its workflow off, or because the
// workflow fires once per row and had fired.
const delivered = "delivered"

// recorded reads the log. Problems are what is wrong with it in itself.
func recorded(ctx context.Context, conn *pgx.Conn, c *commits) (got map[execution]int, lsns map[execution]string, problems []string, err error) {
	rows, err := conn.Query(ctx, `select l.id, coalesce(e.id, ''), coalesce(e.commit_lsn - '0/0', 0)::bigint, coalesce(e.commit_lsn::text, ''), coalesce(e.seq, 0), coalesce(e.side, 0)::int,
		l.workflow_id, l.workflow_version, coalesce(e.operation, ''), coalesce(e.table_name, ''), coalesce(e.row_key, ''), coalesce(e.tenant_id, ''), coalesce(e.data -> 'actor' ->> 'id', ''),
		coalesce(r.row ->> 'status', ''), coalesce(r.row ->> 'total', ''),
		case when l.settled_at is not null and exists (select from rowbell.delivery_done d where d.execution_id = l.id)
			and (l.status = 'success' or l.status = 'cancelled' and (l.error ~ '^the workflow was (turned off|deleted|made a draft)$' or starts_with(l.error, $2)))
			then $1 else l.status || coalesce(': ' || l.error, '') end
		from rowbell.workflow_log l left join rowbell.workflow_event e on e.id = l.trigger_event_id
		cross join lateral (select case when e.operation = 'delete' then e.data -> 'old' else e.data -> 'new' end) r (row)`, delivered, firedBefore)
	if err != nil {
		return nil, nil, nil, err
	}
	got, lsns = map[execution]int{}, map[execution]string{}
	ids := map[string]bool{}
	places := map[[3]int64]string{}
	var id, eventID, text string
	var lsn int64
	var x execution
	_, err = pgx.ForEachRow(rows, []any{&id, &eventID, &lsn, &text, &x.Seq, &x.Side, &x.Workflow, &x.Version, &x.Op, &x.Table, &x.Row, &x.Tenant, &x.Actor, &x.Status, &x.Total, &x.Outcome}, func() error {
		if eventID == "" {
			problems = append(problems, "execution "+id+" has no event")
			return nil
		}
		if ids[id] {
			problems = append(problems, "execution id "+id+" is there twice")
		}
		ids[id] = true
		place := [3]int64{lsn, int64(x.Seq), int64(x.Side)}
		if other, ok := places[place]; ok && other != eventID {
			problems = append(problems, fmt.Sprintf("events %s and %s are both at %s, seq %d, side %d", other, eventID, text, x.Seq, x.Side))
		}
		places[place] = eventID
		var ok bool
		if x.XID, ok = c.transactionAt(uint64(lsn)); !ok {
			problems = append(problems, fmt.Sprintf("event %s is at %s, after the last commit", eventID, text))
		}
		got[x]++
		lsns[x] = text
		return nil
	})
	return got, lsns, problems, err
}

// differences lists what is missing, doubled or should not be there, in the order of
// commits; at most ten of them.
func (h *history) differences(want, got map[execution]int, lsns map[execution]string) []string {
	type difference struct {
		execution
		text string
	}
	var all []difference
	lost, extra := 0, 0
	for x, n := range want {
		if g := got[x]; g < n {
			lost++
			all = append(all, difference{x, fmt.Sprintf("missing (%d of %d are there): %s", g, n, x)})
		}
	}
	for x, g := range got {
		if n := want[x]; g > n {
			extra++
			all = append(all, difference{x, fmt.Sprintf("too many (%d, want %d): %s, at %s", g, n, x, lsns[x])})
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b difference) int {
		return cmp.Or(cmp.Compare(h.commits.byXID[a.XID], h.commits.byXID[b.XID]), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.text, b.text))
	})
	list := []string{fmt.Sprintf("%d executions of %d are missing, %d are too many; the first differences, in commit order:", lost, len(want), extra)}
	for _, d := range all[:min(10, len(all))] {
		list = append(list, fmt.Sprintf("%s (commit record ends at %s)", d.text, lsnText(h.commits.order[h.commits.byXID[d.XID]].end)))
	}
	return list
}

func lsnText(lsn uint64) string { return fmt.Sprintf("%X/%X", uint32(lsn>>32), uint32(lsn)) }
