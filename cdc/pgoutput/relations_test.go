package pgoutput

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

func relationMessage(oid uint32, namespace, name string, columns ...RelationColumn) *Message {
	return &Message{Kind: Relation, Relation: &RelationMessage{OID: oid, Namespace: namespace, Name: name, ReplicaIdentity: 'd', Columns: columns}}
}

func typeMessage(oid uint32, namespace, name string) *Message {
	return &Message{Kind: TypeInfo, Type: &TypeMessage{OID: oid, Namespace: namespace, Name: name}}
}

func TestRelationsResolveTypes(t *testing.T) {
	var r Relations
	r.Apply(typeMessage(20001, "", "int4"))        // a domain over int4
	r.Apply(typeMessage(20002, "public", "mood"))  // an enum
	r.Apply(typeMessage(20003, "public", "_mood")) // its array
	r.Apply(typeMessage(20004, "", "_text"))       // a domain over text[]
	r.Apply(typeMessage(20005, "public", "int4"))  // somebody's own type of that name
	r.Apply(typeMessage(20006, "", "_pg_class"))   // an array of row types
	for oid, want := range map[uint32]change.Type{
		16:    {OID: 16, Kind: change.Bool, Name: "bool"},
		1700:  {OID: 1700, Kind: change.Number, Name: "numeric"},
		1185:  {OID: 1185, Kind: change.Array, Elem: change.TimestampTZ, Name: "_timestamptz"},
		20001: {OID: 20001, Kind: change.Int, Name: "int4"},
		20002: {OID: 20002, Kind: change.Text, Name: "mood"},
		20003: {OID: 20003, Kind: change.Array, Elem: change.Text, Name: "_mood"},
		20004: {OID: 20004, Kind: change.Array, Elem: change.Text, Name: "_text"},
		20005: {OID: 20005, Kind: change.Text, Name: "int4"},
		20006: {OID: 20006, Kind: change.Array, Elem: change.Text, Name: "_pg_class"},
		9999:  {OID: 9999, Kind: change.Text}, // of a server that is newer than us
	} {
		r.Apply(relationMessage(1, "public", "t", RelationColumn{Name: "c", TypeOID: oid, Modifier: -1}))
		if got := r.Get(1).Columns[0].Type; got != want {
			t.Errorf("type %d is %+v, want %+v", oid, got, want)
		}
	}
}

func TestRelationsKeepWhatDidNotChange(t *testing.T) {
	var r Relations
	column := RelationColumn{Key: true, Name: "id", TypeOID: 23, Modifier: -1}
	if r.Get(1) != nil {
		t.Error("a relation that was never described")
	}
	r.Apply(relationMessage(1, "public", "a", column))
	r.Apply(relationMessage(2, "", "b", column))
	a, b := r.Get(1), r.Get(2)
	if a.Label() != "a" || b.Schema != "pg_catalog" || !a.Columns[0].Key {
		t.Errorf("got %+v, %+v", a, b)
	}
	r.Apply(relationMessage(1, "public", "a", column))
	if r.Get(1) != a {
		t.Error("an equal description made a new relation")
	}
	changed := column
	changed.Modifier = 4
	for _, m := range []*Message{
		relationMessage(1, "public", "a", changed),
		relationMessage(1, "public", "a", column, changed),
		relationMessage(1, "public", "renamed", column),
		relationMessage(1, "other", "a", column),
		{Kind: Relation, Relation: &RelationMessage{OID: 1, Namespace: "public", Name: "a", ReplicaIdentity: 'f', Columns: []RelationColumn{column}}},
	} {
		before := r.Get(1)
		r.Apply(m)
		if after := r.Get(1); after == before || after.Fingerprint == before.Fingerprint {
			t.Errorf("%+v did not make another relation of %+v", m.Relation, before)
		}
	}
	if a.Name != "a" || len(a.Columns) != 1 {
		t.Errorf("an older relation changed: %+v", a)
	}
	if r.Get(2) != b {
		t.Error("another relation changed")
	}
	r.Get(1)
	if n := testing.AllocsPerRun(100, func() { r.Get(1); r.Get(2); r.Get(3) }); n != 0 {
		t.Errorf("Get: %v allocations", n)
	}
}

// The fingerprint may be stored, so it is the same for ever.
func TestFingerprintIsStable(t *testing.T) {
	var r Relations
	r.Apply(relationMessage(16384, "public", "orders",
		RelationColumn{Key: true, Name: "id", TypeOID: 20, Modifier: -1},
		RelationColumn{Name: "total", TypeOID: 1700, Modifier: 786438}))
	const want = 0x519a56b0831b6ee3
	if got := r.Get(16384).Fingerprint; got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
}

func TestRelationsFor(t *testing.T) {
	var r Relations
	r.Apply(relationMessage(1, "public", "t", RelationColumn{Name: "a", TypeOID: 23}, RelationColumn{Name: "b", TypeOID: 23}))
	row := func(columns string) change.Row {
		return change.NewRow([]byte("\x00" + string(rune(len(columns))) + columns))
	}
	if rel, err := r.For(&Message{Kind: Insert, RelationOID: 1, New: row("nn")}); err != nil || rel != r.Get(1) {
		t.Errorf("got %v, %v", rel, err)
	}
	for want, m := range map[string]*Message{
		"relation 2, which no Relation message has described": {Kind: Insert, RelationOID: 2, New: row("nn")},
		"public.t has a row of 3 columns":                     {Kind: Insert, RelationOID: 1, New: row("nnn")},
		"public.t has a row of 1 columns":                     {Kind: Delete, RelationOID: 1, Old: row("n")},
	} {
		if _, err := r.For(m); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// The table of types is what a real server has. A newer server may have more, which
// are text.
func TestBuiltinsAgainstServer(t *testing.T) {
	type row struct {
		OID   uint32
		Name  string
		Array uint32
	}
	db := pgtest.DB(t)
	onServer := pgtest.Structs[row](t, db, `select oid, typname::text as name, typarray as array from pg_type
		where typnamespace = 'pg_catalog'::regnamespace and oid < 10000 and typtype in ('b', 'r', 'm') and not (typcategory = 'A' and typarray = 0)`)
	known := map[uint32]row{}
	for _, b := range builtins {
		known[b.oid] = row{b.oid, b.name, b.array}
	}
	for _, have := range onServer {
		b, ok := known[have.OID]
		if ok && !reflect.DeepEqual(b, have) {
			t.Errorf("%+v, but the server has %+v", b, have)
		}
		if !ok {
			t.Logf("the server's type %s (%d) is not in the table: text", have.Name, have.OID)
		}
		delete(known, have.OID)
	}
	for _, b := range known {
		t.Errorf("type %s (%d) is not on the server", b.Name, b.OID)
	}
	if !slices.IsSortedFunc(builtins[:], func(a, b builtin) int { return int(a.oid) - int(b.oid) }) {
		t.Error("the table is not sorted")
	}
}
