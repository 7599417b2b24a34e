package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Bounds of what is read of one person. The functions that write keep to them.
const (
	mostPreferences = 1000
	mostQuietHours  = 50
)

// preferencesSQL asks for many people at once, each by the keys' beginnings.
const preferencesSQL = `select k.n, p.workflow_id, p.channel, p.wanted
from unnest($1::text[], $2::text[]) with ordinality k (tenant, id, n)
cross join lateral (
	select workflow_id, channel, wanted from rowbell.preference where tenant_id = k.tenant and recipient_id = k.id limit $3
) p`

const quietHoursSQL = `select k.n, extract(epoch from q.starts)::int4, extract(epoch from q.ends)::int4, q.days, coalesce(q.zone, '')
from unnest($1::text[], $2::text[]) with ordinality k (tenant, id, n)
cross join lateral (
	select starts, ends, days, zone from rowbell.quiet_hours where tenant_id = k.tenant and recipient_id = k.id
	order by starts, ends, days limit $3
) q`

// Preferences reads what these people want, in their order. Who has said nothing has the
// zero value.
func (s *State) Preferences(ctx context.Context, people []workflow.PersonKey) ([]workflow.Preferences, error) {
	const what = "read the preferences of recipients"
	tenants, ids := make([]string, len(people)), make([]string, len(people))
	for i, p := range people {
		tenants[i], ids[i] = storable(p.TenantID), storable(p.ID)
	}
	list := make([]workflow.Preferences, len(people))
	b := &pgx.Batch{}
	b.Queue(preferencesSQL, tenants, ids, mostPreferences).Query(func(rows pgx.Rows) error {
		var n int64
		var p workflow.Preference
		_, err := pgx.ForEachRow(rows, []any{&n, &p.WorkflowID, &p.Channel, &p.Wanted}, func() error {
			list[n-1].Wanted = append(list[n-1].Wanted, p)
			return nil
		})
		return err
	})
	b.Queue(quietHoursSQL, tenants, ids, mostQuietHours).Query(func(rows pgx.Rows) error {
		var n int64
		var from, to int32
		var days []string
		var zone string
		_, err := pgx.ForEachRow(rows, []any{&n, &from, &to, &days, &zone}, func() error {
			on, err := workflow.ParseWeekdays(days)
			if err != nil {
				return err
			}
			list[n-1].Quiet = append(list[n-1].Quiet, workflow.QuietHours{
				Days: on, From: time.Duration(from) * time.Second, To: time.Duration(to) * time.Second, Zone: zone,
			})
			return nil
		})
		return err
	})
	if err := s.db.SendBatch(ctx, b).Close(); err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// SetPreference says in somebody's name whether they want something; nil takes back what
// was said of it.
func (s *State) SetPreference(ctx context.Context, who workflow.PersonKey, p workflow.Preference, wanted *bool, by string) error {
	_, err := s.db.Exec(ctx, `select rowbell.set_preference($1, $2, $3, $4, $5, $6)`, who.ID, wanted, p.WorkflowID, p.Channel, who.TenantID, by)
	if err != nil {
		return stateError("write a preference of "+who.ID, err)
	}
	return nil
}

// StopChannel says in somebody's name that they want nothing through a channel, whatever
// they said of single workflows before.
func (s *State) StopChannel(ctx context.Context, who workflow.PersonKey, channel, by string) error {
	_, err := s.db.Exec(ctx, `insert into rowbell.preference as p (tenant_id, recipient_id, workflow_id, channel, wanted, updated_by)
select $1, $2, w, $3, false, $4 from (
	select '' as w
	union select workflow_id from rowbell.preference where tenant_id = $1 and recipient_id = $2 and channel in ('', $3) and wanted
) x
on conflict on constraint preference_pkey do update set wanted = false, updated_at = clock_timestamp(), updated_by = excluded.updated_by`,
		who.TenantID, who.ID, channel, by)
	if err != nil {
		return stateError("write that "+who.ID+" wants nothing by "+channel, err)
	}
	return nil
}

// AddQuietHours adds to the quiet hours that somebody has.
func (s *State) AddQuietHours(ctx context.Context, who workflow.PersonKey, q workflow.QuietHours, by string) error {
	_, err := s.db.Exec(ctx, `select rowbell.set_quiet_hours($1, $2::text::time, $3::text::time, $4, nullif($5, ''), $6, $7)`,
		who.ID, clock(q.From), clock(q.To), q.Days.Names(), q.Zone, who.TenantID, by)
	if err != nil {
		return stateError("write quiet hours of "+who.ID, err)
	}
	return nil
}

// clock writes a time of day: 22:00, 24:00.
func clock(d time.Duration) string {
	if d >= 24*time.Hour {
		return "24:00"
	}
	return time.Time{}.Add(d).Format("15:04:05")
}

// ClearQuietHours takes away all quiet hours that somebody has, and returns how many.
func (s *State) ClearQuietHours(ctx context.Context, who workflow.PersonKey) (n int, err error) {
	if err := s.db.QueryRow(ctx, `select rowbell.clear_quiet_hours($1, $2)`, who.ID, who.TenantID).Scan(&n); err != nil {
		return 0, stateError("take away the quiet hours of "+who.ID, err)
	}
	return n, nil
}

// StoredPreference is a row of rowbell.preference or of rowbell.quiet_hours.
type StoredPreference struct {
	TenantID    string               `json:"tenant_id"`
	RecipientID string               `json:"recipient_id"`
	Preference  *workflow.Preference `json:"preference,omitempty"`
	Quiet       *workflow.QuietHours `json:"quiet_hours,omitempty"`
	UpdatedAt   time.Time            `json:"updated_at"`
	UpdatedBy   string               `json:"updated_by"`
}

// PreferenceFilter chooses rows. What is nil chooses all.
type PreferenceFilter struct {
	TenantID, RecipientID *string
	Limit                 int // of each table
}

// ListPreferences reads preferences and quiet hours by tenant and person, first those that
// say what is wanted.
func (s *State) ListPreferences(ctx context.Context, f PreferenceFilter) ([]StoredPreference, error) {
	const what = "list preferences"
	const where = ` where ($1::text is null or tenant_id = $1) and ($2::text is null or recipient_id = $2) order by tenant_id, recipient_id, `
	rows, err := s.db.Query(ctx, `select tenant_id, recipient_id, workflow_id, channel, wanted, updated_at, updated_by from rowbell.preference`+
		where+`workflow_id, channel limit $3`, f.TenantID, f.RecipientID, f.Limit)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (StoredPreference, error) {
		p := StoredPreference{Preference: &workflow.Preference{}}
		return p, row.Scan(&p.TenantID, &p.RecipientID, &p.Preference.WorkflowID, &p.Preference.Channel, &p.Preference.Wanted, &p.UpdatedAt, &p.UpdatedBy)
	})
	if err != nil {
		return nil, stateError(what, err)
	}
	rows, err = s.db.Query(ctx, `select tenant_id, recipient_id, extract(epoch from starts)::int4, extract(epoch from ends)::int4, days, coalesce(zone, ''),
	updated_at, updated_by from rowbell.quiet_hours`+where+`starts, ends limit $3`, f.TenantID, f.RecipientID, f.Limit)
	if err != nil {
		return nil, stateError(what, err)
	}
	quiet, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (StoredPreference, error) {
		p := StoredPreference{Quiet: &workflow.QuietHours{}}
		var from, to int32
		var days []string
		err := row.Scan(&p.TenantID, &p.RecipientID, &from, &to, &days, &p.Quiet.Zone, &p.UpdatedAt, &p.UpdatedBy)
		if err == nil {
			p.Quiet.Days, err = workflow.ParseWeekdays(days)
		}
		p.Quiet.From, p.Quiet.To = time.Duration(from)*time.Second, time.Duration(to)*time.Second
		return p, err
	})
	if err != nil {
		return nil, stateError(what, err)
	}
	return append(list, quiet...), nil
}

// WorkflowName is what a workflow was called in its last version that applied. Returns
// ErrNotFound if none ever did.
func (s *State) WorkflowName(ctx context.Context, id string) (name string, err error) {
	err = s.db.QueryRow(ctx, `select name from rowbell.surrogate where id = $1 and kind = 'workflow' order by version desc limit 1`, storable(id)).Scan(&name)
	if err != nil {
		return "", stateError("read the name of workflow "+id, err)
	}
	return name, nil
}
