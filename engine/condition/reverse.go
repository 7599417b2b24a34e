package condition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// FromExpression returns the condition_type and condition_config that an expression was
// written from: field_value, time_based or role_based. ok is false for an expression that
// none of them writes, which is to be left as it is: what comes back writes the very same
// text.
func FromExpression(text string) (kind string, config json.RawMessage, ok bool) {
	if len(text) > 8*maxFormBytes {
		return "", nil, false
	}
	for _, from := range []struct {
		kind string
		read func(*reader) (any, bool)
	}{
		{"field_value", func(r *reader) (any, bool) { return r.condition() }},
		{"time_based", (*reader).timed},
		{"role_based", (*reader).roles},
	} {
		r := &reader{text: text, row: "row", budget: 100_000}
		v, ok := from.read(r)
		if !ok || r.at != len(r.text) {
			continue
		}
		config := appendConfig(nil, v)
		f, err := Parse(Source{Conditions: []workflow.Condition{{Type: from.kind, Config: config}}})
		if err == nil && len(f.clauses) == 1 && f.clauses[0].text == text {
			return from.kind, config, true
		}
	}
	return "", nil, false
}

// appendConfig writes what readJSON reads.
func appendConfig(dst []byte, v any) []byte {
	switch v := v.(type) {
	case object:
		dst = append(dst, '{')
		for i, m := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendConfig(dst, m.key)
			dst = append(dst, ':')
			dst = appendConfig(dst, m.value)
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendConfig(dst, e)
		}
		return append(dst, ']')
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return append(dst, "null"...)
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// reader reads what formWriter, timed and addRoles write: that grammar only, by its
// characters. It tries alternatives one after the other, and gives up when it has tried
// too much.
type reader struct {
	text   string
	at     int
	row    string
	budget int
}

// lit takes a literal piece of text.
func (r *reader) lit(s string) bool {
	if r.budget--; r.budget < 0 || !strings.HasPrefix(r.text[r.at:], s) {
		return false
	}
	r.at += len(s)
	return true
}

// try calls f, and goes back to where it was if f says no.
func (r *reader) try(f func() bool) bool {
	at := r.at
	if r.budget < 0 || !f() {
		r.at = at
		return false
	}
	return true
}

// condition reads an object, or a list of conditions.
func (r *reader) condition() (any, bool) {
	var v any
	ok := r.try(func() bool {
		o, ok := r.members()
		v = o
		return ok && r.ends()
	}) || r.try(func() bool {
		list, ok := r.list(" && ")
		v = list
		return ok && r.ends()
	})
	return v, ok
}

// ends says that a condition may end here.
func (r *reader) ends() bool { return r.at == len(r.text) || r.text[r.at] == ')' }

func (r *reader) list(sep string) ([]any, bool) {
	var list []any
	for {
		if !r.lit("(") {
			return nil, false
		}
		c, ok := r.condition()
		if !ok || !r.lit(")") {
			return nil, false
		}
		list = append(list, c)
		if !r.try(func() bool { return r.lit(sep) }) {
			return list, true
		}
	}
}

// members reads what the keys of one object wrote.
func (r *reader) members() (object, bool) {
	o := object{}
	if r.try(func() bool { return r.lit("true") && r.ends() }) {
		return o, true
	}
	for {
		m, compared, ok := r.member()
		if !ok {
			return nil, false
		}
		more := r.try(func() bool { return r.lit(" && ") })
		switch m.key {
		case "any", "all", "not", anyChanged:
			if compared { // a column that is called so: a comparison spelled out, which stands alone
				op := m.value.(object)[0]
				return object{{"field", m.key}, {"operator", op.key}, {"value", op.value}}, len(o) == 0 && !more
			}
		}
		if o, ok = addMember(o, m); !ok || !more {
			return o, ok
		}
	}
}

// addMember puts operators of one column together. No key stands twice in an object: then
// it was something else that wrote this.
func addMember(o object, m member) (object, bool) {
	if m.key == "any" { // of one condition "any" and "all" are the same
		for i := range o {
			if list, ok := o[i].value.([]any); ok && o[i].key == "any" && len(list) == 1 {
				o[i].key = "all"
			}
		}
		if list, ok := m.value.([]any); ok && len(list) == 1 {
			if _, twice := o.get("any"); twice {
				m.key = "all"
			}
		}
	}
	if ops, ok := m.value.(object); ok && len(o) > 0 && o[len(o)-1].key == m.key {
		if last, ok := o[len(o)-1].value.(object); ok {
			op := ops[0]
			if _, twice := last.get(op.key); twice {
				switch op.key {
				case "is_null":
					op = member{"eq", nil} // which writes the same
				case "not_null":
					op = member{"ne", nil}
				case "gte":
					op = member{"between", []any{op.value}} // if an lte follows
				}
			}
			if before := &last[len(last)-1]; op.key == "lte" {
				half, _ := before.value.([]any)
				_, is := last.get("between")
				switch {
				case before.key == "between" && len(half) == 1:
					before.value = []any{half[0], op.value}
					return o, true
				case before.key == "gte" && !is:
					*before = member{"between", []any{before.value, op.value}}
					return o, true
				}
			}
			_, twice := last.get(op.key)
			o[len(o)-1].value = append(last, op)
			return o, !twice
		}
	}
	_, twice := o.get(m.key)
	return append(o, m), !twice
}

// member reads one of an object's keys. compared says that it is a comparison of a column.
func (r *reader) member() (m member, compared, ok bool) {
	group := func(key, sep string) func() bool {
		return func() bool {
			if !r.lit("(") {
				return false
			}
			list, ok := r.list(sep)
			m = member{key, list}
			return ok && r.lit(")")
		}
	}
	ok = r.try(r.anyChanged(&m)) || r.try(group("any", " || ")) || r.try(group("all", " && ")) ||
		r.try(func() bool {
			if !r.lit("!(") {
				return false
			}
			c, ok := r.condition()
			m = member{"not", c}
			return ok && r.lit(")")
		})
	if ok {
		return m, false, true
	}
	ok = r.try(r.changedOne(&m)) || r.try(func() bool {
		column, op, v, ok := r.comparison()
		m = member{column, object{{op, v}}}
		return ok
	})
	return m, true, ok
}

func (r *reader) anyChanged(m *member) func() bool {
	return func() bool {
		if !r.lit("(") {
			return false
		}
		var columns []any
		for {
			column, ok := r.changedCall()
			if !ok {
				return false
			}
			columns = append(columns, column)
			if r.lit(")") {
				*m = member{anyChanged, columns}
				return true
			}
			if !r.lit(" || ") {
				return false
			}
		}
	}
}

func (r *reader) changedCall() (string, bool) {
	if !r.lit("changed(") {
		return "", false
	}
	column, ok := r.quoted()
	return column, ok && r.lit(")")
}

// changedOne reads changed, changed_from and changed_to.
func (r *reader) changedOne(m *member) func() bool {
	return func() bool {
		if r.try(func() bool {
			column, ok := "", r.lit("!")
			if ok {
				column, ok = r.changedCall()
			}
			*m = member{column, object{{"changed", false}}}
			return ok
		}) {
			return true
		}
		column, ok := r.changedCall()
		if !ok {
			return false
		}
		for _, of := range []struct{ row, op string }{{"old", "changed_from"}, {r.row, "changed_to"}} {
			var v any
			if r.try(func() bool {
				if !r.lit(" && " + accessor(of.row, column)) {
					return false
				}
				among := false
				if r.lit(" in ") {
					among = true
				} else if !r.lit(" == ") {
					return false
				}
				var ok bool
				v, ok = r.literal()
				_, isList := v.([]any)
				return ok && isList == among
			}) {
				*m = member{column, object{{of.op, v}}}
				return true
			}
		}
		*m = member{column, object{{"changed", true}}}
		return true
	}
}

var formOperators = []struct{ sign, op string }{
	{" == ", "eq"},
	{" != ", "ne"},
	{" >= ", "gte"},
	{" <= ", "lte"},
	{" > ", "gt"},
	{" < ", "lt"},
	{" in ", "in"},
	{" not in ", "not_in"},
	{" contains ", "contains"},
	{" startsWith ", "starts_with"},
	{" matches ", "matches"},
}

func (r *reader) comparison() (column, op string, v any, ok bool) {
	if !r.lit(r.row) {
		return "", "", nil, false
	}
	switch {
	case r.lit("["):
		if column, ok = r.quoted(); !ok || !r.lit("]") {
			return "", "", nil, false
		}
	case r.lit("."):
		start := r.at
		for r.at < len(r.text) && (r.text[r.at] == '_' || isAlphanumeric(r.text[r.at])) {
			r.at++
		}
		column = r.text[start:r.at]
	default:
		return "", "", nil, false
	}
	for _, o := range formOperators {
		if r.lit(o.sign) {
			v, ok = r.literal()
			op = o.op
			if v == nil && ok {
				op, v = map[string]string{"eq": "is_null", "ne": "not_null"}[op], true
			}
			return column, op, v, ok && op != ""
		}
	}
	return "", "", nil, false
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// quoted reads what quoteText writes.
func (r *reader) quoted() (string, bool) {
	if !r.lit(`"`) {
		return "", false
	}
	from := r.at
	defer func() { r.budget -= (r.at - from) / 64 }() // long ones count, if they are read again and again
	var b strings.Builder
	for r.at < len(r.text) {
		c, size := utf8.DecodeRuneInString(r.text[r.at:])
		r.at += size
		switch c {
		case '"':
			return b.String(), true
		case '\\':
			if r.at == len(r.text) {
				return "", false
			}
			e := r.text[r.at]
			r.at++
			switch e {
			case '"', '\\':
				b.WriteByte(e)
			case 'n':
				b.WriteByte('\n')
			case 'u':
				if r.at+4 > len(r.text) {
					return "", false
				}
				n, err := strconv.ParseUint(r.text[r.at:r.at+4], 16, 16)
				if err != nil {
					return "", false
				}
				r.at += 4
				b.WriteRune(rune(n))
			default:
				return "", false
			}
		default:
			b.WriteRune(c)
		}
	}
	return "", false
}

// literal reads what formWriter.literal writes.
func (r *reader) literal() (any, bool) {
	rest := r.text[r.at:]
	switch {
	case rest == "":
		return nil, false
	case rest[0] == '"':
		return r.quoted()
	case r.lit("nil"):
		return nil, true
	case r.lit("true"):
		return true, true
	case r.lit("false"):
		return false, true
	case r.lit("["):
		list := []any{}
		for !r.lit("]") {
			if len(list) > 0 && !r.lit(", ") {
				return nil, false
			}
			v, ok := r.literal()
			if !ok {
				return nil, false
			}
			list = append(list, v)
		}
		return list, true
	case r.lit("{"):
		o := object{}
		for !r.lit("}") {
			if len(o) > 0 && !r.lit(", ") {
				return nil, false
			}
			key, ok := r.quoted()
			if !ok || !r.lit(": ") {
				return nil, false
			}
			v, ok := r.literal()
			if !ok {
				return nil, false
			}
			o = append(o, member{key, v})
		}
		return o, true
	}
	n := strings.IndexFunc(rest, func(c rune) bool {
		return c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' && (c < '0' || c > '9')
	})
	if n < 0 {
		n = len(rest)
	}
	if n == 0 || !json.Valid([]byte(rest[:n])) {
		return nil, false
	}
	r.at += n
	return json.Number(rest[:n]), true
}

// timed reads what a time_based condition writes.
func (r *reader) timed() (any, bool) {
	o := object{}
	zone := ""
	// at takes fn(now(), "zone") of the same zone everywhere.
	at := func(call string) bool {
		if !r.lit(call + ", ") {
			return false
		}
		z, ok := r.quoted()
		if !ok || !r.lit(")") || zone != "" && z != zone {
			return false
		}
		zone = z
		return true
	}
	days := func() bool {
		if !at("weekday(now()") || !r.lit(" in ") {
			return false
		}
		v, ok := r.literal()
		o = append(o, member{"days", v})
		return ok
	}
	span := func(call, least, most string) func() (any, bool) {
		return func() (any, bool) {
			s := object{}
			ok := r.lit("(")
			for _, end := range []struct{ key, sign string }{{"from", least}, {"to", most}} {
				if r.try(func() bool {
					if len(s) > 0 && !r.lit(" && ") && !r.lit(" || ") {
						return false
					}
					if !at(call) || !r.lit(end.sign) {
						return false
					}
					text, ok := r.quoted()
					if ok {
						s = append(s, member{end.key, text})
					}
					return ok
				}) {
					continue
				}
			}
			return s, ok && len(s) > 0 && r.lit(")")
		}
	}
	spans := func(key string, one func() (any, bool)) bool {
		if r.try(func() bool {
			v, ok := one()
			o = append(o, member{key, v})
			return ok
		}) {
			return true
		}
		o = without(o, key)
		if !r.lit("(") {
			return false
		}
		var list []any
		for {
			v, ok := one()
			if !ok {
				return false
			}
			list = append(list, v)
			if r.lit(")") {
				o = append(o, member{key, list})
				return true
			}
			if !r.lit(" || ") {
				return false
			}
		}
	}
	holidays := func() bool {
		only := !r.lit("!")
		if !r.lit("(") {
			return false
		}
		var list []any
		for _, call := range []string{"day(now()", "yearday(now()"} {
			r.try(func() bool {
				if len(list) > 0 && !r.lit(" || ") || !at(call) || !r.lit(" in ") {
					return false
				}
				v, ok := r.literal()
				more, _ := v.([]any)
				list = append(list, more...)
				return ok
			})
		}
		o = append(o, member{"holidays", list})
		if only {
			o = append(o, member{"on_holidays", true})
		}
		return len(list) > 0 && r.lit(")")
	}
	steps := []func() bool{
		days,
		func() bool { return spans("hours", span("clock(now()", " >= ", " < ")) },
		func() bool { return spans("dates", span("day(now()", " >= ", " <= ")) },
		holidays,
	}
	first := true
	for _, step := range steps {
		kept, keptZone := o, zone
		if r.try(func() bool { return (first || r.lit(" && ")) && step() }) {
			first = false
		} else {
			o, zone = kept[:len(kept):len(kept)], keptZone
		}
	}
	column := ""
	for _, key := range distances {
		r.try(func() bool {
			if !first && !r.lit(" && ") {
				return false
			}
			c, d, ok := r.distance(key, &zone)
			if !ok || column != "" && c != column {
				return false
			}
			if column == "" {
				o = append(o, member{"column", c})
			}
			column, first = c, false
			o = append(o, member{key, d})
			return true
		})
	}
	if zone != "" && zone != "UTC" {
		o = append(object{{"zone", zone}}, o...)
	}
	return o, len(o) > 0 && !first
}

func without(o object, key string) object {
	for i, m := range o {
		if m.key == key {
			return o[:i:i]
		}
	}
	return o
}

// distance reads one of the keys that go with a column. Both ends of what it wrote are
// checked by the caller, who writes it again.
func (r *reader) distance(key string, zone *string) (column, duration string, ok bool) {
	call := ""
	switch {
	case r.lit("daysUntil("):
		call = "daysUntil"
	case r.lit("moment("):
		call = "moment"
	default:
		return "", "", false
	}
	start := r.at
	if !r.lit("row") {
		return "", "", false
	}
	switch {
	case r.lit("."):
		begin := r.at
		for r.at < len(r.text) && (r.text[r.at] == '_' || isAlphanumeric(r.text[r.at])) {
			r.at++
		}
		column = r.text[begin:r.at]
	case r.lit("["):
		if column, ok = r.quoted(); !ok || !r.lit("]") {
			return "", "", false
		}
	}
	if !r.lit(", ") {
		return "", "", false
	}
	z, ok := r.quoted()
	if !ok || !r.lit(")") || *zone != "" && z != *zone {
		return "", "", false
	}
	whole := call + "(" + r.text[start:r.at]
	r.at = start - len(call) - len("(")
	// Which duration makes this text?
	if call == "daysUntil" {
		for _, sign := range []string{" <= ", " >= -", " < -", " > "} {
			mark := whole + sign
			i := strings.LastIndex(r.text[r.at:min(len(r.text), r.at+2*len(whole)+40)], mark)
			if i < 0 {
				continue
			}
			digits := r.text[r.at+i+len(mark):]
			n := 0
			for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
				n++
			}
			days, err := strconv.Atoi(digits[:n])
			if err == nil && r.lit(daysAway(key, whole, days)) {
				*zone = z
				return column, fmt.Sprintf("%dd", days), true
			}
		}
		return "", "", false
	}
	i := strings.Index(r.text[r.at:], `duration("`)
	if i < 0 {
		return "", "", false
	}
	at := r.at
	r.at += i + len("duration(")
	d, ok := r.quoted()
	r.at = at
	if !ok || !r.lit(away(key, whole, "duration("+quoteText(d)+")")) {
		return "", "", false
	}
	*zone = z
	return column, d, true
}

// roles reads what a role_based condition writes.
func (r *reader) roles() (any, bool) {
	o := object{}
	texts := func(key, before, after string) func() bool {
		return func() bool {
			if !r.lit(before) {
				return false
			}
			v, ok := r.literal()
			o = append(o, member{key, v})
			return ok && r.lit(after)
		}
	}
	all := func() bool {
		var list []any
		for r.try(func() bool {
			if len(list) > 0 && !r.lit(" && ") {
				return false
			}
			role, ok := r.quoted()
			if ok && r.lit(" in actor.roles") {
				list = append(list, role)
				return true
			}
			return false
		}) {
		}
		o = append(o, member{"all_roles", list})
		return len(list) > 0
	}
	attributes := func() bool {
		r.row = "actor.attributes"
		v, ok := r.condition()
		o = append(o, member{"attributes", v})
		return ok
	}
	first := true
	for _, step := range []func() bool{
		texts("roles", "any(actor.roles, # in ", ")"), all, texts("not_roles", "!any(actor.roles, # in ", ")"),
		texts("actors", "actor.id in ", ""), texts("not_actors", "!(actor.id in ", ")"), attributes,
	} {
		kept := o
		if r.try(func() bool { return (first || r.lit(" && ")) && step() }) {
			first = false
		} else {
			o = kept[:len(kept):len(kept)]
		}
	}
	return o, len(o) > 0
}
