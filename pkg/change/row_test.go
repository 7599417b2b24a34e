package change

import (
	"bytes"
	"encoding/binary"
	"testing"
)

type column struct {
	kind byte
	text string
}

func tuple(columns ...column) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(columns)))
	for _, c := range columns {
		b = append(b, c.kind)
		if c.kind == 't' || c.kind == 'b' {
			b = binary.BigEndian.AppendUint32(b, uint32(len(c.text)))
			b = append(b, c.text...)
		}
	}
	return b
}

func TestRow(t *testing.T) {
	data := tuple(column{'t', "one"}, column{'n', ""}, column{'u', ""}, column{'t', ""}, column{'t', "five"})
	want := []struct {
		text  string
		state State
	}{{"one", Present}, {"", Null}, {"", NotInWAL}, {"", Present}, {"five", Present}}
	r := NewRow(data)
	if r.Empty() || r.Len() != len(want) || r.Size() != len(data) {
		t.Errorf("empty %v, length %d, size %d", r.Empty(), r.Len(), r.Size())
	}
	seen := 0
	r.Columns(func(i int, text []byte, s State) bool {
		if i != seen || string(text) != want[i].text || s != want[i].state {
			t.Errorf("Columns: column %d is %q, %d", i, text, s)
		}
		seen++
		return true
	})
	if seen != len(want) {
		t.Errorf("Columns gave %d columns", seen)
	}
	for i, w := range want {
		if text, s := r.Column(i); string(text) != w.text || s != w.state {
			t.Errorf("Column(%d) is %q, %d", i, text, s)
		}
	}
	for _, i := range []int{-1, len(want), 1 << 20} {
		if text, s := r.Column(i); text != nil || s != NotInWAL {
			t.Errorf("Column(%d) is %q, %d", i, text, s)
		}
	}
	seen = 0
	r.Columns(func(int, []byte, State) bool { seen++; return seen < 2 })
	if seen != 2 {
		t.Errorf("Columns went on after false: %d", seen)
	}
	if n := testing.AllocsPerRun(100, func() { r.Column(4); r.Columns(func(int, []byte, State) bool { return true }) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEmptyRow(t *testing.T) {
	var r Row
	if !r.Empty() || r.Len() != 0 {
		t.Error("the zero Row is not empty")
	}
	if _, s := r.Column(0); s != NotInWAL {
		t.Errorf("column 0 is %d", s)
	}
	r.Columns(func(int, []byte, State) bool { t.Error("a column"); return true })
	if none := NewRow(tuple()); none.Empty() || none.Len() != 0 {
		t.Error("a row of no columns is there, and has none")
	}
}

// Whatever the bytes, a Row never reads outside them. The decoder lets none through
// that are out of shape, but a Row is one mistake away from the socket.
func FuzzRow(f *testing.F) {
	f.Add(tuple(column{'t', "one"}, column{'n', ""}, column{'u', ""}, column{'b', "x"}))
	f.Add([]byte{0, 2, 't', 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewRow(bytes.Clone(data))
		r.Columns(func(i int, text []byte, s State) bool {
			if i >= r.Len() {
				return false
			}
			if again, state := r.Column(i); !bytes.Equal(again, text) || state != s {
				t.Fatalf("column %d is %q, %d and %q, %d", i, text, s, again, state)
			}
			return true
		})
		for i := range min(r.Len(), 100) {
			r.Column(i)
		}
	})
}
