package condition

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// anyForm writes a random form of every shape that there is.
func anyForm(r *rand.Rand, depth int) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	column := func() string { return pick("status", "total", "due", "odd name", "in", "café", "a_b1") }
	value := func() string {
		return pick(`"a"`, `"x \"y\" \\ \n é (b) && row.c == 1"`, `1`, `-2.50`, `1e3`, `123456789012345678901234567890`, `true`, `false`, `"2026-01-31"`, `""`)
	}
	list := func() string { return pick(`[`+value()+`]`, `[`+value()+`,`+value()+`]`) }
	operator := func() string {
		switch op := pick("eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "contains", "starts_with", "matches", "is_null", "not_null", "between", "changed", "changed_from", "changed_to"); op {
		case "in", "not_in":
			return fmt.Sprintf("%q:%s", op, list())
		case "starts_with", "matches":
			return fmt.Sprintf("%q:%s", op, pick(`"a"`, `"^b+$"`, `"\\d"`))
		case "is_null", "not_null", "changed":
			return fmt.Sprintf("%q:%s", op, pick("true", "false"))
		case "between":
			return fmt.Sprintf("%q:[%s,%s]", op, value(), value())
		case "changed_from", "changed_to":
			return fmt.Sprintf("%q:%s", op, pick(value(), list(), "null"))
		case "eq", "ne":
			return fmt.Sprintf("%q:%s", op, pick(value(), value(), "null", `["a"]`, `{"k":[1,null]}`))
		default:
			return fmt.Sprintf("%q:%s", op, value())
		}
	}
	if depth < 3 && r.IntN(12) == 0 {
		return fmt.Sprintf("[%s,%s]", anyForm(r, depth+1), anyForm(r, depth+1))
	}
	if r.IntN(12) == 0 {
		return fmt.Sprintf(`{"field":%q,"operator":"eq","value":%s}`, pick("any", "not", "status"), value())
	}
	var members []string
	used := map[string]bool{}
	for range r.IntN(4) {
		c := column()
		if used[c] {
			continue
		}
		used[c] = true
		switch r.IntN(3) {
		case 0:
			members = append(members, fmt.Sprintf("%q:%s", c, pick(value(), "null")))
		case 1:
			members = append(members, fmt.Sprintf("%q:{%s}", c, operator()))
		default:
			one, two := operator(), operator()
			if strings.SplitN(one, ":", 2)[0] == strings.SplitN(two, ":", 2)[0] {
				two = `"ne":"zz"`
				if strings.HasPrefix(one, `"ne"`) {
					two = `"eq":"zz"`
				}
			}
			members = append(members, fmt.Sprintf("%q:{%s,%s}", c, one, two))
		}
	}
	if r.IntN(6) == 0 {
		members = append(members, pick(`"any_changed":["status"]`, `"any_changed":["status","odd name"]`))
	}
	for _, group := range []string{"any", "all", "not"} {
		if depth >= 3 || r.IntN(5) > 0 {
			continue
		}
		if group == "not" {
			members = append(members, `"not":`+anyForm(r, depth+1))
			continue
		}
		g := anyForm(r, depth+1)
		for range r.IntN(3) {
			g += "," + anyForm(r, depth+1)
		}
		members = append(members, fmt.Sprintf("%q:[%s]", group, g))
	}
	r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return "{" + strings.Join(members, ",") + "}"
}

// written returns the expression of one condition.
func written(t *testing.T, kind, config string) string {
	t.Helper()
	f, err := Parse(Source{Conditions: []workflow.Condition{{Type: kind, Config: json.RawMessage(config)}}})
	if err != nil {
		t.Fatalf("%s: %v", config, err)
	}
	return f.Expressions()[0]
}

// TestFromExpression writes forms as expressions, and reads them back.
func TestFromExpression(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	back := func(kind, config string) {
		t.Helper()
		text := written(t, kind, config)
		gotKind, got, ok := FromExpression(text)
		if !ok {
			t.Fatalf("%s\nwrote %s\nwhich can't be read back", config, text)
		}
		if gotKind != kind && text != "true" {
			t.Fatalf("%s wrote %s, which was read back as %s", config, text, gotKind)
		}
		if again := written(t, gotKind, string(got)); again != text {
			t.Fatalf("%s\nwrote      %s\nread as %s\nwhich writes %s", config, text, got, again)
		}
	}
	for range 5000 {
		if form := anyForm(r, 0); form != "{}" && form != "[]" {
			back("field_value", form)
		}
	}
	for _, config := range []string{
		`{"days":["mon","fri"]}`,
		`{"zone":"Europe/Berlin","hours":{"from":"09:00","to":"17:30"}}`,
		`{"zone":"Europe/Berlin","hours":[{"from":"22:00","to":"06:00"},{"from":"12:00","to":"13:00"}]}`,
		`{"dates":{"from":"2026-01-01"}}`,
		`{"dates":{"to":"2026-01-01"}}`,
		`{"dates":[{"from":"2026-01-01","to":"2026-02-01"},{"from":"2027-01-01"}]}`,
		`{"holidays":["12-25"]}`,
		`{"holidays":["2026-04-03","12-25","01-01"],"on_holidays":true}`,
		`{"zone":"America/New_York","days":["sat"],"hours":{"from":"00:00","to":"24:00"},"dates":[{"to":"2027-01-01"}],"holidays":["2026-04-03"],"column":"due","within":"3d"}`,
		`{"column":"due","within_last":"2w"}`,
		`{"column":"odd name","older_than":"30d"}`,
		`{"column":"due","further_than":"1d","within":"9d"}`,
		`{"column":"created_at","within":"36h"}`,
		`{"column":"created_at","older_than":"90m"}`,
		`{"zone":"Asia/Tokyo","column":"created_at","further_than":"1h30m","within":"5d"}`,
	} {
		back("time_based", config)
	}
	for _, config := range []string{
		`{"roles":["a","b"]}`, `{"all_roles":["a","b"]}`, `{"not_roles":["a"]}`, `{"actors":["a"]}`, `{"not_actors":["a","b"]}`,
		`{"attributes":{"level":{"gte":3},"any":[{"vip":true},{"team":null}]}}`,
		`{"roles":["a"],"all_roles":["b","c"],"not_roles":["d"],"actors":["e"],"not_actors":["f"],"attributes":{"level":3}}`,
	} {
		back("role_based", config)
	}
	for _, text := range []string{
		`new.total > 1`, `row.total > 1 or row.total < 0`, `row.total>1`, `row.total > 1 `, ` row.total > 1`, `row.total > 1 && new.x == 1`,
		`row.total > row.limit`, `lower(row.status) == "a"`, `weekday(now(), "UTC") in ["mon"] && clock(now(), "Europe/Berlin") >= "09:00"`,
		`daysUntil(row.due, "UTC") >= 0`, `daysUntil(row.due, "UTC") >= 0 && daysUntil(row.due, "UTC") <= three`, `"a" in actor.rolls`, ``, `(`, `((((((((`,
		strings.Repeat("(", 5000), strings.Repeat("!(", 5000),
	} {
		if kind, got, ok := FromExpression(text); ok {
			t.Errorf("%q is no form, but was read as %s %s", text, kind, got)
		}
	}
}

func FuzzFromExpression(f *testing.F) {
	f.Add(`row.status == "a" && (row.total > 1 || changed("x"))`)
	f.Add(`((row.a == 1) || (row.b in [1, 2]))`)
	f.Fuzz(func(t *testing.T, text string) {
		kind, config, ok := FromExpression(text)
		if ok && written(t, kind, string(config)) != text {
			t.Errorf("%q was read as %s", text, config)
		}
	})
}
