package change

import (
	"bytes"
	"encoding/binary"
	"slices"
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

func TestDifferences(t *testing.T) {
	before := NewRow(tuple(column{'t', "one"}, column{'n', ""}, column{'t', "large"}, column{'t', ""}, column{'t', "five"}))
	for name, c := range map[string]struct {
		after Row
		want  []int
	}{
		"none":                 {before, nil},
		"unchanged large":      {NewRow(tuple(column{'t', "one"}, column{'n', ""}, column{'u', ""}, column{'t', ""}, column{'t', "five"})), nil},
		"a text, and unsent":   {NewRow(tuple(column{'t', "two"}, column{'n', ""}, column{'u', ""}, column{'t', ""}, column{'t', "five"})), []int{0}},
		"NULL and empty":       {NewRow(tuple(column{'t', "one"}, column{'t', ""}, column{'t', "large"}, column{'n', ""}, column{'t', "five"})), []int{1, 3}},
		"a column more":        {NewRow(tuple(column{'t', "one"}, column{'n', ""}, column{'t', "large"}, column{'t', ""}, column{'t', "five"}, column{'n', ""})), []int{5}},
		"a column less":        {NewRow(tuple(column{'t', "one"}, column{'n', ""}, column{'t', "large"}, column{'t', ""})), []int{4}},
		"the new one is empty": {Row{}, []int{0, 1, 2, 3, 4}},
	} {
		var got []int
		Differences(before, c.after, func(i int) bool { got = append(got, i); return true })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	after := NewRow(tuple(column{'t', "x"}, column{'t', "y"}, column{'t', "large"}, column{'t', ""}, column{'t', "five"}))
	seen := 0
	if n := testing.AllocsPerRun(100, func() {
		seen = 0
		Differences(before, after, func(int) bool { seen++; return false })
	}); n != 0 || seen != 1 {
		t.Errorf("%g allocations, %d columns", n, seen)
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
		Differences(r, NewRow(bytes.Clone(data)), func(i int) bool {
			t.Fatalf("column %d differs from itself", i)
			return false
		})
		Differences(r, NewRow(bytes.Clone(data[len(data)/2:])), func(int) bool { return true })
	})
}
