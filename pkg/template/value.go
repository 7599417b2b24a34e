package template

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// normal makes one of these of a variable's value: nil, bool, string, json.Number, []any,
// map[string]any, blank, empty.
func normal(v any) any {
	switch v := v.(type) {
	case nil, bool, string, json.Number, []any, map[string]any, blank, empty:
		return v
	case markup:
		return string(v)
	case int:
		return integer(v)
	case int32:
		return integer(int(v))
	case int64:
		return json.Number(strconv.FormatInt(v, 10))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return json.Number(strconv.FormatFloat(v, 'f', -1, 64))
	case time.Time:
		return v.Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}

func integer(n int) json.Number { return json.Number(strconv.Itoa(n)) }

func truth(v any) bool { return v != nil && v != false }

// member takes a member out of an object, or an element out of an array. Where there is
// none, it is nil.
func member(v, key any) any {
	switch v := v.(type) {
	case map[string]any:
		k, ok := key.(string)
		if !ok {
			break
		}
		if m, ok := v[k]; ok {
			return normal(m)
		}
		if k == "size" {
			return integer(len(v))
		}
	case []any:
		i := -1
		switch k := key.(type) {
		case json.Number:
			n, err := strconv.Atoi(string(k))
			if err != nil {
				return nil
			}
			if n < 0 {
				n += len(v)
			}
			i = n
		case string:
			switch k {
			case "size":
				return integer(len(v))
			case "first":
				i = 0
			case "last":
				i = len(v) - 1
			}
		}
		if i >= 0 && i < len(v) {
			return normal(v[i])
		}
	case string:
		if key == "size" {
			return integer(utf8.RuneCountInString(cut(v)))
		}
	}
	return nil
}

// print writes a value: elements of an array one after the other, objects as JSON.
func (r *run) print(out *sink, v any) error {
	switch v := v.(type) {
	case nil, blank, empty:
		return nil
	case bool:
		return r.write(out, strconv.FormatBool(v))
	case string:
		return r.write(out, v)
	case json.Number:
		return r.write(out, string(v))
	case []any:
		for _, e := range v {
			var err error
			if nested, ok := e.([]any); ok {
				err = r.printJSON(out, nested, 0)
			} else {
				err = r.print(out, normal(e))
			}
			if err != nil || out.full {
				return err
			}
			if err := r.spend(perElement); err != nil {
				return err
			}
		}
		return nil
	}
	return r.printJSON(out, v, 0)
}

// write pays for what out takes of a text.
func (r *run) write(out *sink, text string) error {
	before := out.Len()
	out.write(text)
	return r.spend(max(0, out.Len()-before))
}

// perElement is what an element of an array costs beside its bytes.
const perElement = 32

// printJSON writes what there is room for in out; what is cut is no JSON any more.
func (r *run) printJSON(out *sink, v any, depth int) error {
	if out.full {
		return nil
	}
	switch v := normal(v).(type) {
	case map[string]any:
		if depth > maxDepth {
			return r.write(out, quote(ellipsis))
		}
		if err := r.spend(perElement * len(v)); err != nil {
			return err
		}
		out.write("{")
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				out.write(",")
			}
			if err := r.write(out, quote(k)+":"); err != nil {
				return err
			}
			if err := r.printJSON(out, v[k], depth+1); err != nil || out.full {
				return err
			}
		}
		out.write("}")
	case []any:
		if depth > maxDepth {
			return r.write(out, quote(ellipsis))
		}
		out.write("[")
		for i, e := range v {
			if i > 0 {
				out.write(",")
			}
			if err := r.spend(perElement); err != nil {
				return err
			}
			if err := r.printJSON(out, e, depth+1); err != nil || out.full {
				return err
			}
		}
		out.write("]")
	case string:
		return r.write(out, quote(v))
	case nil, blank, empty:
		return r.write(out, "null")
	default:
		return r.print(out, v)
	}
	return nil
}

func quote(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(cut(s)) // a string into memory
	return strings.TrimSuffix(b.String(), "\n")
}

// text is a value as it prints, and pays for it.
func (r *run) text(v any) (string, error) {
	if s, ok := v.(string); ok {
		s = cut(s)
		return s, r.spend(len(s))
	}
	var out sink
	err := r.print(&out, v)
	return out.String(), err
}

// compare is the value of a comparison. What can't be ordered is neither less nor greater.
func (r *run) compare(operator string, a, b any) (bool, error) {
	switch operator {
	case "==":
		return r.equal(a, b, 0)
	case "!=", "<>":
		same, err := r.equal(a, b, 0)
		return !same, err
	case "contains":
		return r.contains(a, b)
	}
	var order int
	switch x := a.(type) {
	case json.Number:
		y, ok := b.(json.Number)
		if !ok {
			return false, nil
		}
		order = compareNumbers(x, y)
		if err := r.spend(len(x) + len(y)); err != nil {
			return false, err
		}
	case string:
		y, ok := b.(string)
		if !ok {
			return false, nil
		}
		order = cmp.Compare(x, y)
		if err := r.spend(min(len(x), len(y))); err != nil {
			return false, err
		}
	default:
		return false, nil
	}
	switch operator {
	case "<":
		return order < 0, nil
	case "<=":
		return order <= 0, nil
	case ">":
		return order > 0, nil
	}
	return order >= 0, nil
}

func (r *run) equal(a, b any, depth int) (bool, error) {
	a, b = normal(a), normal(b)
	if err := r.spend(perStep); err != nil {
		return false, err
	}
	switch a.(type) {
	case blank, empty:
		a, b = b, a
	}
	switch b.(type) {
	case blank:
		if s, ok := a.(string); ok {
			i := strings.IndexFunc(s, func(c rune) bool { return !unicode.IsSpace(c) })
			if i < 0 {
				return true, r.spend(len(s))
			}
			return false, r.spend(i)
		}
		return a == nil || a == false || isEmpty(a), nil
	case empty:
		return isEmpty(a), nil
	}
	switch x := a.(type) {
	case nil, bool:
		return a == b, nil
	case string:
		y, ok := b.(string)
		if !ok || len(x) != len(y) {
			return false, nil
		}
		return x == y, r.spend(len(x))
	case json.Number:
		y, ok := b.(json.Number)
		if !ok {
			return false, nil
		}
		return compareNumbers(x, y) == 0, r.spend(len(x) + len(y))
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) || depth > maxDepth {
			return false, nil
		}
		for i := range x {
			if same, err := r.equal(x[i], y[i], depth+1); !same || err != nil {
				return false, err
			}
		}
		return true, nil
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) || depth > maxDepth {
			return false, nil
		}
		for k := range x {
			other, ok := y[k]
			if !ok {
				return false, nil
			}
			if same, err := r.equal(x[k], other, depth+1); !same || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	return false, nil
}

func (r *run) contains(a, b any) (bool, error) {
	switch x := a.(type) {
	case string, json.Number:
		if b == nil {
			return false, nil
		}
		in, ok := x.(string)
		if !ok {
			in = string(x.(json.Number))
		}
		part, err := r.text(b)
		if err != nil {
			return false, err
		}
		if err := r.spend(len(in)); err != nil {
			return false, err
		}
		return strings.Contains(in, part), nil
	case []any:
		for _, e := range x {
			if same, err := r.equal(e, b, 0); same || err != nil {
				return same, err
			}
		}
	case map[string]any:
		if key, ok := b.(string); ok {
			_, has := x[key]
			return has, nil
		}
	}
	return false, nil
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case string:
		return v == ""
	case markup:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	case blank, empty:
		return true
	}
	return false
}
