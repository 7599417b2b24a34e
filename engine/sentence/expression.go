package sentence

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"
)

const (
	maxWorded = 16 << 10 // bytes of an expression; package condition takes no more of it
	maxNodes  = 1000     // of its parts; the same
)

// configs parse as package condition does: the functions that the language has are not
// its built-in ones. One at a time uses each, since the parser keeps a cache in it.
var configs = sync.Pool{New: func() any {
	c := conf.CreateNew()
	for _, f := range builtin.Builtins {
		c.Disabled[f.Name] = true
	}
	c.Builtins = nil
	c.WithEnv(map[string]any{})
	c.Expect = reflect.Bool
	c.ExpectAny = true
	c.MaxNodes = maxNodes
	return c
}}

// expression puts an expression in words if it is made of comparisons of columns with
// values, and of "and", "or" and "not"; else it is quoted whole.
func expression(source string) *clause {
	if strings.TrimSpace(source) == "" {
		return unreadable("an empty expression")
	}
	said := quote(source, maxQuoted)
	if len(source) > maxWorded {
		return unreadable(said)
	}
	config := configs.Get().(*conf.Config)
	defer configs.Put(config)
	tree, err := parser.ParseWithConfig(source, config)
	if err != nil {
		return unreadable(said)
	}
	r := reader{source: []rune(source)}
	if c := r.condition(tree.Node); c != nil {
		return c
	}
	return leaf("", said+" holds", said+" does not hold")
}

// reader puts the nodes of an expression in words. What it can't is nil.
type reader struct{ source []rune }

func (r reader) condition(n ast.Node) *clause {
	switch n := n.(type) {
	case *ast.UnaryNode:
		if n.Operator == "!" || n.Operator == "not" {
			if c := r.condition(n.Node); c != nil {
				return c.not()
			}
		}
		return nil
	case *ast.CallNode:
		if col, ok := changedCall(n); ok {
			return ofRow.compare(ofRow.col(col), "changed", nil, false)
		}
		return nil
	case *ast.BinaryNode:
		conjunction := map[string]string{"&&": "and", "and": "and", "||": "or", "or": "or"}[n.Operator]
		if conjunction == "" {
			return r.comparison(n)
		}
		left, right := r.condition(n.Left), r.condition(n.Right)
		if left == nil || right == nil {
			return nil
		}
		return group(conjunction, []*clause{left, right})
	}
	if o, ok := r.operand(n); ok {
		return ofRow.equal(o, true) // a boolean column by itself
	}
	return nil
}

func changedCall(n *ast.CallNode) (string, bool) {
	f, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || f.Value != "changed" || len(n.Arguments) != 1 {
		return "", false
	}
	col, ok := n.Arguments[0].(*ast.StringNode)
	if !ok || col.Value == "" {
		return "", false
	}
	return col.Value, true
}

var formOperator = map[string]string{
	"==": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "in": "in",
	"contains": "contains", "startsWith": "starts_with", "endsWith": "ends_with", "matches": "matches",
}

var flipped = map[string]string{"==": "==", "!=": "!=", ">": "<", ">=": "<=", "<": ">", "<=": ">="}

func (r reader) comparison(n *ast.BinaryNode) *clause {
	operator, left, right := n.Operator, n.Left, n.Right
	if _, ok := r.operand(left); !ok {
		if o, ok := r.operand(right); ok && operator == "in" { // "vip" in new.tags
			val, ok := r.constant(left)
			if !ok || val == nil {
				return nil
			}
			return leaf(value(val), "is in "+o.subject, "is not in "+o.subject)
		}
		left, right, operator = right, left, flipped[operator]
	}
	o, ok := r.operand(left)
	op := formOperator[operator]
	if !ok || op == "" {
		return nil
	}
	if other, ok := r.operand(right); ok {
		return against(o, other, operator)
	}
	if isNow(right) {
		switch op {
		case "lt":
			return leaf(o.subject, "is in the past", "is not in the past")
		case "gt":
			return leaf(o.subject, "is in the future", "is not in the future")
		}
		return nil
	}
	val, ok := r.constant(right)
	if !ok {
		return nil
	}
	switch val := val.(type) {
	case nil:
		if op != "eq" && op != "ne" {
			return nil
		}
	case []any:
		for _, e := range val {
			if e == nil {
				return nil
			}
		}
		if op != "in" && op != "eq" && op != "ne" || len(val) == 0 {
			return nil
		}
	case string:
		if op == "in" {
			return nil
		}
	default:
		switch op {
		case "in", "starts_with", "ends_with", "matches":
			return nil
		}
	}
	return ofRow.compare(o, op, val, true)
}

// against compares two columns.
func against(a, b operand, operator string) *clause {
	if a.column != "" && a.column == b.column && a.old != b.old {
		if a.old {
			a, b, operator = b, a, flipped[operator]
		}
		c := leaf(a.subject, "", "")
		c.column = a.column
		switch operator {
		case ">":
			c.is, c.isnt, c.kind = "increases", "does not increase", moves
		case "<":
			c.is, c.isnt, c.kind = "decreases", "does not decrease", moves
		case "==":
			c.is, c.isnt = "is what it was before", "is not what it was before"
		case "!=":
			c.is, c.isnt = "is not what it was before", "is what it was before"
		case ">=":
			c.is, c.isnt = "is at least what it was before", "is not at least what it was before"
		case "<=":
			c.is, c.isnt = "is at most what it was before", "is not at most what it was before"
		default:
			return nil
		}
		return c
	}
	said := map[string]string{"==": "the same as", "!=": "not the same as", ">": "greater than", ">=": "at least", "<": "less than", "<=": "at most"}[operator]
	if moment(a.name) && moment(b.name) {
		switch operator {
		case ">":
			said = "after"
		case "<":
			said = "before"
		}
	}
	switch {
	case said == "":
		return nil
	case operator == "!=":
		return leaf(a.subject, "is "+said+" "+b.subject, "is the same as "+b.subject)
	}
	return leaf(a.subject, "is "+said+" "+b.subject, "is not "+said+" "+b.subject)
}

// moment says that a column is by its name a date or a time.
func moment(name string) bool {
	return strings.HasSuffix(name, "time") || strings.HasSuffix(name, "date")
}

func isNow(n ast.Node) bool {
	call, ok := n.(*ast.CallNode)
	if !ok || len(call.Arguments) != 0 {
		return false
	}
	f, ok := call.Callee.(*ast.IdentifierNode)
	return ok && f.Value == "now"
}

// operand reads new.status, old["odd name"], new.meta.tier, tenant, actor.id.
func (r reader) operand(n ast.Node) (operand, bool) {
	if id, ok := n.(*ast.IdentifierNode); ok {
		switch id.Value {
		case "tenant":
			return operand{subject: "the tenant", name: "tenant"}, true
		case "op":
			return operand{subject: "the operation", name: "operation"}, true
		}
		return operand{}, false
	}
	var path []string
	for {
		if chain, ok := n.(*ast.ChainNode); ok {
			n = chain.Node
			continue
		}
		m, ok := n.(*ast.MemberNode)
		if !ok {
			break
		}
		key, ok := m.Property.(*ast.StringNode)
		if !ok || m.Method || key.Value == "" {
			return operand{}, false
		}
		path = append([]string{key.Value}, path...)
		n = m.Node
	}
	root, ok := n.(*ast.IdentifierNode)
	if !ok || len(path) == 0 || len(path) > 6 {
		return operand{}, false
	}
	o := operand{name: column(path[0]), it: ofRow.it, column: path[0]}
	if len(path) > 1 { // inside json
		for i := range path {
			path[i] = name(path[i])
		}
		o.name, o.column = strings.Join(path, "."), ""
	}
	switch root.Value {
	case "new", "row":
		o.subject = ofRow.its + " " + o.name
	case "old":
		o.subject, o.old = ofRow.its+" previous "+o.name, true
	case "actor":
		o.subject, o.it, o.column = "the actor's "+o.name, "", ""
	default:
		return operand{}, false
	}
	return o, true
}

// constant reads a literal as readJSON would.
func (r reader) constant(n ast.Node) (val any, ok bool) {
	switch n := n.(type) {
	case *ast.NilNode:
		return nil, true
	case *ast.BoolNode:
		return n.Value, true
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode:
		return r.number(n)
	case *ast.UnaryNode:
		if number, ok := r.constant(n.Node); ok && n.Operator == "-" {
			if digits, ok := number.(json.Number); ok && !strings.HasPrefix(string(digits), "-") {
				return "-" + digits, true
			}
		}
	case *ast.ArrayNode:
		list := make([]any, 0, len(n.Nodes))
		for _, e := range n.Nodes {
			v, ok := r.constant(e)
			if !ok {
				return nil, false
			}
			list = append(list, v)
		}
		return list, true
	case *ast.CallNode: // date("2026-01-31")
		f, ok := n.Callee.(*ast.IdentifierNode)
		if ok && f.Value == "date" && len(n.Arguments) == 1 {
			if s, ok := n.Arguments[0].(*ast.StringNode); ok && dateLike.MatchString(s.Value) {
				return s.Value, true
			}
		}
	}
	return nil, false
}

// number reads a number as it was written: all its digits.
func (r reader) number(n ast.Node) (any, bool) {
	at := n.Location()
	if at.From < 0 || at.To > len(r.source) || at.From >= at.To {
		return nil, false
	}
	digits := strings.ReplaceAll(string(r.source[at.From:at.To]), "_", "")
	for _, d := range digits {
		if !strings.ContainsRune("0123456789.eE+-xXabcdefABCDEF", d) {
			return nil, false
		}
	}
	return json.Number(digits), true
}
