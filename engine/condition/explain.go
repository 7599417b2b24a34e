package condition

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Verdict is what became of a part of a condition.
type Verdict string

const (
	True         Verdict = "true"
	False        Verdict = "false"
	Failed       Verdict = "failed"        // it can't be decided: Clause.Error says why
	NotEvaluated Verdict = "not_evaluated" // what stands before it decides already
)

// ClauseKind says how a Clause is made up.
type ClauseKind string

const (
	All        ClauseKind = "all"        // holds if all children do
	Any        ClauseKind = "any"        // holds if one child does
	Not        ClauseKind = "not"        // holds if its only child doesn't
	Choice     ClauseKind = "choice"     // a ? b : c; the children in this order
	Let        ClauseKind = "let"        // gives Left a name in its only child
	Comparison ClauseKind = "comparison" // of Left with Right
	Changed    ClauseKind = "changed"    // Left is the old value, Right the new one
	Single     ClauseKind = "value"      // of Left alone, or of nothing that can be shown
)

// Clause is a part of a condition with its verdict for one event.
type Clause struct {
	Where    string     `json:"where"` // field_conditions.total.gt, condition 2 (expression)
	Text     string     `json:"text"`  // in the form's words: total gt 1000; of an expression, as it is written
	Kind     ClauseKind `json:"kind"`
	Verdict  Verdict    `json:"verdict"`
	Error    string     `json:"error,omitempty"` // of Failed
	Left     *Value     `json:"left,omitempty"`
	Right    *Value     `json:"right,omitempty"`
	Children []Clause   `json:"children,omitempty"`
}

// Value is one side of a comparison.
type Value struct {
	Text string `json:"text"` // new.total, 2 * new.qty
	// Shown is the value as people read it: NULL, "approved", 1000.00; "not in the WAL",
	// "not known", *** for what reads a redacted column.
	Shown    string `json:"value"`
	Constant bool   `json:"constant,omitempty"` // it is written out in the definition
}

const (
	shownMissing = "not in the WAL"
	shownMasked  = "not known"
	shownSecret  = "***"
	maxShown     = 80 // characters of a value
)

// Decide puts the verdicts of clauses that are ANDed together, as Bound.Eval does: one
// that is false counts more than one that failed, whatever their order.
func Decide(list []Clause) Verdict {
	v := True
	for i := range list {
		switch list[i].Verdict {
		case False:
			return False
		case Failed:
			v = Failed
		}
	}
	return v
}

// Stopper returns the part that decided that the clauses don't hold, as deep inside as
// one can be named: the first that is false or, if none is, the first that failed. nil
// if all hold.
func Stopper(list []Clause) *Clause {
	var found *Clause
	for i := range list {
		if list[i].Verdict == False || list[i].Verdict == Failed && found == nil {
			found = &list[i]
			if found.Verdict == False {
				break
			}
		}
	}
	if found != nil && found.Kind == All {
		if inner := Stopper(found.Children); inner != nil {
			return inner
		}
	}
	return found
}

// Mask says that these columns' values can't be known, in either row, and why. Whatever
// needs one of them fails with a MissingError that gives the reason. It lasts until the
// next call; nil takes it back.
func (e *Env) Mask(why map[int]string) {
	e.masked = why
	e.generation++ // forget what was looked up
	if e.generation == 0 {
		clear(e.cells[newRow])
		clear(e.cells[oldRow])
		e.generation = 1
	}
}

// maskedError is the error of what needs a masked column; nil if it isn't one.
func (e *Env) maskedError(side rowSide, column int) error {
	why, ok := e.masked[column]
	if !ok {
		return nil
	}
	return &MissingError{Column: e.seen(side).String() + "." + e.rel.Columns[column].Name, Why: why, Masked: true}
}

// Explain evaluates the form part by part for the event that env has loaded, which must
// be of this table and operation: one Clause for field_conditions and one for each
// condition. Decide of them is what Bound.Eval says. Returns the *Error of Bind. Values of
// redacted columns, and errors that may quote them, are not in it.
//
// It binds each part for itself: it is for people, not for the stream.
func (f *Form) Explain(rel *change.Relation, t *workflow.Table, op change.Op, env *Env) ([]Clause, error) {
	if _, err := f.Bind(rel, t, op); err != nil {
		return nil, err
	}
	list := make([]Clause, 0, len(f.clauses))
	for i := range f.clauses {
		c := &f.clauses[i]
		tree, err := c.parse()
		if err != nil {
			return nil, err
		}
		x := &explainer{clause: c, runes: []rune(c.text), rel: rel, table: t, op: op, env: env}
		whole := Clause{Where: c.where, Text: c.text, Kind: All}
		// The parts at the top are all evaluated, as Bound.Eval does.
		for _, part := range x.grouped(conjuncts(tree.Node, nil), false) {
			whole.Children = append(whole.Children, x.group(part, false))
		}
		whole.Verdict = Decide(whole.Children)
		if s := Stopper(whole.Children); s != nil {
			whole.Error = s.Error
		}
		list = append(list, whole)
	}
	return list, nil
}

// ExplainBefore is Explain for the row as it was before the update that env has loaded:
// what Bound.EvalBefore decides.
func (f *Form) ExplainBefore(rel *change.Relation, t *workflow.Table, op change.Op, env *Env) ([]Clause, error) {
	env.before = true
	defer func() { env.before = false }()
	return f.Explain(rel, t, op, env)
}

// explainer takes one clause apart.
type explainer struct {
	clause *clause
	runes  []rune
	rel    *change.Relation
	table  *workflow.Table
	op     change.Op
	env    *Env
	lets   []*ast.VariableDeclaratorNode // around the present part, outermost first
}

// outcome is what came of evaluating a part.
type outcome struct {
	operand operand // as the binder has it
	value   any
	err     error // when it ran
	secret  bool  // it reads a redacted column
	bound   bool  // false: the part can't stand alone, and nothing else is set
}

// eval binds a part for itself, within the variables around it, and runs it.
func (x *explainer) eval(n ast.Node, asCondition bool) outcome {
	for _, let := range slices.Backward(x.lets) {
		wrapped := &ast.VariableDeclaratorNode{Name: let.Name, Value: let.Value, Expr: n}
		wrapped.SetLocation(let.Location())
		n = wrapped
	}
	b := &binder{clause: x.clause, runes: x.runes, rel: x.rel, table: x.table, op: x.op}
	o := b.expr(n)
	var node ast.Node
	var kept any
	if b.err == nil {
		if asCondition {
			node = b.boolean(o)
		} else {
			// Programs yield booleans, so the value leaves by another way.
			node = b.apply(o.loc, keep, constant(o.loc, &kept), b.plain(o))
		}
	}
	if b.err != nil {
		return outcome{}
	}
	out := outcome{operand: o, bound: true}
	for _, name := range b.columns {
		_, column, _ := strings.Cut(name, ".")
		out.secret = out.secret || slices.Contains(x.table.Redacted, column)
	}
	if l := leafOf(node); l != nil {
		out.value, out.err = l.eval(x.env)
	} else if v, ok := node.(*ast.BoolNode); ok {
		out.value = v.Value
	} else {
		code, err := compile(node, b.variables)
		if err != nil {
			return outcome{}
		}
		x.env.work, x.env.made = 0, 0
		out.value, out.err = x.env.vm.Run(code, x.env)
	}
	if !asCondition {
		out.value = kept
	}
	if out.err != nil {
		out.err = evalError(x.where(n), out.err)
		if failed := (*EvalError)(nil); out.secret && errors.As(out.err, &failed) {
			out.err = &EvalError{Where: failed.Where, Err: errors.New("it can't be evaluated for this row; why is not shown, since it reads a redacted column")}
		}
	}
	return out
}

func keep(into, v any) bool {
	*into.(*any) = v
	return true
}

// literal says that a part is written out, without reading anything.
func literal(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.NilNode, *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.StringNode, *ast.ArrayNode, *ast.MapNode:
		return true
	case *ast.UnaryNode:
		return literal(n.Node)
	}
	return false
}

func (x *explainer) where(n ast.Node) string {
	if x.clause.spans != nil {
		return x.clause.path(first(n))
	}
	return x.clause.where
}

// judge evaluates a part as a condition.
func (x *explainer) judge(c *Clause, n ast.Node) bool {
	out := x.eval(n, true)
	switch {
	case !out.bound:
		return false
	case out.err != nil:
		c.Verdict, c.Error = Failed, out.err.Error()
	case out.value == true:
		c.Verdict = True
	default:
		c.Verdict = False
	}
	return true
}

// grouped puts parts together that one operator of the form wrote.
func (x *explainer) grouped(parts []ast.Node, nested bool) [][]ast.Node {
	var groups [][]ast.Node
	var last *span
	for _, n := range parts {
		s := x.spanOf(n)
		if s == nil && !nested {
			s = x.labelled(n)
		}
		if s != nil && s == last {
			groups[len(groups)-1] = append(groups[len(groups)-1], n)
		} else {
			groups = append(groups, []ast.Node{n})
		}
		last = s
	}
	return groups
}

// spanOf is the operator of the form that wrote all of a part; nil if there is none.
func (x *explainer) spanOf(n ast.Node) *span {
	from, to := x.extent(n)
	for i := range x.clause.spans {
		if s := &x.clause.spans[i]; s.op != 0 && s.from <= from && to <= s.to {
			return s
		}
	}
	return nil
}

// labelled is the key of a time_based or role_based condition that wrote all of a part; nil
// if there is none.
func (x *explainer) labelled(n ast.Node) *span {
	from, to := x.extent(n)
	for i := range x.clause.spans {
		if s := &x.clause.spans[i]; s.label != "" && s.from <= from && to <= s.to {
			return s
		}
	}
	return nil
}

// group explains parts that belong together: mostly one. Nested ones are evaluated in
// turn, and no further than needed.
func (x *explainer) group(parts []ast.Node, nested bool) Clause {
	c := x.together(parts, nested)
	if s := x.labelled(parts[0]); s != nil && !nested {
		c.Text = s.label
	}
	return c
}

func (x *explainer) together(parts []ast.Node, nested bool) Clause {
	if len(parts) == 1 {
		return x.explain(parts[0])
	}
	c := Clause{Where: x.where(parts[0]), Kind: All}
	if s := x.spanOf(parts[0]); s != nil {
		c.Text = x.words(s, parts)
	}
	for _, p := range parts {
		child := x.comparison(p)
		child.Text = x.text(p)
		if b, ok := p.(*ast.BinaryNode); ok && child.Left != nil { // new.total, where the form has row.total
			child.Text = child.Left.Text + " " + b.Operator + " " + x.text(b.Right)
		}
		if nested && len(c.Children) > 0 && ended(c.Children, False) {
			skip(&child)
		}
		c.Children = append(c.Children, child)
	}
	c.Verdict = Decide(c.Children)
	if s := Stopper(c.Children); s != nil {
		c.Error = s.Error
	}
	return c
}

// explain takes a part that stands where a condition is needed.
func (x *explainer) explain(n ast.Node) Clause {
	if s := x.spanOf(n); s != nil && !isGroup(n) {
		return x.comparison(n)
	}
	c := Clause{Where: x.where(n), Text: x.text(n)}
	switch n := n.(type) {
	case *ast.BinaryNode:
		if isGroup(n) {
			c.Kind = Any
			stop := True
			if isAnd(n.Operator) {
				c.Kind, stop = All, False
			}
			if !x.judge(&c, n) {
				break
			}
			for _, part := range x.grouped(flatten(n, isAnd(n.Operator), nil), true) {
				child := x.group(part, true)
				if decided := len(c.Children) > 0 && ended(c.Children, stop); decided {
					skip(&child)
				}
				c.Children = append(c.Children, child)
			}
			if len(c.Children) == 1 { // one operator of the form, as between
				return c.Children[0]
			}
			return c
		}
	case *ast.UnaryNode:
		if n.Operator != "!" && n.Operator != "not" {
			break
		}
		if b, ok := n.Node.(*ast.BinaryNode); ok && !isGroup(b) && n.Location() == b.Location() {
			break // a not in b
		}
		c.Kind = Not
		if x.judge(&c, n) {
			c.Children = []Clause{x.explain(n.Node)}
			return c
		}
	case *ast.ConditionalNode:
		c.Kind = Choice
		if !x.judge(&c, n) {
			break
		}
		cond := x.explain(n.Cond)
		yes, no := x.branch(n.Exp1), x.branch(n.Exp2)
		if cond.Verdict != True {
			skip(&yes)
		}
		if cond.Verdict != False {
			skip(&no)
		}
		c.Children = []Clause{cond, yes, no}
		return c
	case *ast.VariableDeclaratorNode:
		c.Kind = Let
		if !x.judge(&c, n) {
			break
		}
		c.Text = "let " + n.Name + " = " + x.text(n.Value)
		c.Left = x.value(n.Value)
		c.Left.Text = n.Name
		x.lets = append(x.lets, n)
		c.Children = []Clause{x.explain(n.Expr)}
		x.lets = x.lets[:len(x.lets)-1]
		return c
	}
	return x.comparison(n)
}

// branch explains one side of a choice, which may be any value.
func (x *explainer) branch(n ast.Node) Clause {
	if x.eval(n, true).bound {
		return x.explain(n)
	}
	// A value that is no condition: the choice as a whole says that it is needed.
	c := Clause{Where: x.where(n), Text: x.text(n), Kind: Single, Left: x.value(n), Verdict: Failed}
	c.Error = "true or false is needed here"
	return c
}

// ended says that && or || went no further than these children.
func ended(children []Clause, stop Verdict) bool {
	last := children[len(children)-1].Verdict
	return last == stop || last == Failed || last == NotEvaluated
}

// skip says of a part that it was not evaluated.
func skip(c *Clause) {
	c.Verdict, c.Error = NotEvaluated, ""
	for i := range c.Children {
		skip(&c.Children[i])
	}
}

func isAnd(operator string) bool { return operator == "&&" || operator == "and" }

func isGroup(n ast.Node) bool {
	b, ok := n.(*ast.BinaryNode)
	return ok && (isAnd(b.Operator) || b.Operator == "||" || b.Operator == "or")
}

// flatten takes a chain of the same operator apart.
func flatten(n ast.Node, and bool, list []ast.Node) []ast.Node {
	if b, ok := n.(*ast.BinaryNode); ok && isGroup(b) && isAnd(b.Operator) == and {
		return flatten(b.Right, and, flatten(b.Left, and, list))
	}
	return append(list, n)
}

// comparison explains a part that is not taken apart any further.
func (x *explainer) comparison(n ast.Node) Clause {
	c := Clause{Where: x.where(n), Text: x.text(n), Kind: Single}
	if s := x.spanOf(n); s != nil {
		c.Where, c.Text = s.path, x.words(s, []ast.Node{n})
	}
	if !x.judge(&c, n) { // it can't be: it was bound as a part of the whole
		c.Verdict, c.Error = Failed, "this part can't be evaluated for itself"
		return c
	}
	inner := positive(n)
	switch n := inner.(type) {
	case *ast.BinaryNode:
		if isGroup(n) || n.Operator == "??" {
			break
		}
		c.Kind = Comparison
		c.Left, c.Right = x.value(n.Left), x.value(n.Right)
		return c
	case *ast.CallNode:
		if callee, ok := n.Callee.(*ast.IdentifierNode); ok && callee.Value == "changed" && len(n.Arguments) == 1 {
			if name, ok := n.Arguments[0].(*ast.StringNode); ok {
				if i := x.rel.Column(name.Value); i >= 0 {
					c.Kind = Changed
					c.Left, c.Right = x.column(oldRow, i), x.column(newRow, i)
				}
				return c
			}
		}
	case *ast.BuiltinNode:
		if len(n.Arguments) > 0 {
			c.Left = x.value(n.Arguments[0])
		}
		return c
	}
	if _, constant := inner.(*ast.BoolNode); !constant {
		c.Left = x.value(inner)
	}
	return c
}

// value shows one side.
func (x *explainer) value(n ast.Node) *Value {
	lets := x.lets
	x.lets = nil // a column is one whatever the variables are
	if ref := x.eval(n, false).operand.column; ref != nil {
		x.lets = lets
		return x.column(ref.side, ref.column)
	}
	x.lets = lets
	out := x.eval(n, false)
	v := &Value{Text: x.text(n)}
	if rest, ok := strings.CutPrefix(v.Text, "row"); ok && x.clause.spans != nil && x.op == change.Emit {
		v.Text = newRow.String() + rest // what the form calls row
	}
	if !out.bound {
		v.Shown = "…"
		return v
	}
	v.Constant = literal(n)
	var missing *MissingError
	switch {
	case errors.As(out.err, &missing) && missing.Masked:
		v.Shown = shownMasked
	case missing != nil:
		v.Shown = shownMissing
	case out.secret:
		v.Shown = shownSecret
	case out.err != nil:
		v.Shown = "failed"
	default:
		v.Shown = show(out.value)
	}
	return v
}

// column shows a column as it came.
func (x *explainer) column(side rowSide, i int) *Value {
	col := &x.rel.Columns[i]
	v := &Value{Text: accessor(x.env.seen(side).String(), col.Name)}
	c := x.env.cell(side, i)
	switch {
	case c.state == change.NotInWAL && x.env.maskedError(side, i) != nil:
		v.Shown = shownMasked
	case c.state == change.NotInWAL:
		v.Shown = shownMissing
	case c.state == change.Null:
		v.Shown = "NULL"
	case slices.Contains(x.table.Redacted, col.Name):
		v.Shown = shownSecret
	default:
		v.Shown = showText(col.Type, c.text)
	}
	return v
}

// showText is a column's text as people read it.
func showText(t change.Type, text []byte) string {
	switch t.Kind {
	case change.Bool:
		if v, err := t.Decode(text); err == nil {
			return strconv.FormatBool(v.(bool))
		}
	case change.Int, change.Float, change.Number, change.Date, change.Timestamp, change.TimestampTZ, change.Time, change.TimeTZ,
		change.Interval, change.UUID, change.JSON, change.Array, change.Bytea:
		return cutShown(string(text))
	}
	return quoteShown(string(text))
}

// show is a computed value as people read it.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return quoteShown(v)
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case change.Numeric:
		return cutShown(v.String())
	case time.Time:
		switch {
		case v.Equal(change.Infinity):
			return "infinity"
		case v.Equal(change.NegInfinity):
			return "-infinity"
		}
		return v.UTC().Format(time.RFC3339Nano)
	case time.Duration:
		return v.String()
	case []byte:
		return cutShown(fmt.Sprintf(`\x%x`, v[:min(len(v), maxShown)]))
	case []any:
		parts := make([]string, 0, min(len(v), 20))
		for _, e := range v {
			if parts = append(parts, show(e)); len(parts) == 20 {
				break
			}
		}
		if len(v) > 20 {
			parts = append(parts, "…")
		}
		return cutShown("[" + strings.Join(parts, ", ") + "]")
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		var b strings.Builder
		for _, k := range keys {
			if b.Len() > 4*maxShown {
				break
			}
			if b.Len() > 0 {
				b.WriteString(", ")
			}
			b.WriteString(strconv.Quote(k) + ": " + show(v[k]))
		}
		return cutShown("{" + b.String() + "}")
	}
	return cutShown(fmt.Sprint(v))
}

func cutShown(s string) string {
	if utf8.RuneCountInString(s) <= maxShown {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	return string([]rune(s[:min(len(s), 4*maxShown)])[:maxShown-1]) + "…"
}

func quoteShown(s string) string {
	short := cutShown(s)
	return strconv.Quote(short)
}

// extent is where the text of a part begins and ends, but for brackets around it.
func (x *explainer) extent(n ast.Node) (from, to int) {
	e := &extent{from: len(x.runes)}
	ast.Walk(&n, e)
	return min(e.from, e.to), e.to
}

type extent struct{ from, to int }

// Visit implements ast.Visitor.
func (e *extent) Visit(n *ast.Node) {
	switch (*n).(type) {
	case *ast.ConditionalNode, *ast.VariableDeclaratorNode, *ast.SequenceNode: // they stand behind their parts
		return
	}
	l := (*n).Location()
	e.from, e.to = min(e.from, l.From), max(e.to, l.To)
}

// text is a part as it is written, with the brackets that belong to it, on one line.
func (x *explainer) text(n ast.Node) string {
	if let, ok := n.(*ast.VariableDeclaratorNode); ok {
		return "let " + let.Name + " = " + x.text(let.Value) + "; " + x.text(let.Expr)
	}
	from, to := x.extent(n)
	to = min(to, len(x.runes))
	open, closed := balance(x.runes[from:to])
	if call, ok := n.(*ast.CallNode); ok && len(call.Arguments) == 0 && open == 0 {
		open = 2 // now()
	}
	for ; open > 0 && to < len(x.runes); to++ {
		switch r := x.runes[to]; {
		case r == ')' || r == ']' || r == '}':
			open--
		case open == 2 && r == '(':
			open--
		case !unicode.IsSpace(r) && r != ',':
			open = 0
			to--
		}
	}
	for ; closed > 0 && from > 0; from-- {
		switch r := x.runes[from-1]; {
		case r == '(' || r == '[' || r == '{':
			closed--
		case !unicode.IsSpace(r):
			closed = 0
			from++
		}
	}
	return strings.Join(strings.Fields(string(x.runes[from:to])), " ")
}

// balance counts the brackets that a text leaves open, and those that it closes without
// having opened them.
func balance(text []rune) (open, closed int) {
	var quote rune
	for i := 0; i < len(text); i++ {
		r := text[i]
		switch {
		case quote != 0:
			if r == '\\' && quote != '`' {
				i++
			} else if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'' || r == '`':
			quote = r
		case r == '(' || r == '[' || r == '{':
			open++
		case r == ')' || r == ']' || r == '}':
			if open > 0 {
				open--
			} else {
				closed++
			}
		}
	}
	return open, closed
}

// words is one comparison of the form as the form says it, of the parts that it became.
func (x *explainer) words(s *span, parts []ast.Node) string {
	op := operators[s.op-1]
	var column string
	var values []string
	for _, n := range parts {
		column = cmp.Or(column, columnOf(n))
		if b, ok := positive(n).(*ast.BinaryNode); ok {
			values = append(values, x.text(b.Right))
		}
	}
	if !simpleName.MatchString(column) {
		column = strconv.Quote(column)
	}
	words := column + " " + op
	_, negated := parts[0].(*ast.UnaryNode)
	switch op {
	case "changed":
		if negated {
			words += " false"
		}
		return words
	case "is_null", "not_null":
		if b, ok := parts[0].(*ast.BinaryNode); ok && (b.Operator == "!=") == (op == "is_null") {
			words += " false"
		}
		return words
	}
	value := strings.Join(values, ", ")
	if len(values) > 1 {
		value = "[" + value + "]"
	}
	if value == "nil" {
		value = "null"
	}
	return words + " " + value
}

// columnOf is the column that a part written by one operator of the form is about.
func columnOf(n ast.Node) string {
	switch n := positive(n).(type) {
	case *ast.BinaryNode:
		return columnOf(n.Left)
	case *ast.MemberNode:
		if name, ok := n.Property.(*ast.StringNode); ok {
			return name.Value
		}
	case *ast.CallNode:
		if len(n.Arguments) > 0 {
			if name, ok := n.Arguments[0].(*ast.StringNode); ok {
				return name.Value
			}
		}
	}
	return ""
}

// positive is a part without the nots before it.
func positive(n ast.Node) ast.Node {
	for {
		not, ok := n.(*ast.UnaryNode)
		if !ok || not.Operator != "!" && not.Operator != "not" {
			return n
		}
		n = not.Node
	}
}
