package condition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rowbell/rowbell/pkg/fault"
	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const (
	maxFormBytes = 64 << 10
	maxFormDepth = 16
	maxTextBytes = 16 << 10
	maxNodes     = 1000
	maxPattern   = 1000
)

// operators of the form, in the order in which people are told of them.
var operators = []string{
	"eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "contains", "starts_with", "matches",
	"is_null", "not_null", "between", "changed", "changed_from", "changed_to",
}

// conditionTypes are the kinds of conditions.
var conditionTypes = []string{"field_value", "time_based", "role_based", "expression"}

// anyChanged is the key of a form that lists columns of which at least one changed.
const anyChanged = "any_changed"

// Source is what one trigger of a workflow asks for: its own field conditions and the
// conditions of the workflow, all of them ANDed.
type Source struct {
	Trigger    workflow.Trigger
	Conditions []workflow.Condition
	// Firing is the workflow's mode. With BecomesTrue the conditions are about one row at a
	// time, and Bound.EvalBefore evaluates them for the old one; "" is Every.
	Firing workflow.Firing
	// Of is what the conditions stand in, for messages: action 2 (webhook), only_if. "": the
	// workflow.
	Of string
}

// Form is a Source whose shape and syntax have been judged, without a table. It is
// immutable.
type Form struct {
	clauses []clause
	becomes bool // firing mode becomes_true
	of      string
}

// clause is one condition as an expression.
type clause struct {
	where   string // field_conditions; condition 2 (expression)
	text    string
	spans   []span // of a form: which key path wrote which characters; nil for an expression
	trigger bool   // from the trigger, so it is about the trigger's operation alone
}

// span says that the characters from..to of a clause's text come from a key path.
type span struct {
	from, to int
	path     string
	op       uint8 // 1 + the index in operators of what wrote it; 0 for a group
	// label is how a time_based or role_based condition says it; "" for a form.
	label string
}

// path returns the innermost key path that wrote the character at i. Inner ones stand
// first in spans.
func (c *clause) path(i int) string {
	best, width := c.where, int(^uint(0)>>1)
	for _, s := range c.spans {
		if s.from <= i && i < s.to && s.to-s.from < width {
			best, width = s.path, s.to-s.from
		}
	}
	return best
}

// Expressions returns the conditions as expressions, in order; the form's written out.
func (f *Form) Expressions() []string {
	texts := make([]string, len(f.clauses))
	for i := range f.clauses {
		texts[i] = f.clauses[i].text
	}
	return texts
}

// Parse judges shape and syntax. Returns an *Error.
func Parse(src Source) (*Form, error) {
	f := &Form{becomes: src.Firing == workflow.BecomesTrue, of: src.Of}
	if raw := src.Trigger.FieldConditions; !empty(raw) {
		if err := f.addForm("field_conditions", raw, true); err != nil {
			return nil, err
		}
	}
	for i, c := range src.Conditions {
		where := fmt.Sprintf("condition %d (%s)", i+1, c.Type)
		if src.Of != "" {
			where = src.Of + ", " + where
		}
		switch c.Type {
		case "field_value":
			if empty(c.Config) {
				return nil, &Error{
					Where: where, Message: `it has no condition_config`,
					Mend: `write {"field": "status", "operator": "eq", "value": "approved"} or {"status": "approved"}`,
				}
			}
			if err := f.addForm(where, c.Config, false); err != nil {
				return nil, err
			}
		case "expression":
			if err := f.addExpression(where, c.Config); err != nil {
				return nil, err
			}
		case "time_based":
			if err := f.addTime(where, c.Config); err != nil {
				return nil, err
			}
		case "role_based":
			if err := f.addRoles(where, c.Config); err != nil {
				return nil, err
			}
		default:
			mend := spelling.Mend(c.Type, conditionTypes)
			if mend == "" {
				mend = "use " + strings.Join(conditionTypes, ", ")
			}
			return nil, &Error{Where: where, Message: fmt.Sprintf("there is no condition_type %q", c.Type), Mend: mend}
		}
	}
	return f, nil
}

func empty(raw json.RawMessage) bool {
	t := bytes.TrimSpace(raw)
	return len(t) == 0 || string(t) == "null" || string(t) == "{}" || string(t) == "[]"
}

func (f *Form) addExpression(where string, raw json.RawMessage) error {
	var config struct {
		Expression *string `json:"expression"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&config); err != nil || config.Expression == nil || strings.TrimSpace(*config.Expression) == "" {
		return &Error{Where: where, Message: "condition_config holds no expression", Mend: `write {"expression": "new.total > 10"}`}
	}
	c := clause{where: where, text: *config.Expression}
	if _, err := c.parse(); err != nil {
		return err
	}
	f.clauses = append(f.clauses, c)
	return nil
}

func (f *Form) addForm(where string, raw json.RawMessage, trigger bool) error {
	v, err := readConfig(where, raw)
	if err != nil {
		return err
	}
	w := &formWriter{row: "row"}
	if err := w.condition(where, v, 0); err != nil {
		return err
	}
	f.addWritten(where, w, trigger)
	return nil
}

// addWritten adds what the writer wrote. It is an expression, and is parsed by Bind alone.
func (f *Form) addWritten(where string, w *formWriter, trigger bool) {
	f.clauses = append(f.clauses, clause{where: where, text: w.text.String(), spans: w.spans, trigger: trigger})
}

// readConfig reads a field_conditions or condition_config. Returns an *Error.
func readConfig(where string, raw json.RawMessage) (any, error) {
	if len(raw) > maxFormBytes {
		return nil, &Error{Where: where, Message: fmt.Sprintf("it has %d bytes, at most %d are read", len(raw), maxFormBytes)}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	v, err := readJSON(dec, 0)
	if err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("there is more than one JSON value")
		}
	}
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it ends too early")
		}
		return nil, &Error{Where: where, Message: "malformed JSON: " + err.Error()}
	}
	return v, nil
}

// object is a JSON object in the order of its keys.
type object []member

type member struct {
	key   string
	value any
}

// readJSON reads a value with objects as object, so that order is kept and a repeated
// key is seen.
func readJSON(dec *json.Decoder, depth int) (any, error) {
	if depth > 2*maxFormDepth {
		return nil, fmt.Errorf("nested deeper than %d", 2*maxFormDepth)
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if delim == '[' {
		list := []any{}
		for dec.More() {
			v, err := readJSON(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	}
	o := object{}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key := token.(string) // the decoder allows nothing else there
		if seen[key] {
			return nil, fmt.Errorf("key %q stands there twice", key)
		}
		seen[key] = true
		v, err := readJSON(dec, depth+1)
		if err != nil {
			return nil, err
		}
		o = append(o, member{key, v})
	}
	_, err = dec.Token()
	return o, err
}

func (o object) get(key string) (any, bool) {
	for _, m := range o {
		if m.key == key {
			return m.value, true
		}
	}
	return nil, false
}

// triple says that o is one comparison spelled out.
func (o object) triple() bool {
	_, field := o.get("field")
	_, operator := o.get("operator")
	_, value := o.get("value")
	return field && operator && (len(o) == 2 || len(o) == 3 && value)
}

// formWriter writes a form as an expression, and remembers which key path wrote what.
type formWriter struct {
	row   string // what holds the columns: row, or actor.attributes
	text  strings.Builder
	runes int
	spans []span
}

func (w *formWriter) write(s string) {
	w.text.WriteString(s)
	w.runes += utf8.RuneCountInString(s)
}

// condition writes an object, or a list of them, all of which are to hold.
func (w *formWriter) condition(path string, v any, depth int) error {
	if depth > maxFormDepth {
		return &Error{Where: path, Message: fmt.Sprintf("groups are nested deeper than %d", maxFormDepth)}
	}
	start := w.runes
	defer func() { w.spans = append(w.spans, span{from: start, to: w.runes, path: path}) }()
	switch v := v.(type) {
	case []any:
		return w.list(path, v, " && ", depth)
	case object:
		if v.triple() {
			return w.spelledOut(path, v)
		}
		if len(v) == 0 {
			w.write("true")
			return nil
		}
		for i, m := range v {
			if i > 0 {
				w.write(" && ")
			}
			if err := w.member(path+"."+m.key, m, depth); err != nil {
				return err
			}
		}
		return nil
	}
	return &Error{Where: path, Message: "a condition is an object of columns, not " + jsonKind(v), Mend: `write {"status": "approved"}`}
}

func (w *formWriter) list(path string, list []any, and string, depth int) error {
	if len(list) == 0 {
		return &Error{Where: path, Message: "the list is empty"}
	}
	for i, v := range list {
		if i > 0 {
			w.write(and)
		}
		w.write("(")
		if err := w.condition(fmt.Sprintf("%s[%d]", path, i), v, depth+1); err != nil {
			return err
		}
		w.write(")")
	}
	return nil
}

func (w *formWriter) member(path string, m member, depth int) error {
	start := w.runes
	defer func() { w.spans = append(w.spans, span{from: start, to: w.runes, path: path}) }()
	switch m.key {
	case "any", "all":
		list, ok := m.value.([]any)
		if !ok {
			return &Error{
				Where: path, Message: fmt.Sprintf("%q takes a list of conditions, not %s", m.key, jsonKind(m.value)),
				Mend: fmt.Sprintf(`a column called %s is written {"field": %q, "operator": "eq", "value": …}`, m.key, m.key),
			}
		}
		join := " && "
		if m.key == "any" {
			join = " || "
		}
		w.write("(")
		err := w.list(path, list, join, depth)
		w.write(")")
		return err
	case "not":
		switch m.value.(type) {
		case object, []any:
		default:
			return &Error{
				Where: path, Message: fmt.Sprintf(`"not" takes a condition, not %s`, jsonKind(m.value)),
				Mend: `a column called not is written {"field": "not", "operator": "eq", "value": …}`,
			}
		}
		w.write("!(")
		err := w.condition(path, m.value, depth+1)
		w.write(")")
		return err
	}
	if m.key == "" {
		return &Error{Where: path, Message: "a column has a name"}
	}
	if m.key == anyChanged {
		return w.anyChanged(path, m.value)
	}
	ops, ok := m.value.(object)
	if !ok {
		return w.operator(path, m.key, "eq", m.value, true)
	}
	if len(ops) == 0 {
		return &Error{Where: path, Message: "there is no operator", Mend: "use " + strings.Join(operators, ", ")}
	}
	for i, o := range ops {
		if i > 0 {
			w.write(" && ")
		}
		if err := w.operator(path+"."+o.key, m.key, o.key, o.value, true); err != nil {
			return err
		}
	}
	return nil
}

func (w *formWriter) spelledOut(path string, o object) error {
	field, _ := o.get("field")
	operator, _ := o.get("operator")
	value, given := o.get("value")
	column, ok := field.(string)
	if !ok || column == "" {
		return &Error{Where: path + ".field", Message: "field is the name of a column, not " + jsonKind(field)}
	}
	name, ok := operator.(string)
	if !ok {
		return &Error{Where: path + ".operator", Message: "operator is a word, not " + jsonKind(operator), Mend: "use " + strings.Join(operators, ", ")}
	}
	return w.operator(path, column, name, value, given)
}

// anyChanged writes that at least one of several columns changed.
func (w *formWriter) anyChanged(path string, v any) error {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return &Error{
			Where: path, Message: fmt.Sprintf("%q takes a list of columns, not %s", anyChanged, jsonKind(v)),
			Mend: fmt.Sprintf(`write ["status", "total"]; a column called %s is written {"field": %q, "operator": "eq", "value": …}`, anyChanged, anyChanged),
		}
	}
	w.write("(")
	for i, e := range list {
		column, ok := e.(string)
		if !ok || column == "" {
			return &Error{Where: fmt.Sprintf("%s[%d]", path, i), Message: "a column is named by a text, not by " + jsonKind(e)}
		}
		if i > 0 {
			w.write(" || ")
		}
		if err := w.operator(fmt.Sprintf("%s[%d]", path, i), column, "changed", true, true); err != nil {
			return err
		}
	}
	w.write(")")
	return nil
}

// operator writes one comparison of a column. given is false if there is no value at all.
func (w *formWriter) operator(path, column, op string, v any, given bool) error {
	start := w.runes
	defer func() {
		w.spans = append(w.spans, span{from: start, to: w.runes, path: path, op: uint8(1 + slices.Index(operators, op))})
	}()
	col, old := accessor(w.row, column), accessor("old", column)
	if w.row != "row" && strings.HasPrefix(op, "changed") {
		return &Error{Where: path, Message: op + " is about columns of a row, and this is none"}
	}
	if !given && op != "is_null" && op != "not_null" && op != "changed" {
		return &Error{Where: path, Message: op + " needs a value"}
	}
	binary := func(left, operator string, v any) error {
		literal, err := w.literal(path, op, v)
		if err != nil {
			return err
		}
		w.write(left + " " + operator + " " + literal)
		return nil
	}
	scalar := func(left, operator string) error {
		switch v.(type) {
		case nil, []any, object:
			return &Error{Where: path, Message: fmt.Sprintf("%s compares with one value, not with %s", op, jsonKind(v))}
		}
		return binary(left, operator, v)
	}
	equality := func(left, equal, among string) error {
		if _, ok := v.([]any); ok && among != "" {
			if err := w.list1(path, op, v); err != nil {
				return err
			}
			return binary(left, among, v)
		}
		return binary(left, equal, v)
	}
	text := func(operator string) error {
		if _, ok := v.(string); !ok {
			return &Error{Where: path, Message: fmt.Sprintf("%s takes a text, not %s", op, jsonKind(v))}
		}
		return binary(col, operator, v)
	}
	flag := func(whenTrue, whenFalse string) error {
		yes, ok := v.(bool)
		if given && !ok {
			return &Error{Where: path, Message: fmt.Sprintf("%s takes true or false, not %s", op, jsonKind(v))}
		}
		if !given || yes {
			w.write(whenTrue)
		} else {
			w.write(whenFalse)
		}
		return nil
	}
	changed := "changed(" + quoteText(column) + ")"
	switch op {
	case "eq":
		return equality(col, "==", "")
	case "ne":
		return equality(col, "!=", "")
	case "gt":
		return scalar(col, ">")
	case "gte":
		return scalar(col, ">=")
	case "lt":
		return scalar(col, "<")
	case "lte":
		return scalar(col, "<=")
	case "in", "not_in":
		if err := w.list1(path, op, v); err != nil {
			return err
		}
		return binary(col, strings.ReplaceAll(op, "_", " "), v)
	case "contains":
		return scalar(col, "contains")
	case "starts_with":
		return text("startsWith")
	case "matches":
		if pattern, ok := v.(string); ok {
			if _, err := compilePattern(pattern); err != nil {
				return &Error{Where: path, Message: err.Error()}
			}
		}
		return text("matches")
	case "is_null":
		return flag(col+" == nil", col+" != nil")
	case "not_null":
		return flag(col+" != nil", col+" == nil")
	case "between":
		list, ok := v.([]any)
		if !ok || len(list) != 2 {
			return &Error{Where: path, Message: "between takes two values", Mend: "write [least, greatest]; both belong to it"}
		}
		for _, v := range list {
			switch v.(type) {
			case nil, []any, object:
				return &Error{Where: path, Message: "between compares with two values, not with " + jsonKind(v)}
			}
		}
		if err := binary(col, ">=", list[0]); err != nil {
			return err
		}
		w.write(" && ")
		if fault.On("between_open") {
			return binary(col, "<", list[1])
		}
		return binary(col, "<=", list[1])
	case "changed":
		return flag(changed, "!"+changed)
	case "changed_from":
		w.write(changed + " && ")
		return equality(old, "==", "in")
	case "changed_to":
		w.write(changed + " && ")
		return equality(col, "==", "in")
	}
	mend := spelling.Mend(op, operators)
	if mend == "" {
		mend = "use " + strings.Join(operators, ", ")
	}
	return &Error{Where: path, Message: fmt.Sprintf("there is no operator %q", op), Mend: mend}
}

// list1 judges the list of in and its relatives.
func (w *formWriter) list1(path, op string, v any) error {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return &Error{Where: path, Message: fmt.Sprintf("%s takes a list of at least one value, not %s", op, jsonKind(v))}
	}
	for i, e := range list {
		if e == nil {
			return &Error{Where: fmt.Sprintf("%s[%d]", path, i), Message: "null in a list matches nothing", Mend: `write {"any": […, {"column": {"is_null": true}}]}`}
		}
	}
	return nil
}

// literal writes a JSON value as a literal of the expression language.
func (w *formWriter) literal(path, op string, v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "nil", nil
	case bool:
		return strconv.FormatBool(v), nil
	case string:
		return quoteText(v), nil
	case json.Number:
		return number(string(v)), nil
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			var err error
			if parts[i], err = w.literal(path, op, e); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(parts, ", ") + "]", nil
	case object:
		parts := make([]string, len(v))
		for i, m := range v {
			s, err := w.literal(path, op, m.value)
			if err != nil {
				return "", err
			}
			parts[i] = quoteText(m.key) + ": " + s
		}
		return "{" + strings.Join(parts, ", ") + "}", nil
	}
	return "", &Error{Where: path, Message: fmt.Sprintf("%s can't compare with %s", op, jsonKind(v))}
}

// number writes a number so that the expression parser takes it; one that is beyond
// its range as text, which Bind reads as a number again.
func number(s string) string {
	digits := strings.TrimPrefix(s, "-")
	if strings.ContainsAny(digits, ".eE") {
		if _, err := strconv.ParseFloat(digits, 64); err != nil {
			return quoteText(s)
		}
		return s
	}
	if _, err := strconv.ParseInt(digits, 10, 64); err != nil {
		return quoteText(s)
	}
	return s
}

var simpleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// accessor writes a column of a row.
func accessor(row, column string) string {
	switch column {
	case "not", "in", "or", "and", "matches", "contains", "startsWith", "endsWith", "let", "if", "else":
	default:
		if simpleName.MatchString(column) {
			return row + "." + column
		}
	}
	return row + "[" + quoteText(column) + "]"
}

// quoteText writes s as a text literal.
func quoteText(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func jsonKind(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case string:
		return "the text " + quote(v)
	case json.Number:
		return "the number " + string(v)
	case []any:
		if len(v) == 0 {
			return "an empty list"
		}
		return "a list"
	}
	return "an object"
}

// textPattern is what matches looks for. To look at a byte of text takes up to as many
// steps as the pattern has, so the more it has the shorter are the texts.
type textPattern struct {
	*regexp.Regexp
	longest int // bytes of text
}

const (
	maxPatternSteps = 1000
	maxMatchSteps   = 100 * maxValue // about a second
)

func (p *textPattern) tooLong(n int) error {
	if n > p.longest {
		return fmt.Errorf("the pattern looks at %d bytes at most, not at %d", p.longest, n)
	}
	return nil
}

// compilePattern bounds a pattern by its length and by what RE2 makes of it.
func compilePattern(pattern string) (*textPattern, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("the pattern has %d bytes, at most %d are taken", len(pattern), maxPattern)
	}
	unread := func(err error) error {
		return fmt.Errorf("pattern %s can't be read (RE2 syntax): %w", quote(pattern), err)
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, unread(err)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, unread(err)
	}
	steps := len(program.Inst)
	if steps > maxPatternSteps {
		return nil, fmt.Errorf("pattern %s is one of %d steps, at most %d are taken; repeat less, as {1,50}", quote(pattern), steps, maxPatternSteps)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, unread(err)
	}
	return &textPattern{re, min(maxValue, maxMatchSteps/steps)}, nil
}
