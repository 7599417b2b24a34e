package pgoutput

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

var record = flag.Bool("record", false, "record testdata/*.wal from a real server, and the events beside them")

func TestMain(m *testing.M) { pgtest.Main(m) }

// TestGolden decodes WAL that a real server sent, and compares the events with the
// text beside it, each message with what pglogrepl reads, and with itself encoded
// again. It needs no server, but for -record.
func TestGolden(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			wal, text := filepath.Join("testdata", s.name+".wal"), filepath.Join("testdata", s.name+".txt")
			if *record {
				messages := s.record(t)
				if err := os.WriteFile(wal, pack(messages), 0o666); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(text, []byte(render(t, messages)), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			messages := readWAL(t, wal)
			want, err := os.ReadFile(text)
			if err != nil {
				t.Fatal(err)
			}
			got := render(t, messages)
			if got != string(want) {
				t.Errorf("%s: events differ from %s: %s", wal, text, firstDifference(got, string(want)))
			}
			var d Decoder
			var m Message
			for i, data := range messages {
				if err := d.Decode(data, &m); err != nil {
					t.Fatal(err)
				}
				if again := encode(&m); !bytes.Equal(again, data) {
					t.Fatalf("message %d: %x is encoded again as %x", i, data, again)
				}
				compareWithPglogrepl(t, data, &m)
			}
		})
	}
}

// scenario is SQL whose changes are recorded. The statements of setup run before the
// slot is made, those of changes after it; each is sent by itself.
type scenario struct {
	name    string
	options string // of the publication
	setup   []string
	changes []string
}

// session is what Rowbell's own connections set, so that text is the same everywhere.
const session = `set datestyle = iso; set intervalstyle = iso_8601; set timezone = utc; set extra_float_digits = 1; set bytea_output = hex;
	set logical_decoding_work_mem = '64kB'; set client_min_messages = warning`

func (s scenario) record(t *testing.T) [][]byte {
	ctx := context.Background()
	db := pgtest.DB(t)
	conn := db.Conn(t)
	exec := func(statements ...string) {
		t.Helper()
		for _, sql := range statements {
			if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	slot := db.Name
	exec(session)
	exec(s.setup...)
	exec("create publication rowbell for all tables " + s.options)
	exec("select pg_create_logical_replication_slot('" + slot + "', 'pgoutput')")
	exec(s.changes...)
	// Other databases of the server write too, but pgoutput sends this one's only.
	rows, err := conn.Query(ctx, `select data from pg_logical_slot_get_binary_changes($1, null, null,
		'proto_version', '1', 'publication_names', 'rowbell', 'messages', 'true')`, slot)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// pack writes each message after its length in 32 bits.
func pack(messages [][]byte) []byte {
	var b []byte
	for _, m := range messages {
		b = binary.BigEndian.AppendUint32(b, uint32(len(m)))
		b = append(b, m...)
	}
	return b
}

func readWAL(t testing.TB, path string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var messages [][]byte
	for len(b) >= 4 {
		n := int(binary.BigEndian.Uint32(b))
		if n > len(b)-4 {
			t.Fatalf("%s ends within a message", path)
		}
		messages = append(messages, b[4:4+n:4+n])
		b = b[4+n:]
	}
	if len(b) != 0 || len(messages) == 0 {
		t.Fatalf("%s: %d messages, and %d bytes are left", path, len(messages), len(b))
	}
	return messages
}

func render(t testing.TB, messages [][]byte) string {
	t.Helper()
	var d Decoder
	var m Message
	var relations Relations
	var b strings.Builder
	for i, data := range messages {
		if err := d.Decode(data, &m); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		relations.Apply(&m)
		switch m.Kind {
		case Begin:
			fmt.Fprintf(&b, "begin xid %d, commit at %s, %s", m.XID, m.FinalLSN, m.CommitTime.Format("2006-01-02T15:04:05.000000Z07:00"))
		case Commit:
			fmt.Fprintf(&b, "commit at %s, ends at %s, %s", m.CommitLSN, m.EndLSN, m.CommitTime.Format("2006-01-02T15:04:05.000000Z07:00"))
		case Relation:
			rel := relations.Get(m.Relation.OID)
			fmt.Fprintf(&b, "relation %s.%s identity %c", rel.Schema, rel.Name, rel.ReplicaIdentity)
			for _, c := range rel.Columns {
				fmt.Fprintf(&b, "\n\t%s %s: %s", c.Name, c.Type.Name, c.Type.Kind)
				if c.Type.Kind == change.Array {
					fmt.Fprintf(&b, " of %s", c.Type.Elem)
				}
				if c.Modifier != -1 {
					fmt.Fprintf(&b, ", modifier %d", c.Modifier)
				}
				if c.Key {
					b.WriteString(", key")
				}
			}
		case TypeInfo:
			fmt.Fprintf(&b, "type %s.%s", m.Type.Namespace, m.Type.Name)
		case Insert, Update, Delete:
			rel, err := relations.For(&m)
			if err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			fmt.Fprintf(&b, "%s %s", strings.ToLower(m.Kind.String()), rel.Label())
			old := "old"
			if m.OldKeyOnly {
				old = "old key"
			}
			renderRow(t, &b, old, rel, m.Old)
			renderRow(t, &b, "new", rel, m.New)
		case Truncate:
			fmt.Fprintf(&b, "truncate options %d:", m.TruncateOptions)
			for _, oid := range m.Relations {
				fmt.Fprintf(&b, " %s", relations.Get(oid).Label())
			}
		case Logical:
			fmt.Fprintf(&b, "message transactional %v at %s, %q: %q", m.Transactional, m.MessageLSN, m.Prefix, m.Content)
		case Origin:
			fmt.Fprintf(&b, "origin %q, commit there at %s", m.OriginName, m.CommitLSN)
		default:
			t.Fatalf("message %d is a %s", i, m.Kind)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func renderRow(t testing.TB, b *strings.Builder, which string, rel *change.Relation, row change.Row) {
	t.Helper()
	if row.Empty() {
		return
	}
	fmt.Fprintf(b, "\n\t%s:", which)
	row.Columns(func(i int, text []byte, s change.State) bool {
		c := rel.Columns[i]
		fmt.Fprintf(b, " %s=", c.Name)
		switch s {
		case change.Null:
			b.WriteString("NULL")
		case change.NotInWAL:
			b.WriteString("not-in-wal")
		case change.Present:
			if _, err := c.Type.Decode(text); err != nil {
				t.Errorf("%s.%s: %v", rel.Label(), c.Name, err)
			}
			shown := change.AppendJSON(nil, c.Type, text)
			if len(shown) > 200 {
				fmt.Fprintf(b, "%s…(%d bytes)", shown[:40], len(shown))
			} else {
				b.Write(shown)
			}
		}
		return true
	})
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d is\n%s\nwant\n%s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// encode is Decode backwards.
func encode(m *Message) []byte {
	be := binary.BigEndian
	b := []byte{byte(m.Kind)}
	cstring := func(s string) { b = append(append(b, s...), 0) }
	switch m.Kind {
	case Begin:
		b = be.AppendUint64(b, uint64(m.FinalLSN))
		b = be.AppendUint64(b, uint64(m.CommitTime.UnixMicro()-postgresEpoch))
		b = be.AppendUint32(b, m.XID)
	case Commit:
		b = append(b, 0)
		b = be.AppendUint64(b, uint64(m.CommitLSN))
		b = be.AppendUint64(b, uint64(m.EndLSN))
		b = be.AppendUint64(b, uint64(m.CommitTime.UnixMicro()-postgresEpoch))
	case Relation:
		r := m.Relation
		b = be.AppendUint32(b, r.OID)
		cstring(r.Namespace)
		cstring(r.Name)
		b = append(b, r.ReplicaIdentity)
		b = be.AppendUint16(b, uint16(len(r.Columns)))
		for _, c := range r.Columns {
			flags := byte(0)
			if c.Key {
				flags = 1
			}
			b = append(b, flags)
			cstring(c.Name)
			b = be.AppendUint32(b, c.TypeOID)
			b = be.AppendUint32(b, uint32(c.Modifier))
		}
	case TypeInfo:
		b = be.AppendUint32(b, m.Type.OID)
		cstring(m.Type.Namespace)
		cstring(m.Type.Name)
	case Insert, Update, Delete:
		b = be.AppendUint32(b, m.RelationOID)
		if m.Kind != Insert && !m.Old.Empty() {
			if m.OldKeyOnly {
				b = append(b, 'K')
			} else {
				b = append(b, 'O')
			}
			b = appendRow(b, m.Old)
		}
		if m.Kind != Delete {
			b = appendRow(append(b, 'N'), m.New)
		}
	case Truncate:
		b = be.AppendUint32(b, uint32(len(m.Relations)))
		b = append(b, m.TruncateOptions)
		for _, oid := range m.Relations {
			b = be.AppendUint32(b, oid)
		}
	case Logical:
		flags := byte(0)
		if m.Transactional {
			flags = 1
		}
		b = append(b, flags)
		b = be.AppendUint64(b, uint64(m.MessageLSN))
		cstring(string(m.Prefix))
		b = be.AppendUint32(b, uint32(len(m.Content)))
		b = append(b, m.Content...)
	case Origin:
		b = be.AppendUint64(b, uint64(m.CommitLSN))
		cstring(string(m.OriginName))
	}
	return b
}

func appendRow(b []byte, row change.Row) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(row.Len()))
	row.Columns(func(_ int, text []byte, s change.State) bool {
		switch s {
		case change.Null:
			b = append(b, 'n')
		case change.NotInWAL:
			b = append(b, 'u')
		case change.Present:
			b = append(b, 't')
			b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
			b = append(b, text...)
		}
		return true
	})
	return b
}

// compareWithPglogrepl is the second opinion: another decoder, by other people.
func compareWithPglogrepl(t testing.TB, data []byte, m *Message) {
	t.Helper()
	other, err := pglogrepl.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	same := false
	switch o := other.(type) {
	case *pglogrepl.BeginMessage:
		same = m.Kind == Begin && change.LSN(o.FinalLSN) == m.FinalLSN && o.CommitTime.Equal(m.CommitTime) && o.Xid == m.XID
	case *pglogrepl.CommitMessage:
		same = m.Kind == Commit && change.LSN(o.CommitLSN) == m.CommitLSN && change.LSN(o.TransactionEndLSN) == m.EndLSN && o.CommitTime.Equal(m.CommitTime)
	case *pglogrepl.RelationMessage:
		r := m.Relation
		same = r != nil && o.RelationID == r.OID && o.Namespace == r.Namespace && o.RelationName == r.Name && o.ReplicaIdentity == r.ReplicaIdentity && len(o.Columns) == len(r.Columns)
		for i := 0; same && i < len(r.Columns); i++ {
			a, b := o.Columns[i], r.Columns[i]
			same = a.Name == b.Name && a.DataType == b.TypeOID && a.TypeModifier == b.Modifier && (a.Flags == 1) == b.Key
		}
	case *pglogrepl.TypeMessage:
		same = m.Type != nil && o.DataType == m.Type.OID && o.Namespace == m.Type.Namespace && o.Name == m.Type.Name
	case *pglogrepl.InsertMessage:
		same = m.Kind == Insert && o.RelationID == m.RelationOID && sameRow(o.Tuple, m.New) && m.Old.Empty()
	case *pglogrepl.UpdateMessage:
		same = m.Kind == Update && o.RelationID == m.RelationOID && sameRow(o.NewTuple, m.New) && sameRow(o.OldTuple, m.Old) && (o.OldTupleType == 'K') == m.OldKeyOnly
	case *pglogrepl.DeleteMessage:
		same = m.Kind == Delete && o.RelationID == m.RelationOID && sameRow(o.OldTuple, m.Old) && (o.OldTupleType == 'K') == m.OldKeyOnly && m.New.Empty()
	case *pglogrepl.TruncateMessage:
		same = m.Kind == Truncate && o.Option == m.TruncateOptions && fmt.Sprint(o.RelationIDs) == fmt.Sprint(m.Relations)
	case *pglogrepl.LogicalDecodingMessage:
		same = m.Kind == Logical && o.Transactional == m.Transactional && change.LSN(o.LSN) == m.MessageLSN && o.Prefix == string(m.Prefix) && bytes.Equal(o.Content, m.Content)
	case *pglogrepl.OriginMessage:
		same = m.Kind == Origin && change.LSN(o.CommitLSN) == m.CommitLSN && o.Name == string(m.OriginName)
	}
	if !same {
		t.Errorf("%x: pglogrepl read %+v, we read %+v", data, other, m)
	}
}

func sameRow(o *pglogrepl.TupleData, row change.Row) bool {
	if o == nil {
		return row.Empty()
	}
	if len(o.Columns) != row.Len() {
		return false
	}
	same := true
	row.Columns(func(i int, text []byte, s change.State) bool {
		c := o.Columns[i]
		want := map[uint8]change.State{'n': change.Null, 'u': change.NotInWAL, 't': change.Present}[c.DataType]
		same = same && s == want && bytes.Equal(c.Data, text)
		return true
	})
	return same
}
