package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// State works on log, queue and checkpoint. Its methods may be called from any
// goroutine; a Recorder that it gives belongs to one.
type State struct {
	db     database
	pool   *pgxpool.Pool // for what needs a connection to itself: acquire
	tenant *Tenant       // nil = all
	reach  *logReach     // shared by those for tenants
}

// OpenState works through pool, which the caller closes.
func OpenState(pool *pgxpool.Pool) *State { return &State{db: pool, pool: pool, reach: &logReach{}} }

// Installation says which source a state belongs to.
type Installation struct {
	Instance    string // ROWBELL_INSTANCE
	SystemID    string // system identifier of the source's server
	DatabaseOID uint32 // of the source database
}

// Installation reads which source this state belongs to. Returns ErrNotFound if it
// has never belonged to one.
func (s *State) Installation(ctx context.Context) (Installation, error) {
	var i Installation
	err := s.db.QueryRow(ctx, `select instance, system_id, database_oid from rowbell.installation`).
		Scan(&i.Instance, &i.SystemID, &i.DatabaseOID)
	if err != nil {
		return i, stateError("read which installation the state belongs to", err)
	}
	return i, nil
}

// SetInstallation makes this state belong to i, whatever it belonged to.
func (s *State) SetInstallation(ctx context.Context, i Installation) error {
	_, err := s.db.Exec(ctx, `insert into rowbell.installation (instance, system_id, database_oid) values ($1, $2, $3)
on conflict (one) do update set instance = excluded.instance, system_id = excluded.system_id,
	database_oid = excluded.database_oid, adopted_at = clock_timestamp()`, i.Instance, i.SystemID, i.DatabaseOID)
	if err != nil {
		return stateError("write which installation the state belongs to", err)
	}
	return nil
}

// First is where a stream starts: what was read of the source when the slot was made.
type First struct {
	Slot       string
	SystemID   string // system identifier of the source's server
	Timeline   int32
	Snapshot   string // pg_snapshot of the first load
	Checkpoint workflow.Checkpoint
	Applied    []workflow.Applied // what the first load found, with surrogates given out
}

// Begin writes the first checkpoint of a slot and what the first load found. Until it
// has returned, the first load may be repeated. Returns ErrConflict, and has written
// nothing, if the slot has a checkpoint.
func (s *State) Begin(ctx context.Context, f First) error {
	what := fmt.Sprintf("write the first checkpoint of slot %s", f.Slot)
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		c := f.Checkpoint
		_, err := tx.Exec(ctx, `insert into rowbell.checkpoint
	(slot, epoch, stream, commit_lsn, seq, end_lsn, confirm_lsn, xid_floor, timeline, system_id, snapshot)
values ($1, 0, $2, $3::text::pg_lsn, $4, $5::text::pg_lsn, $6::text::pg_lsn, $7::text::xid8, $8, $9, $10)`,
			f.Slot, c.Position.Stream, c.Position.CommitLSN.String(), c.Position.Seq, c.EndLSN.String(), c.ConfirmLSN.String(),
			fmt.Sprint(c.XIDFloor), f.Timeline, f.SystemID, f.Snapshot)
		if err != nil {
			return err
		}
		return writeApplied(ctx, tx, f.Slot, f.Applied)
	})
	if err != nil {
		return stateError(what, err)
	}
	return nil
}

// writeApplied inserts applied rows and their surrogates; the slot has none yet.
func writeApplied(ctx context.Context, tx pgx.Tx, slot string, applied []workflow.Applied) error {
	b := &pgx.Batch{}
	for _, a := range applied {
		b.Queue(`insert into rowbell.surrogate (ref, kind, id, version, tenant_id, name, stream, commit_lsn)
values ($1, $2, $3, $4, nullif($5, ''), $6, nullif($7, 0), case when $7 <> 0 then $8::text::pg_lsn end)`,
			a.Surrogate, string(a.Kind), a.ID, a.Version, a.TenantID, a.Name, a.Stream, a.CommitLSN.String())
		if !a.Gone {
			b.Queue(`insert into rowbell.applied (slot, kind, id, version, surrogate) values ($1, $2, $3, $4, $5)`,
				slot, string(a.Kind), a.ID, a.Version, a.Surrogate)
		}
	}
	return tx.SendBatch(ctx, b).Close()
}

// Held is what a worker that took a slot goes on from.
type Held struct {
	Slot       string
	Epoch      int64
	Checkpoint workflow.Checkpoint
	Snapshot   string // pg_snapshot of the first load
	SystemID   string
	Timeline   int32
	Applied    []workflow.Applied // with tenant and name
	// NextSurrogate has never been given out, nor has any greater one.
	NextSurrogate int32
	// Failures of the last 24 hours of commit time.
	Failures []workflow.FailureCount
	// OpenBig is the transaction of which only parts are recorded; nil if there is none.
	OpenBig *workflow.Big
	// Storms are the executions that were recorded lately, by workflow.
	Storms workflow.StormCounts
}

// Acquire takes the slot's checkpoint: whoever held it before can write no more. It is
// to be called after replication has started, which proves that the slot is ours. The
// lease is a promise to Renew before it runs out. Returns ErrNotFound before Begin.
func (s *State) Acquire(ctx context.Context, slot, holder string, lease time.Duration) (Held, error) {
	h := Held{Slot: slot}
	what := "take the checkpoint of slot " + slot
	// READ COMMITTED: what is read after the epoch has moved on can't change any more.
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		c := &h.Checkpoint
		var commit, end, confirm, floor string
		err := tx.QueryRow(ctx, `with c as (
	update rowbell.checkpoint set epoch = epoch + 1 where slot = $1
	returning epoch, stream, commit_lsn, seq, end_lsn, confirm_lsn, xid_floor, snapshot, system_id, timeline
), h as (
	insert into rowbell.holder (slot, epoch, holder, leader_until)
	select $1, epoch, $2, clock_timestamp() + $3 from c
	on conflict (slot) do update set epoch = excluded.epoch, holder = excluded.holder,
		leader_until = excluded.leader_until, taken_at = clock_timestamp()
)
select epoch, stream, commit_lsn::text, seq, end_lsn::text, confirm_lsn::text, xid_floor::text, snapshot, system_id, timeline from c`,
			slot, holder, lease).Scan(&h.Epoch, &c.Position.Stream, &commit, &c.Position.Seq, &end, &confirm, &floor,
			&h.Snapshot, &h.SystemID, &h.Timeline)
		if err != nil {
			return err
		}
		if err := scanLSNs(commit, &c.Position.CommitLSN, end, &c.EndLSN, confirm, &c.ConfirmLSN); err != nil {
			return err
		}
		if _, err := fmt.Sscan(floor, &c.XIDFloor); err != nil {
			return fmt.Errorf("read xid_floor: %w", err)
		}
		return h.read(ctx, tx)
	})
	if err != nil {
		return Held{}, stateError(what, err)
	}
	return h, nil
}

// scanLSNs parses pairs of text and *change.LSN.
func scanLSNs(pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		lsn, err := change.ParseLSN(pairs[i].(string))
		if err != nil {
			return err
		}
		*pairs[i+1].(*change.LSN) = lsn
	}
	return nil
}

// read fills in what stands beside the checkpoint row.
func (h *Held) read(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select a.kind, a.id, a.version, a.surrogate, coalesce(s.tenant_id, ''), s.name, false,
	coalesce(s.stream, 0), coalesce((s.commit_lsn - '0/0')::int8, 0)
from rowbell.applied a join rowbell.surrogate s on s.ref = a.surrogate
where a.slot = $1 order by a.surrogate`, h.Slot)
	if err != nil {
		return err
	}
	if h.Applied, err = pgx.CollectRows(rows, pgx.RowToStructByPos[workflow.Applied]); err != nil {
		return err
	}
	var last int64
	if err := tx.QueryRow(ctx, `select coalesce(max(ref), 0) from rowbell.surrogate`).Scan(&last); err != nil {
		return err
	}
	if last >= math.MaxInt32 {
		return errors.New("all 2147483647 surrogates are given out")
	}
	h.NextSurrogate = int32(last) + 1
	// The newest hour counts, not the clock: a backlog is replayed with its own commit times.
	rows, err = tx.Query(ctx, `select workflow_id, hour, recorded, counted from rowbell.failure_count
where slot = $1 and hour >= (select max(hour) from rowbell.failure_count where slot = $1) - interval '24 hours'`, h.Slot)
	if err != nil {
		return err
	}
	if h.Failures, err = pgx.CollectRows(rows, pgx.RowToStructByPos[workflow.FailureCount]); err != nil {
		return err
	}
	for i := range h.Failures {
		h.Failures[i].Hour = h.Failures[i].Hour.UTC()
	}
	// Only the transaction that the checkpoint stands in can still be open.
	p := h.Checkpoint.Position
	big := workflow.Big{Stream: p.Stream, CommitLSN: p.CommitLSN}
	err = tx.QueryRow(ctx, `select committed_at, status from rowbell.big_transaction
where stream = $1 and commit_lsn = $2::text::pg_lsn and status = 'open'`, p.Stream, p.CommitLSN.String()).Scan(&big.CommittedAt, &big.Status)
	switch {
	case err == nil:
		big.CommittedAt = big.CommittedAt.UTC()
		h.OpenBig = &big
	case !errors.Is(err, pgx.ErrNoRows):
		return err
	}
	h.Storms, err = readStorms(ctx, tx, p)
	return err
}

// Adopt notes that the slot's server is on another timeline now, after a promotion
// whose history has been judged, and takes confirm_lsn back to confirm. Returns
// ErrFenced if the epoch has moved on.
func (s *State) Adopt(ctx context.Context, slot string, epoch int64, timeline int32, confirm change.LSN) error {
	return s.fenced(ctx, "adopt a new timeline for slot "+slot,
		`update rowbell.checkpoint set timeline = $3, confirm_lsn = $4::text::pg_lsn where slot = $1 and epoch = $2`,
		slot, epoch, timeline, confirm.String())
}

// Renew says that the holder lives, for another lease from now by the state server's
// clock. Returns ErrFenced if the epoch has moved on.
func (s *State) Renew(ctx context.Context, slot string, epoch int64, lease time.Duration) error {
	return s.fenced(ctx, "renew the lease on slot "+slot,
		`update rowbell.holder set leader_until = clock_timestamp() + $3 where slot = $1 and epoch = $2`, slot, epoch, lease)
}

// fenced runs an update that must find its one row.
func (s *State) fenced(ctx context.Context, what, sql string, args ...any) error {
	tag, err := s.db.Exec(ctx, sql, args...)
	if err != nil {
		return stateError(what, err)
	}
	if tag.RowsAffected() != 1 {
		return fmt.Errorf("%s: %w", what, workflow.ErrFenced)
	}
	return nil
}

// Holder says who holds the slot and for how long its lease has been over by the state
// server's clock: negative while it runs. Returns ErrNotFound if nobody ever held it.
func (s *State) Holder(ctx context.Context, slot string) (holder string, epoch int64, expiredFor time.Duration, err error) {
	err = s.db.QueryRow(ctx, `select holder, epoch, clock_timestamp() - leader_until from rowbell.holder where slot = $1`, slot).
		Scan(&holder, &epoch, &expiredFor)
	if err != nil {
		return "", 0, 0, stateError("read who holds slot "+slot, err)
	}
	return holder, epoch, expiredFor, nil
}

// Gap is a stretch of WAL that was lost or skipped.
type Gap struct {
	Stream   int32
	From, To change.LSN // To = From: nobody knows how far
	Reason   string
	FoundAt  time.Time
}

// Gap records a gap in the slot's present stream. One that begins where an open one
// does is not recorded again. Returns ErrNotFound before Begin.
func (s *State) Gap(ctx context.Context, slot string, from, to change.LSN, reason string) error {
	what := fmt.Sprintf("record the gap from %s to %s of slot %s", from, to, slot)
	var n int
	err := s.db.QueryRow(ctx, `with c as (select stream from rowbell.checkpoint where slot = $1), g as (
	insert into rowbell.stream_gap (slot, stream, from_lsn, to_lsn, reason)
	select $1, stream, $2::text::pg_lsn, $3::text::pg_lsn, $4 from c
	on conflict (slot, stream, from_lsn) where closed_at is null do nothing
) select count(*) from c`, slot, from.String(), to.String(), reason).Scan(&n)
	if err == nil && n == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return stateError(what, err)
	}
	return nil
}

// OpenGaps are the slot's gaps that no resync has closed, in the order they were found.
func (s *State) OpenGaps(ctx context.Context, slot string) ([]Gap, error) {
	rows, err := s.db.Query(ctx, `select stream, from_lsn::text, to_lsn::text, reason, found_at from rowbell.stream_gap
where slot = $1 and closed_at is null order by id`, slot)
	if err != nil {
		return nil, stateError("read the gaps of slot "+slot, err)
	}
	gaps, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Gap, error) {
		var g Gap
		var from, to string
		if err := row.Scan(&g.Stream, &from, &to, &g.Reason, &g.FoundAt); err != nil {
			return g, err
		}
		return g, scanLSNs(from, &g.From, to, &g.To)
	})
	if err != nil {
		return nil, stateError("read the gaps of slot "+slot, err)
	}
	return gaps, nil
}

// Resync starts the slot's next stream at a new position, with what a new first load
// found, and closes its gaps. What lies between the two is such a gap, also if nobody
// had found one. f.Checkpoint's stream is ignored: it returns the checkpoint
// with the new one. The epoch grows, so that a worker which still runs writes no more.
// Parts of a transaction that no more parts can follow are released: what is recorded
// was committed. Surrogates in f start at NextSurrogate. Returns ErrNotFound before Begin.
func (s *State) Resync(ctx context.Context, f First) (workflow.Checkpoint, error) {
	c := f.Checkpoint
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		// On another server, or one that was set back, LSNs can't be compared.
		_, err := tx.Exec(ctx, `with k as (
	select stream, confirm_lsn from rowbell.checkpoint where slot = $1 for update
), known as (
	update rowbell.stream_gap g set closed_at = clock_timestamp(), to_lsn = greatest(g.to_lsn, $2::text::pg_lsn)
	from k where g.slot = $1 and g.closed_at is null returning 1
)
insert into rowbell.stream_gap (slot, stream, from_lsn, to_lsn, reason, closed_at)
select $1, stream, confirm_lsn, $2::text::pg_lsn, 'a new stream was started', clock_timestamp() from k where not exists (select from known)`,
			f.Slot, c.ConfirmLSN.String())
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `update rowbell.checkpoint set epoch = epoch + 1, stream = stream + 1,
	commit_lsn = $2::text::pg_lsn, seq = $3, end_lsn = $4::text::pg_lsn, confirm_lsn = $5::text::pg_lsn, xid_floor = $6::text::xid8,
	timeline = $7, system_id = $8, snapshot = $9, moved_at = clock_timestamp()
where slot = $1 returning stream`,
			f.Slot, c.Position.CommitLSN.String(), c.Position.Seq, c.EndLSN.String(), c.ConfirmLSN.String(), fmt.Sprint(c.XIDFloor),
			f.Timeline, f.SystemID, f.Snapshot).Scan(&c.Position.Stream)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `delete from rowbell.applied where slot = $1`, f.Slot); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update rowbell.big_transaction set status = 'released', updated_at = clock_timestamp()
where status = 'open' and stream < $1`, c.Position.Stream)
		if err != nil {
			return err
		}
		// From the new stream's beginning on: before that, others counted.
		applied := slices.Clone(f.Applied)
		for i := range applied {
			applied[i].Stream, applied[i].CommitLSN = c.Position.Stream, 0
		}
		return writeApplied(ctx, tx, f.Slot, applied)
	})
	if err != nil {
		return workflow.Checkpoint{}, stateError("start a new stream for slot "+f.Slot, err)
	}
	return c, nil
}

// NextSurrogate has never been given out, nor has any greater one. It holds while
// nobody records: for Begin and Resync. A worker gets it with Acquire.
func (s *State) NextSurrogate(ctx context.Context) (int32, error) {
	var next int32
	err := s.db.QueryRow(ctx, `select coalesce(max(ref), 0) + 1 from rowbell.surrogate`).Scan(&next)
	if err != nil {
		return 0, stateError("read the next surrogate", err)
	}
	return next, nil
}

// stateError says what was attempted, and turns the server's words into ours.
func stateError(what string, err error) error {
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%s: %w", what, workflow.ErrNotFound)
	case errors.As(err, &pg) && pg.Code == "23505":
		return fmt.Errorf("%s: %w: %w", what, workflow.ErrConflict, explain(err))
	case errors.As(err, &pg) && isRefusal(pg):
		return fmt.Errorf("%s: %w: %w", what, workflow.ErrRefused, explain(err))
	case errors.As(err, &pg) && pg.Code == "42501": // insufficient privilege
		return fmt.Errorf("%s: %w: %w", what, ErrPrivilege, explain(err))
	case errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000"):
		return fmt.Errorf("%s: %w; run: rowbell migrate", what, explain(err))
	}
	return fmt.Errorf("%s: %w", what, reached(explain(err)))
}
