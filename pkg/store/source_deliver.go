package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Definitions reads what is delivered of both databases: state says which version a
// delivery is of, the source what that does.
type Definitions struct {
	*State
	*Source
}

// Version is the workflow version that a surrogate stands for. Returns ErrNotYet if it has come
// through the slot and can't be seen yet, and ErrNotFound if it is there no more.
func (d Definitions) Version(ctx context.Context, ref int32) (workflow.Version, error) {
	v, err := d.VersionOf(ctx, ref)
	if err != nil {
		return workflow.Version{}, err
	}
	list, err := d.Versions(ctx, []VersionRef{v})
	if errors.Is(err, workflow.ErrNotFound) {
		if err := d.seen(ctx, v); err != nil {
			return workflow.Version{}, err
		}
		list, err = d.Versions(ctx, []VersionRef{v}) // it may have come into sight by now
	}
	if err != nil {
		return workflow.Version{}, err
	}
	return list[0], nil
}

// seen returns ErrNotYet if this version is still to come into sight on the source.
func (d Definitions) seen(ctx context.Context, v VersionRef) error {
	last, err := d.lastVersions(ctx, []string{v.ID})
	if err != nil {
		return err
	}
	applied, err := d.applied(ctx, []string{v.ID})
	if err != nil {
		return err
	}
	if n := last[v.ID].version; n < v.Version && n < applied[v.ID] {
		return fmt.Errorf("version %d of workflow %s is %w", v.Version, v.ID, workflow.ErrNotYet)
	}
	return nil
}

// Statuses are the present ones of these workflows, as the source has them: see
// Source.Statuses. One that isn't active is left out if a later version than can be seen has
// come through the slot: it may be active by that.
func (d Definitions) Statuses(ctx context.Context, workflowIDs []string) (map[string]workflow.Status, error) {
	// Status and version are of one snapshot, and what has come through the slot is read after
	// it: what becomes visible in between is left out for nothing, and asked for again.
	last, err := d.lastVersions(ctx, workflowIDs)
	if err != nil {
		return nil, err
	}
	statuses := make(map[string]workflow.Status, len(last))
	var off []string
	for id, l := range last {
		statuses[id] = l.status
		if l.status != workflow.Active {
			off = append(off, id)
		}
	}
	if len(off) == 0 {
		return statuses, nil
	}
	applied, err := d.applied(ctx, off)
	if err != nil {
		return nil, err
	}
	for _, id := range off {
		if last[id].version < applied[id] {
			delete(statuses, id)
		}
	}
	return statuses, nil
}

// lastVersion is what a workflow is now, and which version that is: 0 if none was ever seen.
type lastVersion struct {
	status  workflow.Status
	version int32
}

// lastVersions reads them of all these workflows.
func (s *Source) lastVersions(ctx context.Context, workflowIDs []string) (map[string]lastVersion, error) {
	const what = "read whether workflows are active"
	rows, err := s.db.Query(ctx, `select w.id, coalesce(d.status, 'deleted'), d.id is not null,
	coalesce((select max(v.version) from rowbell.workflow_version v where v.workflow_id = w.id), 0)
from unnest($1::text[]) w (id) left join rowbell.workflow_definition d on d.id = w.id`, workflowIDs)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list := make(map[string]lastVersion, len(workflowIDs))
	var id string
	var l lastVersion
	var there bool
	missing := false
	if _, err := pgx.ForEachRow(rows, []any{&id, &l.status, &there, &l.version}, func() error {
		list[id] = l
		missing = missing || !there
		return nil
	}); err != nil {
		return nil, sourceError(what, err)
	}
	if missing {
		// What isn't there is cancelled: so it must be gone, and not only out of sight.
		if err := s.SeesAll(ctx); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Statuses are the present ones of these workflows, however far the stream has come.
// One that has no definition any more is Deleted.
func (s *Source) Statuses(ctx context.Context, workflowIDs []string) (map[string]workflow.Status, error) {
	last, err := s.lastVersions(ctx, workflowIDs)
	if err != nil {
		return nil, err
	}
	statuses := make(map[string]workflow.Status, len(last))
	for id, l := range last {
		statuses[id] = l.status
	}
	return statuses, nil
}

// StoredSecret is a row of rowbell.secret: plain until a worker has sealed it.
type StoredSecret struct {
	ID       string
	TenantID string // "" = operators'
	Name     string
	Plain    *string
	Sealed   []byte
	KeyID    string // which key sealed it
}

const secretColumns = `id, coalesce(tenant_id, ''), name, plain, sealed, coalesce(key_id, '')`

// Secret reads a tenant's secret by its name. Returns ErrNotFound if there is none.
func (s *Source) Secret(ctx context.Context, tenantID, name string) (StoredSecret, error) {
	rows, err := s.db.Query(ctx, `select `+secretColumns+` from rowbell.secret where coalesce(tenant_id, '') = $1 and name = $2`, tenantID, name)
	if err != nil {
		return StoredSecret{}, sourceError("read secret "+name, err)
	}
	secret, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[StoredSecret])
	if err != nil {
		return StoredSecret{}, sourceError("read secret "+name, err)
	}
	return secret, nil
}

// SealSecrets puts what seal makes of them in the place of plain secrets, at most limit
// of them, and returns how many it sealed. Those that another process is sealing are
// left to it.
func (s *Source) SealSecrets(ctx context.Context, limit int, keyID string, seal func(StoredSecret) []byte) (int, error) {
	n := 0
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select `+secretColumns+` from rowbell.secret where plain is not null order by created_at limit $1 for update skip locked`, limit)
		if err != nil {
			return err
		}
		secrets, err := pgx.CollectRows(rows, pgx.RowToStructByPos[StoredSecret])
		if err != nil || len(secrets) == 0 {
			return err
		}
		b := &pgx.Batch{}
		for _, secret := range secrets {
			b.Queue(`update rowbell.secret set plain = null, sealed = $2, key_id = $3, sealed_at = clock_timestamp() where id = $1`,
				secret.ID, seal(secret), keyID)
		}
		n = len(secrets)
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return 0, sourceError("seal secrets", err)
	}
	return n, nil
}

// ReplaceSecret writes what a secret is from now on: sealed, or plain if there is no key
// (sealed nil), until a worker seals it. Returns ErrConflict if it is not what it was when
// old was read. what is done to it is noted with it.
func (s *Source) ReplaceSecret(ctx context.Context, old StoredSecret, plain string, sealed []byte, keyID string, done Act) error {
	var text *string
	if sealed == nil {
		text = &plain
	}
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if err := sayWho(ctx, tx, done.Actor); err != nil {
			return err
		}
		if err := note(ctx, tx, done); err != nil { // first: a trigger looks whether it is said
			return err
		}
		tag, err := tx.Exec(ctx, `update rowbell.secret set plain = $2, sealed = $3, key_id = nullif($4, ''), sealed_at = case when $3::bytea is not null then clock_timestamp() end
where id = $1 and plain is not distinct from $5 and sealed is not distinct from $6`, old.ID, text, sealed, keyID, old.Plain, old.Sealed)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return conflict("secret %s was changed by somebody else just now; try again", old.Name)
		}
		return nil
	})
	if words, ok := errors.AsType[said](err); ok {
		return words
	}
	if err != nil {
		return sourceError("write secret "+old.Name, err)
	}
	return nil
}

// CountSecrets counts the secrets that are not sealed yet, and those that are.
func (s *Source) CountSecrets(ctx context.Context) (plain, sealed int, err error) {
	err = s.db.QueryRow(ctx, `select count(*) filter (where plain is not null), count(*) filter (where plain is null) from rowbell.secret`).Scan(&plain, &sealed)
	if err != nil {
		return 0, 0, sourceError("count rowbell.secret", err)
	}
	return plain, sealed, nil
}

// ResealSecrets puts what reseal makes of them in the place of secrets that one of the
// older keys has sealed, at most limit of them, and returns how many it looked at. reseal
// returns nil for what it can't open, which stays as it is. Those that another process is
// sealing are left to it. after is the id of the last secret that was looked at before; ""
// to begin.
func (s *Source) ResealSecrets(ctx context.Context, after string, limit int, keyID string, older []string, reseal func(StoredSecret) []byte) (last string, n int, err error) {
	err = pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select `+secretColumns+` from rowbell.secret where id > $1 and plain is null and key_id = any ($2) order by id limit $3 for update skip locked`,
			after, older, limit)
		if err != nil {
			return err
		}
		secrets, err := pgx.CollectRows(rows, pgx.RowToStructByPos[StoredSecret])
		if err != nil || len(secrets) == 0 {
			return err
		}
		b := &pgx.Batch{}
		for _, secret := range secrets {
			if sealed := reseal(secret); sealed != nil {
				b.Queue(`update rowbell.secret set sealed = $2, key_id = $3, sealed_at = clock_timestamp() where id = $1`, secret.ID, sealed, keyID)
			}
		}
		last, n = secrets[len(secrets)-1].ID, len(secrets)
		if b.Len() == 0 {
			return nil
		}
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return "", 0, sourceError("seal secrets with another key", err)
	}
	return last, n, nil
}

// SecretKeys counts the sealed secrets by the id of the key that has sealed them; "" counts
// those that are not sealed yet.
func (s *Source) SecretKeys(ctx context.Context) (map[string]int, error) {
	const what = "count rowbell.secret by key"
	rows, err := s.db.Query(ctx, `select case when plain is null then coalesce(key_id, '?') else '' end, count(*)::int4 from rowbell.secret group by 1`)
	if err != nil {
		return nil, sourceError(what, err)
	}
	counts := make(map[string]int)
	var id string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { counts[id] = n; return nil }); err != nil {
		return nil, sourceError(what, err)
	}
	return counts, nil
}
