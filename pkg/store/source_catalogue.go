package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Described is what a database says of a table and its columns for people.
type Described struct {
	Comment  string            // of the table; "" without one
	Comments map[string]string // of its columns that have one
	NotNull  []string          // columns that are never null
	Rows     int64             // how many there are, about; -1 unknown
}

// Describe reads what the database says of a table: comments, and how big it is by its own
// estimate.
func (s *Source) Describe(ctx context.Context, schema, name string) (Described, error) {
	what := fmt.Sprintf("read what the database says of table %s.%s", schema, name)
	d := Described{Comments: make(map[string]string), Rows: -1}
	rows, err := s.db.Query(ctx, `select coalesce(obj_description(c.oid, 'pg_class'), ''), c.reltuples::int8, a.attname::text, coalesce(col_description(c.oid, a.attnum), ''), a.attnotnull
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p') order by a.attnum`, schema, name)
	if err != nil {
		return d, sourceError(what, err)
	}
	var column, comment string
	var never bool
	_, err = pgx.ForEachRow(rows, []any{&d.Comment, &d.Rows, &column, &comment, &never}, func() error {
		if comment != "" {
			d.Comments[column] = comment
		}
		if never {
			d.NotNull = append(d.NotNull, column)
		}
		return nil
	})
	if err != nil {
		return d, sourceError(what, err)
	}
	return d, nil
}

// ErrNoSample says that a table's rows can't be read for examples: Rowbell's role may not, or
// it takes too long.
var ErrNoSample = errors.New("no rows can be read for examples")

const (
	sampledRows  = 200
	sampledTime  = 500 * time.Millisecond
	sampledValue = 100 // characters
)

// Sample reads what stands in some columns of a table's latest rows, of one tenant if tenant
// isn't nil: of each column at most n different values, the most frequent first, shortened.
// Returns ErrNoSample.
func (s *Source) Sample(ctx context.Context, t *workflow.Table, columns []string, tenant *string, n int) (map[string][]string, error) {
	what := "read examples of table " + t.Label
	if len(columns) == 0 {
		return nil, nil
	}
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = fmt.Sprintf("left((%s)::text, %d)", pgx.Identifier{c}.Sanitize(), sampledValue)
	}
	sql := "select array[" + strings.Join(list, ", ") + "] from " + pgx.Identifier{t.Schema, t.Name}.Sanitize()
	var args []any
	if tenant != nil {
		if t.TenantColumn == "" {
			return nil, fmt.Errorf("%s: it has no tenant column: %w", what, ErrNoSample)
		}
		sql += " where " + pgx.Identifier{t.TenantColumn}.Sanitize() + "::text = $1"
		args = append(args, *tenant)
	}
	if len(t.KeyColumns) > 0 {
		sql += " order by " + pgx.Identifier{t.KeyColumns[0]}.Sanitize() + " desc"
	}
	sql += fmt.Sprintf(" limit %d", sampledRows)
	counts := make([]map[string]int, len(columns))
	for i := range counts {
		counts[i] = make(map[string]int)
	}
	err := pgx.BeginTxFunc(ctx, s.db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf("set local statement_timeout = %d; set local lock_timeout = 100", sampledTime.Milliseconds())); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		var values []*string
		_, err = pgx.ForEachRow(rows, []any{&values}, func() error {
			for i, v := range values {
				if v != nil {
					counts[i][*v]++
				}
			}
			return nil
		})
		return err
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && slices.Contains([]string{"42501", "57014", "55P03"}, pg.Code) { // insufficient privilege, query canceled, lock not available
		return nil, fmt.Errorf("%s: %w: %s", what, ErrNoSample, pg.Message)
	}
	if err != nil {
		return nil, sourceError(what, err)
	}
	samples := make(map[string][]string, len(columns))
	for i, c := range columns {
		values := make([]string, 0, len(counts[i]))
		for v := range counts[i] {
			values = append(values, v)
		}
		slices.SortFunc(values, func(a, b string) int {
			if d := counts[i][b] - counts[i][a]; d != 0 {
				return d
			}
			return strings.Compare(a, b)
		})
		samples[c] = values[:min(n, len(values))]
	}
	return samples, nil
}

// mostRows is how many of a table's latest rows are read to try workflows on.
const mostRows = 20

// LatestRows reads the latest rows of a table, of one tenant if tenant isn't nil: the key
// columns of each and some others, as text, shortened; nil for NULL. Returns ErrNoSample.
func (s *Source) LatestRows(ctx context.Context, t *workflow.Table, columns []string, tenant *string, n int) (keys [][]string, values [][]*string, err error) {
	what := "read the latest rows of table " + t.Label
	if len(t.KeyColumns) == 0 {
		return nil, nil, fmt.Errorf("%s: it has no key: %w", what, ErrNoSample)
	}
	key := make([]string, len(t.KeyColumns))
	for i, c := range t.KeyColumns {
		key[i] = "(" + pgx.Identifier{c}.Sanitize() + ")::text"
	}
	shown := make([]string, len(columns))
	for i, c := range columns {
		shown[i] = fmt.Sprintf("left((%s)::text, %d)", pgx.Identifier{c}.Sanitize(), sampledValue)
	}
	sql := "select array[" + strings.Join(key, ", ") + "], array[" + strings.Join(shown, ", ") + "]::text[] from " + pgx.Identifier{t.Schema, t.Name}.Sanitize()
	var args []any
	if tenant != nil {
		if t.TenantColumn == "" {
			return nil, nil, fmt.Errorf("%s: it has no tenant column: %w", what, ErrNoSample)
		}
		sql += " where " + pgx.Identifier{t.TenantColumn}.Sanitize() + "::text = $1"
		args = append(args, *tenant)
	}
	sql += fmt.Sprintf(" order by %s desc limit %d", pgx.Identifier{t.KeyColumns[0]}.Sanitize(), min(n, mostRows))
	err = pgx.BeginTxFunc(ctx, s.db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf("set local statement_timeout = %d; set local lock_timeout = 100", sampledTime.Milliseconds())); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		var k []string
		var v []*string
		_, err = pgx.ForEachRow(rows, []any{&k, &v}, func() error {
			keys, values = append(keys, slices.Clone(k)), append(values, slices.Clone(v))
			return nil
		})
		return err
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && slices.Contains([]string{"42501", "57014", "55P03"}, pg.Code) { // insufficient privilege, query canceled, lock not available
		return nil, nil, fmt.Errorf("%s: %w: %s", what, ErrNoSample, pg.Message)
	}
	if err != nil {
		return nil, nil, sourceError(what, err)
	}
	return keys, values, nil
}
