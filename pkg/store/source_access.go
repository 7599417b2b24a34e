package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// APIKey is a row of rowbell.api_key.
type APIKey struct {
	ID         string     `json:"id"`
	TenantID   *string    `json:"tenant_id"` // nil: all tenants, and the operators' own
	Name       string     `json:"name"`
	Hash       []byte     `json:"-"` // of the key's text
	Roles      []string   `json:"roles"`
	Rights     []string   `json:"rights"`
	CreatedBy  string     `json:"created_by"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at"`   // nil: it does not by itself
	LastUsedAt *time.Time `json:"last_used_at"` // nil: never
	RevokedAt  *time.Time `json:"revoked_at"`   // nil: it counts
	RevokedBy  *string    `json:"revoked_by"`
}

const apiKeyColumns = `id, tenant_id, name, hash, roles, rights, created_by, created_at, expires_at, last_used_at, revoked_at, revoked_by`

// shownKeyColumns are the same without what proves a key, which nobody is shown.
const shownKeyColumns = `id, tenant_id, name, ''::bytea, roles, rights, created_by, created_at, expires_at, last_used_at, revoked_at, revoked_by`

// APIKey reads a key, also one that was revoked. Returns ErrNotFound if there is none.
func (s *Source) APIKey(ctx context.Context, id string) (APIKey, error) {
	rows, err := s.db.Query(ctx, `select `+apiKeyColumns+` from rowbell.api_key where id = $1`, storable(id))
	if err != nil {
		return APIKey{}, sourceError("read an API key", err)
	}
	k, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[APIKey])
	if err != nil {
		return APIKey{}, sourceError("read an API key", err)
	}
	return k, nil
}

// AccessFilter chooses keys, link keys and members. At most mostAccess of each are listed.
type AccessFilter struct {
	// TenantID chooses one tenant's; "" those for all tenants. Nil: any.
	TenantID *string
	// Revoked lists keys too that were revoked.
	Revoked bool
}

const mostAccess = 1000

// APIKeys lists keys, the newest first.
func (s *Source) APIKeys(ctx context.Context, f AccessFilter) ([]APIKey, error) {
	rows, err := s.db.Query(ctx, `select `+shownKeyColumns+` from rowbell.api_key
where ($1::text is null or coalesce(tenant_id, '') = $1) and ($2 or revoked_at is null) order by id desc limit $3`, f.TenantID, f.Revoked, mostAccess)
	if err != nil {
		return nil, sourceError("list API keys", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[APIKey])
	if err != nil {
		return nil, sourceError("list API keys", err)
	}
	return list, nil
}

const insertKeySQL = `insert into rowbell.api_key (id, tenant_id, name, hash, roles, rights, expires_at)
values ($1, $2, $3, $4, coalesce($5::text[], '{}'), coalesce($6::text[], '{}'), $7) returning created_by, created_at`

func insertKey(ctx context.Context, tx pgx.Tx, k *APIKey) error {
	return tx.QueryRow(ctx, insertKeySQL, k.ID, k.TenantID, k.Name, k.Hash, k.Roles, k.Rights, k.ExpiresAt).Scan(&k.CreatedBy, &k.CreatedAt)
}

// CreateAPIKey writes a key, and returns it as it stands there.
func (s *Source) CreateAPIKey(ctx context.Context, k APIKey, actor string) (APIKey, error) {
	err := s.editAccess(ctx, actor, func(tx pgx.Tx) (accessAct, error) {
		err := insertKey(ctx, tx, &k)
		return accessAct{"key.create", "key", k.ID, k.TenantID, map[string]any{"name": k.Name, "roles": k.Roles, "rights": k.Rights}}, err
	})
	if err != nil {
		return APIKey{}, sourceError("write an API key", err)
	}
	return k, nil
}

// CreateFirstKey writes a key if there is none and never was: of several processes that
// try at once one does. It says whether it has.
func (s *Source) CreateFirstKey(ctx context.Context, k APIKey, actor string) (made bool, err error) {
	err = s.editAccess(ctx, actor, func(tx pgx.Tx) (accessAct, error) {
		// The row's lock lets one through. Who waited for it finds that the time is set.
		tag, err := tx.Exec(ctx, `update rowbell.setting set first_key_at = clock_timestamp()
where first_key_at is null and not exists (select from rowbell.api_key)`)
		if err != nil || tag.RowsAffected() == 0 {
			return accessAct{}, err
		}
		made = true
		err = insertKey(ctx, tx, &k)
		return accessAct{"key.create", "key", k.ID, k.TenantID, map[string]any{"name": k.Name, "roles": k.Roles, "first": true}}, err
	})
	if err != nil {
		return false, sourceError("make the first API key", err)
	}
	return made, nil
}

// RevokeAPIKey revokes a key of this tenant ("" = of all tenants; nil = any), and returns
// it. Returns ErrNotFound if there is none, and ErrConflict if it was revoked before.
func (s *Source) RevokeAPIKey(ctx context.Context, id string, tenantID *string, actor string) (APIKey, error) {
	var k APIKey
	err := s.editAccess(ctx, actor, func(tx pgx.Tx) (accessAct, error) {
		rows, err := tx.Query(ctx, `update rowbell.api_key set revoked_at = clock_timestamp(),
	revoked_by = coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user)
where id = $1 and ($2::text is null or coalesce(tenant_id, '') = $2) and revoked_at is null returning `+shownKeyColumns, storable(id), tenantID)
		if err != nil {
			return accessAct{}, err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[APIKey])
		if err != nil {
			return accessAct{}, err
		}
		if len(list) == 0 {
			return accessAct{}, whyNotRevoked(ctx, tx, "API key", "api_key", id, tenantID)
		}
		k = list[0]
		return accessAct{"key.revoke", "key", k.ID, k.TenantID, map[string]any{"name": k.Name}}, nil
	})
	if err != nil {
		return APIKey{}, saidOr("revoke an API key", err)
	}
	return k, nil
}

// whyNotRevoked says why there was nothing to revoke in a table.
func whyNotRevoked(ctx context.Context, tx pgx.Tx, what, table, id string, tenantID *string) error {
	var at time.Time
	err := tx.QueryRow(ctx, `select revoked_at from rowbell.`+table+` where id = $1 and ($2::text is null or coalesce(tenant_id, '') = $2)`, storable(id), tenantID).Scan(&at)
	switch {
	case err == nil:
		return conflict("%s %s was revoked already, %s", what, id, at.Format(time.RFC3339))
	case errors.Is(err, pgx.ErrNoRows):
		return notFound("there is no %s %.64s", what, id)
	}
	return err
}

// KeysUsed writes when keys were last used. What is not a minute later than what stands
// there is left, so that several processes together write once a minute.
func (s *Source) KeysUsed(ctx context.Context, used map[string]time.Time) error {
	ids := slices.Sorted(maps.Keys(used)) // in one order, for the locks
	at := make([]time.Time, len(ids))
	for i, id := range ids {
		at[i] = used[id]
	}
	_, err := s.db.Exec(ctx, `update rowbell.api_key k set last_used_at = u.at from unnest($1::text[], $2::timestamptz[]) u (id, at)
where k.id = u.id and (k.last_used_at is null or k.last_used_at < u.at - interval '55 seconds')`, ids, at)
	if err != nil {
		return sourceError("write when API keys were used", err)
	}
	return nil
}

// LinkKey is a row of rowbell.link_key.
type LinkKey struct {
	ID        string     `json:"id"`
	TenantID  *string    `json:"tenant_id"` // nil: each link says which
	Name      string     `json:"name"`
	PublicKey []byte     `json:"public_key"` // SubjectPublicKeyInfo in DER
	Roles     []string   `json:"roles"`      // that its links may give
	CreatedBy string     `json:"created_by"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"` // nil: it does not by itself
	RevokedAt *time.Time `json:"revoked_at"` // nil: it counts
	RevokedBy *string    `json:"revoked_by"`
}

const linkKeyColumns = `id, tenant_id, name, public_key, roles, created_by, created_at, expires_at, revoked_at, revoked_by`

// LinkKey reads a link key, also one that was revoked. Returns ErrNotFound if there is none.
func (s *Source) LinkKey(ctx context.Context, id string) (LinkKey, error) {
	rows, err := s.db.Query(ctx, `select `+linkKeyColumns+` from rowbell.link_key where id = $1`, storable(id))
	if err != nil {
		return LinkKey{}, sourceError("read a link key", err)
	}
	k, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[LinkKey])
	if err != nil {
		return LinkKey{}, sourceError("read a link key", err)
	}
	return k, nil
}

// LinkKeys lists link keys, the newest first.
func (s *Source) LinkKeys(ctx context.Context, f AccessFilter) ([]LinkKey, error) {
	rows, err := s.db.Query(ctx, `select `+linkKeyColumns+` from rowbell.link_key
where ($1::text is null or coalesce(tenant_id, '') = $1) and ($2 or revoked_at is null) order by id desc limit $3`, f.TenantID, f.Revoked, mostAccess)
	if err != nil {
		return nil, sourceError("list link keys", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[LinkKey])
	if err != nil {
		return nil, sourceError("list link keys", err)
	}
	return list, nil
}

// CreateLinkKey writes a link key, and returns it as it stands there.
func (s *Source) CreateLinkKey(ctx context.Context, k LinkKey, actor string) (LinkKey, error) {
	err := s.editAccess(ctx, actor, func(tx pgx.Tx) (accessAct, error) {
		err := tx.QueryRow(ctx, `insert into rowbell.link_key (id, tenant_id, name, public_key, roles, expires_at)
values ($1, $2, $3, $4, $5, $6) returning created_by, created_at`,
			k.ID, k.TenantID, k.Name, k.PublicKey, k.Roles, k.ExpiresAt).Scan(&k.CreatedBy, &k.CreatedAt)
		return accessAct{"link_key.create", "link_key", k.ID, k.TenantID, map[string]any{"name": k.Name, "roles": k.Roles}}, err
	})
	if err != nil {
		return LinkKey{}, sourceError("write a link key", err)
	}
	return k, nil
}

// RevokeLinkKey revokes a link key, as RevokeAPIKey does a key.
func (s *Source) RevokeLinkKey(ctx context.Context, id string, tenantID *string, actor string) (LinkKey, error) {
	var k LinkKey
	err := s.editAccess(ctx, actor, func(tx pgx.Tx) (accessAct, error) {
		rows, err := tx.Query(ctx, `update rowbell.link_key set revoked_at = clock_timestamp(),
	revoked_by = coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user)
where id = $1 and ($2::text is null or coalesce(tenant_id, '') = $2) and revoked_at is null returning `+linkKeyColumns, storable(id), tenantID)
		if err != nil {
			return accessAct{}, err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[LinkKey])
		if err != nil {
			return accessAct{}, err
		}
		if len(list) == 0 {
			return accessAct{}, whyNotRevoked(ctx, tx, "link key", "link_key", id, tenantID)
		}
		k = list[0]
		return accessAct{"link_key.revoke", "link_key", k.ID, k.TenantID, map[string]any{"name": k.Name}}, nil
	})
	if err != nil {
		return LinkKey{}, saidOr("revoke a link key", err)
	}
	return k, nil
}

// Member is a row of rowbell.member.
type Member struct {
	ID        string    `json:"id"`
	TenantID  *string   `json:"tenant_id"` // nil: all tenants, and the operators' own
	Issuer    string    `json:"issuer"`
	Subject   string    `json:"subject"`
	Name      string    `json:"name"`
	Email     string    `json:"email"`
	Roles     []string  `json:"roles"`
	Rights    []string  `json:"rights"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

const memberColumns = `id, tenant_id, issuer, subject, name, email, roles, rights, created_by, created_at, updated_at`

// mostMemberships of one person are read.
const mostMemberships = 1000

// Memberships reads what somebody is in each tenant.
func (s *Source) Memberships(ctx context.Context, issuer, subject string) ([]Member, error) {
	rows, err := s.db.Query(ctx, `select `+memberColumns+` from rowbell.member where issuer = $1 and subject = $2
order by coalesce(tenant_id, '') limit $3`, storable(issuer), storable(subject), mostMemberships)
	if err != nil {
		return nil, sourceError("read memberships", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Member])
	if err != nil {
		return nil, sourceError("read memberships", err)
	}
	return list, nil
}

// Members lists members by tenant and subject, those for all tenants first.
func (s *Source) Members(ctx context.Context, f AccessFilter) ([]Member, error) {
	rows, err := s.db.Query(ctx, `select `+memberColumns+` from rowbell.member
where $1::text is null or coalesce(tenant_id, '') = $1 order by tenant_id nulls first, subject, issuer limit $2`, f.TenantID, mostAccess)
	if err != nil {
		return nil, sourceError("list members", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Member])
	if err != nil {
		return nil, sourceError("list members", err)
	}
	return list, nil
}

// SetMember says what somebody is in a tenant, whatever they were there before, and
// returns it as it stands there. A name or an address that isn't given stays.
func (s *Source) SetMember(ctx context.Context, m Member, actor string) (Member, error) {
	err := s.editAccess(ctx, actor, func(tx pgx.Tx) (accessAct, error) {
		rows, err := tx.Query(ctx, `insert into rowbell.member as m (tenant_id, issuer, subject, name, email, roles, rights)
values ($1, $2, $3, $4, $5, coalesce($6::text[], '{}'), coalesce($7::text[], '{}'))
on conflict (issuer, subject, (coalesce(tenant_id, ''))) do update set
	name = coalesce(nullif(excluded.name, ''), m.name), email = coalesce(nullif(excluded.email, ''), m.email),
	roles = excluded.roles, rights = excluded.rights, updated_at = now()
returning `+memberColumns, m.TenantID, m.Issuer, m.Subject, m.Name, m.Email, m.Roles, m.Rights)
		if err != nil {
			return accessAct{}, err
		}
		m, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Member])
		return accessAct{"member.set", "member", m.ID, m.TenantID, map[string]any{"subject": m.Subject, "roles": m.Roles, "rights": m.Rights}}, err
	})
	if err != nil {
		return Member{}, sourceError("write a member", err)
	}
	return m, nil
}

// RemoveMember takes a member away, by id, of this tenant ("" = of all tenants; nil = any).
// Returns ErrNotFound if there is none.
func (s *Source) RemoveMember(ctx context.Context, id string, tenantID *string, actor string) (Member, error) {
	var m Member
	err := s.editAccess(ctx, actor, func(tx pgx.Tx) (accessAct, error) {
		rows, err := tx.Query(ctx, `delete from rowbell.member where id = $1 and ($2::text is null or coalesce(tenant_id, '') = $2) returning `+memberColumns, storable(id), tenantID)
		if err != nil {
			return accessAct{}, err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Member])
		if err != nil {
			return accessAct{}, err
		}
		if len(list) == 0 {
			return accessAct{}, notFound("there is no member %.64s", id)
		}
		m = list[0]
		return accessAct{"member.remove", "member", m.ID, m.TenantID, map[string]any{"subject": m.Subject}}, nil
	})
	if err != nil {
		return Member{}, saidOr("remove a member", err)
	}
	return m, nil
}

// accessAct is what audit_log says of a change.
type accessAct struct {
	action, objectType, objectID string
	tenantID                     *string
	detail                       map[string]any
}

// editAccess does f in a transaction, and notes in it what f says it has done; nothing if
// it says nothing.
func (s *Source) editAccess(ctx context.Context, actor string, f func(tx pgx.Tx) (accessAct, error)) error {
	return pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local lock_timeout = '2s'`); err != nil {
			return err
		}
		if err := sayWho(ctx, tx, actor); err != nil {
			return err
		}
		a, err := f(tx)
		if err != nil || a.action == "" {
			return err
		}
		act := Act{Action: a.action, ObjectType: a.objectType, ObjectID: a.objectID, Detail: a.detail}
		if a.tenantID != nil {
			act.TenantID = *a.tenantID
		}
		return note(ctx, tx, act)
	})
}

// saidOr keeps an error that says it all, and makes a source error of any other.
func saidOr(what string, err error) error {
	if text, ok := errors.AsType[said](err); ok {
		return text
	}
	return sourceError(what, err)
}
