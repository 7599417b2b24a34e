package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Checkpoint reads a slot's checkpoint without taking it. Returns ErrNotFound before Begin.
func (s *State) Checkpoint(ctx context.Context, slot string) (workflow.Checkpoint, error) {
	var c workflow.Checkpoint
	var commit, end, confirm, floor string
	err := s.db.QueryRow(ctx, `select stream, commit_lsn::text, seq, end_lsn::text, confirm_lsn::text, xid_floor::text
from rowbell.checkpoint where slot = $1`, slot).Scan(&c.Position.Stream, &commit, &c.Position.Seq, &end, &confirm, &floor)
	if err == nil {
		err = scanLSNs(commit, &c.Position.CommitLSN, end, &c.EndLSN, confirm, &c.ConfirmLSN)
	}
	if err == nil {
		_, err = fmt.Sscan(floor, &c.XIDFloor)
	}
	if err != nil {
		return workflow.Checkpoint{}, stateError("read the checkpoint of slot "+slot, err)
	}
	return c, nil
}

// Release gives the lease back, so that a waiting worker need not wait for its end. A
// lease that another worker has taken is left alone.
func (s *State) Release(ctx context.Context, slot string, epoch int64) error {
	_, err := s.db.Exec(ctx, `update rowbell.holder set leader_until = clock_timestamp() where slot = $1 and epoch = $2`, slot, epoch)
	if err != nil {
		return stateError("give back the lease on slot "+slot, err)
	}
	return nil
}

// AdoptInstallation makes this state belong to i. With discardPending, deliveries that
// were not finished are cancelled, and so are their executions.
func (s *State) AdoptInstallation(ctx context.Context, i Installation, discardPending bool) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `update rowbell.installation set instance = $1, system_id = $2, database_oid = $3, adopted_at = clock_timestamp()`,
			i.Instance, i.SystemID, i.DatabaseOID); err != nil {
			return err
		}
		if !discardPending {
			return nil
		}
		return cancelAll(ctx, tx, "the installation was adopted with --discard-pending")
	})
	if err != nil {
		return stateError("adopt the state", err)
	}
	return nil
}

// cancelAll ends every delivery that has not ended, and settles the executions that
// waited for them.
func cancelAll(ctx context.Context, tx pgx.Tx, reason string) error {
	_, err := tx.Exec(ctx, `with q as (
	delete from rowbell.queue returning *
), sole as (
	insert into rowbell.execution (committed_at, executed_at, settled_at, version_ref, priority, action, attempts, id, status, kind, recipient, error)
	select committed_at, executed_at, clock_timestamp(), version_ref, priority, action, attempts, execution_id, 'cancelled', kind, nullif(recipient, ''), $1
	from q where sole
), ended as (
	insert into rowbell.delivery_ended (committed_at, ended_at, version_ref, "order", action, attempts, execution_id, recipient, kind, status, reason, address)
	select committed_at, clock_timestamp(), version_ref, "order", action, attempts, execution_id, recipient, kind, 'cancelled', $1, address
	from q where not sole
), o as (
	delete from rowbell.execution_open returning *
)
insert into rowbell.execution (committed_at, executed_at, settled_at, version_ref, priority, id, status, error, result)
select committed_at, executed_at, clock_timestamp(), version_ref, priority, id,
	case when died then 'failure' when succeeded then 'success' else 'cancelled' end,
	case when died then error when not succeeded then $1 end, result
from o`, reason)
	return err
}

// OtherSlot names a slot other than this one that has a checkpoint; "" if there is none.
func (s *State) OtherSlot(ctx context.Context, slot string) (string, error) {
	var other string
	err := s.db.QueryRow(ctx, `select coalesce(min(slot), '') from rowbell.checkpoint where slot <> $1`, slot).Scan(&other)
	if err != nil {
		return "", stateError("read which slots have a checkpoint", err)
	}
	return other, nil
}
