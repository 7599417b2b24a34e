package cdc

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/cdc/pgoutput"
	"github.com/rowbell/rowbell/pkg/change"
)

// querier is a connection or a pool.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Describe says of a table what the stream would say before its next row, by the
// catalog as it is now. The catalog may be ahead of the stream: this is for telling
// people early what is wrong with a workflow, never for reading rows. It returns nil
// if there is no such table.
func Describe(ctx context.Context, db querier, schema, name string) (*change.Relation, error) {
	rows, err := db.Query(ctx, `with recursive col as (
	select c.oid as rel, c.relreplident::text as identity, a.attnum, a.attname::text as name, a.atttypid as type, a.atttypmod as modifier,
		c.relreplident = 'f' or coalesce(a.attnum = any (i.indkey), false) as key
	from pg_class c join pg_namespace n on n.oid = c.relnamespace
	join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
	left join pg_index i on i.indrelid = c.oid and (c.relreplident = 'd' and i.indisprimary or c.relreplident = 'i' and i.indisreplident)
	where n.nspname = $1 and c.relname = $2
), base as (
	select distinct type, type as at from col
	union all
	select b.type, t.typbasetype from base b join pg_type t on t.oid = b.at where t.typtype = 'd'
)
select col.rel, col.identity, col.name, col.type, col.modifier, col.key,
	case when n.nspname = 'pg_catalog' then '' else n.nspname::text end, t.typname::text
from col join base b on b.type = col.type
join pg_type t on t.oid = b.at and t.typtype <> 'd'
join pg_namespace n on n.oid = t.typnamespace
order by col.attnum`, schema, name)
	if err != nil {
		return nil, fmt.Errorf("describe table %s.%s: %w", schema, name, err)
	}
	var rels pgoutput.Relations
	m := pgoutput.RelationMessage{Namespace: schema, Name: name}
	var identity string
	var column pgoutput.RelationColumn
	var base pgoutput.TypeMessage
	_, err = pgx.ForEachRow(rows, []any{&m.OID, &identity, &column.Name, &column.TypeOID, &column.Modifier, &column.Key, &base.Namespace, &base.Name}, func() error {
		m.ReplicaIdentity = identity[0]
		m.Columns = append(m.Columns, column)
		t := base
		t.OID = column.TypeOID
		rels.Apply(&pgoutput.Message{Kind: pgoutput.TypeInfo, Type: &t})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("describe table %s.%s: %w", schema, name, err)
	}
	if len(m.Columns) == 0 {
		return nil, nil
	}
	rels.Apply(&pgoutput.Message{Kind: pgoutput.Relation, Relation: &m})
	return rels.Get(m.OID), nil
}
