package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// RaiseAlerts notes what owners are to be told, and returns how much of it is new: of alerts
// with one key only the first counts, whichever process raises it. through are the action
// kinds that are no way to tell of an alert, beside its own.
func (s *State) RaiseAlerts(ctx context.Context, list []workflow.Alert, through ...string) (n int, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	err = pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		n, err = raise(ctx, tx, list, through)
		return err
	})
	if err != nil {
		return 0, stateError("write what owners are to be told", err)
	}
	return n, nil
}

func raise(ctx context.Context, tx pgx.Tx, list []workflow.Alert, through []string) (n int, err error) {
	b := &pgx.Batch{}
	for _, a := range list {
		kinds := through
		if a.Through != "" {
			kinds = append([]string{a.Through}, through...)
		}
		if kinds == nil {
			kinds = []string{}
		}
		b.Queue(`insert into rowbell.alert (key, kind, tenant_id, workflow_id, through, subject, body, at)
values ($1, $2, nullif($3, ''), nullif($4, ''), $5, $6, $7, $8) on conflict (key) do nothing`,
			storable(a.Key), string(a.Kind), storable(a.TenantID), a.WorkflowID, kinds, storable(a.Subject), storable(a.Text), a.At).Exec(func(tag pgconn.CommandTag) error {
			n += int(tag.RowsAffected())
			return nil
		})
	}
	return n, tx.SendBatch(ctx, b).Close()
}

// Failures are executions of a workflow that failed.
type Failures struct {
	WorkflowID, Name string
	TenantID         string // "" = an operators' workflow
	Count            int
	Since, Last      time.Time // when the first and the last of them failed
	Through          []string  // kinds of the deliveries that gave up, of the last ones; none if it was no delivery
	ExampleID        string    // the last execution
	ExampleError     string
	Digest           bool // the owner was told of failures before these
}

// failuresAtOnce is how many workflows one sweep takes of those that have begun to fail, and
// of those whose digest is due.
const failuresAtOnce = 1000

// sweepLock is "rowbellA" in ASCII.
const sweepLock int64 = 0x726f7762656c6c41

// How far back failures are looked for that a transaction wrote a moment ago and committed
// later, and so much later a digest is made than its window ends.
const (
	lateCommits = "1 minute"
	digestDelay = "2 seconds"
)

// failureColumns are of failures f (workflow_id, name, tenant_id, id, error, settled_at),
// grouped by workflow.
const failureColumns = `f.workflow_id, max(f.name), coalesce(max(f.tenant_id), ''), count(*)::int4, min(f.settled_at), max(f.settled_at),
	(array_agg(f.id order by f.settled_at desc))[1:10], coalesce((array_agg(f.error order by f.settled_at desc))[1], '')`

// firstSQL finds workflows that have begun to fail: their owner isn't waiting for a digest.
const firstSQL = `select ` + failureColumns + ` from (
	select v.id as workflow_id, v.name, v.tenant_id, x.id, x.error, x.settled_at
	from rowbell.execution x
	join rowbell.surrogate v on v.ref = x.version_ref
	left join rowbell.alert_watch w on w.workflow_id = v.id
	where x.status = 'failure' and x.settled_at > $1::timestamptz - interval '` + lateCommits + `'
	and (w.workflow_id is null or w.digest_at is null and x.settled_at > w.told_to)
) f group by f.workflow_id limit $2`

// digestSQL counts the failures of workflows whose digest is due; none of those that have had
// no more since.
const digestSQL = `select ` + failureColumns + ` from (
	select v.id as workflow_id, v.name, v.tenant_id, x.id, x.error, x.settled_at, w.told_to
	from rowbell.alert_watch w
	join rowbell.surrogate v on v.id = w.workflow_id and v.kind = 'workflow'
	join rowbell.execution x on x.version_ref = v.ref
	where w.digest_at < $1::timestamptz - interval '` + digestDelay + `' and x.status = 'failure' and x.settled_at >= w.since
	and x.settled_at >= (select min(since) from rowbell.alert_watch where digest_at < $1::timestamptz)
) f group by f.workflow_id having bool_or(f.settled_at > f.told_to) limit $2`

// throughSQL says what gave up of executions.
const throughSQL = `select id, kind from rowbell.execution where id = any ($1) and status = 'failure' and kind is not null
union select execution_id, kind from rowbell.delivery_ended where execution_id = any ($1) and status = 'dead'`

// SweepFailures looks for workflows that failed since it last looked, and notes what their
// owners are to be told: of the first failure at once, of later ones once in a window, until
// there is a window without any. word writes it. Any process may call it at any time; while
// another one is at it nothing is done. It returns how many alerts it noted.
func (s *State) SweepFailures(ctx context.Context, window time.Duration, word func(Failures) workflow.Alert) (n int, err error) {
	err = pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		n = 0
		var mine bool
		if err := tx.QueryRow(ctx, `select pg_try_advisory_xact_lock($1)`, sweepLock).Scan(&mine); err != nil || !mine {
			return err
		}
		var now, swept time.Time
		if err := tx.QueryRow(ctx, `select clock_timestamp(), swept_to from rowbell.alert_sweep`).Scan(&now, &swept); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `set local jit = off`); err != nil {
			return err
		}
		digests, err := failures(ctx, tx, digestSQL, true, now)
		if err != nil {
			return err
		}
		first, err := failures(ctx, tx, firstSQL, false, swept)
		if err != nil {
			return err
		}
		for _, f := range append(digests, first...) {
			told, err := raise(ctx, tx, []workflow.Alert{word(f)}, f.Through)
			if err != nil {
				return err
			}
			n += told
			since := f.Since // counted in the digest too
			if f.Digest {
				since = f.Last.Add(time.Microsecond)
			}
			if _, err := tx.Exec(ctx, `insert into rowbell.alert_watch (workflow_id, since, told_to, digest_at) values ($1, $2, $3, $4::timestamptz + $5::interval)
on conflict (workflow_id) do update set since = excluded.since, told_to = excluded.told_to, digest_at = excluded.digest_at`,
				f.WorkflowID, since, f.Last, now, window); err != nil {
				return err
			}
		}
		if len(digests) == failuresAtOnce {
			return nil // the rest of them is the next sweep's, which finds the same first ones told
		}
		// A window without failures ends it; the row stays until no failure of before can turn up.
		if _, err := tx.Exec(ctx, `update rowbell.alert_watch set digest_at = null where digest_at < $1::timestamptz - interval '`+digestDelay+`'`, now); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `delete from rowbell.alert_watch where digest_at is null and told_to < $1::timestamptz - interval '1 hour'`, swept); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update rowbell.alert_sweep set swept_to = $1`, now)
		return err
	})
	if err != nil {
		return 0, stateError("look for workflows that fail", err)
	}
	return n, nil
}

// failures reads what firstSQL or digestSQL finds, and what gave up of it.
func failures(ctx context.Context, tx pgx.Tx, sql string, digest bool, at time.Time) ([]Failures, error) {
	rows, err := tx.Query(ctx, sql, at, failuresAtOnce)
	if err != nil {
		return nil, err
	}
	var examples []string
	of := make(map[string]int) // where their failures are in the list, by execution
	n := 0
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Failures, error) {
		f := Failures{Digest: digest}
		var ids []string
		if err := row.Scan(&f.WorkflowID, &f.Name, &f.TenantID, &f.Count, &f.Since, &f.Last, &ids, &f.ExampleError); err != nil {
			return f, err
		}
		f.ExampleID = ids[0]
		for _, id := range ids {
			of[id] = n
		}
		examples = append(examples, ids...)
		n++
		return f, nil
	})
	if err != nil || len(list) == 0 {
		return list, err
	}
	if rows, err = tx.Query(ctx, throughSQL, examples); err != nil {
		return nil, err
	}
	var id, kind string
	_, err = pgx.ForEachRow(rows, []any{&id, &kind}, func() error {
		if f := &list[of[id]]; !slices.Contains(f.Through, kind) {
			f.Through = append(f.Through, kind)
		}
		return nil
	})
	return list, err
}

// StoredAlert is a row of rowbell.alert.
type StoredAlert struct {
	workflow.Alert
	Through  []string // kinds that are no way to tell of it
	Told     []string // who was told, and how
	Attempts int      // with this one
}

// ClaimAlerts leases alerts that are due, at most limit of them, for so long.
func (s *State) ClaimAlerts(ctx context.Context, limit int, lease time.Duration) ([]StoredAlert, error) {
	const what = "claim what owners are to be told"
	rows, err := s.db.Query(ctx, `with pick as materialized (
	select key from rowbell.alert where next_at <= clock_timestamp() order by next_at limit $1 for update skip locked
)
update rowbell.alert a set next_at = clock_timestamp() + $2::interval, attempts = (attempts + 1)::int2 from pick p where a.key = p.key
returning a.key, a.kind, coalesce(a.tenant_id, ''), coalesce(a.workflow_id, ''), a.through, a.subject, a.body, a.at, a.told, a.attempts::int4`, limit, lease)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (StoredAlert, error) {
		var a StoredAlert
		return a, row.Scan(&a.Key, &a.Kind, &a.TenantID, &a.WorkflowID, &a.Through, &a.Subject, &a.Text, &a.At, &a.Told, &a.Attempts)
	})
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// EndAlert writes who was told by now, and why not all were; "" if all were. It is told again
// after retryIn; 0 ends it.
func (s *State) EndAlert(ctx context.Context, key string, told []string, why string, retryIn time.Duration) error {
	if told == nil {
		told = []string{}
	}
	_, err := s.db.Exec(ctx, `update rowbell.alert set told = $2, error = nullif($3, ''), told_at = case when $3 = '' then clock_timestamp() end,
	next_at = case when $4::interval > '0' then clock_timestamp() + $4::interval end
where key = $1`, key, told, storable(why), retryIn)
	if err != nil {
		return stateError("write that owners were told", err)
	}
	return nil
}

// Ownership is what says whom a workflow belongs to.
type Ownership struct {
	TenantID  string // "" = operators
	Name      string
	Settings  []byte // JSON
	CreatedBy string // the actor who made it; "" if only the database's user is known
}

// Ownership reads it of a workflow. Returns ErrNotFound if it has no definition any more.
func (s *Source) Ownership(ctx context.Context, workflowID string) (Ownership, error) {
	var o Ownership
	err := s.db.QueryRow(ctx, `select coalesce(d.tenant_id, ''), d.name, d.settings,
	case when d.created_by is distinct from v.db_user then coalesce(d.created_by, '') else '' end
from rowbell.workflow_definition d
left join lateral (select db_user from rowbell.workflow_version where workflow_id = d.id order by version limit 1) v on true
where d.id = $1`, workflowID).Scan(&o.TenantID, &o.Name, &o.Settings, &o.CreatedBy)
	if err != nil {
		return o, sourceError("read whose workflow "+workflowID+" is", err)
	}
	return o, nil
}

// BrokenWorkflow is an active workflow that doesn't run.
type BrokenWorkflow struct {
	workflow.Health
	Name  string
	Since time.Time // when a worker said so
}

// BrokenWorkflows are those active workflows of which a worker says that they are broken, in
// their present version, at most limit, the latest first.
func (s *Source) BrokenWorkflows(ctx context.Context, limit int) ([]BrokenWorkflow, error) {
	const what = "read which workflows are broken"
	rows, err := s.db.Query(ctx, `select h.workflow_id, h.version, coalesce(h.tenant_id, ''), h.message, d.name, h.updated_at
from rowbell.workflow_health h join rowbell.workflow_definition d on d.id = h.workflow_id and d.version = h.version and d.status = 'active'
where h.verdict = 'broken' order by h.updated_at desc limit $1`, limit)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (BrokenWorkflow, error) {
		b := BrokenWorkflow{Health: workflow.Health{Verdict: workflow.Broken}}
		return b, row.Scan(&b.WorkflowID, &b.Version, &b.TenantID, &b.Message, &b.Name, &b.Since)
	})
	if err != nil {
		return nil, sourceError(what, err)
	}
	return list, nil
}
