package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/fault"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Recorder writes batches under one epoch, through a connection of its own. It
// belongs to one goroutine.
type Recorder struct {
	conn  *pgx.Conn
	slot  string
	epoch int64

	leaseTo string
	lease   time.Duration

	// prepared has the statement for each set of sections that a batch had so far.
	prepared map[uint]*pgconn.StatementDescription
	sections [nSections]section
	params   [][]byte
	formats  []int16
	fixed    []byte // memory of the parameters that aren't arrays
	scratch  []byte
	shares   map[*workflow.Execution]share
}

// share is what a batch has of one execution's deliveries.
type share struct {
	n     int32 // how many
	first int32 // their lowest order
}

// Recorder makes a recorder that writes while the slot's epoch is epoch. Close it.
func (s *State) Recorder(ctx context.Context, slot string, epoch int64) (*Recorder, error) {
	c, err := s.acquire(ctx)
	if err != nil {
		return nil, stateError("connect to record for slot "+slot, err)
	}
	conn := c.Hijack()
	// What is recorded is confirmed to the slot, so it must be on disk. One plan serves
	// all batches: the statement only inserts what it is given.
	_, err = conn.Exec(ctx, `select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';
set plan_cache_mode = force_generic_plan; set jit = off`)
	if err != nil {
		return nil, errors.Join(stateError("prepare the connection that records for slot "+slot, err), conn.Close(ctx))
	}
	r := &Recorder{
		conn: conn, slot: slot, epoch: epoch,
		prepared: make(map[uint]*pgconn.StatementDescription),
		shares:   make(map[*workflow.Execution]share),
	}
	for i := range r.sections {
		r.sections[i].cols = make([]array, len(sectionSpecs[i].types))
	}
	return r, nil
}

// Close ends the connection.
func (r *Recorder) Close(ctx context.Context) error { return r.conn.Close(ctx) }

// LeaseTo says whose lease deliveries become that are recorded as Leased and may be
// tried at once, for d from their recording on: the process has them in memory, and need
// not claim them. All others are free to claim.
func (r *Recorder) LeaseTo(process string, d time.Duration) { r.leaseTo, r.lease = process, d }

// Record writes the batch and moves the checkpoint from b.Previous to b.Next, in one
// statement that does all of it or nothing. Returns ErrFenced if the epoch, or the
// checkpoint's position, is another by now; and ErrConflict if a key exists already,
// which means that the fence is broken: either way the worker must stop.
//
// Of several Applied or Big for one thing the last counts; Failures holds at most one
// for a workflow and hour, with its totals.
func (r *Recorder) Record(ctx context.Context, b *workflow.Batch) error {
	if err := r.fill(b); err != nil {
		return fmt.Errorf("record up to %s: %w", b.Next.Position, err)
	}
	var mask uint
	for i := range r.sections {
		if r.sections[i].rows > 0 {
			mask |= 1 << i
		}
	}
	st, err := r.statement(ctx, mask)
	if err != nil {
		return stateError("prepare the statement that records", err)
	}
	r.bind(b, mask)
	res := r.conn.PgConn().ExecStatement(ctx, st, r.params, r.formats, []int16{pgtype.BinaryFormatCode}).Read()
	if res.Err != nil {
		return stateError(fmt.Sprintf("record up to %s", b.Next.Position), res.Err)
	}
	if len(res.Rows) != 1 || len(res.Rows[0]) != 1 || len(res.Rows[0][0]) != 8 {
		return fmt.Errorf("record up to %s: the statement returned no count", b.Next.Position)
	}
	if n := binary.BigEndian.Uint64(res.Rows[0][0]); n != 1 {
		return fmt.Errorf("record from %s to %s under epoch %d of slot %s: %w",
			b.Previous.Position, b.Next.Position, r.epoch, r.slot, workflow.ErrFenced)
	}
	return nil
}

// WALInsertLSN is where the state server writes next: beyond everything recorded.
func (r *Recorder) WALInsertLSN(ctx context.Context) (change.LSN, error) {
	var text string
	if err := r.conn.QueryRow(ctx, `select pg_current_wal_insert_lsn()::text`).Scan(&text); err != nil {
		return 0, stateError("read the state server's WAL position", err)
	}
	return change.ParseLSN(text)
}

// The sections of the statement, in this order. A batch has only those it needs.
const (
	secEvents = iota
	secSettled
	secOpen
	secQueue
	secSurrogates
	secApplied
	secGone
	secBig
	secFailures
	secFired
	nSections
)

// A sectionSpec is a part of the statement: what it does with the rows u that come in as
// one array for each column. c is the moved checkpoint: one row, or none if fenced.
type sectionSpec struct {
	sql   string // %s: the unnest
	types []elem
}

// elem is an array parameter's type.
type elem struct {
	name string
	oid  uint32 // of the element
}

var (
	tText  = elem{"text", pgtype.TextOID}
	tBool  = elem{"bool", pgtype.BoolOID}
	tInt2  = elem{"int2", pgtype.Int2OID}
	tInt4  = elem{"int4", pgtype.Int4OID}
	tInt8  = elem{"int8", pgtype.Int8OID}
	tLSN   = elem{"pg_lsn", 3220}
	tTime  = elem{"timestamptz", pgtype.TimestamptzOID}
	tChar  = elem{`"char"`, pgtype.QCharOID}
	tJSON  = elem{"json", pgtype.JSONOID}
	tJSONB = elem{"jsonb", pgtype.JSONBOID}
)

var sectionSpecs = [nSections]sectionSpec{
	secEvents: {
		`insert into rowbell.event (event_id, commit_lsn, stream, seq, side, committed_at, table_ref, op, tenant_id, row_key, data, domain, chain)
	select u.* from %s u, c`,
		[]elem{tText, tLSN, tInt4, tInt4, tInt2, tTime, tInt4, tChar, tText, tText, tJSON, tText, tJSON},
	},
	secSettled: {
		`insert into rowbell.execution (id, committed_at, version_ref, priority, status, error, result, executed_at, settled_at)
	select u.*, c.t, c.t from %s u, c`,
		[]elem{tText, tTime, tInt4, tInt4, tText, tText, tJSONB},
	},
	secOpen: {
		`insert into rowbell.execution_open (id, committed_at, version_ref, priority, open, executed_at)
	select u.*, c.t from %s u, c`,
		[]elem{tText, tTime, tInt4, tInt4, tInt4},
	},
	secQueue: {
		`insert into rowbell.queue (execution_id, committed_at, version_ref, priority, "order", action, kind, sole, addressed, big_lsn, big_stream, lane,
	xid, executed_at, ready_at, lease_until, lease_by)
	select u.id, u.committed_at, u.version_ref, u.priority, u."order", u.action, u.kind, u.sole, u.addressed, u.big_lsn, u.big_stream, u.lane, u.xid, c.t,
	case when u.waits then null when u.big_lsn is not null then 'infinity' else c.t end,
	case when u.leased then c.t + c.lease end,
	case when u.leased then c.lease_to end
	from %s u (id, committed_at, version_ref, priority, "order", action, kind, sole, addressed, big_lsn, big_stream, lane, waits, leased, xid), c`,
		[]elem{tText, tTime, tInt4, tInt4, tInt4, tInt2, tText, tBool, tBool, tLSN, tInt4, tInt8, tBool, tBool, tInt8},
	},
	secSurrogates: {
		`insert into rowbell.surrogate (ref, kind, id, version, tenant_id, name, stream, commit_lsn) select u.* from %s u, c`,
		[]elem{tInt4, tText, tText, tInt4, tText, tText, tInt4, tLSN},
	},
	secApplied: {
		`insert into rowbell.applied (slot, kind, id, version, surrogate) select $1, u.* from %s u, c
	on conflict (slot, kind, id) do update set version = excluded.version, surrogate = excluded.surrogate`,
		[]elem{tText, tText, tInt4, tInt4},
	},
	secGone: {
		`delete from rowbell.applied a using %s u (kind, id), c where a.slot = $1 and a.kind = u.kind and a.id = u.id`,
		[]elem{tText, tText},
	},
	secBig: {
		`insert into rowbell.big_transaction (stream, commit_lsn, committed_at, status, updated_at) select u.*, c.t from %s u, c
	on conflict (stream, commit_lsn) do update set status = excluded.status, updated_at = excluded.updated_at where excluded.stream >= 0`,
		[]elem{tInt4, tLSN, tTime, tText},
	},
	secFailures: {
		`insert into rowbell.failure_count (slot, workflow_id, hour, recorded, counted) select $1, u.* from %s u, c
	on conflict (slot, hour, workflow_id) do update set recorded = excluded.recorded, counted = excluded.counted`,
		[]elem{tText, tTime, tInt4, tInt4},
	},
	secFired: {
		`insert into rowbell.fired (workflow_id, table_label, row_key, committed_at, execution_id) select u.* from %s u, c on conflict do nothing`,
		[]elem{tText, tText, tText, tTime, tText},
	},
}

// fixedParams is how many parameters precede the arrays; see bind.
const fixedParams = 13

// statementSQL puts the sections of mask together. The inserts select from c, so if the
// update finds no row they insert none; they would go through if they stood beside it.
func statementSQL(mask uint) string {
	fence := "epoch = $2::int8 and stream = $9::int4 and commit_lsn = $10::pg_lsn and seq = $11::int4"
	if fault.On("no_fence") {
		fence = "num_nulls($2::int8, $9::int4, $10::pg_lsn, $11::int4) = 0"
	}
	var b strings.Builder
	b.WriteString(`with c as (
	update rowbell.checkpoint set stream = $3::int4, commit_lsn = $4::pg_lsn, seq = $5::int4,
		end_lsn = $6::pg_lsn, confirm_lsn = $7::pg_lsn, xid_floor = $8::xid8, moved_at = clock_timestamp()
	where slot = $1::text and ` + fence + `
	returning moved_at as t, $12::interval as lease, $13::text as lease_to
)`)
	n := fixedParams
	for i, spec := range sectionSpecs {
		if mask&(1<<i) == 0 {
			continue
		}
		var u strings.Builder
		for j, t := range spec.types {
			n++
			if j > 0 {
				u.WriteString(", ")
			}
			u.WriteString("$" + strconv.Itoa(n) + "::" + t.name + "[]")
		}
		fmt.Fprintf(&b, ", s%d as (\n\t"+spec.sql+"\n)", i, "unnest("+u.String()+")")
	}
	b.WriteString("\nselect count(*) from c")
	return b.String()
}

func (r *Recorder) statement(ctx context.Context, mask uint) (*pgconn.StatementDescription, error) {
	if st := r.prepared[mask]; st != nil {
		return st, nil
	}
	st, err := r.conn.PgConn().Prepare(ctx, fmt.Sprintf("rowbell_record_%x", mask), statementSQL(mask), nil)
	if err != nil {
		return nil, err
	}
	r.prepared[mask] = st
	return st, nil
}

// fill encodes the batch's rows into the sections' arrays, whose memory is used again.
func (r *Recorder) fill(b *workflow.Batch) error {
	for i := range r.sections {
		r.sections[i].reset(sectionSpecs[i].types)
	}
	s := &r.sections[secEvents]
	for _, e := range b.Events {
		c := s.row()
		c[0].text(e.ID)
		c[1].int8(int64(e.Position.CommitLSN))
		c[2].int4(e.Position.Stream)
		c[3].int4(e.Position.Seq)
		c[4].int2(int16(e.Side))
		c[5].time(e.CommittedAt)
		c[6].int4(e.TableRef)
		c[7].bytes([]byte{opChar(e.Op)})
		c[8].textOrNull(e.TenantID)
		c[9].textOrNull(e.RowKey)
		c[10].bytes(e.Data)
		c[11].textOrNull(e.Domain)
		if e.Chain == nil {
			c[12].null()
		} else {
			c[12].bytes(e.Chain.JSON())
		}
	}
	clear(r.shares)
	for _, d := range b.Deliveries {
		sh, ok := r.shares[d.Execution]
		if !ok || d.Order < sh.first {
			sh.first = d.Order
		}
		sh.n++
		r.shares[d.Execution] = sh
	}
	for _, x := range b.Executions {
		n := r.shares[x].n
		switch {
		case x.Status != workflow.Pending && n > 0:
			return fmt.Errorf("execution %s is %s but has %d deliveries", x.ID(), x.Status, n)
		case x.Status != workflow.Pending:
			r.settled(x)
		case n == 0:
			return fmt.Errorf("execution %s is pending without a delivery", x.ID())
		case n > 1:
			c := r.sections[secOpen].row()
			c[0].bytes(r.executionID(x))
			c[1].time(x.Event.CommittedAt)
			c[2].int4(x.VersionRef)
			c[3].int4(x.Priority)
			c[4].int4(n)
		}
	}
	for _, d := range b.Deliveries {
		r.queued(d)
	}
	r.applied(b.Applied)
	s = &r.sections[secBig]
	for i, g := range b.Big {
		if laterBig(b.Big[i+1:], g) {
			continue
		}
		c := s.row()
		c[0].int4(g.Stream)
		c[1].int8(int64(g.CommitLSN))
		c[2].time(g.CommittedAt)
		c[3].text(string(g.Status))
	}
	s = &r.sections[secFailures]
	for _, f := range b.Failures {
		c := s.row()
		c[0].text(f.WorkflowID)
		c[1].time(f.Hour)
		c[2].int4(f.Recorded)
		c[3].int4(f.Counted)
	}
	r.fired(b.Fired)
	return nil
}

// fired writes the first of each workflow and row: which of several rows of one statement
// stands is not for the server to choose.
func (r *Recorder) fired(list []workflow.Fired) {
	type key struct{ workflow, table, row string }
	seen := make(map[key]bool, len(list))
	for _, f := range list {
		e := f.Execution.Event
		k := key{f.WorkflowID, e.Table, storable(e.RowKey)}
		if seen[k] {
			continue
		}
		seen[k] = true
		c := r.sections[secFired].row()
		c[0].text(k.workflow)
		c[1].text(k.table)
		c[2].text(k.row)
		c[3].time(e.CommittedAt)
		c[4].bytes(r.executionID(f.Execution))
	}
}

func (r *Recorder) settled(x *workflow.Execution) {
	c := r.sections[secSettled].row()
	c[0].bytes(r.executionID(x))
	c[1].time(x.Event.CommittedAt)
	c[2].int4(x.VersionRef)
	c[3].int4(x.Priority)
	c[4].text(string(x.Status))
	c[5].textOrNull(x.Error)
	c[6].jsonb(x.Result)
}

func (r *Recorder) queued(d *workflow.Delivery) {
	x, sh := d.Execution, r.shares[d.Execution]
	c := r.sections[secQueue].row()
	c[0].bytes(r.executionID(x))
	c[1].time(x.Event.CommittedAt)
	c[2].int4(x.VersionRef)
	c[3].int4(x.Priority)
	c[4].int4(d.Order)
	c[5].int2(d.Action)
	c[6].text(d.Kind)
	c[7].bool(sh.n == 1)
	c[8].bool(d.Addressed)
	if x.Storm != 0 {
		c[9].int8(int64(x.Storm))
		c[10].int4(workflow.StormStream(x.VersionRef))
	} else if x.BigRef {
		c[9].int8(int64(x.Event.Position.CommitLSN))
		c[10].int4(x.Event.Position.Stream)
	} else {
		c[9].null()
		c[10].null()
	}
	waits := d.Order > sh.first
	c[11].int8(d.Lane)
	c[12].bool(waits)
	c[13].bool(d.Leased && !waits && !x.BigRef && x.Storm == 0)
	if d.Addressed || x.Event.XID == 0 {
		c[14].null()
	} else {
		c[14].int8(int64(x.Event.XID))
	}
}

func (r *Recorder) applied(list []workflow.Applied) {
	for i, a := range list {
		c := r.sections[secSurrogates].row()
		c[0].int4(a.Surrogate)
		c[1].text(string(a.Kind))
		c[2].text(a.ID)
		c[3].int4(a.Version)
		c[4].textOrNull(a.TenantID)
		c[5].text(a.Name)
		if a.CommitLSN == 0 {
			c[6].null()
			c[7].null()
		} else {
			c[6].int4(a.Stream)
			c[7].int8(int64(a.CommitLSN))
		}
		if laterApplied(list[i+1:], a) {
			continue
		}
		if a.Gone {
			c := r.sections[secGone].row()
			c[0].text(string(a.Kind))
			c[1].text(a.ID)
			continue
		}
		c = r.sections[secApplied].row()
		c[0].text(string(a.Kind))
		c[1].text(a.ID)
		c[2].int4(a.Version)
		c[3].int4(a.Surrogate)
	}
}

func laterApplied(rest []workflow.Applied, a workflow.Applied) bool {
	for _, l := range rest {
		if l.Kind == a.Kind && l.ID == a.ID {
			return true
		}
	}
	return false
}

func laterBig(rest []workflow.Big, g workflow.Big) bool {
	for _, l := range rest {
		if l.Stream == g.Stream && l.CommitLSN == g.CommitLSN {
			return true
		}
	}
	return false
}

func (r *Recorder) executionID(x *workflow.Execution) []byte {
	r.scratch = workflow.AppendExecutionID(r.scratch[:0], x.Event.ID, x.VersionRef, x.Run)
	return r.scratch
}

func opChar(o change.Op) byte {
	switch o {
	case change.Create:
		return 'c'
	case change.Update:
		return 'u'
	case change.Delete:
		return 'd'
	case change.Emit:
		return 'e'
	}
	return '?'
}

// bind lays out the parameters in the statement's order.
func (r *Recorder) bind(b *workflow.Batch, mask uint) {
	r.params, r.fixed = r.params[:0], r.fixed[:0]
	if cap(r.fixed) < 256 {
		r.fixed = make([]byte, 0, 256) // so that what follows never moves
	}
	int4 := func(v int32) {
		n := len(r.fixed)
		r.fixed = binary.BigEndian.AppendUint32(r.fixed, uint32(v))
		r.params = append(r.params, r.fixed[n:])
	}
	int8 := func(v uint64) {
		n := len(r.fixed)
		r.fixed = binary.BigEndian.AppendUint64(r.fixed, v)
		r.params = append(r.params, r.fixed[n:])
	}
	r.params = append(r.params, []byte(r.slot))
	int8(uint64(r.epoch))
	int4(b.Next.Position.Stream)
	int8(uint64(b.Next.Position.CommitLSN))
	int4(b.Next.Position.Seq)
	int8(uint64(b.Next.EndLSN))
	int8(uint64(b.Next.ConfirmLSN))
	int8(b.Next.XIDFloor)
	int4(b.Previous.Position.Stream)
	int8(uint64(b.Previous.Position.CommitLSN))
	int4(b.Previous.Position.Seq)
	if r.leaseTo == "" {
		r.params = append(r.params, nil, nil)
	} else { // an interval: microseconds, days, months
		n := len(r.fixed)
		r.fixed = binary.BigEndian.AppendUint64(r.fixed, uint64(r.lease.Microseconds()))
		r.fixed = append(r.fixed, 0, 0, 0, 0, 0, 0, 0, 0)
		r.params = append(r.params, r.fixed[n:], []byte(r.leaseTo))
	}
	for i := range r.sections {
		if mask&(1<<i) == 0 {
			continue
		}
		for j := range r.sections[i].cols {
			r.params = append(r.params, r.sections[i].cols[j].finish(r.sections[i].rows))
		}
	}
	for len(r.formats) < len(r.params) {
		r.formats = append(r.formats, pgtype.BinaryFormatCode)
	}
	r.formats = r.formats[:len(r.params)]
}

// section is the rows of one section, as one array for each column.
type section struct {
	cols []array
	rows int
}

func (s *section) reset(types []elem) {
	s.rows = 0
	for i := range s.cols {
		s.cols[i].reset(types[i].oid)
	}
}

// row starts a row; each of the columns that it returns takes one value.
func (s *section) row() []array {
	s.rows++
	return s.cols
}

// array is an array in PostgreSQL's binary format (array_send), written in place since
// pgx's own encoding would allocate for each element.
type array struct {
	buf   []byte
	nulls bool
}

// arrayHeader is dimensions, flags, element type, length and lower bound.
const arrayHeader = 20

func (a *array) reset(oid uint32) {
	// A batch of big events is rare, and should not be paid for ever after.
	if cap(a.buf) > 4<<20 {
		a.buf = nil
	}
	a.buf = append(a.buf[:0], make([]byte, arrayHeader)...)
	binary.BigEndian.PutUint32(a.buf[8:], oid)
	a.nulls = false
}

func (a *array) finish(n int) []byte {
	binary.BigEndian.PutUint32(a.buf[0:], 1)
	binary.BigEndian.PutUint32(a.buf[4:], 0)
	if a.nulls {
		a.buf[7] = 1
	}
	binary.BigEndian.PutUint32(a.buf[12:], uint32(n))
	binary.BigEndian.PutUint32(a.buf[16:], 1)
	return a.buf
}

func (a *array) length(n int) { a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(n)) }

func (a *array) null() {
	a.length(-1)
	a.nulls = true
}

func (a *array) text(s string) {
	a.length(len(s))
	a.buf = append(a.buf, s...)
}

// textOrNull takes text that comes from rows, or quotes them.
func (a *array) textOrNull(s string) {
	if s == "" {
		a.null()
		return
	}
	a.text(storable(s))
}

// storable is s as a server takes it. A source that checks no encoding (SQL_ASCII), and
// json columns, hold what is no text for it: U+FFFD stands for that, since nothing of a
// row may keep the rest from being recorded.
func storable(s string) string {
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
	}
	return s
}

func (a *array) bytes(b []byte) {
	a.length(len(b))
	a.buf = append(a.buf, b...)
}

// jsonb is a version number and the text.
func (a *array) jsonb(b []byte) {
	if b == nil {
		a.null()
		return
	}
	a.length(len(b) + 1)
	a.buf = append(append(a.buf, 1), b...)
}

func (a *array) bool(v bool) {
	a.length(1)
	if v {
		a.buf = append(a.buf, 1)
	} else {
		a.buf = append(a.buf, 0)
	}
}

func (a *array) int2(v int16) {
	a.length(2)
	a.buf = binary.BigEndian.AppendUint16(a.buf, uint16(v))
}

func (a *array) int4(v int32) {
	a.length(4)
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(v))
}

func (a *array) int8(v int64) {
	a.length(8)
	a.buf = binary.BigEndian.AppendUint64(a.buf, uint64(v))
}

// postgresEpoch is 2000-01-01 in microseconds since 1970.
const postgresEpoch = 946684800000000

func (a *array) time(t time.Time) { a.int8(t.UnixMicro() - postgresEpoch) }
