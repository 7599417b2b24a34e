package pgoutput

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

func TestDecodeRefuses(t *testing.T) {
	insert := func(tuple string) string { return "I\x00\x00\x00\x01N" + tuple }
	for name, c := range map[string]struct{ data, want string }{
		"nothing":                        {"", "empty"},
		"an unknown kind":                {"Z", "message 'Z' of 1 bytes, at byte 0: want a message of protocol 1"},
		"a stream start, of protocol 2":  {"S\x00\x00\x00\x01\x01", "message 'S'"},
		"a begin without xid":            {"B" + strings.Repeat("\x00", 16), "Begin of 17 bytes, at byte 17: want the transaction id, but the message ends there"},
		"a commit with flags":            {"C\x01" + strings.Repeat("\x00", 24), "at byte 1: want no flags (0), but found byte 0x01"},
		"bytes after the end":            {"B" + strings.Repeat("\x00", 21), "at byte 21: want the end of the message, but found byte 0x00"},
		"an insert without its row":      {"I\x00\x00\x00\x01", "Insert of 5 bytes, at byte 5: want 'N' before the new row"},
		"an insert with an old row":      {"I\x00\x00\x00\x01O\x00\x00", "at byte 5: want 'N' before the new row, but found byte 0x4f"},
		"an update with two old rows":    {"U\x00\x00\x00\x01K\x00\x00O\x00\x00N\x00\x00", "at byte 8: want 'N' before the new row"},
		"a delete with a new row":        {"D\x00\x00\x00\x01N\x00\x00", "at byte 5: want 'K' or 'O' before the old row"},
		"a row that promises more":       {insert("\x00\x02n"), "at byte 9: want a column"},
		"a column that promises more":    {insert("\x00\x01t\x00\x00\x00\x05abcd"), "at byte 13: want 5 bytes of a column"},
		"a column of negative length":    {insert("\x00\x01t\xff\xff\xff\xffabcd"), "want 4294967295 bytes of a column"},
		"a column whose length is cut":   {insert("\x00\x01t\x00\x00"), "want the length of a column"},
		"a binary column":                {insert("\x00\x01b\x00\x00\x00\x01x"), "want a column: 'n', 'u' or 't', but found byte 0x62"},
		"a truncate that promises more":  {"T\xff\xff\xff\xff\x00\x00\x00\x00\x01", "want the OIDs of the relations"},
		"a relation that promises more":  {"R\x00\x00\x00\x01s\x00t\x00d\xff\xff\x00a\x00\x00\x00\x00\x17\xff\xff\xff\xff", "want a column's flags"},
		"a relation without end of name": {"R\x00\x00\x00\x01s\x00table", "at byte 7: want the relation's name, ended by a zero byte"},
		"a message that promises more":   {"M\x01" + strings.Repeat("\x00", 8) + "p\x00\xff\xff\xff\xffx", "want the content"},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			m := Message{XID: 7}
			err := d.Decode([]byte(c.data), &m)
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want one with %q", err, c.want)
			}
			if m.XID != 0 || !m.New.Empty() || m.Relation != nil {
				t.Errorf("after an error the message holds %+v", m)
			}
		})
	}
}

// Every prefix of every recorded message is refused, not misread.
func TestDecodeRefusesEveryPrefix(t *testing.T) {
	var d Decoder
	var m Message
	for _, s := range scenarios {
		for i, data := range readWAL(t, filepath.Join("testdata", s.name+".wal")) {
			if len(data) > 300 {
				continue // quadratic
			}
			for n := range data {
				if err := d.Decode(data[:n:n], &m); !errors.Is(err, ErrMalformed) {
					t.Fatalf("%s, message %d: its first %d of %d bytes gave %v", s.name, i, n, len(data), err)
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range scenarios {
		seen := map[byte]int{}
		for _, data := range readWAL(f, filepath.Join("testdata", s.name+".wal")) {
			if seen[data[0]]++; seen[data[0]] <= 3 && len(data) < 1000 {
				f.Add(data)
			}
		}
	}
	f.Add([]byte("I\x00\x00\x00\x01N\xff\xff"))
	f.Add([]byte("T\xff\xff\xff\xff\x00"))
	f.Add([]byte("R\x00\x00\x00\x01s\x00t\x00d\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d Decoder
		var m Message
		whole := bytes.Clone(data)
		err := d.Decode(data[:len(data):len(data)], &m)
		if !bytes.Equal(whole, data) {
			t.Fatal("Decode wrote into its input")
		}
		held := cap(d.relations) * 4
		if m.Relation != nil {
			held += cap(m.Relation.Columns) * int(unsafe.Sizeof(RelationColumn{}))
		}
		if held > 8*len(data)+64 {
			t.Fatalf("%d bytes of input take %d bytes", len(data), held)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) || len(err.Error()) > 300 {
				t.Fatalf("error %v", err)
			}
			return
		}
		again := encode(&m)
		// Flag bytes have bits that mean nothing and are not kept.
		if normal := normalize(data, &m); !bytes.Equal(again, normal) {
			t.Fatalf("%x is encoded again as %x", normal, again)
		}
		var r Relations
		r.Apply(&m)
		if m.Kind == Insert || m.Kind == Update || m.Kind == Delete {
			if _, err := r.For(&m); !errors.Is(err, ErrMalformed) {
				t.Fatalf("a row of an unknown relation: %v", err)
			}
		}
		if m.Relation != nil {
			rel := r.Get(m.Relation.OID)
			if rel == nil || len(rel.Columns) != len(m.Relation.Columns) || rel.Schema == "" {
				t.Fatalf("%+v became %+v", m.Relation, rel)
			}
		}
	})
}

func normalize(data []byte, m *Message) []byte {
	data = bytes.Clone(data)
	switch m.Kind {
	case Logical:
		data[1] &= 1
	case Relation:
		off := 1 + 4 + len(m.Relation.Namespace) + 1 + len(m.Relation.Name) + 1 + 1 + 2
		for _, c := range m.Relation.Columns {
			data[off] &= 1
			off += 1 + len(c.Name) + 1 + 4 + 4
		}
	}
	return data
}

// What a length promises costs nothing until the bytes are there.
func TestHostileLengthsCostNothing(t *testing.T) {
	for _, data := range []string{
		"I\x00\x00\x00\x01N\xff\xff",
		"T\xff\xff\xff\xff\x00",
		"R\x00\x00\x00\x01s\x00t\x00d\xff\xff",
		"M\x01\x00\x00\x00\x00\x00\x00\x00\x00p\x00\xff\xff\xff\xff",
	} {
		var d Decoder
		var m Message
		var before, after runtime.MemStats
		const runs = 1000
		runtime.ReadMemStats(&before)
		for range runs {
			if d.Decode([]byte(data), &m) == nil {
				t.Fatalf("%q was decoded", data)
			}
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / runs; each > 2048 {
			t.Errorf("%q: %d bytes a message", data, each)
		}
	}
}

// hot are the messages of the hot path, as recorded.
func hot(t testing.TB) map[Kind][]byte {
	hot := map[Kind][]byte{}
	for _, data := range readWAL(t, filepath.Join("testdata", "many_rows.wal")) {
		hot[Kind(data[0])] = data
	}
	for _, data := range readWAL(t, filepath.Join("testdata", "full.wal")) {
		if Kind(data[0]) == Update {
			hot[Update] = data // with an old row
		}
	}
	for _, k := range []Kind{Begin, Insert, Update, Delete, Commit} {
		if hot[k] == nil {
			t.Fatalf("no %s is recorded", k)
		}
	}
	return hot
}

func TestHotPathAllocatesNothing(t *testing.T) {
	var d Decoder
	var m Message
	for k, data := range hot(t) {
		if k == Relation {
			continue
		}
		if n := testing.AllocsPerRun(100, func() {
			if err := d.Decode(data, &m); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", k, n)
		}
	}
	truncate := binary.BigEndian.AppendUint32([]byte("T\x00\x00\x00\x01\x00"), 5)
	if n := testing.AllocsPerRun(100, func() { _ = d.Decode(truncate, &m) }); n != 0 {
		t.Errorf("Truncate: %v allocations", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, k := range []Kind{Begin, Insert, Update, Delete, Commit, Relation} {
		data := hot(b)[k]
		b.Run(k.String(), func(b *testing.B) {
			var d Decoder
			var m Message
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := d.Decode(data, &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecodeTransaction decodes 1201 rows, with relations looked up, and reports
// the time of a message.
func BenchmarkDecodeTransaction(b *testing.B) {
	messages := readWAL(b, filepath.Join("testdata", "many_rows.wal"))
	var d Decoder
	var m Message
	var relations Relations
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for _, data := range messages {
			if data[0] == byte(Relation) && n >= len(messages) {
				continue // it comes once for a connection
			}
			if err := d.Decode(data, &m); err != nil {
				b.Fatal(err)
			}
			relations.Apply(&m)
			if m.Kind == Insert || m.Kind == Update || m.Kind == Delete {
				if _, err := relations.For(&m); err != nil {
					b.Fatal(err)
				}
			}
		}
		n += len(messages)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/message")
}
