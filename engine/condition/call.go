package condition

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/spelling"
)

// predicate rewrites any, all, none, one, count, filter and map, which are loops of
// the virtual machine.
func (b *binder) predicate(n *ast.BuiltinNode) operand {
	loc := n.Location()
	switch n.Name {
	case "any", "all", "none", "one", "count", "filter", "map":
	default:
		return b.fail(loc, fmt.Sprintf("there is no function %s", n.Name), "there are "+functionNames)
	}
	if len(n.Arguments) != 2 {
		return b.fail(loc, n.Name+" needs a list and what to look for", "write "+n.Name+`(new.tags, # == "x")`)
	}
	over := b.expr(n.Arguments[0])
	if over.kind != listKind && over.kind != anyKind && over.kind != nullKind {
		return b.fail(loc, fmt.Sprintf("%s needs a list, not %s", n.Name, b.describe(over)), "")
	}
	inner, ok := n.Arguments[1].(*ast.PredicateNode)
	if !ok {
		return b.fail(loc, n.Name+" needs what to look for", "")
	}
	if b.loops++; b.loops > 20 {
		return b.fail(loc, "there are more than 20 loops", "")
	}
	body := b.expr(inner.Node)
	predicate := &ast.PredicateNode{}
	k := listKind
	if n.Name == "map" {
		predicate.Node = b.plain(body)
	} else {
		predicate.Node = b.boolean(body)
		switch n.Name {
		case "count":
			k = numberKind
		case "filter":
		default:
			k = boolKind
		}
	}
	predicate.SetLocation(inner.Location())
	node := &ast.BuiltinNode{Name: n.Name, Arguments: []ast.Node{b.apply(loc, elements, environment(loc), b.plain(over)), predicate}}
	node.SetLocation(loc)
	return operand{kind: k, node: node, loc: loc}
}

const functionNames = "changed, now, date, duration, weekday, clock, day, yearday, daysUntil, moment, len, lower, upper, trim, abs, int, float, string, min, max, any, all, none, one, count, filter, map"

// functions of one argument; the first takes any kind that accepts says.
var functions = map[string]struct {
	accepts []kind
	returns kind
	fn      func(any) any
}{
	"len":    {[]kind{textKind, listKind, objectKind, bytesKind}, numberKind, length},
	"lower":  {[]kind{textKind}, textKind, lower},
	"upper":  {[]kind{textKind}, textKind, upper},
	"trim":   {[]kind{textKind}, textKind, trim},
	"abs":    {[]kind{numberKind, durationKind}, anyKind, absolute},
	"int":    {[]kind{numberKind, textKind}, numberKind, toInt},
	"float":  {[]kind{numberKind, textKind}, numberKind, toFloat},
	"string": {[]kind{numberKind, textKind, boolKind}, textKind, toText},
}

func (b *binder) call(n *ast.CallNode) operand {
	loc := n.Location()
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		return b.fail(loc, "values have no functions of their own", "there are "+functionNames)
	}
	arity := func(want int) bool {
		if len(n.Arguments) != want {
			b.fail(loc, fmt.Sprintf("%s takes %d arguments, not %d", callee.Value, want, len(n.Arguments)), "")
		}
		return b.err == nil
	}
	literal := func() (string, bool) {
		if !arity(1) {
			return "", false
		}
		s, ok := n.Arguments[0].(*ast.StringNode)
		if !ok {
			b.fail(n.Arguments[0].Location(), callee.Value+" takes a text that is written out", "")
			return "", false
		}
		return s.Value, true
	}
	switch name := callee.Value; name {
	case "changed":
		s, ok := literal()
		if !ok {
			break
		}
		return b.changed(n, s)
	case "now":
		if arity(0) {
			b.present = true
			return operand{kind: timeKind, node: b.env(loc, readCommitTime), loc: loc}
		}
	case "date":
		if s, ok := literal(); ok {
			t, err := parseMoment(s, change.TimestampTZ)
			if err != nil {
				return b.fail(n.Arguments[0].Location(), err.Error(), "")
			}
			return operand{kind: timeKind, constant: true, value: t, loc: loc}
		}
	case "duration":
		if s, ok := literal(); ok {
			d, err := parseDuration(s)
			if err != nil {
				return b.fail(n.Arguments[0].Location(), err.Error(), "")
			}
			return operand{kind: durationKind, constant: true, value: d, loc: loc}
		}
	case "min", "max":
		if !arity(2) {
			break
		}
		x, y := b.moments(b.expr(n.Arguments[0]), b.expr(n.Arguments[1]))
		if b.err == nil && (!comparable(x.kind, y.kind) || x.kind == boolKind || x.kind == listKind) {
			return b.fail(loc, fmt.Sprintf("%s of %s and %s can't be worked out", name, b.describe(x), b.describe(y)), "")
		}
		fn := lesser
		if name == "max" {
			fn = greater
		}
		k := x.kind
		if k != y.kind {
			k = anyKind
		}
		return operand{kind: k, node: b.apply(loc, fn, b.plain(x), b.plain(y)), loc: loc, local: x.local || y.local}
	default:
		if _, ok := calendarFunctions[name]; ok {
			return b.calendar(n, name)
		}
		f, ok := functions[name]
		if !ok {
			mend := spelling.Mend(name, strings.Split(functionNames, ", "))
			if mend == "" {
				mend = "there are " + functionNames
			}
			return b.fail(loc, fmt.Sprintf("there is no function %s", name), mend)
		}
		if !arity(1) {
			break
		}
		x := b.expr(n.Arguments[0])
		if b.err == nil && x.kind != anyKind && x.kind != nullKind && !slices.Contains(f.accepts, x.kind) {
			return b.fail(x.loc, fmt.Sprintf("%s takes %s, not %s", name, f.accepts[0], b.describe(x)), "")
		}
		node := b.apply(loc, f.fn, b.plain(x))
		if f.returns == textKind {
			node = b.apply(loc, made, environment(loc), node)
		}
		return operand{kind: f.returns, node: node, loc: loc}
	}
	return operand{kind: nullKind, constant: true}
}

func (b *binder) changed(n *ast.CallNode, name string) operand {
	loc := n.Arguments[0].Location()
	if b.op == change.Emit {
		return b.fail(loc, "a domain event changes no column", "")
	}
	if b.op != change.Update {
		b.present = true
		if b.lookup(loc, name) < 0 {
			return operand{kind: nullKind, constant: true}
		}
		if b.clause.trigger {
			return b.fail(loc, fmt.Sprintf("a %s changes no column", b.op), "use changed with a trigger for update")
		}
		b.readsOp = true
		return operand{kind: boolKind, constant: true, value: false, loc: loc, truth: never}
	}
	b.column(loc, newRow, name)
	o := b.column(loc, oldRow, name)
	if b.err != nil {
		return operand{kind: nullKind, constant: true}
	}
	l := &leaf{op: hasChanged, side: newRow, column: int32(o.column.column)}
	return operand{kind: boolKind, node: b.leaf(l, n.Location()), loc: n.Location()}
}

// parseDuration reads 90m, 36h, or days as 3d.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseInt(days, 10, 32); err == nil && n >= -36500 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%s is no duration; write 90m, 36h or 3d", quote(s))
	}
	return d, nil
}

var momentLayouts = []string{
	"2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05.999999999",
	"2006-01-02T15:04Z07:00", "2006-01-02T15:04:05.999999999Z07:00",
}

// parseMoment reads a date, a date and time, or RFC 3339, for a column of kind k.
func parseMoment(s string, k change.Kind) (time.Time, error) {
	switch strings.ToLower(s) {
	case "infinity":
		return change.Infinity, nil
	case "-infinity":
		return change.NegInfinity, nil
	}
	iso := s
	if len(s) > 10 && s[10] == ' ' {
		iso = s[:10] + "T" + s[11:]
	}
	for _, layout := range momentLayouts {
		t, err := time.Parse(layout, iso)
		if err != nil {
			continue
		}
		if k == change.TimestampTZ {
			return t.UTC(), nil
		}
		// Without zone: what stands there counts.
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC), nil
	}
	return time.Time{}, fmt.Errorf("%s is neither a date nor a time; write 2026-01-31, 2026-01-31 10:00 or 2026-01-31T10:00:00Z", quote(s))
}

func parseHex(s string) ([]byte, error) {
	digits, ok := strings.CutPrefix(s, `\x`)
	if !ok {
		return nil, fmt.Errorf(`%s is no bytea; write it in hexadecimal, as \x00ff`, quote(s))
	}
	v, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf(`%s is no bytea; write it in hexadecimal, as \x00ff`, quote(s))
	}
	return v, nil
}
