package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const catalogueTag = "Catalogue"

func catalogueRoutes(a *API) {
	add(a, Route{
		Method: http.MethodGet, Path: "/tables", ID: "listTables", Tag: catalogueTag, Right: access.CatalogueRead,
		Summary: "The tables that workflows see: those that are captured",
	}, listTables)
	add(a, Route{
		Method: http.MethodGet, Path: "/tables/{table}", ID: "getTable", Tag: catalogueTag, Right: access.CatalogueRead,
		Summary:     "A table with its columns, examples of their values, and what the WAL doesn't have of them",
		Description: "Examples are of your tenant's latest rows. Hidden columns are left out; of redacted ones no values are shown without the right redacted.read.",
	}, getTable)
	add(a, Route{
		Method: http.MethodGet, Path: "/tables/{table}/rows", ID: "listRows", Tag: catalogueTag, Right: access.CatalogueRead,
		Summary:     "The latest rows of a table, to try workflows on",
		Description: "Of your tenant, by the first key column. Hidden columns are left out, and redacted ones without the right redacted.read. Values are shortened texts.",
	}, listRows)
	add(a, Route{
		Method: http.MethodGet, Path: "/action-kinds", ID: "listActionKinds", Tag: catalogueTag, Right: access.CatalogueRead,
		Summary: "The kinds of actions, each with the JSON Schema of its action_config",
	}, listKinds)
}

// TableOut is a table in the list.
type TableOut struct {
	Label        string   `json:"label" doc:"What workflows call it"`
	Schema       string   `json:"schema"`
	Name         string   `json:"name"`
	Comment      string   `json:"comment,omitempty" doc:"What the database says it is"`
	TenantColumn string   `json:"tenant_column,omitempty" doc:"Missing: it serves operators' workflows only"`
	KeyColumns   []string `json:"key_columns"`
	Operations   []string `json:"operations" doc:"What can set a workflow off"`
	Gone         bool     `json:"gone,omitempty" doc:"It was captured, and is not there any more"`
}

// ColumnOut is a column of a table.
type ColumnOut struct {
	Name      string   `json:"name"`
	Type      string   `json:"type" doc:"As PostgreSQL names it" example:"int4"`
	Comment   string   `json:"comment,omitempty" doc:"What the database says it is"`
	Key       bool     `json:"key" doc:"Part of the row's key"`
	Identity  bool     `json:"identity" doc:"Its old value is known of updates and deletes"`
	NotNull   bool     `json:"not_null"`
	Redacted  bool     `json:"redacted" doc:"Masked wherever it is stored or shown"`
	Operators []string `json:"operators" doc:"What field_conditions can compare it by"`
	Samples   []string `json:"samples,omitempty" doc:"Values of the latest rows, the most frequent first, as text"`
}

// WarningOut is something that isn't as it could be.
type WarningOut struct {
	Message string `json:"message"`
	Mend    string `json:"mend,omitempty"`
}

// TableDetail is one table.
type TableDetail struct {
	TableOut
	Rows            int64        `json:"rows" doc:"How many there are by the database's estimate; -1 unknown"`
	ReplicaIdentity string       `json:"replica_identity" enum:"default,full,index,nothing"`
	Columns         []ColumnOut  `json:"columns"`
	Warnings        []WarningOut `json:"warnings"`
	// SamplesMissing is why there are no examples.
	SamplesMissing string `json:"samples_missing,omitempty" doc:"Why there are no examples"`
}

func tableOut(t *workflow.Table) TableOut {
	out := TableOut{Label: t.Label, Schema: t.Schema, Name: t.Name, TenantColumn: t.TenantColumn, KeyColumns: t.KeyColumns, Operations: []string{"create", "update", "delete"}}
	if t.InsertOnly {
		out.Operations = []string{"create"}
	}
	if out.KeyColumns == nil {
		out.KeyColumns = []string{}
	}
	return out
}

// seesTable says that a principal's workflows may be on a table: one without tenants serves
// the operators' only.
func (q *Request) seesTable(t *workflow.Table) bool { return q.Principal.All || t.TenantColumn != "" }

// described is a captured table that the caller may see, by its label, and how it is now.
func (q *Request) described(ctx context.Context, label string) (t workflow.Table, rel *change.Relation, err error) {
	if t, err = q.Source.TableNamed(ctx, label); err != nil {
		return t, nil, err
	}
	if !q.seesTable(&t) {
		return t, nil, notFound("there is no captured table %s", label)
	}
	if rel, err = q.Definitions.Describe(ctx, t.Schema, t.Name); err == nil && rel == nil {
		err = notFound("table %s was captured, and is gone", label)
	}
	return t, rel, err
}

func listTables(ctx context.Context, q *Request, _ *struct{}) (*PageOf[TableOut], error) {
	tables, err := q.Source.CapturedTables(ctx)
	if err != nil {
		return nil, err
	}
	var list []TableOut
	for i := range tables {
		if !q.seesTable(&tables[i]) {
			continue
		}
		out := tableOut(&tables[i])
		d, err := q.Application.Describe(ctx, out.Schema, out.Name)
		if err != nil {
			return nil, err
		}
		out.Comment, out.Gone = d.Comment, d.Rows == -1 && len(d.NotNull) == 0 && d.Comment == ""
		list = append(list, out)
	}
	return page(list, ""), nil
}

// samplesMost is how many examples a column has.
const samplesMost = 10

func getTable(ctx context.Context, q *Request, in *struct {
	Table   string `path:"table" maxLength:"130" doc:"Its label, as workflows call it"`
	Samples bool   `query:"samples" default:"true" doc:"With examples of values"`
},
) (*struct{ Body TableDetail }, error) {
	t, rel, err := q.described(ctx, in.Table)
	if err != nil {
		return nil, err
	}
	d, err := q.Application.Describe(ctx, t.Schema, t.Name)
	if err != nil {
		return nil, err
	}
	out := TableDetail{TableOut: tableOut(&t), Rows: d.Rows, Columns: []ColumnOut{}, Warnings: tableWarnings(&t, rel)}
	out.Comment = d.Comment
	out.ReplicaIdentity = map[byte]string{'d': "default", 'f': "full", 'i': "index", 'n': "nothing"}[rel.ReplicaIdentity]
	var sampled []string
	operators := make(map[change.Type][]string)
	for _, c := range rel.Columns {
		if slices.Contains(t.Hidden, c.Name) {
			continue
		}
		redacted := slices.Contains(t.Redacted, c.Name)
		if operators[c.Type] == nil {
			operators[c.Type] = condition.Operators(c.Type)
		}
		out.Columns = append(out.Columns, ColumnOut{
			Name: c.Name, Type: c.Type.Name, Comment: d.Comments[c.Name], Key: slices.Contains(t.KeyColumns, c.Name), Identity: c.Key,
			NotNull: slices.Contains(d.NotNull, c.Name), Redacted: redacted, Operators: operators[c.Type],
		})
		if !redacted || q.Principal.Can(access.RedactedRead) {
			sampled = append(sampled, c.Name)
		}
	}
	if in.Samples {
		tenant, _ := q.Filter(OptionalText{})
		samples, err := q.Application.Sample(ctx, &t, sampled, tenant, samplesMost)
		switch {
		case errors.Is(err, store.ErrNoSample):
			out.SamplesMissing = "the table's rows can't be read for examples: Rowbell's role may not read it, or it takes too long"
		case err != nil:
			return nil, err
		}
		for i := range out.Columns {
			out.Columns[i].Samples = samples[out.Columns[i].Name]
		}
	}
	return &struct{ Body TableDetail }{out}, nil
}

// tableWarnings say what the WAL doesn't have of a table's rows.
func tableWarnings(t *workflow.Table, rel *change.Relation) []WarningOut {
	list := []WarningOut{}
	full := "ALTER TABLE " + rel.Label() + " REPLICA IDENTITY FULL"
	switch {
	case t.InsertOnly:
		list = append(list, WarningOut{"it has no replica identity: only create sets workflows off", full + ", and then rowbell capture " + t.Label})
	case rel.ReplicaIdentity != 'f':
		list = append(list, WarningOut{"of an update only the new values are known, and of a delete only the key: changed, changed_from, becomes_true and conditions on old values need more", full})
	}
	if t.TenantColumn == "" {
		list = append(list, WarningOut{"it has no tenant column: it serves operators' workflows only", "capture it with its tenant column, if it has one: rowbell capture " + t.Label + " --tenant-column COLUMN"})
	}
	return list
}

// KindOut is a kind of action.
type KindOut struct {
	Name       string   `json:"name"`
	Title      string   `json:"title"`
	Help       string   `json:"help"`
	Schema     Object   `json:"schema" doc:"JSON Schema (2020-12) of action_config"`
	Recipients bool     `json:"recipients" doc:"Each recipient gets one; a workflow with it needs recipients"`
	Address    string   `json:"address,omitempty" doc:"What a recipient must have to be reached"`
	Retry      []string `json:"retry" doc:"The waits after attempts that failed, unless the workflow says otherwise"`
}

func listKinds(_ context.Context, q *Request, _ *struct{}) (*PageOf[KindOut], error) {
	var list []KindOut
	for _, k := range q.Definitions.Registry.Kinds() {
		list = append(list, kindOut(k, q.Definitions.Registry))
	}
	return page(list, ""), nil
}

func kindOut(k *actions.Kind, r *actions.Registry) KindOut {
	out := KindOut{Name: k.Name, Title: k.Title, Help: k.Help, Schema: Object(r.Schema(k.Name)), Recipients: k.Recipients, Address: string(k.Address), Retry: []string{}}
	for _, d := range k.Retry {
		out.Retry = append(out.Retry, d.String())
	}
	return out
}

// RowOut is a row of a table, for people to choose from.
type RowOut struct {
	Key    string             `json:"key" doc:"Its key columns joined by commas, as simulateWorkflow takes it"`
	Values map[string]*string `json:"values" doc:"Its columns as texts, shortened; null: NULL"`
}

// RowsOut is the latest rows of a table.
type RowsOut struct {
	Items []RowOut `json:"items"`
	// Missing is why there are none.
	Missing string `json:"missing,omitempty" doc:"Why no rows can be read"`
}

func listRows(ctx context.Context, q *Request, in *struct {
	Table string `path:"table" maxLength:"130" doc:"Its label, as workflows call it"`
	Limit int    `query:"limit" minimum:"1" maximum:"20" default:"10"`
},
) (*struct{ Body RowsOut }, error) {
	t, rel, err := q.described(ctx, in.Table)
	if err != nil {
		return nil, err
	}
	secret := func(column string) bool {
		return slices.Contains(t.Hidden, column) || slices.Contains(t.Redacted, column) && !q.Principal.Can(access.RedactedRead)
	}
	out := RowsOut{Items: []RowOut{}}
	if slices.ContainsFunc(t.KeyColumns, secret) {
		out.Missing = "the table's key isn't to be shown"
		return &struct{ Body RowsOut }{out}, nil
	}
	var columns []string
	for _, c := range rel.Columns {
		if !secret(c.Name) {
			columns = append(columns, c.Name)
		}
	}
	tenant, _ := q.Filter(OptionalText{})
	keys, values, err := q.Application.LatestRows(ctx, &t, columns, tenant, in.Limit)
	switch {
	case errors.Is(err, store.ErrNoSample):
		out.Missing = "the table's rows can't be read: Rowbell's role may not read it, it has no key, or it takes too long"
	case err != nil:
		return nil, err
	}
	for i, key := range keys {
		row := RowOut{Key: strings.Join(key, ","), Values: make(map[string]*string, len(columns))}
		for j, c := range columns {
			row.Values[c] = values[i][j]
		}
		out.Items = append(out.Items, row)
	}
	return &struct{ Body RowsOut }{out}, nil
}
