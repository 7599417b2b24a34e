package truthtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// suiteExpressions is how many expressions the suite compares.
const suiteExpressions = 1200

// expression is a random one: as people write it, and as SQL.
type expression struct{ text, sql string }

// writer writes expressions for one operation, and notes what is in them.
type writer struct {
	r    *rand.Rand
	rows []string // that there are: new, old
	uses []string // of the present expression
	seen []string // columns of the present expression
}

func (w *writer) use(what string) {
	if !slices.Contains(w.uses, what) {
		w.uses = append(w.uses, what)
	}
}

func (w *writer) one(n int) bool { return w.r.IntN(n) == 0 }

// column reads one, in SQL as %s.
func (w *writer) column(name, how string) expression {
	row := pick(w.r, w.rows)
	if !slices.Contains(w.seen, name) {
		w.seen = append(w.seen, name)
	}
	text := row + "." + name
	if w.one(6) {
		text = row + "[" + quoteJSON(name) + "]"
	}
	return expression{text, "(" + fmt.Sprintf(how, row[:1]+`."`+name+`"`) + ")"}
}

func (w *writer) join(a expression, operator string, b expression, sql string) expression {
	w.use(operator)
	return expression{"(" + a.text + " " + operator + " " + b.text + ")", fmt.Sprintf(sql, a.sql, b.sql)}
}

func (w *writer) call(name string, sql string, args ...expression) expression {
	w.use(name)
	var texts []string
	var sqls []any
	for _, a := range args {
		texts, sqls = append(texts, a.text), append(sqls, a.sql)
	}
	return expression{name + "(" + strings.Join(texts, ", ") + ")", fmt.Sprintf(sql, sqls...)}
}

// number is exact, or a float8: PostgreSQL decides by types which it is, and so does not
// take apart what ?? and min choose from.
func (w *writer) number(depth int, float bool) expression {
	if depth <= 0 || w.one(4) {
		switch {
		case float:
			name := pick(w.r, []string{"f8", "f4"})
			return w.column(name, map[string]string{"f8": "%s", "f4": "%s::text::float8"}[name])
		case w.one(4):
			s := pick(w.r, []string{"0", "1", "2", "9.99", "10", "1.50", "100", "9007199254740993", "0.1"})
			return expression{s, "'" + s + "'::numeric"}
		}
		return w.column(pick(w.r, []string{"i2", "i4", "i8", "num", "price", "dom"}), "%s::numeric")
	}
	sub := func() expression { return w.number(depth-1, float) }
	switch w.r.IntN(11) {
	case 0, 1, 2:
		op := pick(w.r, []string{"+", "-", "*"})
		a, b := sub(), w.number(depth-1, float && w.one(2))
		return w.join(a, op, b, "(%s "+op+" %s)")
	case 3:
		s := pick(w.r, []string{"2", "3", "10", "0.5", "7"})
		return w.join(sub(), "/", expression{s, "'" + s + "'::numeric"}, "(%s / %s)")
	case 4:
		if float {
			return sub()
		}
		s := pick(w.r, []string{"2", "3", "7", "10"})
		return w.join(w.column(pick(w.r, []string{"i2", "i4"}), "%s::int8"), "%", expression{s, s}, "(%s %% %s)::numeric")
	case 5:
		return w.join(sub(), "??", sub(), "coalesce(%s, %s)")
	case 6:
		return w.call("abs", "abs(%s)", sub())
	case 7:
		name := pick(w.r, []string{"min", "max"})
		return w.call(name, "case when %[1]s is not null and %[2]s is not null then "+map[string]string{"min": "least", "max": "greatest"}[name]+"(%[1]s, %[2]s) end", sub(), sub())
	case 8:
		if float {
			return w.call("float", "(%s)::float8", w.number(depth-1, false))
		}
		return w.call("len", "char_length(%s)::numeric", w.text(depth-1))
	case 9:
		w.use("-x")
		a := sub()
		return expression{"(-" + a.text + ")", "(- " + a.sql + ")"}
	}
	w.use("?:")
	c, a, b := w.condition(depth-1), sub(), sub()
	return expression{"(" + c.text + " ? " + a.text + " : " + b.text + ")", "case when " + c.sql + " then " + a.sql + " else " + b.sql + " end"}
}

func (w *writer) text(depth int) expression {
	const c = `%s::text collate "C"`
	if depth <= 0 || w.one(3) {
		if w.one(4) {
			// Compared with char(n) alone a constant is one too, and its spaces at the end don't count.
			s := strings.TrimRight(pick(w.r, words), " ")
			return expression{quoteJSON(s), quote(s) + `::text collate "C"`}
		}
		return w.column(pick(w.r, []string{"txt", "vc", "ch", "mood"}), c)
	}
	sub := func() expression { return w.text(depth - 1) }
	switch w.r.IntN(7) {
	case 0:
		return w.call("lower", "replace(lower(%s), 'É', 'é')", sub())
	case 1:
		return w.call("upper", "replace(upper(%s), 'é', 'É')", sub())
	case 2:
		return w.call("trim", "btrim(%s)", sub())
	case 3:
		return w.join(sub(), "+", sub(), "(%s || %s)")
	case 4:
		return w.join(sub(), "??", sub(), "coalesce(%s, %s)")
	case 5:
		name := pick(w.r, []string{"i2", "i8", "num", "price"})
		return w.call("string", `(%s)::text collate "C"`, w.column(name, "%s"))
	}
	w.use("?:")
	k, a, b := w.condition(depth-1), sub(), sub()
	return expression{"(" + k.text + " ? " + a.text + " : " + b.text + ")", "case when " + k.sql + " then " + a.sql + " else " + b.sql + " end"}
}

var durations = []expression{{"90m", "90 minutes"}, {"36h", "36 hours"}, {"3d", "72 hours"}, {"1s", "1 second"}, {"0.5s", "0.5 seconds"}, {"-24h", "-24 hours"}, {"0s", "0"}}

// moment is in UTC.
func (w *writer) moment(depth int) expression {
	if depth <= 0 || w.one(3) {
		switch w.r.IntN(5) {
		case 0:
			w.use("now")
			return expression{"now()", "timestamp '2026-01-31 10:00:00'"}
		case 1:
			s := pick(w.r, []string{"2026-01-31", "2026-01-31 10:00", "2025-12-31T23:59:59.999999Z", "2026-02-01T05:30:00+05:30", "infinity"})
			w.use("date")
			return expression{`date("` + s + `")`, "(timestamptz '" + s + "' at time zone 'UTC')"}
		}
		name := pick(w.r, []string{"d", "ts", "tz"})
		return w.column(name, map[string]string{"d": "%s::timestamp", "ts": "%s", "tz": "%s at time zone 'UTC'"}[name])
	}
	d := pick(w.r, durations)
	by := expression{`duration("` + d.text + `")`, "interval '" + d.sql + "'"}
	w.use("duration")
	op := pick(w.r, []string{"+", "-"})
	return w.join(w.moment(depth-1), op, by, "(%s "+op+" %s)")
}

// condition is true or false, never NULL.
func (w *writer) condition(depth int) expression {
	if depth > 0 && w.one(3) {
		switch w.r.IntN(3) {
		case 0:
			return w.join(w.condition(depth-1), pick(w.r, []string{"&&", "and"}), w.condition(depth-1), "(%s and %s)")
		case 1:
			return w.join(w.condition(depth-1), pick(w.r, []string{"||", "or"}), w.condition(depth-1), "(%s or %s)")
		}
		w.use("!")
		a := w.condition(depth - 1)
		return expression{"!(" + a.text + ")", "(not " + a.sql + ")"}
	}
	compare := func(a, b expression) expression {
		ops := []string{"==", "!=", "<", "<=", ">", ">="}
		if strings.Contains(a.sql+b.sql, `."mood"`) { // an enum is equal or not
			ops = ops[:2]
		}
		switch op := pick(w.r, ops); op {
		case "==":
			return w.join(a, op, b, "(%s is not distinct from %s)")
		case "!=":
			return w.join(a, op, b, "(%s is distinct from %s)")
		default:
			return w.join(a, op, b, "coalesce(%s "+op+" %s, false)")
		}
	}
	switch w.r.IntN(16) {
	case 0, 1, 2:
		return compare(w.number(depth, false), w.number(depth, false))
	case 3:
		return compare(w.number(depth, true), w.number(depth, w.one(2)))
	case 4, 5:
		return compare(w.text(depth), w.text(depth))
	case 6, 7:
		return compare(w.moment(depth), w.moment(depth))
	case 8:
		// Times apart: PostgreSQL has no difference of what is infinite.
		a, b, d := w.column("ts", "%s"), w.column("tz", "%s at time zone 'UTC'"), pick(w.r, durations)
		w.use("t - t")
		finite := func(x expression) string {
			return "(" + x.text + ` < date("9999-01-01") && ` + x.text + ` > date("0001-01-01"))`
		}
		return expression{
			"(" + finite(a) + " && " + finite(b) + " && " + a.text + " - " + b.text + ` > duration("` + d.text + `"))`,
			fmt.Sprintf("coalesce(case when isfinite(%[1]s) and isfinite(%[2]s) and %[1]s < '9999-01-01' and %[2]s < '9999-01-01' and %[1]s > '0001-01-01' and %[2]s > '0001-01-01' then %[1]s - %[2]s > interval '%[3]s' end, false)", a.sql, b.sql, d.sql),
		}
	case 9:
		w.use("nil")
		x := pick(w.r, []func() expression{func() expression { return w.number(depth, false) }, func() expression { return w.text(depth) }, func() expression { return w.moment(depth) }})()
		if w.one(2) {
			return expression{"(" + x.text + " == nil)", "(" + x.sql + " is null)"}
		}
		return expression{"(nil != " + x.text + ")", "(" + x.sql + " is not null)"}
	case 10:
		name := pick(w.r, []string{"contains", "startsWith", "endsWith"})
		how := map[string]string{
			"contains": "coalesce(strpos(%s, %s) > 0, false)", "startsWith": "coalesce(starts_with(%s, %s), false)",
			"endsWith": "coalesce(right(%[1]s, char_length(%[2]s)) = %[2]s, false)",
		}[name]
		return w.join(w.text(depth), name, w.text(depth), how)
	case 11:
		p := pick(w.r, patterns)
		return w.join(w.text(depth), "matches", expression{quoteJSON(p), quote(p)}, "coalesce(%s ~ %s, false)")
	case 12:
		x := w.number(depth, false)
		return w.join(x, pick(w.r, []string{"in", "not in"}), expression{"[0, 1, 9.99, 100]", "(0, 1, 9.99, 100)"}, "coalesce(%s in %s, false)").negatedIn()
	case 13:
		w.use("bool")
		return w.column("flag", "coalesce(%s, false)")
	case 14:
		return w.loop()
	}
	if len(w.rows) == 2 {
		name := pick(w.r, []string{"i4", "num", "txt", "tz", "flag", "body"})
		w.use("changed")
		if !slices.Contains(w.seen, name) {
			w.seen = append(w.seen, name)
		}
		return expression{"changed(" + quoteJSON(name) + ")", fmt.Sprintf(`(n."%[1]s" is distinct from o."%[1]s")`, name)}
	}
	return w.column("flag", "coalesce(%s, false)")
}

// negatedIn puts the "not" of "not in" where SQL has none that suits NULL.
func (e expression) negatedIn() expression {
	if strings.Contains(e.text, " not in [0, 1, 9.99, 100])") && strings.HasSuffix(e.text, " not in [0, 1, 9.99, 100])") {
		e.sql = "(not " + e.sql + ")"
	}
	return e
}

// loop asks for the elements of a list.
func (w *writer) loop() expression {
	name := pick(w.r, []string{"ta", "ia", "na"})
	list := w.column(name, "%s")
	test := map[string][]expression{
		"ta": {{`# == "a"`, "e = 'a'"}, {`# startsWith "a"`, "starts_with(e, 'a')"}, {`# != nil`, "e is not null"}, {`len(#) > 1`, "char_length(e) > 1"}},
		"ia": {{`# > 1`, "e > 1"}, {`# == 2`, "e = 2"}, {`# == nil`, "e is null"}, {`# + 1 >= new.i4 + 1`, ""}},
		"na": {{`# >= 1`, "e >= 1"}, {`# == 2.50`, "e = 2.50"}, {`# * 2 == 5`, "e * 2 = 5"}},
	}[name]
	t := pick(w.r, test)
	if t.sql == "" {
		row := w.rows[0]
		t = expression{"# + 1 >= " + row + ".i4", "e::int8 + 1 >= " + row[:1] + ".i4"}
		w.seen = append(w.seen, "i4")
	}
	count := "(select count(*) from unnest(" + list.sql + ") e where coalesce(" + t.sql + ", false))"
	size := "coalesce(cardinality(" + list.sql + "), 0)"
	word := pick(w.r, []string{"any", "all", "none", "one", "count"})
	w.use(word + "()")
	text := word + "(" + list.text + ", " + t.text + ")"
	switch word {
	case "any":
		return expression{text, "(" + count + " > 0)"}
	case "all":
		return expression{text, "(" + count + " = " + size + ")"}
	case "none":
		return expression{text, "(" + count + " = 0)"}
	case "one":
		return expression{text, "(" + count + " = 1)"}
	}
	return expression{"(" + text + " > 1)", "(" + count + " > 1)"}
}

// TestExpressions compares expressions with the server. A case is one expression,
// compared on all rows of its round.
func TestExpressions(t *testing.T) {
	t.Parallel()
	r := random(t)
	s := newServer(t)
	most, until := limit(t, suiteExpressions), time.Now().Add(long(t))
	by, cases, comparisons := tally{}, 0, 0
	for cases < most && (long(t) == 0 || time.Now().Before(until)) {
		events := s.changes(r, suiteRows)
		for _, o := range operations {
			if o.before {
				continue
			}
			e := &evaluator{}
			var texts, sqls []string
			var bounds []*condition.Bound
			var uses, seen [][]string
			for range min(20, most-cases) {
				w := &writer{r: r, rows: map[change.Op][]string{change.Create: {"new"}, change.Update: {"new", "old"}, change.Delete: {"old"}}[o.op]}
				x := w.condition(1 + r.IntN(3))
				if strings.HasPrefix(x.text, "(now()") || len(w.seen) == 0 {
					continue // it reads nothing
				}
				config, err := json.Marshal(map[string]string{"expression": x.text})
				if err != nil {
					t.Fatal(err)
				}
				f, err := condition.Parse(condition.Source{Conditions: []workflow.Condition{{Type: "expression", Config: config}}})
				if err != nil {
					t.Fatalf("%s: %v", x.text, err)
				}
				b, err := e.cache.Bind(f, events[o.op][0].Relation, captured, o.op)
				if err != nil {
					t.Fatalf("%s: %v", x.text, err)
				}
				texts, sqls, bounds = append(texts, x.text), append(sqls, x.sql), append(bounds, b)
				uses, seen = append(uses, w.uses), append(seen, w.seen)
			}
			if len(sqls) == 0 {
				continue
			}
			want := s.answers(o.from, o.row, sqls)
			for n, b := range bounds {
				cases++
				for i := range events[o.op] {
					ev := &events[o.op][i]
					e.load(ev)
					got, err := b.Eval(&e.env)
					if err != nil || got != want[ev.id][n] {
						t.Fatalf("difference in case %d, after %d comparisons: %s %s\nis %v (%v), the server says %v of\n%s\non\n%s",
							cases, comparisons, o.name, texts[n], got, err, want[ev.id][n], sqls[n], describe(ev, seen[n]))
					}
					comparisons++
					for _, u := range uses[n] {
						by.add(u, got)
					}
				}
			}
		}
	}
	t.Logf("%d expressions, %d comparisons\n%s", cases, comparisons, by)
	if cases >= suiteExpressions {
		least := 0
		if long(t) > 0 {
			least = leastOfEach
		}
		by.check(t, least)
	}
}
