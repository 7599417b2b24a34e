package store

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// WorkflowSearch chooses workflows. What is zero chooses nothing out.
type WorkflowSearch struct {
	TenantID  *string // "" = operators' workflows
	Status    workflow.Status
	Verdict   workflow.Verdict // of workflow_health
	Table     string           // label of a table that a trigger of it names, or domain:<name>
	Name      string           // a part of its name, in upper or lower case
	CreatedBy string
	// Updated says that the last changed ones come first; else they come by name.
	Updated bool
	Cursor  string // Next of the page before; "" = the first page
	Limit   int    // defaults to 100; at most 1000
}

// workflowPlace is where a page of workflows ended.
type workflowPlace struct {
	Name string `json:"n,omitempty"` // in lower case
	At   int64  `json:"u,omitempty"` // microseconds since 1970
	ID   string `json:"i"`
}

func (f *WorkflowSearch) place() (p workflowPlace, err error) {
	text, err := base64.RawURLEncoding.DecodeString(f.Cursor)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || !utf8.Valid(text) || strings.ContainsRune(p.Name+p.ID, 0) || p.ID == "" || (p.At != 0) != f.Updated {
		return p, fmt.Errorf("%.60q is %w", f.Cursor, ErrCursor)
	}
	return p, nil
}

// SearchWorkflows reads a page of definitions. Returns ErrCursor for a cursor of something
// else.
func (s *Source) SearchWorkflows(ctx context.Context, f WorkflowSearch) (Page[ListedWorkflow], error) {
	const what = "search workflows"
	page := Page[ListedWorkflow]{Items: []ListedWorkflow{}}
	limit := listLimit(f.Limit)
	sql, args, err := f.sql(limit + 1)
	if err != nil {
		return page, err
	}
	rows, err := s.db.Query(ctx, sql, args...)
	if err != nil {
		return page, sourceError(what, err)
	}
	if page.Items, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ListedWorkflow]); err != nil {
		return page, sourceError(what, err)
	}
	if len(page.Items) <= limit {
		return page, nil
	}
	page.Items = page.Items[:limit]
	last := page.Items[limit-1]
	next := workflowPlace{ID: last.ID}
	if f.Updated {
		next.At = last.UpdatedAt.UnixMicro()
	} else if err := s.db.QueryRow(ctx, `select lower($1::text)`, last.Name).Scan(&next.Name); err != nil { // as the index has it
		return page, sourceError(what, err)
	}
	text, _ := json.Marshal(next) // never fails
	page.Next = base64.RawURLEncoding.EncodeToString(text)
	return page, nil
}

// sql selects at most so many.
func (f *WorkflowSearch) sql(most int) (string, []any, error) {
	var args parameters
	where := []string{"true"}
	if f.TenantID != nil {
		where = append(where, tenantIs("d.tenant_id", *f.TenantID, &args))
	}
	if f.Status != "" {
		where = append(where, "d.status = "+args.add(string(f.Status)))
	}
	if f.Verdict != "" {
		where = append(where, "h.verdict = "+args.add(string(f.Verdict)))
	}
	if f.Table != "" {
		label := strings.TrimPrefix(f.Table, "public.")
		where = append(where, "exists (select from rowbell.workflow_trigger t where t.workflow_id = d.id and t.entity_type = any ("+args.add([]string{label, "public." + label})+"))")
	}
	if f.Name != "" {
		where = append(where, "position(lower("+args.add(f.Name)+") in lower(d.name)) > 0")
	}
	if f.CreatedBy != "" {
		where = append(where, "d.created_by = "+args.add(f.CreatedBy))
	}
	order := `lower(d.name) collate "C", d.id collate "C"`
	if f.Updated {
		order = `d.updated_at desc, d.id collate "C" desc`
	}
	if f.Cursor != "" {
		p, err := f.place()
		if err != nil {
			return "", nil, err
		}
		if f.Updated {
			where = append(where, fmt.Sprintf(`(d.updated_at, d.id collate "C") < (%s, %s)`, args.add(time.UnixMicro(p.At)), args.add(p.ID)))
		} else {
			where = append(where, fmt.Sprintf(`(lower(d.name) collate "C", d.id collate "C") > (%s, %s)`, args.add(p.Name), args.add(p.ID)))
		}
	}
	return fmt.Sprintf(`select %s from rowbell.workflow_definition d%s
where %s order by %s limit %d`, listedColumns, withHealth, strings.Join(where, " and "), order, most), args, nil
}
