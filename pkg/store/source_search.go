package store

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
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

// mostNamesLooked is how many workflows one step of a page looks at for a part of the name,
// or for those on a table that very many are on.
const mostNamesLooked = 2000

// fewTriggers is up to how many triggers on a table its workflows are looked up by them,
// and not the table by each workflow.
const fewTriggers = 3000

// SearchWorkflows reads a page of definitions. Of a search by a part of the name, which no
// index knows, a page looks for so long and no longer: it may have fewer than were asked
// for, or none, and Next goes on. Returns ErrCursor for a cursor of something else.
func (s *Source) SearchWorkflows(ctx context.Context, f WorkflowSearch) (Page[ListedWorkflow], error) {
	f.Limit = listLimit(f.Limit)
	page := Page[ListedWorkflow]{Items: []ListedWorkflow{}}
	for begun := time.Now(); ; {
		more, err := s.searchWorkflows(ctx, f)
		if err != nil {
			return page, err
		}
		page.Items, page.Next = append(page.Items, more.Items...), more.Next
		f.Limit -= len(more.Items)
		if f.Cursor = more.Next; f.Cursor == "" || f.Limit == 0 || time.Since(begun) > longPage {
			return page, nil
		}
	}
}

// searchWorkflows is one step of a page.
func (s *Source) searchWorkflows(ctx context.Context, f WorkflowSearch) (Page[ListedWorkflow], error) {
	const what = "search workflows"
	page := Page[ListedWorkflow]{Items: []ListedWorkflow{}}
	limit := listLimit(f.Limit)
	q := workflowQuery{WorkflowSearch: f}
	if f.Cursor != "" {
		at, err := f.place()
		if err != nil {
			return page, err
		}
		q.at = &at
	}
	if f.Table != "" {
		label := strings.TrimPrefix(f.Table, "public.")
		q.tables = []string{label, "public." + label}
		var n int
		err := s.db.QueryRow(ctx, `select count(*) from (select from rowbell.workflow_trigger where entity_type = any ($1) limit $2) t`, q.tables, fewTriggers+1).Scan(&n)
		if err != nil {
			return page, sourceError(what, err)
		}
		q.few = n <= fewTriggers
	}
	var args parameters
	sql := q.pageSQL(limit+1, &args)
	rows, err := s.db.Query(ctx, sql, planned(args)...)
	if err != nil {
		return page, sourceError(what, err)
	}
	var key string // of the last row that is shown, by name
	page.Items, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (ListedWorkflow, error) {
		var w ListedWorkflow
		var k string
		err := row.Scan(&w.ID, &w.TenantID, &w.Name, &w.Status, &w.Version, &w.Draft, &w.UpdatedAt, &w.Verdict, &w.Message, &w.Warnings, &k)
		if limit--; limit >= 0 {
			key = k
		}
		return w, err
	})
	if err != nil {
		return page, sourceError(what, err)
	}
	if limit < 0 {
		page.Items = page.Items[:len(page.Items)-1]
		last := page.Items[len(page.Items)-1]
		page.Next = f.cursor(key, last.UpdatedAt, last.ID)
		return page, nil
	}
	if !q.residual() {
		return page, nil
	}
	// Where the names end that were looked at, if there are more.
	args = nil
	var id string
	var at time.Time
	err = s.db.QueryRow(ctx, `select k, updated_at, id from (`+q.namesSQL(mostNamesLooked, &args)+fmt.Sprintf(`) d offset %d limit 1`, mostNamesLooked-1), planned(args)...).Scan(&key, &at, &id)
	if errors.Is(err, pgx.ErrNoRows) {
		return page, nil
	}
	if err != nil {
		return page, sourceError(what, err)
	}
	page.Next = f.cursor(key, at, id)
	return page, nil
}

func (f *WorkflowSearch) cursor(key string, at time.Time, id string) string {
	next := workflowPlace{Name: key, ID: id}
	if f.Updated {
		next = workflowPlace{At: at.UnixMicro(), ID: id}
	}
	text, _ := json.Marshal(next) // never fails
	return base64.RawURLEncoding.EncodeToString(text)
}

// workflowQuery is a search with what was looked up for it.
type workflowQuery struct {
	WorkflowSearch
	at     *workflowPlace
	tables []string // what triggers call the table
	few    bool     // few triggers name it
}

// residual says that not all that is looked at is asked for.
func (q *workflowQuery) residual() bool { return q.Name != "" || q.tables != nil && !q.few }

// order is the list's; k is the name in lower case, o the id as it is ordered.
func (q *workflowQuery) order() string {
	if q.Updated {
		return `d.updated_at desc, d.o desc`
	}
	return `d.k, d.o`
}

// namesSQL selects the first definitions in the list's order by what indexes know: as many as
// one page looks at, if it is by name.
func (q *workflowQuery) namesSQL(most int, args *parameters) string {
	where := []string{"true"}
	if q.TenantID != nil {
		where = append(where, tenantIs("d.tenant_id", *q.TenantID, args))
	}
	if q.Status != "" {
		where = append(where, "d.status = "+args.add(string(q.Status)))
	}
	if q.CreatedBy != "" {
		where = append(where, "d.created_by = "+args.add(q.CreatedBy))
	}
	if q.tables != nil && q.few {
		// An array, since the server would go along the names otherwise: they often begin with
		// the table's, and it takes them for evenly spread.
		where = append(where, "d.id = any (array(select workflow_id from rowbell.workflow_trigger where entity_type = any ("+args.add(q.tables)+")))")
	}
	if q.at != nil {
		if q.Updated {
			where = append(where, fmt.Sprintf(`(d.updated_at, d.id collate "C") < (%s, %s)`, args.add(time.UnixMicro(q.at.At)), args.add(q.at.ID)))
		} else {
			where = append(where, fmt.Sprintf(`(lower(d.name) collate "C", d.id collate "C") > (%s, %s)`, args.add(q.at.Name), args.add(q.at.ID)))
		}
	}
	if q.Verdict != "" {
		where = append(where, "exists (select from rowbell.workflow_health h where h.workflow_id = d.id and h.version = d.version and d.status = 'active' and h.verdict = "+args.add(string(q.Verdict))+")")
	}
	order := strings.NewReplacer("d.k", `lower(d.name) collate "C"`, "d.o", `d.id collate "C"`).Replace(q.order()) // as the indexes have it
	if q.residual() {
		most = mostNamesLooked
	}
	return fmt.Sprintf(`select d.id, d.tenant_id, d.name, d.status, d.version, d.draft, d.updated_at, lower(d.name) collate "C" as k, d.id collate "C" as o
from rowbell.workflow_definition d where %s order by %s limit %d`, strings.Join(where, " and "), order, most)
}

// pageSQL selects at most so many.
func (q *workflowQuery) pageSQL(most int, args *parameters) string {
	names := q.namesSQL(most, args)
	where := []string{"true"}
	if q.Name != "" {
		where = append(where, "position(lower("+args.add(q.Name)+") in d.k) > 0")
	}
	if q.tables != nil && !q.few { // along the order, not all of them first
		where = append(where, "(select true from rowbell.workflow_trigger t where t.workflow_id = d.id and t.entity_type = any ("+args.add(q.tables)+") limit 1)")
	}
	return fmt.Sprintf(`select %s, d.k from (%s) d%s
where %s order by %s limit %d`, listedColumns, names, withHealth, strings.Join(where, " and "), q.order(), most)
}
