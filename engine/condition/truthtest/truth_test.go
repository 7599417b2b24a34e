package truthtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const (
	suiteCases  = 2400 // conditions in the suite
	suiteRows   = 40   // that a condition is evaluated on
	leastOfEach = 500  // comparisons of an operator or type in a long run
)

// limit is how many cases a test looks at: ROWBELL_TRUTH_CASES, or none in a long run.
func limit(t *testing.T, suite int) int {
	if s := os.Getenv("ROWBELL_TRUTH_CASES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("ROWBELL_TRUTH_CASES=%q: want a number", s)
		}
		return n
	}
	if long(t) > 0 {
		return 1 << 60
	}
	return suite
}

// tally counts comparisons by operator and by type.
type tally map[string]*count

type count struct{ yes, no int }

func (t tally) add(key string, answer bool) {
	c := t[key]
	if c == nil {
		c = &count{}
		t[key] = c
	}
	if answer {
		c.yes++
	} else {
		c.no++
	}
}

func (t tally) String() string {
	var keys []string
	for k := range t {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%-26s %9d comparisons, %9d true, %9d false\n", k, t[k].yes+t[k].no, t[k].yes, t[k].no)
	}
	return b.String()
}

// check insists on enough of each key, and that both answers came.
func (t tally) check(tt *testing.T, least int) {
	tt.Helper()
	for k, c := range t {
		if c.yes+c.no < least {
			tt.Errorf("%s was compared %d times, want %d", k, c.yes+c.no, least)
		}
		if c.yes == 0 || c.no == 0 {
			tt.Errorf("%s was %d times true and %d times false", k, c.yes, c.no)
		}
	}
}

// conditionCase is a condition with what the server is to say of it.
type conditionCase struct {
	node  node
	json  string
	bound *condition.Bound
}

// bind reads it as field_conditions of a trigger, or as a condition of the workflow.
func bind(t *testing.T, e *evaluator, r *rand.Rand, text string, rel *change.Relation, op change.Op, firing workflow.Firing) *condition.Bound {
	t.Helper()
	src := condition.Source{Trigger: workflow.Trigger{FieldConditions: json.RawMessage(text)}, Firing: firing}
	if one(r, 3) {
		src = condition.Source{Conditions: []workflow.Condition{{Type: "field_value", Config: json.RawMessage(text)}}, Firing: firing}
	}
	f, err := condition.Parse(src)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	b, err := e.cache.Bind(f, rel, captured, op)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return b
}

// doomed says that a condition was bound with the warning that it never holds.
func doomed(c conditionCase) bool {
	single := false // its comparisons are joined by "and"
	switch n := c.node.(type) {
	case *atom:
		single = true
	case *object:
		single = len(n.groups) == 0
	}
	return slices.ContainsFunc(c.bound.Warnings(), func(w *condition.Error) bool {
		return strings.Contains(w.Message, "this can never hold") || strings.Contains(w.Message, "the trigger never fires") ||
			single && strings.Contains(w.Message, "never hold together")
	})
}

// TestConditions compares conditions with the server. A case is one condition, compared
// on all rows of its round.
func TestConditions(t *testing.T) {
	t.Parallel()
	r := random(t)
	s := newServer(t)
	most, until := limit(t, suiteCases), time.Now().Add(long(t))
	by, cases, comparisons, warned := tally{}, 0, 0, 0
	for cases < most && (long(t) == 0 || time.Now().Before(until)) {
		events := s.changes(r, suiteRows)
		for _, o := range operations {
			g := &generator{r: r, columns: s.columns, changes: o.op == change.Update && !o.before}
			firing := workflow.Every
			if o.before {
				firing = workflow.BecomesTrue
			}
			e := &evaluator{}
			var list []conditionCase
			var expressions []string
			add := func(n node) {
				text := n.json()
				list = append(list, conditionCase{n, text, bind(t, e, r, text, events[o.op][0].Relation, o.op, firing)})
				expressions = append(expressions, n.sql(o.row))
			}
			for range 12 {
				add(g.comparison())
			}
			for range 8 {
				add(g.condition(0))
			}
			if left := most - cases; len(list) > left {
				list, expressions = list[:left], expressions[:left]
			}
			if len(list) == 0 {
				break
			}
			want := s.answers(o.from, o.row, expressions)
			for n, c := range list {
				cases++
				never := doomed(c)
				if never {
					warned++
				}
				for i := range events[o.op] {
					ev := &events[o.op][i]
					e.load(ev)
					eval := c.bound.Eval
					if o.before {
						eval = c.bound.EvalBefore
					}
					got, err := eval(&e.env)
					if err != nil || got != want[ev.id][n] {
						t.Fatalf("difference in case %d, after %d comparisons: %s %s\nis %v (%v), the server says %v of\n%s\non\n%s",
							cases, comparisons, o.name, c.json, got, err, want[ev.id][n], expressions[n], describe(ev, columnsOf(c.node)))
					}
					if never && got {
						t.Fatalf("difference in case %d: %s %s holds on\n%s\nand there is a warning that it can't: %v",
							cases, o.name, c.json, describe(ev, columnsOf(c.node)), c.bound.Warnings())
					}
					comparisons++
					counted(by, c.node, o.name, got)
				}
			}
		}
	}
	if s.unsent == 0 && cases >= suiteCases {
		t.Error("no update left out a large value")
	}
	t.Logf("%d conditions, %d comparisons; of %d conditions there was a warning that they never hold\n%s", cases, comparisons, warned, by)
	least := 0
	if long(t) > 0 {
		least = leastOfEach
	}
	if cases >= suiteCases {
		by.check(t, least)
		complete(t, by, s.columns)
	}
}

// counted counts a comparison of a condition. What several comparisons answer together
// counts for the group only.
func counted(by tally, n node, op string, answer bool) {
	by.add("operation "+op, answer)
	switch n := n.(type) {
	case *atom:
		by.add("operator "+n.operator, answer)
		by.add("type "+n.column.kind, answer)
	case *group:
		word := n.word
		if word == "" {
			word = "list"
		}
		by.add("group "+word, answer)
	case *object:
		by.add("several columns or groups", answer)
	}
}

// complete insists that every operator and type was compared.
func complete(t *testing.T, by tally, columns []*column) {
	t.Helper()
	for _, c := range columns {
		if by["type "+c.kind] == nil {
			t.Errorf("type %s was not compared", c.kind)
		}
		for _, op := range append([]string{anyChanged}, c.operators...) {
			if by["operator "+op] == nil {
				t.Errorf("operator %s was not compared", op)
			}
		}
	}
}

func columnsOf(n node) []string {
	var names []string
	for _, a := range n.atoms() {
		for _, c := range append([]*column{a.column}, a.of...) {
			if !slices.Contains(names, c.name) {
				names = append(names, c.name)
			}
		}
	}
	return names
}
