package condition

import (
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// unchanged stands for a value that is not sent again; nil is NULL, a string a text.
type unchanged struct{}

func row(values ...any) change.Row {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			b = append(b, 'n')
		case unchanged:
			b = append(b, 'u')
		case string:
			b = append(b, 't')
			b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
			b = append(b, v...)
		}
	}
	return change.NewRow(b)
}

// things has a column of every kind. Its rows are built by name.
var columns = []change.Column{
	{Name: "id", Type: change.Type{Kind: change.Int, Name: "int8"}, Key: true},
	{Name: "tenant_id", Type: change.Type{Kind: change.Text, Name: "text"}},
	{Name: "status", Type: change.Type{Kind: change.Text, Name: "text"}},
	{Name: "code", Type: change.Type{Kind: change.Text, Name: "bpchar"}},
	{Name: "mood", Type: change.Type{Kind: change.Text, Name: "mood"}},
	{Name: "qty", Type: change.Type{Kind: change.Int, Name: "int4"}},
	{Name: "total", Type: change.Type{Kind: change.Number, Name: "numeric"}},
	{Name: "weight", Type: change.Type{Kind: change.Float, Name: "float8"}},
	{Name: "paid", Type: change.Type{Kind: change.Bool, Name: "bool"}},
	{Name: "ref", Type: change.Type{Kind: change.UUID, Name: "uuid"}},
	{Name: "due", Type: change.Type{Kind: change.Date, Name: "date"}},
	{Name: "created_at", Type: change.Type{Kind: change.TimestampTZ, Name: "timestamptz"}},
	{Name: "local_at", Type: change.Type{Kind: change.Timestamp, Name: "timestamp"}},
	{Name: "opens", Type: change.Type{Kind: change.Time, Name: "time"}},
	{Name: "wait", Type: change.Type{Kind: change.Interval, Name: "interval"}},
	{Name: "blob", Type: change.Type{Kind: change.Bytea, Name: "bytea"}},
	{Name: "meta", Type: change.Type{Kind: change.JSON, Name: "jsonb"}},
	{Name: "tags", Type: change.Type{Kind: change.Array, Elem: change.Text, Name: "_text"}},
	{Name: "scores", Type: change.Type{Kind: change.Array, Elem: change.Int, Name: "_int4"}},
	{Name: "any", Type: change.Type{Kind: change.Text, Name: "text"}},
	{Name: "odd name", Type: change.Type{Kind: change.Text, Name: "text"}},
	{Name: "secret", Type: change.Type{Kind: change.Text, Name: "text"}},
	{Name: "rates", Type: change.Type{Kind: change.Array, Elem: change.Number, Name: "_numeric"}},
}

var things = &workflow.Table{
	Schema: "public", Name: "things", Label: "things", Version: 1,
	TenantColumn: "tenant_id", KeyColumns: []string{"id"}, Hidden: []string{"secret"},
}

func relation(identity byte) *change.Relation {
	r := &change.Relation{OID: 1, Schema: "public", Name: "things", ReplicaIdentity: identity, Fingerprint: uint64(identity), Columns: append([]change.Column(nil), columns...)}
	for i := range r.Columns {
		r.Columns[i].Key = r.Columns[i].Key || identity == 'f'
	}
	return r
}

type values map[string]any

// of builds a row: columns that aren't named are NULL.
func of(v values) change.Row {
	list := make([]any, len(columns))
	for i, c := range columns {
		list[i] = v[c.Name]
	}
	for name := range v {
		if relation('f').Column(name) < 0 {
			panic("no column " + name)
		}
	}
	return row(list...)
}

// withForm and withExpression are sources of one condition.
func withForm(text string) Source {
	return Source{Trigger: workflow.Trigger{FieldConditions: json.RawMessage(text)}}
}

func withConfig(kind, config string) Source {
	return Source{Conditions: []workflow.Condition{{Type: kind, Config: json.RawMessage(config)}}}
}

func withExpression(text string) Source {
	config, err := json.Marshal(map[string]string{"expression": text})
	if err != nil {
		panic(err)
	}
	return withConfig("expression", string(config))
}

func bind(t testing.TB, src Source, rel *change.Relation, op change.Op) *Bound {
	t.Helper()
	f, err := Parse(src)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	b, err := f.Bind(rel, things, op)
	if err != nil {
		t.Fatalf("Bind of %q: %v", f.Expressions(), err)
	}
	return b
}

var testContext = &Context{
	Position:    change.Position{Stream: 1, CommitLSN: 0x16B374D848, Seq: 3},
	CommittedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	Actor:       map[string]any{"id": "u1", "roles": []any{"clerk", "boss"}},
}

func eval(t testing.TB, b *Bound, ev change.Event) (bool, error) {
	t.Helper()
	var env Env
	env.Load(&ev, testContext)
	return b.Eval(&env)
}
