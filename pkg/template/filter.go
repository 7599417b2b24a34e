package template

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// filter changes a value. Texts that it reads and makes have at most MaxText bytes.
type filter struct {
	least, most int // arguments
	apply       func(r *run, in any, args []any) (any, error)
}

// takes says how many arguments it takes.
func (f filter) takes() string {
	if f.least == f.most {
		return strconv.Itoa(f.least)
	}
	return fmt.Sprintf("%d to %d", f.least, f.most)
}

var filters = map[string]filter{
	"default": {1, 1, func(_ *run, in any, args []any) (any, error) {
		allowFalse := len(args) > 1 && truth(args[1])
		if in == nil || in == false && !allowFalse || isEmpty(in) {
			return args[0], nil
		}
		return in, nil
	}},

	"append":   {1, 1, texts(func(out *sink, s string, args []string) { out.write(s); out.write(args[0]) })},
	"prepend":  {1, 1, texts(func(out *sink, s string, args []string) { out.write(args[0]); out.write(s) })},
	"upcase":   {0, 0, mapping(strings.ToUpper)},
	"downcase": {0, 0, mapping(strings.ToLower)},
	"capitalize": {0, 0, mapping(func(s string) string {
		_, n := utf8.DecodeRuneInString(s)
		return strings.ToUpper(s[:n]) + strings.ToLower(s[n:])
	})},
	"strip":  {0, 0, mapping(strings.TrimSpace)},
	"lstrip": {0, 0, mapping(func(s string) string { return strings.TrimLeftFunc(s, unicode.IsSpace) })},
	"rstrip": {0, 0, mapping(func(s string) string { return strings.TrimRightFunc(s, unicode.IsSpace) })},
	"strip_newlines": {0, 0, mapping(func(s string) string {
		return strings.NewReplacer("\r", "", "\n", "").Replace(s)
	})},
	"url_encode":    {0, 0, mapping(url.QueryEscape)},
	"replace":       {2, 2, texts(func(out *sink, s string, args []string) { replace(out, s, args[0], args[1], -1) })},
	"replace_first": {2, 2, texts(func(out *sink, s string, args []string) { replace(out, s, args[0], args[1], 1) })},
	"remove":        {1, 1, texts(func(out *sink, s string, args []string) { replace(out, s, args[0], "", -1) })},
	"remove_first":  {1, 1, texts(func(out *sink, s string, args []string) { replace(out, s, args[0], "", 1) })},
	"truncate":      {0, 2, truncate},
	"truncatewords": {0, 2, truncateWords},
	"slice":         {1, 2, slice},
	"split":         {1, 1, split},
	"json": {0, 0, func(r *run, in any, _ []any) (any, error) {
		var out sink
		if err := r.printJSON(&out, in, 0); err != nil {
			return nil, err
		}
		return out.String(), r.spend(out.Len())
	}},

	"size": {0, 0, func(r *run, in any, _ []any) (any, error) {
		if s, ok := in.(string); ok {
			if err := r.spend(min(len(s), MaxText)); err != nil {
				return nil, err
			}
		}
		if n := member(in, "size"); n != nil {
			return n, nil
		}
		return integer(0), nil
	}},
	"first": {0, 0, func(_ *run, in any, _ []any) (any, error) { return element(in, "first"), nil }},
	"last":  {0, 0, func(_ *run, in any, _ []any) (any, error) { return element(in, "last"), nil }},
	"join":  {0, 1, join},
	"reverse": {0, 0, list(func(_ *run, l []any) ([]any, error) {
		l = slices.Clone(l)
		slices.Reverse(l)
		return l, nil
	})},
	"compact": {0, 0, list(func(_ *run, l []any) ([]any, error) {
		return slices.DeleteFunc(slices.Clone(l), func(v any) bool { return v == nil }), nil
	})},
	"sort": {0, 0, list(sorted)},
	"uniq": {0, 0, list(unique)},

	"plus": {1, 1, calculation(func(a, b decimal) (decimal, error) {
		x, y, places := same(a, b)
		return decimal{new(big.Int).Add(x, y), places}, nil
	})},
	"minus": {1, 1, calculation(func(a, b decimal) (decimal, error) {
		x, y, places := same(a, b)
		return decimal{new(big.Int).Sub(x, y), places}, nil
	})},
	"times": {1, 1, calculation(func(a, b decimal) (decimal, error) {
		return decimal{new(big.Int).Mul(a.n, b.n), a.places + b.places}, nil
	})},
	"divided_by": {1, 1, calculation(quotient)},
	"modulo":     {1, 1, calculation(remainder)},
	"abs":        {0, 0, function(func(d decimal) decimal { return decimal{new(big.Int).Abs(d.n), d.places} })},
	"ceil":       {0, 0, function(func(d decimal) decimal { return d.round(0, up) })},
	"floor":      {0, 0, function(func(d decimal) decimal { return d.round(0, down) })},
	"round":      {0, 1, roundFilter},
	"at_least":   {1, 1, extreme(1)},
	"at_most":    {1, 1, extreme(-1)},

	"date":    {1, 2, date},
	"money":   {1, 1, money},
	"number":  {0, 1, localNumber},
	"percent": {0, 1, percent},

	"raw":           {0, 0, rawFilter},
	"escape":        {0, 0, escapeFilter},
	"newline_to_br": {0, 0, breaks},
}

// texts makes a filter of one on texts.
func texts(f func(out *sink, s string, args []string)) func(*run, any, []any) (any, error) {
	return func(r *run, in any, args []any) (any, error) {
		s, err := r.text(in)
		if err != nil {
			return nil, err
		}
		list := make([]string, len(args))
		for i, a := range args {
			if list[i], err = r.text(a); err != nil {
				return nil, err
			}
		}
		var out sink
		f(&out, s, list)
		return out.String(), r.spend(out.Len())
	}
}

// mapping makes a filter of a function whose result is at most a few times as long as
// what it is given.
func mapping(f func(string) string) func(*run, any, []any) (any, error) {
	return texts(func(out *sink, s string, _ []string) { out.write(f(s)) })
}

// replace stops where out is full. An empty text is nowhere.
func replace(out *sink, s, from, to string, most int) {
	for ; from != "" && most != 0 && !out.full; most-- {
		before, after, found := strings.Cut(s, from)
		if !found {
			break
		}
		out.write(before)
		out.write(to)
		s = after
	}
	out.write(s)
}

// intArg is an argument that is a whole number, or what counts without it.
func intArg(args []any, i, without int) (int, error) {
	if i >= len(args) || args[i] == nil {
		return without, nil
	}
	s := ""
	switch v := args[i].(type) {
	case json.Number:
		s = string(v)
	case string:
		s = v
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number", shorten(fmt.Sprint(args[i])))
	}
	return int(n), nil
}

// runes goes behind n characters of s.
func runes(s string, n int) int {
	i := 0
	for ; n > 0 && i < len(s); n-- {
		_, size := utf8.DecodeRuneInString(s[i:])
		i += size
	}
	return i
}

// truncate: at most so many characters, its end among them. Defaults to 50, and "...".
func truncate(r *run, in any, args []any) (any, error) {
	most, err := intArg(args, 0, 50)
	if err != nil {
		return nil, err
	}
	end, err := endArg(r, args)
	if err != nil {
		return nil, err
	}
	s, err := r.text(in)
	if err != nil || runes(s, max(0, most)) == len(s) {
		return s, err
	}
	keep := max(0, most-utf8.RuneCountInString(end))
	return cut(s[:runes(s, keep)] + end), nil
}

func truncateWords(r *run, in any, args []any) (any, error) {
	most, err := intArg(args, 0, 15)
	if err != nil {
		return nil, err
	}
	end, err := endArg(r, args)
	if err != nil {
		return nil, err
	}
	s, err := r.text(in)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(s)
	if most = max(1, most); len(words) <= most {
		return s, nil
	}
	return cut(strings.Join(words[:most], " ") + end), nil
}

func endArg(r *run, args []any) (string, error) {
	if len(args) < 2 {
		return "...", nil
	}
	return r.text(args[1])
}

// slice: from a character or element on (from the end if negative), one or so many.
func slice(r *run, in any, args []any) (any, error) {
	start, err := intArg(args, 0, 0)
	if err != nil {
		return nil, err
	}
	n, err := intArg(args, 1, 1)
	if err != nil {
		return nil, err
	}
	bounds := func(size int) (int, int) {
		if start < 0 {
			start += size
		}
		if start < 0 || start > size {
			return 0, 0
		}
		return start, min(size, start+max(0, n))
	}
	if l, ok := in.([]any); ok {
		from, to := bounds(len(l))
		return l[from:to:to], nil
	}
	s, err := r.text(in)
	if err != nil {
		return nil, err
	}
	from, to := bounds(utf8.RuneCountInString(s))
	i := runes(s, from)
	return s[i : i+runes(s[i:], to-from)], nil
}

func split(r *run, in any, args []any) (any, error) {
	s, err := r.text(in)
	if err != nil {
		return nil, err
	}
	by, err := r.text(args[0])
	if err != nil {
		return nil, err
	}
	var parts []string
	if by == " " {
		parts = strings.Fields(s)
	} else {
		parts = strings.Split(s, by)
		for len(parts) > 0 && parts[len(parts)-1] == "" {
			parts = parts[:len(parts)-1]
		}
	}
	l := make([]any, len(parts))
	for i, p := range parts {
		l[i] = p
	}
	return l, r.spend(perElement * len(l))
}

func element(in any, key string) any {
	if l, ok := in.([]any); ok {
		return member(l, key)
	}
	return nil
}

func join(r *run, in any, args []any) (any, error) {
	l, ok := in.([]any)
	if !ok {
		return in, nil
	}
	by := " "
	if len(args) > 0 {
		var err error
		if by, err = r.text(args[0]); err != nil {
			return nil, err
		}
	}
	var out sink
	for i, v := range l {
		if i > 0 {
			out.write(by)
		}
		if out.full {
			break
		}
		if err := r.spend(perElement + len(by)); err != nil {
			return nil, err
		}
		if err := r.print(&out, normal(v)); err != nil {
			return nil, err
		}
	}
	return out.String(), nil
}

// list makes a filter of arrays; other values stay as they are.
func list(f func(*run, []any) ([]any, error)) func(*run, any, []any) (any, error) {
	return func(r *run, in any, _ []any) (any, error) {
		l, ok := in.([]any)
		if !ok {
			return in, nil
		}
		if err := r.spend(perElement * len(l)); err != nil {
			return nil, err
		}
		l, err := f(r, l)
		return l, err
	}
}

// sorted orders numbers by value, then texts, then all else as it stands.
func sorted(r *run, l []any) ([]any, error) {
	type item struct {
		rank  int
		n     decimal
		text  string
		value any
	}
	items := make([]item, len(l))
	rounds := bits.Len(uint(len(l)))
	for i, v := range l {
		v = normal(v)
		it := item{rank: 2, value: v}
		switch v := v.(type) {
		case json.Number:
			d, ok, err := r.toDecimal(v)
			if !ok {
				return nil, cmp.Or(err, errors.New("a number can't be compared"))
			}
			it.rank, it.n = 0, d
			if err := r.spend((perNumber + len(v)) * rounds); err != nil {
				return nil, err
			}
		case string:
			it.rank, it.text = 1, v
			if err := r.spend((perElement + len(v)) * rounds); err != nil {
				return nil, err
			}
		}
		items[i] = it
	}
	slices.SortStableFunc(items, func(a, b item) int {
		if a.rank != b.rank || a.rank == 2 {
			return cmp.Compare(a.rank, b.rank)
		}
		if a.rank == 0 {
			x, y, _ := same(a.n, b.n)
			return x.Cmp(y)
		}
		return strings.Compare(a.text, b.text)
	})
	out := make([]any, len(l))
	for i, it := range items {
		out[i] = it.value
	}
	return out, nil
}

// unique keeps the first of equal elements: those that are the same as JSON.
func unique(r *run, l []any) ([]any, error) {
	seen := make(map[string]bool)
	out := make([]any, 0, len(l))
	for _, v := range l {
		var key sink
		if err := r.printJSON(&key, v, 0); err != nil {
			return nil, err
		}
		if err := r.spend(key.Len()); err != nil {
			return nil, err
		}
		if k := key.String(); !seen[k] {
			seen[k] = true
			out = append(out, normal(v))
		}
	}
	return out, nil
}
