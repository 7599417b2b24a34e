package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Origin is who asks for what is done under a context, and from where: for audit_log.
type Origin struct {
	Actor     string // "" = the database user
	Via       string // ViaCLI, ViaAPI or ViaWorker; "" = sql
	Address   string // "" = that of the database's client
	RequestID string
}

// How something was done.
const (
	ViaCLI    = "cli"
	ViaAPI    = "api"
	ViaWorker = "worker"
)

type originKey struct{}

// WithOrigin makes what is done under the context be done by o.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

func originOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// sayWho tells the transaction who acts and from where, which audit_log and created_by take
// from there. It is what rowbell.set_actor does for created_by; who edits workflows may not
// call that. actor "" is that of the context.
func sayWho(ctx context.Context, tx pgx.Tx, actor string) error {
	o := originOf(ctx)
	o.Actor = cmp.Or(actor, o.Actor)
	if o == (Origin{}) {
		return nil
	}
	// What is empty stays as it is.
	_, err := tx.Exec(ctx, `select set_config(name, value, true)
from (values ('rowbell.actor', $1), ('rowbell.via', $2), ('rowbell.address', $3), ('rowbell.request_id', $4)) v (name, value) where value <> ''`,
		o.Actor, o.Via, o.Address, o.RequestID)
	return err
}

// Act is something that was done, for audit_log.
type Act struct {
	Actor      string // "" = that of the context's Origin, else the database user
	TenantID   string // whom it concerns; "" = operators
	Action     string // delivery.retry
	ObjectType string // delivery
	ObjectID   string
	// Before and After are what the object was and is, as JSON. What is secret in them is
	// masked.
	Before, After any
	Detail        map[string]any // the rest; it is masked as well
}

// note writes an act in the transaction that does it, once sayWho has been called.
func note(ctx context.Context, tx pgx.Tx, a Act) error {
	before, err := masked(a.Before)
	if err != nil {
		return err
	}
	after, err := masked(a.After)
	if err != nil {
		return err
	}
	detail := json.RawMessage("{}")
	if a.Detail != nil {
		if detail, err = masked(a.Detail); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `insert into rowbell.audit_log (tenant_id, action, object_type, object_id, before, after, detail)
values (nullif($1, ''), $2, $3, $4, $5, $6, $7)`, a.TenantID, a.Action, a.ObjectType, storable(a.ObjectID), before, after, detail)
	return err
}

// Note writes what was done elsewhere, as in state.
func (s *Source) Note(ctx context.Context, a Act) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if err := sayWho(ctx, tx, a.Actor); err != nil {
			return err
		}
		return note(ctx, tx, a)
	})
	if err != nil {
		return sourceError("write rowbell.audit_log", err)
	}
	return nil
}

// Audit notes who has done what: Note without before and after.
func (s *Source) Audit(ctx context.Context, actor, tenantID, action, objectType, objectID string, detail map[string]any) error {
	return s.Note(ctx, Act{Actor: actor, TenantID: tenantID, Action: action, ObjectType: objectType, ObjectID: objectID, Detail: detail})
}

// masked is v as JSON in which nothing secret stands: strings under the keys of secrets,
// headers' values, users and queries of URLs, signing secrets. nil stays nil.
func masked(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	raw, err := json.Marshal(v)
	if err != nil || string(raw) == "null" {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	return json.Marshal(mask("", tree))
}

const mask3 = "***"

var (
	secretKey = regexp.MustCompile(`(?i)^(secret|password|passwd|token|authorization|api[_-]?key|private[_-]?key|plain|sealed|cookie)$`)
	urlParts  = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([^\s/?#@"]*@)?([^\s?#"]*)(\?[^\s#"]*)?`)
	signing   = regexp.MustCompile(`(whsec_|whsk_|rbk_)[A-Za-z0-9+/=_-]+`)
)

func mask(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if text, ok := inner.(string); ok && text != "" && strings.EqualFold(key, "headers") {
				v[k] = mask3
				continue
			}
			v[k] = mask(k, inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = mask(key, inner)
		}
	case string:
		if v != "" && secretKey.MatchString(key) {
			return mask3
		}
		return maskText(v)
	}
	return v
}

func maskText(s string) string {
	s = storable(s)
	if strings.Contains(s, "://") {
		s = urlParts.ReplaceAllStringFunc(s, func(u string) string {
			m := urlParts.FindStringSubmatch(u)
			if m[2] != "" {
				m[2] = mask3 + "@"
			}
			if m[4] != "" {
				m[4] = "?" + mask3
			}
			return m[1] + m[2] + m[3] + m[4]
		})
	}
	return signing.ReplaceAllString(s, "$1"+mask3)
}

// AuditFilter chooses what was done. What is zero chooses nothing out.
type AuditFilter struct {
	Tenant     *string // "" = operators' acts
	Actor      string  // as the act says, or the database user
	Action     string  // workflow.activate, or workflow for all of its kind
	ObjectType string
	ObjectID   string
	Since      time.Time // not before,
	Until      time.Time // and before
	Text       string    // stands in the action, the object, before, after or detail, in upper or lower case
	// Documents has the documents of workflows come along.
	Documents bool
}

// AuditEntry is something that was done.
type AuditEntry struct {
	ID         string          `json:"id"` // of audit_log; an edit by SQL: <workflow>@<version>
	At         time.Time       `json:"at"`
	TenantID   string          `json:"tenant_id,omitempty"` // "" = operators
	Actor      string          `json:"actor"`
	DBUser     string          `json:"db_user"`
	Via        string          `json:"via"` // cli, api, worker or sql
	Action     string          `json:"action"`
	ObjectType string          `json:"object_type"`
	ObjectID   string          `json:"object_id"`
	Address    string          `json:"address,omitempty"`
	RequestID  string          `json:"request_id,omitempty"`
	Before     json.RawMessage `json:"before,omitempty"`
	After      json.RawMessage `json:"after,omitempty"`
	Detail     json.RawMessage `json:"detail,omitempty"`
	// Version is the workflow's version that came of it; 0 none.
	Version int32 `json:"version,omitempty"`
	// Was and Is are the documents of the version before, and of this one; Live is that of
	// the version which a draft was made beside. They come with AuditFilter.Documents.
	Was  *workflow.Version `json:"-"`
	Is   *workflow.Version `json:"-"`
	Live *workflow.Version `json:"-"`
}

// Limits of a page.
const (
	auditByDefault = 100
	mostAudited    = 1000
)

// AuditLog reads what was done, the newest first: rows of audit_log, and versions of
// workflows that none of them tells of, which somebody wrote by SQL. cursor is "" for the
// first page, and what the page before gave for the next; next is "" on the last page.
// limit 0 is 100; at most 1000.
func (s *Source) AuditLog(ctx context.Context, f AuditFilter, cursor string, limit int) (list []AuditEntry, next string, err error) {
	const what = "read the audit log"
	limit = min(cmp.Or(max(limit, 0), auditByDefault), mostAudited)
	sql, args, err := f.sql(cursor, limit)
	if err != nil {
		return nil, "", err
	}
	rows, err := s.db.Query(ctx, sql, args...)
	if err != nil {
		return nil, "", sourceError(what, err)
	}
	if list, err = pgx.CollectRows(rows, scanAudit); err != nil {
		return nil, "", sourceError(what, err)
	}
	if len(list) > limit {
		list = list[:limit]
		next = auditCursor(list[limit-1])
	}
	if f.Documents {
		err = s.auditDocuments(ctx, list)
	}
	return list, next, err
}

// AuditEntry reads one entry by its id, with documents. Returns ErrNotFound.
func (s *Source) AuditEntry(ctx context.Context, id string) (AuditEntry, error) {
	what := "read entry " + id + " of the audit log"
	sql, arg := auditedSQL+` where a.id = $1`, []any{id}
	if workflowID, version, ok := parseVersionID(id); ok {
		sql, arg = versionedSQL+` and v.workflow_id = $1 and v.version = $2`, []any{workflowID, version}
	}
	rows, err := s.db.Query(ctx, sql, arg...)
	if err != nil {
		return AuditEntry{}, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, scanAudit)
	if err != nil {
		return AuditEntry{}, sourceError(what, err)
	}
	if len(list) == 0 {
		return AuditEntry{}, notFound("there is no entry %.100q in the audit log; rowbell audit list has their ids", id)
	}
	return list[0], s.auditDocuments(ctx, list[:1])
}

// parseVersionID reads <workflow>@<version>.
func parseVersionID(id string) (workflowID string, version int32, ok bool) {
	at := strings.LastIndexByte(id, '@')
	if at < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(id[at+1:], 10, 32)
	return id[:at], int32(n), err == nil
}

const (
	// sameEditSQL says that row a of audit_log tells of version v: they are of one
	// transaction.
	sameEditSQL = `a.object_type = 'workflow' and a.object_id = v.workflow_id and a.at = v.created_at and a.db_user = v.db_user`

	auditedSQL = `select a.id, a.at, coalesce(a.tenant_id, '') as tenant_id, a.actor, a.db_user, coalesce(a.via, '') as via, a.action, a.object_type, a.object_id,
	coalesce(a.address, '') as address, coalesce(a.request_id, '') as request_id, a.before, a.after, a.detail,
	coalesce((select max(v.version) from rowbell.workflow_version v where ` + sameEditSQL + `), 0) as version
from rowbell.audit_log a`

	versionActionSQL = `case when v.status = 'deleted' then 'workflow.delete' when p.version is null or p.status = 'deleted' then 'workflow.create'
	when v.status = 'active' and p.status <> 'active' then 'workflow.activate' when v.status <> 'active' and p.status = 'active' then 'workflow.deactivate'
	else 'workflow.change' end`

	versionedSQL = `select v.workflow_id || '@' || v.version::text as id, v.created_at as at, coalesce(v.tenant_id, '') as tenant_id, v.created_by as actor, v.db_user, 'sql' as via,
	` + versionActionSQL + ` as action, 'workflow' as object_type, v.workflow_id as object_id, '' as address, '' as request_id, null::jsonb as before, null::jsonb as after,
	'{}'::jsonb as detail, v.version
from rowbell.workflow_version v left join rowbell.workflow_version p on p.workflow_id = v.workflow_id and p.version = v.version - 1
where not exists (select from rowbell.audit_log a where ` + sameEditSQL + `)`
)

// sql is what reads one entry more than the limit, and its arguments. Each of the two
// stops by itself, so that its index serves.
func (f AuditFilter) sql(cursor string, limit int) (string, []any, error) {
	var args []any
	var audited, versioned strings.Builder
	add := func(inAudit, inVersions string, value any) {
		args = append(args, value)
		n := fmt.Sprintf("$%d", len(args))
		audited.WriteString(" and " + strings.ReplaceAll(inAudit, "?", n))
		versioned.WriteString(" and " + strings.ReplaceAll(inVersions, "?", n))
	}
	if f.Tenant != nil {
		if *f.Tenant == "" {
			audited.WriteString(" and a.tenant_id is null")
			versioned.WriteString(" and v.tenant_id is null")
		} else {
			add("a.tenant_id = ?", "v.tenant_id = ?", *f.Tenant)
		}
	}
	if f.Actor != "" {
		add("(a.actor = ? or a.db_user = ?)", "(v.created_by = ? or v.db_user = ?)", f.Actor)
	}
	if f.Action != "" {
		if strings.Contains(f.Action, ".") {
			add("a.action = ?", versionActionSQL+" = ?", f.Action)
		} else {
			add("a.action like ? || '.%'", versionActionSQL+" like ? || '.%'", likeText(f.Action))
		}
	}
	if f.ObjectType != "" {
		add("a.object_type = ?", "?::text = 'workflow'", f.ObjectType)
	}
	if f.ObjectID != "" {
		add("a.object_id = ?", "v.workflow_id = ?", f.ObjectID)
	}
	if !f.Since.IsZero() {
		add("a.at >= ?", "v.created_at >= ?", f.Since)
	}
	if !f.Until.IsZero() {
		add("a.at < ?", "v.created_at < ?", f.Until)
	}
	if f.Text != "" {
		add("position(lower(?) in lower(concat_ws(' ', a.action, a.object_id, a.before, a.after, a.detail))) > 0",
			"position(lower(?) in lower(concat_ws(' ', "+versionActionSQL+", v.workflow_id, v.document))) > 0", f.Text)
	}
	if cursor != "" {
		at, id, err := parseAuditCursor(cursor)
		if err != nil {
			return "", nil, err
		}
		args = append(args, at, id)
		n := len(args)
		fmt.Fprintf(&audited, ` and (a.at, a.id collate "C") < ($%d, $%d::text)`, n-1, n)
		fmt.Fprintf(&versioned, ` and (v.created_at, (v.workflow_id || '@' || v.version::text) collate "C") < ($%d, $%d::text)`, n-1, n)
	}
	const order = ` order by at desc, id collate "C" desc limit `
	most := strconv.Itoa(limit + 1)
	return `select * from ((` + auditedSQL + ` where true` + audited.String() + ` order by a.at desc, a.id collate "C" desc limit ` + most + `)
union all (` + versionedSQL + versioned.String() + ` order by v.created_at desc, (v.workflow_id || '@' || v.version::text) collate "C" desc limit ` + most + `)) l` + order + most, args, nil
}

// likeText is a text in a pattern of LIKE.
func likeText(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

func auditCursor(e AuditEntry) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(e.At.UnixMicro(), 36) + " " + e.ID))
}

func parseAuditCursor(cursor string) (time.Time, string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	micros, id, ok := strings.Cut(string(raw), " ")
	n, numErr := strconv.ParseInt(micros, 36, 64)
	if err != nil || !ok || numErr != nil {
		return time.Time{}, "", fmt.Errorf("%.60q is %w", cursor, ErrCursor)
	}
	return time.UnixMicro(n), id, nil
}

func scanAudit(row pgx.CollectableRow) (AuditEntry, error) {
	var e AuditEntry
	var before, after, detail []byte
	err := row.Scan(&e.ID, &e.At, &e.TenantID, &e.Actor, &e.DBUser, &e.Via, &e.Action, &e.ObjectType, &e.ObjectID, &e.Address, &e.RequestID,
		&before, &after, &detail, &e.Version)
	e.At, e.Before, e.After = e.At.UTC(), before, after
	if string(detail) != "{}" {
		e.Detail = detail
	}
	return e, err
}

// auditDocuments reads the documents that entries are about.
func (s *Source) auditDocuments(ctx context.Context, list []AuditEntry) error {
	var want []VersionRef
	for i := range list {
		e := &list[i]
		if e.ObjectType != "workflow" {
			continue
		}
		if e.Version > 0 {
			want = append(want, VersionRef{e.ObjectID, e.Version - 1}, VersionRef{e.ObjectID, e.Version})
		} else if n := e.versionBefore(); n > 0 {
			want = append(want, VersionRef{e.ObjectID, n})
		}
	}
	if len(want) == 0 {
		return nil
	}
	ids, numbers := split(want)
	rows, err := s.db.Query(ctx, `select `+versionColumns+` from rowbell.workflow_version
where (workflow_id, version) in (select * from unnest($1::text[], $2::int4[]))`, ids, numbers)
	if err != nil {
		return sourceError("read versions of workflows", err)
	}
	versions, err := pgx.CollectRows(rows, scanVersion)
	if err != nil {
		return sourceError("read versions of workflows", err)
	}
	by := make(map[VersionRef]*workflow.Version, len(versions))
	for i := range versions {
		by[VersionRef{versions[i].WorkflowID, versions[i].Version}] = &versions[i]
	}
	for i := range list {
		e := &list[i]
		if e.ObjectType != "workflow" {
			continue
		}
		if e.Version > 0 {
			e.Was, e.Is = by[VersionRef{e.ObjectID, e.Version - 1}], by[VersionRef{e.ObjectID, e.Version}]
		} else if live := by[VersionRef{e.ObjectID, e.versionBefore()}]; live != nil && live.Document != nil {
			v := *live
			if v.Document, err = masked(v.Document); err != nil {
				return err
			}
			e.Live = &v
		}
	}
	return nil
}

// versionBefore is which version a workflow had when its draft was changed.
func (e *AuditEntry) versionBefore() int32 {
	var before struct {
		Version int32 `json:"version"`
	}
	_ = json.Unmarshal(e.Before, &before) // without one it is 0
	return before.Version
}

// trimAtOnce is how many rows one statement deletes.
const trimAtOnce = 5000

// TrimAudit deletes what was done more than so many days ago.
func (s *Source) TrimAudit(ctx context.Context, days int) error {
	for {
		var n int
		if err := s.db.QueryRow(ctx, `select rowbell.trim_audit($1, $2)`, days, trimAtOnce).Scan(&n); err != nil {
			return sourceError("delete what is old of the audit log", err)
		}
		if n < trimAtOnce {
			return nil
		}
	}
}
