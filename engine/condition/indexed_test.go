package condition

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// ordered are values of each type in their order; those that a line has are equal or
// too close to be told apart.
var ordered = map[change.Type][]string{
	{Kind: change.Int, Name: "int8"}: {"-9223372036854775808", "-9223372036854775807", "-2", "-1", "0", "1", "9007199254740993", "9223372036854775807"},
	{Kind: change.Number, Name: "numeric"}: {
		"-Infinity", "-1" + zeros(400), "-1" + zeros(308), "-9" + zeros(307), "-1.5", "-0.00000000000000000000000001", "0", "0." + zeros(500) + "1", "0.1", "0.10000000000000000000000000000001",
		"1", "9007199254740992", "9007199254740993", "9" + zeros(307), "1" + zeros(308), "2" + zeros(308), "1" + zeros(400), "Infinity", "NaN",
	},
	{Kind: change.Float, Name: "float8"}:   {"-Infinity", "-1.7976931348623157e+308", "-1", "-5e-324", "0", "5e-324", "1", "1.0000000000000002", "1.7976931348623157e+308", "Infinity", "NaN"},
	{Kind: change.Date, Name: "date"}:      {"-infinity", "4713-11-24 BC", "0001-12-31 BC", "0001-01-01", "1969-12-31", "1970-01-01", "2026-01-31", "2026-02-01", "5874897-12-31", "infinity"},
	{Kind: change.Timestamp, Name: "t"}:    {"-infinity", "4713-01-01 00:00:00 BC", "1969-12-31 23:59:59.999999", "1970-01-01 00:00:00", "2026-01-31 10:00:00", "2026-01-31 10:00:00.000001", "294276-12-31 23:59:59.999999", "infinity"},
	{Kind: change.TimestampTZ, Name: "tz"}: {"-infinity", "2026-01-31 10:00:00+02", "2026-01-31 09:00:00+00", "2026-01-31 09:00:00.5+00", "2026-01-31 09:00:00.5-00:30", "infinity"},
	{Kind: change.Time, Name: "time"}:      {"00:00:00", "00:00:00.000001", "10:00:00", "23:59:59.999999", "24:00:00"},
	{Kind: change.Text, Name: "text"}:      {"", "\x01", "A", "a", "a\x01", "aaaaaaaa", "aaaaaaaab", "aaaaaaab", "ab", "ä", "\U0010ffff"},
	{Kind: change.Text, Name: "bpchar"}:    {"", "a     ", "a b", "b"},
}

func zeros(n int) string { return fmt.Sprintf("%0*d", n, 0) }

// TestNumberKeepsTheOrder checks what an index of ranges rests on.
func TestNumberKeepsTheOrder(t *testing.T) {
	for typ, list := range ordered {
		last := math.Inf(-1)
		distinct := 1
		for i, text := range list {
			got, ok := place(typ, canonical(typ, []byte(text)))
			if !ok {
				t.Errorf("%s %q has no place", typ.Name, text)
			}
			if got < last || math.IsNaN(got) {
				t.Errorf("%s: %q is at %g, %q before it at %g", typ.Name, text, got, list[i-1], last)
			}
			if got > last {
				distinct++
			}
			last = got
		}
		if distinct < len(list)/2 {
			t.Errorf("%s: only %d of %d are told apart", typ.Name, distinct, len(list))
		}
	}
}

func FuzzNumberKeepsTheOrder(f *testing.F) {
	f.Add("12.5", "12.50001", false)
	f.Add("a", "ab", true)
	f.Fuzz(func(t *testing.T, a, b string, text bool) {
		typ := change.Type{Kind: change.Number, Name: "numeric"}
		var n int
		if text {
			typ = change.Type{Kind: change.Text, Name: "text"}
			n, _ = order(a, b)
		} else {
			x, err1 := change.ParseNumeric(a)
			y, err2 := change.ParseNumeric(b)
			if err1 != nil || err2 != nil {
				return
			}
			a, b, n = x.String(), y.String(), x.Cmp(y)
		}
		at, ok1 := place(typ, canonical(typ, []byte(a)))
		bt, ok2 := place(typ, canonical(typ, []byte(b)))
		if !ok1 || !ok2 {
			t.Fatalf("%q or %q has no place", a, b)
		}
		if n < 0 && at > bt || n > 0 && at < bt || n == 0 && at != bt {
			t.Errorf("%q and %q compare as %d, and are at %g and %g", a, b, n, at, bt)
		}
	})
}

// TestRangesHold binds comparisons, and checks against Eval that a row on which the
// condition holds lies in its ranges; and that the ranges say something.
func TestRangesHold(t *testing.T) {
	rel := &change.Relation{OID: 9, Schema: "public", Name: "t", ReplicaIdentity: 'f', Fingerprint: 77}
	var types []change.Type
	for typ := range ordered {
		if typ.Name == "t" {
			continue
		}
		rel.Columns = append(rel.Columns, change.Column{Name: fmt.Sprintf("c%d", len(types)), Type: typ, Key: true})
		types = append(types, typ)
	}
	table := &workflow.Table{Schema: "public", Name: "t", Label: "t", Version: 1}
	literal := func(typ change.Type, text string) string {
		if typ.Kind == change.Date || typ.Kind == change.TimestampTZ {
			return `"2026-01-31"`
		}
		b, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	held, outside := 0, 0
	var env Env
	for i, typ := range types {
		for _, constant := range ordered[typ] {
			for _, op := range []string{"gt", "gte", "lt", "lte", "eq"} {
				source := fmt.Sprintf(`{"c%d":{%q:%s}}`, i, op, literal(typ, constant))
				form, err := Parse(Source{Trigger: workflow.Trigger{FieldConditions: []byte(source)}})
				if err != nil {
					t.Fatalf("%s: %v", source, err)
				}
				bound, err := form.Bind(rel, table, change.Update)
				if err != nil {
					continue // too many digits, or no time of day
				}
				ranges := bound.Ranges(rel, change.Update)
				if len(ranges) != 1 {
					if op != "eq" {
						t.Errorf("%s on %s: ranges %v", source, typ.Name, ranges)
					}
					continue
				}
				for _, value := range ordered[typ] {
					values := make([]any, len(types))
					values[i] = value
					ev := change.Event{Op: change.Update, Relation: rel, New: row(values...), Old: row(values...)}
					env.Load(&ev, &Context{})
					holds, err := bound.Eval(&env)
					if err != nil {
						t.Fatal(err)
					}
					at, state := env.Number(i)
					if state != change.Present {
						t.Fatalf("%s: no number of %q", typ.Name, value)
					}
					inside := ranges[0].Low <= at && at <= ranges[0].High
					switch {
					case holds && !inside:
						t.Errorf("%s holds for %q, which is at %g, not in %v", source, value, at, ranges[0])
					case holds:
						held++
					case !inside:
						outside++
					}
				}
			}
		}
	}
	if held < 500 || outside < 500 {
		t.Errorf("%d held, %d lay outside: too few", held, outside)
	}
}
