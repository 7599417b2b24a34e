package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// SavedView is a filter of the log that somebody keeps under a name.
type SavedView struct {
	ID        string     `json:"id"`
	TenantID  string     `json:"tenant_id,omitempty"` // in which its owner looks; "" all
	Owner     string     `json:"owner"`               // as audit_log has it
	Name      string     `json:"name"`
	Shared    bool       `json:"shared"` // all of the tenant see it
	Filter    ViewFilter `json:"filter"`
	CreatedAt time.Time  `json:"created_at"`
}

// ViewFilter is what a view shows; "" is anything.
type ViewFilter struct {
	Status     string `json:"status,omitempty"`
	Within     string `json:"within,omitempty"` // hour, day or week, up to when one looks
	WorkflowID string `json:"workflow_id,omitempty"`
	Table      string `json:"table,omitempty"`
	RowKey     string `json:"row_key,omitempty"`
	Recipient  string `json:"recipient,omitempty"`
	Error      string `json:"error,omitempty"` // a part of it
}

// Bounds of what is saved, in characters: of the name, and of what any part of the filter is.
const (
	longestView = 80
	longestPart = 1000
)

// mostViews is how many somebody has in a tenant; twice as many are listed.
const mostViews = 100

const viewColumns = `v.id, v.tenant_id, v.owner, v.name, v.shared, v.filter, v.created_at`

func scanView(row pgx.CollectableRow) (SavedView, error) {
	var v SavedView
	var filter []byte
	err := row.Scan(&v.ID, &v.TenantID, &v.Owner, &v.Name, &v.Shared, &filter, &v.CreatedAt)
	if err == nil {
		err = json.Unmarshal(filter, &v.Filter)
	}
	v.CreatedAt = v.CreatedAt.UTC()
	return v, err
}

// SavedViews lists the views that somebody has in a tenant ("" = in all), all of them, and those
// that are shared there, by name.
func (s *State) SavedViews(ctx context.Context, tenantID, owner string) ([]SavedView, error) {
	rows, err := s.db.Query(ctx, `select `+viewColumns+` from (
	select v.* from rowbell.saved_view v where v.tenant_id = $1 and (v.owner = $2 or v.shared) order by v.owner <> $2, lower(v.name), v.id limit $3
) v order by lower(v.name), v.id`, tenantID, owner, 2*mostViews)
	if err == nil {
		var list []SavedView
		if list, err = pgx.CollectRows(rows, scanView); err == nil {
			return list, nil
		}
	}
	return nil, stateError("list saved views", err)
}

// SavedView reads one. Returns ErrNotFound.
func (s *State) SavedView(ctx context.Context, id string) (SavedView, error) {
	rows, err := s.db.Query(ctx, `select `+viewColumns+` from rowbell.saved_view v where v.id = $1`, id)
	if err != nil {
		return SavedView{}, stateError("read a saved view", err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, scanView)
	if errors.Is(err, pgx.ErrNoRows) {
		return v, notFound("there is no view %.80q", id)
	}
	if err != nil {
		return v, stateError("read a saved view", err)
	}
	return v, nil
}

// SaveView keeps a view; one of the same owner, tenant and name it replaces. Returns ErrConflict
// if they have too many, and ErrRefused if its name or its filter is too long.
func (s *State) SaveView(ctx context.Context, v SavedView) (SavedView, error) {
	filter, err := json.Marshal(v.Filter)
	if err != nil {
		return v, err
	}
	if n := utf8.RuneCountInString(v.Name); n > longestView {
		return v, refused("the name of the view has %d characters; give it one of at most %d", n, longestView)
	}
	f := v.Filter
	for _, part := range []string{f.Status, f.Within, f.WorkflowID, f.Table, f.RowKey, f.Recipient, f.Error} {
		if n := utf8.RuneCountInString(part); n > longestPart {
			return v, refused("view %s would show what has %.20q… in %d characters; a part of a filter has at most %d", v.Name, part, n, longestPart)
		}
	}
	v.Name = storable(v.Name)
	err = s.db.QueryRow(ctx, `insert into rowbell.saved_view as v (id, tenant_id, owner, name, shared, filter)
select $1, $2, $3, $4, $5, $6 where (select count(*) from rowbell.saved_view o where o.tenant_id = $2 and o.owner = $3 and o.name <> $4) < $7
on conflict (tenant_id, owner, name) do update set shared = excluded.shared, filter = excluded.filter
returning v.id, v.created_at`, ulid.Make().String(), v.TenantID, v.Owner, v.Name, v.Shared, filter, mostViews).Scan(&v.ID, &v.CreatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return v, conflict("%s has %d views, and that is the most; remove one first", v.Owner, mostViews)
	}
	if err != nil {
		return v, stateError("save view "+v.Name, err)
	}
	v.CreatedAt = v.CreatedAt.UTC()
	return v, nil
}

// DeleteView removes a view. Returns ErrNotFound.
func (s *State) DeleteView(ctx context.Context, id string) error {
	tag, err := s.db.Exec(ctx, `delete from rowbell.saved_view where id = $1`, id)
	if err != nil {
		return stateError("remove a saved view", err)
	}
	if tag.RowsAffected() == 0 {
		return notFound("there is no view %.80q", id)
	}
	return nil
}
