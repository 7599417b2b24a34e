package truthtest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/cdc/pgoutput"
	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// committedAt is when all of it happened, as far as conditions can tell.
var committedAt = time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)

// operations, with the row that conditions are about and the rows that there are.
var operations = []struct {
	name   string
	op     change.Op
	row    string
	from   string
	before bool // conditions are evaluated for the old row, as becomes_true does
}{
	{"create", change.Create, "n", "before n", false},
	{"update", change.Update, "n", "before o join after n on n.id = o.id", false},
	{"update, the row before", change.Update, "o", "before o join after n on n.id = o.id", true},
	{"delete", change.Delete, "o", "after o", false},
}

// server has the table whose changes come through a slot, and two of the same columns
// with the rows before and after, on which SQL is evaluated.
type server struct {
	t       *testing.T
	conn    *pgx.Conn
	slot    string
	columns []*column
	names   string // of the columns, for an insert
	set     string // of an update
	unsent  int    // values that updates left alone and that weren't sent
}

// captured is the table as workflows know it.
var captured = &workflow.Table{Schema: "public", Name: "things", Label: "things", KeyColumns: []string{"id"}}

func newServer(t *testing.T) *server {
	t.Helper()
	db := pgtest.DB(t)
	s := &server{t: t, conn: db.Conn(t), slot: pgtest.Slot(t, db)}
	citext := pgtest.One[bool](t, db, "select exists (select from pg_available_extensions where name = 'citext')")
	if citext {
		s.exec("create extension citext")
	}
	s.columns = columns(citext)
	// As cdc sets it: what is written then is what a worker reads.
	s.exec(`set datestyle = 'ISO, YMD'; set intervalstyle = postgres; set timezone = 'UTC'; set extra_float_digits = 1; set bytea_output = hex;
		create type mood as enum ('sad', 'ok', 'happy', 'very happy'); create domain amount as numeric(14,2)`)
	var defs, names, sets []string
	for _, c := range s.columns {
		name := `"` + c.name + `"`
		defs = append(defs, name+" "+c.sqlType)
		names = append(names, name)
		sets = append(sets, fmt.Sprintf("%[1]s = case when t.%[1]s::text is distinct from a.%[1]s::text then a.%[1]s else t.%[1]s end", name))
	}
	s.names, s.set = strings.Join(names, ", "), strings.Join(sets, ", ")
	for _, table := range []string{"things", "before", "after"} {
		s.exec("create table " + table + " (id int8 primary key, " + strings.Join(defs, ", ") + ")")
		s.exec("alter table " + table + " alter txt set storage external, alter body set storage external") // not compressed, so long ones are out of line
	}
	s.exec("alter table things replica identity full; create publication things for table things")
	s.exec("select pg_create_logical_replication_slot(" + quote(s.slot) + ", 'pgoutput')")
	return s
}

func (s *server) exec(sql string) {
	s.t.Helper()
	if _, err := s.conn.Exec(s.t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// event is a row change as it came.
type event struct {
	id int
	change.Event
}

// changes makes n random rows, changes and deletes them, and returns what came through
// the slot, by operation.
func (s *server) changes(r *rand.Rand, n int) map[change.Op][]event {
	s.t.Helper()
	var before, after strings.Builder
	for id := range n {
		var old, now []string
		for _, c := range s.columns {
			v := "null"
			if !one(r, 7) {
				v = quote(c.values(r))
			}
			w := v
			switch r.IntN(8) {
			case 0, 1:
				w = quote(c.values(r))
			case 2:
				w = "null"
			case 3, 4, 5:
				w = sameNumber(r, c, v)
			}
			old, now = append(old, v), append(now, w)
		}
		sep := ", "
		if id == 0 {
			sep = ""
		}
		fmt.Fprintf(&before, "%s(%d, %s)", sep, id, strings.Join(old, ", "))
		fmt.Fprintf(&after, "%s(%d, %s)", sep, id, strings.Join(now, ", "))
	}
	s.exec("truncate before, after")
	s.exec("insert into before (id, " + s.names + ") values " + before.String())
	s.exec("insert into after (id, " + s.names + ") values " + after.String())
	s.exec("insert into things select * from before")
	s.exec("update things t set " + s.set + " from after a where a.id = t.id")
	s.exec("delete from things")
	rows, err := s.conn.Query(s.t.Context(), "select data from pg_logical_slot_get_binary_changes($1, null, null, 'proto_version', '1', 'publication_names', 'things')", s.slot)
	if err != nil {
		s.t.Fatal(err)
	}
	messages, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		s.t.Fatal(err)
	}
	var decoder pgoutput.Decoder
	var relations pgoutput.Relations
	list := map[change.Op][]event{}
	for _, data := range messages {
		var m pgoutput.Message
		if err := decoder.Decode(data, &m); err != nil {
			s.t.Fatal(err)
		}
		relations.Apply(&m)
		op, ok := map[pgoutput.Kind]change.Op{pgoutput.Insert: change.Create, pgoutput.Update: change.Update, pgoutput.Delete: change.Delete}[m.Kind]
		if !ok {
			continue
		}
		rel, err := relations.For(&m)
		if err != nil {
			s.t.Fatal(err)
		}
		e := event{Event: change.Event{Op: op, Relation: rel, Old: m.Old, New: m.New, OldKeyOnly: m.OldKeyOnly}}
		row := m.New
		if op == change.Delete {
			row = m.Old
		}
		text, _ := row.Column(rel.Column("id"))
		if e.id, err = strconv.Atoi(string(text)); err != nil {
			s.t.Fatalf("a row without id: %v", err)
		}
		list[op] = append(list[op], e)
	}
	for i := range list[change.Update] {
		for c := range list[change.Update][i].Relation.Columns {
			if _, state := list[change.Update][i].New.Column(c); state == change.NotInWAL {
				s.unsent++
			}
		}
	}
	for _, o := range operations {
		if len(list[o.op]) != n {
			s.t.Fatalf("%d events came of %d rows: %s", len(list[o.op]), n, o.op)
		}
	}
	return list
}

// sameNumber writes numbers with another scale, and 0 with another sign.
func sameNumber(r *rand.Rand, c *column, v string) string {
	zeros := strings.Repeat("0", 1+r.IntN(3))
	switch {
	case v == "null":
	case c.sqlType == "numeric" && strings.Contains(v, "."):
		return strings.TrimSuffix(v, "'") + zeros + "'"
	case (c.sqlType == "numeric" || c.sqlType == "numeric[]") && strings.ContainsAny(v, "0123456789") && !strings.ContainsAny(v, ".,N"):
		return strings.TrimRight(v, "}'") + "." + zeros + v[len(strings.TrimRight(v, "}'")):]
	case v == "'0'" && strings.HasPrefix(c.sqlType, "float"):
		return "'-0'"
	}
	return v
}

// answers evaluates SQL on the rows of an operation: by row, then by expression.
func (s *server) answers(from, row string, expressions []string) map[int][]bool {
	s.t.Helper()
	sql := "select " + row + ".id, array[" + strings.Join(expressions, ",\n") + "] from " + from
	rows, err := s.conn.Query(s.t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		s.t.Fatal(err)
	}
	list := map[int][]bool{}
	var id int
	var values []bool // a NULL in it would be an error
	_, err = pgx.ForEachRow(rows, []any{&id, &values}, func() error {
		list[id] = append([]bool(nil), values...)
		return nil
	})
	if err != nil {
		// Which of them is it?
		if len(expressions) > 1 {
			for _, e := range expressions {
				s.answers(from, row, []string{e})
			}
		}
		s.t.Fatalf("%s: %v", sql, err)
	}
	return list
}

// evaluator evaluates conditions on events.
type evaluator struct {
	env   condition.Env
	cache condition.Cache
}

func (e *evaluator) load(ev *event) {
	e.env.Load(&ev.Event, &condition.Context{CommittedAt: committedAt})
}

// describe shows the columns of an event.
func describe(ev *event, names []string) string {
	var b strings.Builder
	for _, name := range names {
		i := ev.Relation.Column(name)
		show := func(row change.Row) string {
			if row.Empty() {
				return "no row"
			}
			text, state := row.Column(i)
			switch state {
			case change.Null:
				return "NULL"
			case change.NotInWAL:
				return "not sent"
			}
			if len(text) > 60 {
				text = append(text[:60:60], "…"...)
			}
			return strconv.Quote(string(text))
		}
		fmt.Fprintf(&b, "  %s (%s): old %s, new %s\n", name, ev.Relation.Columns[i].Type.Name, show(ev.Old), show(ev.New))
	}
	return b.String()
}
