package condition

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/fault"
	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Bound is a Form bound to a table's columns for one operation. It is immutable, and
// may be shared between goroutines that each have an Env.
type Bound struct {
	leaves   []*leaf
	one      [1]*leaf // what leaves is, for one of Rest
	programs []*program
	columns  []string

	absent  string // a column that is read of the row that there isn't; "" none
	present bool   // something else is read

	warnings []*Error
	keep     []*Bound // the clauses that it is made of, so that the Cache keeps them
}

// program is one top-level part of a condition that is more than a leaf.
type program struct {
	where string
	code  *vm.Program
}

// Equality is a comparison that must hold: the column, of the row that the event is
// about, is one of Values. They are in the form that Env.Text returns.
type Equality struct {
	Column int
	Values [][]byte
}

// Warnings returns what is worth knowing of the condition and doesn't stop it.
func (b *Bound) Warnings() []*Error { return b.warnings }

// Columns returns the columns that the condition reads, as new.status or old.total, in
// the order in which they first stand.
func (b *Bound) Columns() []string { return b.columns }

// Equalities returns the comparisons that must hold and that an index can look up: eq
// and in, of text, whole numbers, numeric, booleans and uuids. Eval checks them too.
func (b *Bound) Equalities() []Equality {
	var list []Equality
	for _, l := range b.leaves {
		if l.indexed() {
			list = append(list, Equality{Column: int(l.column), Values: l.raw})
		}
	}
	return list
}

// Eval says whether the condition holds for the event that env has loaded. Returns a
// *MissingError if it needs a value that is not in the WAL, an *EvalError if it can't
// be evaluated; neither if another top-level part is false anyway.
func (b *Bound) Eval(env *Env) (bool, error) {
	var first error
	for _, l := range b.leaves {
		ok, err := l.eval(env)
		if err != nil {
			if first == nil {
				first = evalError(l.where, err)
			}
		} else if !ok {
			return false, nil
		}
	}
	for _, p := range b.programs {
		env.work, env.made = 0, 0
		out, err := env.vm.Run(p.code, env)
		if err != nil {
			if first == nil {
				first = evalError(p.where, err)
			}
		} else if out != true {
			return false, nil
		}
	}
	return first == nil, first
}

// EvalBefore is Eval for the row as it was before the update that env has loaded: what
// firing mode becomes_true asks for besides Eval. The form must have been bound for it.
func (b *Bound) EvalBefore(env *Env) (bool, error) {
	env.before = true
	defer func() { env.before = false }()
	return b.Eval(env)
}

func evalError(where string, err error) error {
	var missing *MissingError
	if errors.As(err, &missing) {
		return missing
	}
	// The virtual machine wraps what our functions return, with a snippet of the text.
	if f := (*file.Error)(nil); errors.As(err, &f) {
		if f.Prev != nil {
			err = f.Prev
		} else {
			err = errors.New(f.Message)
		}
	}
	return &EvalError{Where: where, Err: err}
}

// Bind checks the form against the table's columns for one operation. Hidden columns
// don't exist for it. Returns an *Error.
func (f *Form) Bind(rel *change.Relation, t *workflow.Table, op change.Op) (*Bound, error) {
	return new(Cache).Bind(f, rel, t, op)
}

// Bind is Form.Bind, sharing programs with what was bound before and is still in use.
func (c *Cache) Bind(f *Form, rel *change.Relation, t *workflow.Table, op change.Op) (*Bound, error) {
	if t.InsertOnly && op != change.Create {
		return nil, &Error{
			Where:   "operation " + op.String(),
			Message: fmt.Sprintf("table %s has no replica identity, so only its inserts are published", t.Label),
			Mend:    "give it a primary key, or " + fullIdentity(rel),
		}
	}
	if f.becomes && op == change.Delete {
		return nil, &Error{
			Where: "operation delete", Message: "nothing becomes true of a row by deleting it",
			Mend: `use a trigger for create or update, or the firing mode "every"`,
		}
	}
	b := &Bound{}
	where := ""
	var s search
	for i := range f.clauses {
		part, err := c.clause(&f.clauses[i], rel, t, op)
		if err != nil {
			return nil, err
		}
		if f.becomes {
			if err := becomes(&f.clauses[i], part, rel, t, op); err != nil {
				return nil, err
			}
		}
		b.keep = append(b.keep, part)
		b.warnings = append(b.warnings, part.warnings...)
		if w := f.contradiction(&s, i, b.leaves, part.leaves, op); w != nil {
			b.warnings = append(b.warnings, w)
		}
		b.leaves = append(b.leaves, part.leaves...)
		b.programs = append(b.programs, part.programs...)
		for _, name := range part.columns {
			if !slices.Contains(b.columns, name) {
				b.columns = append(b.columns, name)
			}
		}
		if part.absent != "" && b.absent == "" {
			b.absent = part.absent
			where = f.clauses[i].where
		}
		b.present = b.present || part.present
	}
	if f.becomes && op == change.Update && len(b.leaves)+len(b.programs) == 0 {
		b.warnings = append(b.warnings, &Error{
			Where: "firing mode becomes_true", Message: "without a condition no update makes a row begin to match, so the trigger never fires for an update",
			Mend: `say what is to become true, or use the firing mode "every"`,
		})
	}
	if b.absent != "" && !b.present {
		whose := "the workflow's"
		if f.of != "" {
			whose = "its"
		}
		return nil, oneSided(where, whose, b.absent, op)
	}
	return b, nil
}

// becomes judges a clause of a workflow that fires when its conditions become true.
func becomes(c *clause, part *Bound, rel *change.Relation, t *workflow.Table, op change.Op) error {
	for _, name := range part.columns {
		side, column, _ := strings.Cut(name, ".")
		switch i := rel.Column(column); {
		case side == oldRow.String():
			return &Error{
				Where:   c.where,
				Message: fmt.Sprintf("a workflow with firing mode becomes_true looks at the old row by itself, and its conditions can't: this one reads the old value of %s", column),
				Mend:    `leave out old values and "changed", or use the firing mode "every"`,
			}
		case op == change.Update && rel.ReplicaIdentity != 'f' && !rel.Columns[i].Key:
			return &Error{
				Where:   c.where,
				Message: fmt.Sprintf("firing mode becomes_true needs the old value of %s in an update, which is never in the WAL: it is not part of the replica identity of table %s", column, t.Label),
				Mend:    fullIdentity(rel),
			}
		}
	}
	return nil
}

// oneSided says that a condition speaks of the wrong row.
func oneSided(where, whose, column string, op change.Op) error {
	other, none := "old", "no new row"
	if op == change.Create {
		other, none = "new", "no old row"
	}
	_, name, _ := strings.Cut(column, ".")
	return &Error{
		Where:   where,
		Message: fmt.Sprintf("%s conditions read only %s, and a %s has %s", whose, column, op, none),
		Mend:    "write " + accessor(other, name),
	}
}

// configs are reused: making one costs more than parsing a condition. One at a time
// uses each, since parser and checker keep a cache in it.
var configs = sync.Pool{New: func() any {
	c := conf.CreateNew()
	for _, f := range builtin.Builtins {
		c.Disabled[f.Name] = true // the functions that the language has are ours
	}
	c.Builtins = nil
	c.WithEnv(map[string]any{})
	c.Expect = reflect.Bool
	c.ExpectAny = true
	return c
}}

func (c *clause) parse() (*parser.Tree, error) {
	most, nodes := maxTextBytes, uint(maxNodes)
	if c.spans != nil { // bounded as JSON
		most, nodes = 8*maxFormBytes, 20*maxNodes
	}
	if len(c.text) > most {
		return nil, &Error{Where: c.where, Message: fmt.Sprintf("it has %d bytes, at most %d are read", len(c.text), most)}
	}
	config := configs.Get().(*conf.Config)
	defer configs.Put(config)
	config.MaxNodes = nodes
	tree, err := parser.ParseWithConfig(c.text, config)
	if err != nil {
		var f *file.Error
		if errors.As(err, &f) {
			message := f.Message
			if strings.Contains(message, "maximum allowed nodes") {
				message = fmt.Sprintf("it has more than %d parts", nodes)
			}
			return nil, c.errorAt(f.Location, message, "")
		}
		return nil, &Error{Where: c.where, Message: err.Error()}
	}
	return tree, nil
}

// bindClause binds one clause.
func bindClause(c *clause, rel *change.Relation, t *workflow.Table, op change.Op) (*Bound, error) {
	tree, err := c.parse()
	if err != nil {
		return nil, err
	}
	b := &binder{clause: c, runes: []rune(c.text), rel: rel, table: t, op: op}
	bound := &Bound{}
	for _, n := range conjuncts(tree.Node, nil) {
		b.loops, b.variables, b.readsOp = 0, 0, false
		o := b.condition(n)
		node := o.node
		if b.err != nil {
			return nil, b.err
		}
		b.settled(n, o)
		where := b.placeOf(n)
		if l := leafOf(node); l != nil {
			l.where = where
			bound.leaves = append(bound.leaves, l)
			continue
		}
		if v, ok := node.(*ast.BoolNode); ok && v.Value {
			continue
		}
		code, err := compile(node, b.variables)
		if err != nil {
			return nil, &Error{Where: where, Message: err.Error()}
		}
		bound.programs = append(bound.programs, &program{where: where, code: code})
	}
	bound.columns, bound.absent, bound.present = b.columns, b.absent, b.present
	bound.warnings = b.warnings
	return bound, nil
}

// conjuncts takes an expression apart at its top-level "and"s.
func conjuncts(n ast.Node, list []ast.Node) []ast.Node {
	if and, ok := n.(*ast.BinaryNode); ok && (and.Operator == "&&" || and.Operator == "and") {
		return conjuncts(and.Right, conjuncts(and.Left, list))
	}
	return append(list, n)
}

// compile makes the program of an expression that is all made of our functions and of
// expr's control flow.
func compile(node ast.Node, variables int) (*vm.Program, error) {
	config := configs.Get().(*conf.Config)
	defer configs.Put(config)
	tree := &parser.Tree{Node: node}
	if _, err := checker.Check(tree, config); err != nil {
		return nil, err
	}
	code, err := compiler.Compile(tree, config)
	if err != nil {
		return nil, err
	}
	// Without the tree, the text and what is for debugging: those are most of it.
	return vm.NewProgram(file.Source{}, nil, nil, variables, code.Constants, code.Bytecode, code.Arguments, nil, nil, nil), nil
}

// kind is the static type of a part of an expression. Every kind but boolean may also
// be nil when it runs.
type kind uint8

const (
	anyKind kind = iota
	nullKind
	boolKind // never nil, but for a column
	numberKind
	textKind
	timeKind     // date, timestamp
	durationKind // a duration
	listKind
	objectKind // a JSON object
	bytesKind
)

func (k kind) String() string {
	return [...]string{"a value", "nil", "a boolean", "a number", "a text", "a time", "a duration", "a list", "an object", "bytes"}[k]
}

// operand is a part of an expression that has been rewritten.
type operand struct {
	kind     kind
	node     ast.Node
	loc      file.Location
	column   *columnRef // if it is a column and nothing else; node is nil then
	constant bool       // if it is a constant; value is set and node is nil then
	value    any        // nil, bool, change.Numeric, string, []any, map[string]any, time.Time, time.Duration
	list     []operand  // a constant list's elements

	local bool // of a time: it is without zone

	truth    certainty // of a condition
	all, any []*leaf   // of a condition: leaves all of which it needs, or one of which is enough
}

// columnRef is the place of a column that an expression reads.
type columnRef struct {
	side   rowSide
	column int
}

// binder rewrites an expression for one table and operation. The first error counts.
type binder struct {
	clause *clause
	runes  []rune
	rel    *change.Relation
	table  *workflow.Table
	op     change.Op

	columns   []string
	absent    string // a column that is read of the row that there isn't
	present   bool   // something else is read
	scopes    []variable
	loops     int // of the present part
	variables int // the same
	err       error
	warnings  []*Error
	told      bool // of the present part: combine has warned
	readsOp   bool // of the present part: it asks which operation it is
	search    search
}

type variable struct {
	name  string
	kind  kind
	local bool
}

func (b *binder) fail(loc file.Location, message, mend string) operand {
	if b.err == nil {
		b.err = b.clause.errorAt(loc, message, mend)
	}
	return operand{loc: loc, constant: true, kind: nullKind}
}

// placeOf names the place of a part for errors when it runs.
func (b *binder) placeOf(n ast.Node) string {
	if b.clause.spans != nil {
		return b.clause.path(first(n))
	}
	return b.clause.where
}

// first is where the text of a node starts: operators are located at themselves.
func first(n ast.Node) int {
	switch n := n.(type) {
	case *ast.BinaryNode:
		return first(n.Left)
	case *ast.MemberNode:
		return first(n.Node)
	case *ast.CallNode:
		return first(n.Callee)
	}
	return n.Location().From
}

// expr rewrites a node.
func (b *binder) expr(n ast.Node) operand {
	if b.err != nil {
		return operand{kind: nullKind, constant: true}
	}
	loc := n.Location()
	switch n := n.(type) {
	case *ast.NilNode:
		return operand{kind: nullKind, constant: true, loc: loc}
	case *ast.BoolNode:
		return operand{kind: boolKind, constant: true, value: n.Value, loc: loc}
	case *ast.StringNode:
		return operand{kind: textKind, constant: true, value: n.Value, loc: loc}
	case *ast.IntegerNode:
		return operand{kind: numberKind, constant: true, value: change.NumericFromInt(int64(n.Value)), loc: loc}
	case *ast.FloatNode:
		return b.float(n)
	case *ast.IdentifierNode:
		return b.identifier(n)
	case *ast.MemberNode:
		return b.member(n)
	case *ast.ChainNode:
		return b.expr(n.Node) // indexing is safe for nil anyway
	case *ast.UnaryNode:
		return b.unary(n)
	case *ast.BinaryNode:
		return b.binary(n)
	case *ast.ConditionalNode:
		return b.conditional(n)
	case *ast.ArrayNode:
		return b.array(n)
	case *ast.MapNode:
		return b.object(n)
	case *ast.CallNode:
		return b.call(n)
	case *ast.BuiltinNode:
		return b.predicate(n)
	case *ast.PointerNode:
		if n.Name != "" {
			return b.fail(loc, "there is no #"+n.Name+" here", "")
		}
		return operand{node: n, loc: loc}
	case *ast.VariableDeclaratorNode:
		return b.let(n)
	case *ast.SliceNode:
		return b.fail(loc, "slices can't be taken in a condition", "use contains, startsWith or endsWith")
	case *ast.SequenceNode:
		return b.fail(loc, "a condition is one expression", "join several by &&")
	}
	return b.fail(loc, "this can't stand in a condition", "")
}

// float reads a literal from its text, so that nothing is rounded.
func (b *binder) float(n *ast.FloatNode) operand {
	loc := n.Location()
	written := strings.ReplaceAll(string(b.runes[loc.From:min(loc.To, len(b.runes))]), "_", "")
	v, err := change.ParseNumeric(written)
	if err != nil {
		v = change.NumericFromFloat(n.Value)
	}
	return operand{kind: numberKind, constant: true, value: v, loc: loc}
}

func (b *binder) identifier(n *ast.IdentifierNode) operand {
	loc := n.Location()
	for i := len(b.scopes) - 1; i >= 0; i-- {
		if b.scopes[i].name == n.Value {
			return operand{kind: b.scopes[i].kind, node: n, loc: loc, local: b.scopes[i].local}
		}
	}
	switch n.Value {
	case "op":
		b.present, b.readsOp = true, true
		return operand{kind: textKind, constant: true, value: b.op.String(), loc: loc}
	case "tenant":
		switch {
		case b.op == change.Emit:
			b.present = true
			return operand{kind: textKind, loc: loc, column: &columnRef{newRow, DomainTenant}}
		case b.table.TenantColumn == "":
			return operand{kind: nullKind, constant: true, loc: loc}
		}
		return b.column(loc, b.rowSide(), b.table.TenantColumn)
	case "actor":
		b.present = true
		return operand{node: b.env(loc, readActor), loc: loc}
	case "new", "old", "row", "event":
		return b.fail(loc, n.Value+" can't be used whole", "name one of its parts, as "+n.Value+map[bool]string{true: ".id", false: ".status"}[n.Value == "event"])
	}
	known := []string{"new", "old", "row", "op", "tenant", "actor", "event"}
	mend := spelling.Mend(n.Value, known)
	if mend == "" && (b.rel.Column(n.Value) >= 0 || b.op == change.Emit) {
		mend = "a column is written " + accessor("new", n.Value)
	}
	if mend == "" {
		mend = "there are " + strings.Join(known, ", ")
	}
	return b.fail(loc, fmt.Sprintf("unknown name %q", n.Value), mend)
}

// rowSide is the row that an event is about.
func (b *binder) rowSide() rowSide {
	if b.op == change.Delete {
		return oldRow
	}
	return newRow
}

func (b *binder) member(n *ast.MemberNode) operand {
	loc := n.Location()
	base, ok := n.Node.(*ast.IdentifierNode)
	if ok && !b.declared(base.Value) {
		switch base.Value {
		case "new", "old", "row":
			name, ok := n.Property.(*ast.StringNode)
			if !ok {
				return b.fail(loc, "the name of a column must be written out", fmt.Sprintf("write %s.status", base.Value))
			}
			if b.op == change.Emit {
				return b.payload(n, base.Value, name.Value)
			}
			side := newRow
			if base.Value == "old" || base.Value == "row" && b.op == change.Delete {
				side = oldRow
			}
			return b.column(n.Property.Location(), side, name.Value)
		case "event":
			return b.event(n)
		}
	}
	of := b.expr(n.Node)
	key := b.expr(n.Property)
	switch of.kind {
	case anyKind, listKind, objectKind:
	default:
		return b.fail(loc, fmt.Sprintf("%s has no parts", of.kind), "only json and lists can be indexed")
	}
	return operand{node: b.apply(loc, get, b.plain(of), b.plain(key)), loc: loc}
}

// payload reads a part of a domain event's payload, of which no type is known.
func (b *binder) payload(n *ast.MemberNode, row, name string) operand {
	loc := n.Location()
	if row == "old" {
		return b.fail(loc, "a domain event has no old row", "write "+accessor("new", name)+" for a part of its payload")
	}
	if label := "new." + name; !slices.Contains(b.columns, label) {
		b.columns = append(b.columns, label)
	}
	b.present = true
	of := operand{loc: loc, column: &columnRef{newRow, DomainPayload}}
	return operand{loc: loc, node: b.apply(loc, get, b.plain(of), constant(loc, name))}
}

func (b *binder) declared(name string) bool {
	return slices.ContainsFunc(b.scopes, func(v variable) bool { return v.name == name })
}

// lookup finds a column, or fails and returns -1.
func (b *binder) lookup(loc file.Location, name string) int {
	i := b.rel.Column(name)
	if i < 0 || slices.Contains(b.table.Hidden, name) {
		var names []string
		for _, c := range b.rel.Columns {
			if !slices.Contains(b.table.Hidden, c.Name) {
				names = append(names, c.Name)
			}
		}
		mend := spelling.Mend(name, names)
		if mend == "" {
			mend = "it has " + strings.Join(names[:min(len(names), 20)], ", ")
		}
		if b.err == nil {
			unknown := b.clause.errorAt(loc, fmt.Sprintf("table %s has no column %s", b.table.Label, name), mend)
			unknown.Unknown = name
			b.err = unknown
		}
		return -1
	}
	return i
}

// column checks that a column is there and can ever have a value.
func (b *binder) column(loc file.Location, side rowSide, name string) operand {
	i := b.lookup(loc, name)
	if i < 0 {
		return operand{kind: nullKind, constant: true}
	}
	label := side.String() + "." + name
	if side == oldRow && b.op != change.Create && !b.rel.Columns[i].Key && b.rel.ReplicaIdentity != 'f' {
		what := "the old value of " + name + " in an update"
		if b.op == change.Delete {
			what = "column " + name + " of a deleted row"
		}
		return b.fail(loc, fmt.Sprintf("%s is never in the WAL: it is not part of the replica identity of table %s", what, b.table.Label), fullIdentity(b.rel))
	}
	if !slices.Contains(b.columns, label) {
		b.columns = append(b.columns, label)
	}
	if side == oldRow && b.op == change.Create || side == newRow && b.op == change.Delete {
		if b.absent == "" {
			b.absent = label
		}
	} else {
		b.present = true
	}
	t := b.rel.Columns[i].Type
	return operand{kind: kindOf(t), loc: loc, column: &columnRef{side, i}, local: t.Kind == change.Date || t.Kind == change.Timestamp}
}

func kindOf(t change.Type) kind {
	switch t.Kind {
	case change.Bool:
		return boolKind
	case change.Int, change.Float, change.Number:
		return numberKind
	case change.Bytea:
		return bytesKind
	case change.Date, change.Timestamp, change.TimestampTZ:
		return timeKind
	case change.JSON:
		return anyKind
	case change.Array:
		return listKind
	}
	return textKind
}

func (b *binder) event(n *ast.MemberNode) operand {
	loc := n.Location()
	b.present = true
	name, _ := n.Property.(*ast.StringNode)
	if name != nil {
		switch name.Value {
		case "id":
			return operand{kind: textKind, node: b.env(loc, readEventID), loc: loc}
		case "lsn":
			return operand{kind: textKind, node: b.env(loc, readLSN), loc: loc}
		case "committed_at":
			return operand{kind: timeKind, node: b.env(loc, readCommitTime), loc: loc}
		case "table":
			return operand{kind: textKind, constant: true, value: b.table.Label, loc: loc}
		case "op":
			b.readsOp = true
			return operand{kind: textKind, constant: true, value: b.op.String(), loc: loc}
		}
	}
	return b.fail(loc, "event has no such part", "there are event.id, event.table, event.op, event.lsn, event.committed_at")
}

// apply calls one of our functions.
func (b *binder) apply(loc file.Location, fn any, args ...ast.Node) ast.Node {
	callee := &ast.ConstantNode{Value: fn}
	callee.SetLocation(loc)
	call := &ast.CallNode{Callee: callee, Arguments: args}
	call.SetLocation(loc)
	return call
}

// env calls one of our functions with the Env.
func (b *binder) env(loc file.Location, fn func(any) any) ast.Node {
	return b.apply(loc, fn, environment(loc))
}

// environmentName is what the language calls the Env.
const environmentName = "$env"

func environment(loc file.Location) ast.Node {
	n := &ast.IdentifierNode{Value: environmentName}
	n.SetLocation(loc)
	return n
}

func constant(loc file.Location, v any) ast.Node {
	var n ast.Node = &ast.ConstantNode{Value: v}
	if v == nil {
		n = &ast.NilNode{}
	}
	n.SetLocation(loc)
	return n
}

// plain is an operand as a node with a Go value.
func (b *binder) plain(o operand) ast.Node {
	switch {
	case o.column != nil:
		b.mayBeMissing(o)
		return b.apply(o.loc, readColumn, environment(o.loc), constant(o.loc, *o.column))
	case o.constant:
		if v, ok := o.value.(bool); ok {
			n := &ast.BoolNode{Value: v}
			n.SetLocation(o.loc)
			return n
		}
		return constant(o.loc, goValue(o.value))
	}
	return o.node
}

// goValue makes whole numbers that fit ints, as columns have them.
func goValue(v any) any {
	if n, ok := v.(change.Numeric); ok {
		if i, ok := n.Int(); ok && n.Scale() == 0 {
			return int(i)
		}
	}
	return v
}

// boolean is an operand as a node that yields true or false, never nil.
func (b *binder) boolean(o operand) ast.Node {
	switch {
	case o.column != nil && o.kind == boolKind:
		l := &leaf{op: isEqual, side: o.column.side, column: int32(o.column.column)}
		b.set(l, o, []operand{{kind: boolKind, constant: true, value: true}})
		return b.leaf(l, o.loc)
	case o.kind == boolKind:
		return b.plain(o)
	case o.kind == anyKind:
		return b.apply(o.loc, truth, b.plain(o))
	case o.kind == nullKind && o.constant:
		n := &ast.BoolNode{}
		n.SetLocation(o.loc)
		return n
	}
	b.fail(o.loc, fmt.Sprintf("true or false is needed here, not %s", o.kind), "compare it with something")
	return b.plain(o)
}

// condition rewrites a node to one that yields true or false, and says what is known of
// it.
func (b *binder) condition(n ast.Node) operand {
	o := b.expr(n)
	c := operand{kind: boolKind, loc: o.loc, truth: o.truth, all: o.all, any: o.any}
	c.node = b.boolean(o)
	if l := leafOf(c.node); l != nil {
		c.all = []*leaf{l}
		c.any = c.all
	}
	if v, ok := c.node.(*ast.BoolNode); ok {
		c.truth = certain(v.Value)
	}
	return c
}

// leaf is a node that evaluates one.
func (b *binder) leaf(l *leaf, loc file.Location) ast.Node {
	return b.apply(loc, evalLeaf, environment(loc), constant(loc, l))
}

// leafOf returns the leaf if that is all there is.
func leafOf(n ast.Node) *leaf {
	call, ok := n.(*ast.CallNode)
	if !ok || len(call.Arguments) != 2 {
		return nil
	}
	c, ok := call.Arguments[1].(*ast.ConstantNode)
	if !ok {
		return nil
	}
	l, _ := c.Value.(*leaf)
	return l
}

func (b *binder) unary(n *ast.UnaryNode) operand {
	loc := n.Location()
	if n.Operator == "!" || n.Operator == "not" {
		o := b.condition(n.Node)
		if l := leafOf(o.node); l != nil {
			return operand{kind: boolKind, node: b.leaf(l.not(), loc), loc: loc, truth: o.truth.not()}
		}
		not := &ast.UnaryNode{Operator: "!", Node: o.node}
		not.SetLocation(loc)
		return operand{kind: boolKind, node: not, loc: loc, truth: o.truth.not(), all: negated(o.any), any: negated(o.all)}
	}
	o := b.expr(n.Node)
	switch n.Operator {
	case "-", "+":
		if o.kind != numberKind && o.kind != anyKind && o.kind != durationKind {
			return b.fail(loc, fmt.Sprintf("%s has no sign", o.kind), "")
		}
		if n.Operator == "+" {
			return o
		}
		if v, ok := o.value.(change.Numeric); ok && o.constant {
			o.value = v.Neg()
			return o
		}
		return operand{kind: o.kind, node: b.apply(loc, negate, b.plain(o)), loc: loc}
	}
	return b.fail(loc, "unknown operator "+n.Operator, "")
}

func (b *binder) binary(n *ast.BinaryNode) operand {
	loc := n.Location()
	switch n.Operator {
	case "&&", "and", "||", "or":
		left, right := b.condition(n.Left), b.condition(n.Right)
		either := n.Operator == "||" || n.Operator == "or"
		if either {
			if l := eitherChanged(leafOf(left.node), leafOf(right.node)); l != nil {
				return operand{kind: boolKind, node: b.leaf(l, loc), loc: loc}
			}
		}
		node := &ast.BinaryNode{Operator: n.Operator, Left: left.node, Right: right.node}
		node.SetLocation(loc)
		o := operand{kind: boolKind, node: node, loc: loc}
		if b.clause.spans == nil { // an operator stands between its parts
			loc = file.Location{From: first(n)}
		}
		b.combine(&o, loc, either, left, right)
		return o
	}
	left, right := b.expr(n.Left), b.expr(n.Right)
	if b.err != nil {
		return operand{kind: nullKind, constant: true}
	}
	switch n.Operator {
	case "==", "!=", "<", "<=", ">", ">=":
		return b.comparison(loc, n.Operator, left, right)
	case "in":
		return b.among(loc, left, right)
	case "contains", "startsWith", "endsWith":
		return b.within(loc, n.Operator, left, right)
	case "matches":
		return b.matches(loc, left, right)
	case "+", "-", "*", "/", "%":
		return b.arithmetic(loc, n.Operator, left, right)
	case "??":
		node := &ast.BinaryNode{Operator: "??", Left: b.plain(left), Right: b.plain(right)}
		node.SetLocation(loc)
		k := left.kind
		if k == nullKind {
			k = right.kind
		}
		if k != right.kind || k == boolKind {
			k = anyKind
		}
		return operand{kind: k, node: node, loc: loc, local: left.local || right.local}
	}
	return b.fail(loc, fmt.Sprintf("operator %s can't be used in a condition", n.Operator), "")
}

var comparisons = map[string]struct {
	op       leafOp
	negated  bool
	mirrored string
	generic  func(a, b any) bool
}{
	"==": {isEqual, false, "==", equal},
	"!=": {isEqual, true, "!=", notEqual},
	"<":  {isLess, false, ">", less},
	"<=": {isAtMost, false, ">=", atMost},
	">":  {isMore, false, "<", more},
	">=": {isAtLeast, false, "<=", atLeast},
}

func (b *binder) comparison(loc file.Location, operator string, left, right operand) operand {
	if right.column != nil && left.constant {
		left, right = right, left
		operator = comparisons[operator].mirrored
	}
	c := comparisons[operator]
	if left.column != nil && right.constant {
		l := &leaf{op: c.op, negated: c.negated, side: left.column.side, column: int32(left.column.column)}
		switch {
		case right.kind == nullKind && c.op == isEqual:
			l.op = isNull
		case right.kind == nullKind:
			return b.fail(right.loc, "nothing is less or more than nil", "compare with == nil or != nil")
		default:
			if c.op != isEqual && !b.ordered(left) {
				break
			}
			b.set(l, left, []operand{right})
		}
		return operand{kind: boolKind, node: b.leaf(l, loc), loc: loc}
	}
	left, right = b.moments(left, right)
	if b.err == nil && !comparable(left.kind, right.kind) {
		return b.fail(loc, fmt.Sprintf("%s can't be compared with %s", b.describe(left), b.describe(right)), "")
	}
	if c.op != isEqual {
		for _, o := range []operand{left, right} {
			if o.kind == boolKind || o.kind == listKind || o.kind == objectKind || o.kind == nullKind {
				return b.fail(loc, fmt.Sprintf("%s has no order", b.describe(o)), "")
			}
			b.ordered(o)
		}
	}
	o := operand{kind: boolKind, node: b.apply(loc, c.generic, b.plain(left), b.plain(right)), loc: loc}
	if left.constant && right.constant && b.err == nil {
		o.truth = decided(c.generic, goValue(left.value), goValue(right.value))
	}
	return o
}

// moments turns a text that is compared with a time into one.
func (b *binder) moments(left, right operand) (operand, operand) {
	convert := func(o, other operand) operand {
		s, ok := o.value.(string)
		if !o.constant || !ok || other.kind != timeKind {
			return o
		}
		t, err := parseMoment(s, change.TimestampTZ)
		if err != nil {
			b.fail(o.loc, err.Error(), "")
		}
		return operand{kind: timeKind, constant: true, value: t, loc: o.loc}
	}
	return convert(left, right), convert(right, left)
}

func comparable(a, b kind) bool {
	return a == b || a == anyKind || b == anyKind || a == nullKind || b == nullKind
}

// ordered says whether a column's values can be less or more than others, and fails
// if they can't.
func (b *binder) ordered(o operand) bool {
	if o.column == nil {
		return true
	}
	t := b.rel.Columns[o.column.column].Type
	ok := true
	switch t.Kind {
	case change.Bool, change.Array, change.TimeTZ, change.Interval, change.UUID:
		ok = false
	case change.Text:
		switch t.Name {
		case "", "text", "varchar", "bpchar", "name", "citext":
		default:
			ok = false
		}
	}
	if !ok {
		b.fail(o.loc, fmt.Sprintf("column %s is of type %s, which conditions can't order", b.rel.Columns[o.column.column].Name, t.Name), "use eq, ne, in or not_in (== != in)")
	}
	return ok
}

func (b *binder) describe(o operand) string {
	if o.column != nil {
		c := &b.rel.Columns[o.column.column]
		return fmt.Sprintf("column %s (%s)", c.Name, typeName(c.Type))
	}
	if s, ok := o.value.(string); ok && o.constant {
		return "the text " + quote(s)
	}
	if n, ok := o.value.(change.Numeric); ok && o.constant {
		return "the number " + n.String()
	}
	return o.kind.String()
}

func typeName(t change.Type) string {
	if t.Name != "" {
		return t.Name
	}
	return t.Kind.String()
}

// set gives a leaf the constants that its column is compared with, converted to the
// column's type.
func (b *binder) set(l *leaf, column operand, values []operand) {
	c := &b.rel.Columns[column.column.column]
	if len(values) > 1 && fault.On("in_drops_last") {
		values = values[:len(values)-1]
	}
	for _, v := range values {
		if err := l.add(c, v); err != nil {
			b.fail(v.loc, err.Error(), "")
			return
		}
	}
	l.index = l.op == isEqual && l.side == b.rowSide() && indexable(c.Type)
	if l.op != isEqual || c.Type.Kind == change.JSON || c.Type.Kind == change.Array || c.Type.Kind == change.Bytea {
		b.mayBeMissing(column) // what is compared for equality with short texts is a short text
	}
	if l.op == isEqual && l.never(c) {
		b.warn(column.loc, fmt.Sprintf("column %s is %s and never equals what it is compared with", c.Name, typeName(c.Type)), "")
	}
}

func (b *binder) among(loc file.Location, left, right operand) operand {
	if right.constant && right.kind == listKind {
		if left.column != nil {
			if len(right.list) == 0 {
				return b.fail(right.loc, "the list is empty", "")
			}
			for _, e := range right.list {
				if e.kind == nullKind {
					return b.fail(e.loc, "nil in a list matches nothing", "add || … == nil")
				}
			}
			l := &leaf{op: isEqual, side: left.column.side, column: int32(left.column.column)}
			b.set(l, left, right.list)
			return operand{kind: boolKind, node: b.leaf(l, loc), loc: loc}
		}
		for i, e := range right.list {
			_, right.list[i] = b.moments(left, e)
			if b.err == nil && !comparable(left.kind, right.list[i].kind) {
				return b.fail(e.loc, fmt.Sprintf("%s can't be compared with %s", b.describe(left), b.describe(e)), "")
			}
		}
		values := make([]any, len(right.list))
		for i, e := range right.list {
			values[i] = goValue(e.value)
		}
		right.value = values
	}
	switch right.kind {
	case listKind, anyKind, objectKind:
	default:
		return b.fail(right.loc, fmt.Sprintf("in needs a list, not %s", b.describe(right)), `write in ["a", "b"]`)
	}
	return operand{kind: boolKind, node: b.apply(loc, in, b.plain(left), b.plain(right)), loc: loc}
}

func (b *binder) within(loc file.Location, operator string, left, right operand) operand {
	ops := map[string]leafOp{"contains": hasPart, "startsWith": hasPrefix, "endsWith": hasSuffix}
	if left.column != nil {
		c := &b.rel.Columns[left.column.column]
		s, isText := right.value.(string)
		switch {
		case c.Type.Kind == change.Array && operator == "contains" && right.constant:
			v, err := literalOf(elementType(c.Type), right)
			if err != nil {
				return b.fail(right.loc, fmt.Sprintf("an element of column %s %s", c.Name, err), "")
			}
			right.value, right.kind = v, anyKind
		case c.Type.Kind == change.JSON:
		case left.kind != textKind:
			return b.fail(loc, fmt.Sprintf("%s needs a text, column %s is %s", operator, c.Name, typeName(c.Type)), "")
		case isText && right.constant:
			l := &leaf{op: ops[operator], side: left.column.side, column: int32(left.column.column)}
			l.addRaw([]byte(s))
			b.mayBeMissing(left)
			return operand{kind: boolKind, node: b.leaf(l, loc), loc: loc}
		}
	}
	if operator != "contains" || left.kind == textKind {
		for _, o := range []operand{left, right} {
			if o.kind != textKind && o.kind != anyKind && o.kind != nullKind {
				return b.fail(o.loc, fmt.Sprintf("%s needs a text, not %s", operator, b.describe(o)), "")
			}
		}
	} else if left.kind != listKind && left.kind != anyKind {
		return b.fail(left.loc, fmt.Sprintf("contains needs a text or a list, not %s", b.describe(left)), "")
	}
	fn := contains
	switch operator {
	case "startsWith":
		fn = startsWith
	case "endsWith":
		fn = endsWith
	}
	return operand{kind: boolKind, node: b.apply(loc, fn, b.plain(left), b.plain(right)), loc: loc}
}

func (b *binder) matches(loc file.Location, left, right operand) operand {
	pattern, ok := right.value.(string)
	if !ok || !right.constant {
		return b.fail(right.loc, "matches needs a pattern that is written out", `write matches "^A[0-9]+$"`)
	}
	if left.kind != textKind && left.kind != anyKind && left.kind != nullKind {
		return b.fail(left.loc, fmt.Sprintf("matches needs a text, not %s", b.describe(left)), "")
	}
	re, err := compilePattern(pattern)
	if err != nil {
		return b.fail(right.loc, err.Error(), "")
	}
	if left.column != nil && left.kind == textKind {
		b.mayBeMissing(left)
		l := &leaf{op: matchesPattern, side: left.column.side, column: int32(left.column.column), other: &constants{pattern: re}}
		return operand{kind: boolKind, node: b.leaf(l, loc), loc: loc}
	}
	return operand{kind: boolKind, node: b.apply(loc, matchText, b.plain(left), constant(right.loc, re)), loc: loc}
}

func (b *binder) arithmetic(loc file.Location, operator string, left, right operand) operand {
	fns := map[string]func(a, b any) any{"+": add, "-": subtract, "*": multiply, "/": divide, "%": modulo}
	k := anyKind
	switch l, r := left.kind, right.kind; {
	case l == nullKind || r == nullKind:
		return operand{kind: nullKind, constant: true, loc: loc}
	case l == numberKind && r == numberKind:
		k = numberKind
	case l == textKind && r == textKind && operator == "+":
		k = textKind
	case l == timeKind && r == timeKind && operator == "-":
		k = durationKind
	case l == timeKind && r == durationKind && (operator == "+" || operator == "-"), l == durationKind && r == timeKind && operator == "+":
		k = timeKind
	case l == durationKind && r == durationKind && (operator == "+" || operator == "-"):
		k = durationKind
	case l == durationKind && r == numberKind && (operator == "*" || operator == "/"):
		k = durationKind
	case (l == anyKind || r == anyKind) && l != boolKind && r != boolKind && l != listKind && r != listKind:
	default:
		return b.fail(loc, fmt.Sprintf("%s %s %s can't be worked out", b.describe(left), operator, b.describe(right)), "")
	}
	node := b.apply(loc, fns[operator], b.plain(left), b.plain(right))
	if operator == "+" && (k == textKind || k == anyKind) {
		node = b.apply(loc, made, environment(loc), node)
	}
	return operand{kind: k, node: node, loc: loc, local: k == timeKind && (left.local || right.local)}
}

func (b *binder) conditional(n *ast.ConditionalNode) operand {
	loc := n.Location()
	cond := b.boolean(b.expr(n.Cond))
	yes, no := b.expr(n.Exp1), b.expr(n.Exp2)
	node := &ast.ConditionalNode{Ternary: true, Cond: cond}
	node.SetLocation(loc)
	k := anyKind
	if yes.kind == boolKind && no.kind == boolKind {
		k = boolKind
		node.Exp1, node.Exp2 = b.boolean(yes), b.boolean(no)
	} else {
		if yes.kind == no.kind {
			k = yes.kind
		}
		node.Exp1, node.Exp2 = b.plain(yes), b.plain(no)
	}
	return operand{kind: k, node: node, loc: loc, local: yes.local || no.local}
}

func (b *binder) array(n *ast.ArrayNode) operand {
	loc := n.Location()
	o := operand{kind: listKind, constant: true, loc: loc}
	values := []any{}
	for _, e := range n.Nodes {
		x := b.expr(e)
		if b.err == nil && !x.constant {
			return b.fail(e.Location(), "a list holds constants", "compare with each value, joined by ||")
		}
		o.list = append(o.list, x)
		values = append(values, goValue(x.value))
	}
	o.value = values
	return o
}

func (b *binder) object(n *ast.MapNode) operand {
	loc := n.Location()
	values := map[string]any{}
	for _, p := range n.Pairs {
		pair, ok := p.(*ast.PairNode)
		if !ok {
			return b.fail(loc, "an object holds constants", "")
		}
		key, ok := pair.Key.(*ast.StringNode)
		x := b.expr(pair.Value)
		if b.err == nil && (!ok || !x.constant) {
			return b.fail(pair.Location(), "an object holds constants", "")
		}
		if ok {
			values[key.Value] = goValue(x.value)
		}
	}
	return operand{kind: objectKind, constant: true, value: values, loc: loc}
}

func (b *binder) let(n *ast.VariableDeclaratorNode) operand {
	loc := n.Location()
	switch n.Name {
	case "new", "old", "row", "event", "actor", "tenant", "op", environmentName:
		return b.fail(loc, fmt.Sprintf("%s has a meaning already", n.Name), "choose another name")
	}
	v := b.expr(n.Value)
	k := v.kind
	value := b.plain(v)
	if k == boolKind && v.column != nil || k == nullKind {
		k = anyKind
	}
	b.variables++
	b.scopes = append(b.scopes, variable{n.Name, k, v.local})
	body := b.expr(n.Expr)
	node := &ast.VariableDeclaratorNode{Name: n.Name, Value: value, Expr: b.plain(body)}
	b.scopes = b.scopes[:len(b.scopes)-1]
	node.SetLocation(loc)
	k = body.kind
	if k == boolKind && body.column != nil {
		k = anyKind
	}
	return operand{kind: k, node: node, loc: loc, local: body.local}
}
