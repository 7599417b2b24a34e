package condition

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// docCase is one example of docs/conditions.md: a condition and a row for which it
// holds, or doesn't.
type docCase struct {
	line         int
	kind, config string
	old, new     string // JSON; old is "" for an insert
	at           time.Time
	actor        any
	want         bool
}

// docPiece finds rows, times and actors, and the words before them.
var docPiece = regexp.MustCompile("`([^`]*)`|\\. ?Not (for|at|by)|^Not (for|at|by)|Holds (?:for|at|by)|Passed on by|\\bat\\b|\\bby\\b")

// readDoc returns the examples, and the page's SQL.
func readDoc(t *testing.T) (cases []docCase, sql string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/conditions.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(page), "\n")
	for i := 0; i < len(lines); i++ {
		info, ok := strings.CutPrefix(lines[i], "```")
		if !ok {
			continue
		}
		var block []string
		for i++; lines[i] != "```"; i++ {
			block = append(block, lines[i])
		}
		text := strings.Join(block, "\n")
		_, kind, ok := strings.Cut(info, " ")
		if !ok {
			if info == "sql" && sql == "" {
				sql = text
			}
			continue
		}
		config := text
		if kind == "expression" {
			b, _ := json.Marshal(map[string]string{"expression": text})
			config = string(b)
		}
		first := i + 2
		var prose []string
		for i+1 < len(lines) && lines[i+1] != "" {
			i++
			prose = append(prose, lines[i])
		}
		cases = append(cases, readExamples(t, first, kind, config, strings.Join(prose, " "))...)
	}
	return cases, sql
}

// readExamples reads what stands below a condition.
func readExamples(t *testing.T, line int, kind, config, prose string) []docCase {
	t.Helper()
	_, rest, ok := strings.Cut(prose, "Holds ")
	if ok {
		rest = "Holds " + rest
	} else if _, rest, ok = strings.Cut(prose, "Passed on "); ok {
		rest = "Passed on " + rest
	} else {
		t.Fatalf("docs/conditions.md:%d: nothing says for what %s holds", line, config)
	}
	var cases []docCase
	c := docCase{line: line, kind: kind, config: config, new: "{}", want: true}
	pending, expect := false, ""
	flush := func() {
		if pending {
			cases = append(cases, c)
		}
		pending = false
		c.old, c.new, c.at, c.actor = "", "{}", time.Time{}, nil
	}
	for _, m := range docPiece.FindAllString(rest, -1) {
		switch {
		case strings.Contains(m, "Not "):
			flush()
			c.want, expect = false, m[strings.LastIndex(m, " ")+1:]
		case strings.HasPrefix(m, "Holds"), strings.HasPrefix(m, "Passed"):
			expect = m[strings.LastIndex(m, " ")+1:]
		case m == "at" || m == "by":
			if !pending && expect == "for" {
				t.Fatalf("docs/conditions.md:%d: %q stands before any row", line, m)
			}
			if expect == "for" {
				expect = "+" + m
			}
		default:
			text := strings.Trim(m, "`")
			what := strings.TrimPrefix(expect, "+")
			if !strings.HasPrefix(text, "{") && text != "null" && !strings.HasPrefix(text, "20") {
				continue // code in the prose
			}
			if !strings.HasPrefix(expect, "+") {
				flush()
			}
			switch what {
			case "at":
				at, err := time.Parse(time.RFC3339, text)
				if err != nil {
					t.Fatalf("docs/conditions.md:%d: %v", line, err)
				}
				c.at = at
			case "by":
				if err := json.Unmarshal([]byte(text), &c.actor); err != nil {
					t.Fatalf("docs/conditions.md:%d: %s: %v", line, text, err)
				}
			default:
				c.new = text
				if old, now, ok := strings.Cut(text, " → "); ok {
					c.old, c.new = old, now
				}
			}
			pending = true
			if strings.HasPrefix(expect, "+") {
				expect = "for"
			}
		}
	}
	flush()
	return cases
}

// TestDocumented runs every example of docs/conditions.md on rows that the server made.
func TestDocumented(t *testing.T) {
	cases, sql := readDoc(t)
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, pgtest.DB(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatal(err)
	}
	rel := documentedTable(t, conn)
	table := &workflow.Table{Schema: "public", Name: "orders", Label: "orders", TenantColumn: "tenant_id", KeyColumns: []string{"id"}}
	both := map[string]int{}
	for _, c := range cases {
		ev := change.Event{Op: change.Create, Relation: rel, New: documentedRow(t, conn, rel, c.line, c.new)}
		if c.old != "" {
			ev.Op, ev.Old = change.Update, documentedRow(t, conn, rel, c.line, c.old)
		}
		src := Source{Conditions: []workflow.Condition{{Type: c.kind, Config: json.RawMessage(c.config)}}}
		f, err := Parse(src)
		if err != nil {
			t.Errorf("docs/conditions.md:%d: %v", c.line, err)
			continue
		}
		b, err := f.Bind(rel, table, ev.Op)
		if err != nil {
			t.Errorf("docs/conditions.md:%d: %v", c.line, err)
			continue
		}
		if len(b.Warnings()) > 0 {
			t.Errorf("docs/conditions.md:%d: an example has the warning %v", c.line, b.Warnings()[0])
		}
		var env Env
		env.Load(&ev, &Context{CommittedAt: c.at, Actor: c.actor})
		got, err := b.Eval(&env)
		if err != nil || got != c.want {
			t.Errorf("docs/conditions.md:%d: %s is %v (%v) for %s %s at %v by %v", c.line, c.config, got, err, c.old, c.new, c.at, c.actor)
		}
		both[fmt.Sprint(c.line, c.want)]++
	}
	t.Logf("%d examples", len(cases))
	documented(t, cases, both)
}

// documented says what has no example, or none of both kinds.
func documented(t *testing.T, cases []docCase, both map[string]int) {
	t.Helper()
	var all strings.Builder
	for _, c := range cases {
		fmt.Fprintf(&all, "%s %s\n", c.kind, c.config)
		byDirectory := strings.Contains(c.config, `"directory"`)
		if !byDirectory && (both[fmt.Sprint(c.line, true)] == 0 || both[fmt.Sprint(c.line, false)] == 0) {
			t.Errorf("docs/conditions.md:%d: it shows only one side", c.line)
		}
	}
	text := all.String()
	for _, op := range operators {
		if !strings.Contains(text, `"`+op+`"`) {
			t.Errorf("operator %s has no example", op)
		}
	}
	keys := slices.Concat(timedKeys, []string{anyChanged, "any", "all", "not", "field", "roles", "all_roles", "not_roles", "actors", "not_actors", "attributes", "by"})
	for _, key := range keys {
		if !strings.Contains(text, `"`+key+`":`) {
			t.Errorf("key %s has no example", key)
		}
	}
	for name := range strings.SplitSeq(functionNames, ", ") {
		if !regexp.MustCompile(`\b` + name + `\(`).MatchString(text) {
			t.Errorf("function %s has no example", name)
		}
	}
	for _, kind := range conditionTypes {
		if !strings.Contains(text, kind+" {") {
			t.Errorf("condition_type %s has no example", kind)
		}
	}
}

// documentedTable describes orders as the stream would.
func documentedTable(t *testing.T, conn *pgx.Conn) *change.Relation {
	t.Helper()
	rel, err := cdc.Describe(t.Context(), conn, "public", "orders")
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

// documentedRow lets the server make a row of orders out of JSON.
func documentedRow(t *testing.T, conn *pgx.Conn, rel *change.Relation, line int, text string) change.Row {
	t.Helper()
	columns := make([]string, len(rel.Columns))
	for i, c := range rel.Columns {
		columns[i] = fmt.Sprintf("case when %[1]s is not null then format('%%s', %[1]s) end", c.Name) // as the stream has it: t, not true
	}
	rows, err := conn.Query(t.Context(), "select "+strings.Join(columns, ", ")+" from json_populate_record(null::orders, $1)", text)
	if err != nil {
		t.Fatalf("docs/conditions.md:%d: %s: %v", line, text, err)
	}
	got, err := pgx.CollectExactlyOneRow(rows, func(r pgx.CollectableRow) ([]any, error) { return r.Values() })
	if err != nil {
		t.Fatalf("docs/conditions.md:%d: %s: %v", line, text, err)
	}
	return row(got...)
}
