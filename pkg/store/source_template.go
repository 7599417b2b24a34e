package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Template is a stored template in one language.
type Template struct {
	TenantID    string    `json:"tenant_id,omitempty"` // "" = the operators'
	Name        string    `json:"name"`
	Locale      string    `json:"locale,omitempty"` // "" = for everybody
	Source      string    `json:"source"`
	Description string    `json:"description,omitempty"`
	CreatedBy   string    `json:"created_by"`
	UpdatedAt   time.Time `json:"updated_at"`
}

const templateColumns = `coalesce(tenant_id, ''), name, locale, source, description, created_by, updated_at`

// Templates lists a tenant's templates by name and locale: nil those of all, "" the
// operators'. name "" is every name.
func (s *Source) Templates(ctx context.Context, tenant *string, name string) ([]Template, error) {
	const what = "read templates"
	rows, err := s.db.Query(ctx, `select `+templateColumns+` from rowbell.template
where ($1::text is null or coalesce(tenant_id, '') = $1) and ($2 = '' or name = $2)
order by coalesce(tenant_id, '') collate "C", name collate "C", locale collate "C"`, tenant, name)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Template])
	if err != nil {
		return nil, sourceError(what, err)
	}
	return list, nil
}

// TemplatesFor reads all templates that a tenant's workflows may render: its own, and the
// operators' where it has none of that name; name → locale → source.
func (s *Source) TemplatesFor(ctx context.Context, tenantID string) (map[string]map[string]string, error) {
	const what = "read templates"
	rows, err := s.db.Query(ctx, `select `+templateColumns+` from rowbell.template t
where coalesce(tenant_id, '') = $1
	or tenant_id is null and not exists (select from rowbell.template o where o.tenant_id = $1 and o.name = t.name)`, tenantID)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Template])
	if err != nil {
		return nil, sourceError(what, err)
	}
	all := make(map[string]map[string]string)
	for _, t := range list {
		if all[t.Name] == nil {
			all[t.Name] = make(map[string]string)
		}
		all[t.Name][t.Locale] = t.Source
	}
	return all, nil
}

// RenderedBy lists the workflows whose actions render a template of a tenant, by
// themselves or through others.
func (s *Source) RenderedBy(ctx context.Context, tenantID, name string) ([]string, error) {
	what := "look who renders template " + name
	rows, err := s.db.Query(ctx, `select r.workflow_id from rowbell.workflows_rendering($1, nullif($2, '')) r
where $2 <> '' or not exists (select from rowbell.template t where t.tenant_id = r.tenant_id and t.name = $1)`, name, tenantID)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, sourceError(what, err)
	}
	return list, nil
}

// SetTemplate writes a template of a tenant, name and locale, in place of one that is
// there; its description stays unless there is a new one. It returns the workflows that
// got a new version by it. same says that there was nothing to do.
func (s *Source) SetTemplate(ctx context.Context, t Template, actor string) (versions []string, same bool, err error) {
	err = s.editTemplate(ctx, "template.set", t, actor, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `insert into rowbell.template as t (tenant_id, name, locale, source, description)
values (nullif($1, ''), $2, $3, $4, $5)
on conflict (coalesce(tenant_id, ''), name, lower(locale)) do update
set source = excluded.source, description = coalesce(nullif(excluded.description, ''), t.description), locale = excluded.locale
where (t.source, t.locale) is distinct from (excluded.source, excluded.locale) or excluded.description not in ('', t.description)`,
			t.TenantID, t.Name, t.Locale, t.Source, t.Description)
		if err != nil {
			return err
		}
		same = tag.RowsAffected() == 0
		if _, err := tx.Exec(ctx, `set constraints all immediate`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select r.workflow_id from rowbell.workflows_rendering($1, nullif($2, '')) r
join rowbell.workflow_definition d on d.id = r.workflow_id
join rowbell.workflow_version v on v.workflow_id = d.id and v.version = d.version and v.created_at = now()
order by 1`, t.Name, t.TenantID)
		if err != nil {
			return err
		}
		versions, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return versions, same, err
}

// DeleteTemplate takes a template away: that of one locale, or, with nil, of all. Returns
// ErrNotFound if there is none, and ErrConflict, which names them, if workflows render it.
func (s *Source) DeleteTemplate(ctx context.Context, tenantID, name string, locale *string, actor string) error {
	none := false
	err := s.editTemplate(ctx, "template.delete", Template{TenantID: tenantID, Name: name}, actor, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `delete from rowbell.template
where coalesce(tenant_id, '') = $1 and name = $2 and ($3::text is null or lower(locale) = lower($3))`, tenantID, name, locale)
		if none = err == nil && tag.RowsAffected() == 0; none {
			return pgx.ErrNoRows
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `set constraints all immediate`)
		return err
	})
	if none { // asked for when the transaction has given its connection back
		return s.NoTemplate(ctx, tenantID, name, locale)
	}
	return err
}

// editTemplate does f in a transaction. A trigger notes what it changes.
func (s *Source) editTemplate(ctx context.Context, action string, t Template, actor string, f func(tx pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local lock_timeout = '2s'`); err != nil {
			return err
		}
		if err := sayWho(ctx, tx, actor); err != nil {
			return err
		}
		return f(tx)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, workflow.ErrNotFound):
		return err // which says it all
	}
	return sourceError(fmt.Sprintf("%s of %s", action, t.Name), err)
}

// NoTemplate is the error for a template that isn't there, with a name that is near.
func (s *Source) NoTemplate(ctx context.Context, tenantID, name string, locale *string) error {
	all, err := s.Templates(ctx, &tenantID, "")
	if err != nil {
		return err
	}
	whose := "the operators have"
	if tenantID != "" {
		whose = "tenant " + tenantID + " has"
	}
	var names, locales []string
	for _, t := range all {
		names = append(names, t.Name)
		if t.Name == name {
			locales = append(locales, t.Locale)
		}
	}
	if len(locales) > 0 && locale != nil {
		return notFound("%s the template %s, but not in locale %q; there are %q", whose, name, *locale, locales)
	}
	mend := spelling.Mend(name, names)
	if mend == "" {
		mend = "see rowbell template list"
	}
	return notFound("%s no template %s; %s", whose, name, mend)
}
