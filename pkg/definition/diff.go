package definition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// around is how many lines of a diff stand before and behind a change.
const around = 3

// maxTable bounds the work of a comparison: beyond it, all lines between the first and
// the last difference are taken as changed.
const maxTable = 16 << 20

// unified is the difference of two texts as diff -u writes it; "" if there is none.
func unified(fromName, toName, from, to string) string {
	if from == to {
		return ""
	}
	a, b := lines(from), lines(to)
	edits := compare(a, b)
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", fromName, toName)
	for start := 0; start < len(edits); {
		if edits[start].mark == ' ' {
			start++
			continue
		}
		first := max(0, start-around)
		end, same := start, 0
		for end < len(edits) && same <= 2*around {
			if edits[end].mark == ' ' {
				same++
			} else {
				same = 0
			}
			end++
		}
		last := end - max(0, same-around)
		hunk(&out, edits[first:last])
		start = last
	}
	return out.String()
}

type edit struct {
	mark       byte // ' ', '-' or '+'
	text       string
	fromN, toN int // numbers of the line, or of the one before
}

func hunk(out *strings.Builder, edits []edit) {
	from, to := 0, 0
	for _, e := range edits {
		if e.mark != '+' {
			from++
		}
		if e.mark != '-' {
			to++
		}
	}
	fromStart, toStart := edits[0].fromN, edits[0].toN
	if edits[0].mark == '+' && from > 0 {
		fromStart++
	}
	if edits[0].mark == '-' && to > 0 {
		toStart++
	}
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", fromStart, from, toStart, to)
	for _, e := range edits {
		fmt.Fprintf(out, "%c%s\n", e.mark, e.text)
	}
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// compare finds the longest common subsequence of lines between what both texts begin
// and end with.
func compare(a, b []string) []edit {
	var edits []edit
	i, j := 0, 0
	add := func(mark byte, text string) {
		if mark != '+' {
			i++
		}
		if mark != '-' {
			j++
		}
		edits = append(edits, edit{mark, text, i, j})
	}
	for i < len(a) && i < len(b) && a[i] == b[i] {
		add(' ', a[i])
	}
	n, m := len(a), len(b)
	for n > i && m > j && a[n-1] == b[m-1] {
		n, m = n-1, m-1
	}
	x, y := a[i:n], b[j:m]
	width := len(y) + 1
	var longest []int32 // of x[p:] and y[q:]
	if (len(x)+1)*width <= maxTable {
		longest = make([]int32, (len(x)+1)*width)
		for p := len(x) - 1; p >= 0; p-- {
			for q := len(y) - 1; q >= 0; q-- {
				if x[p] == y[q] {
					longest[p*width+q] = longest[(p+1)*width+q+1] + 1
				} else {
					longest[p*width+q] = max(longest[(p+1)*width+q], longest[p*width+q+1])
				}
			}
		}
	}
	p, q := 0, 0
	for p < len(x) || q < len(y) {
		switch {
		case longest != nil && p < len(x) && q < len(y) && x[p] == y[q]:
			add(' ', x[p])
			p, q = p+1, q+1
		case p < len(x) && (q == len(y) || longest == nil || longest[(p+1)*width+q] >= longest[p*width+q+1]):
			add('-', x[p])
			p++
		default:
			add('+', y[q])
			q++
		}
	}
	for i < len(a) {
		add(' ', a[i])
	}
	return edits
}

// samePart compares parts, whatever the order of keys in their JSON.
func samePart(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && sameJSON(x, y)
}

// sameJSON compares values, whatever the order of keys; numbers by their digits.
func sameJSON(a, b json.RawMessage) bool {
	x, err1 := canonical(a)
	y, err2 := canonical(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

func canonical(raw json.RawMessage) ([]byte, error) {
	if len(raw) == 0 || string(raw) == "null" {
		raw = json.RawMessage("{}")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v) // with the keys in order
}
