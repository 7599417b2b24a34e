package condition

import (
	"errors"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
)

// TestOperators goes through every operator of the form and every kind of column.
func TestOperators(t *testing.T) {
	const ref = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
	for _, c := range []struct {
		form string
		row  values
		want bool
	}{
		// text
		{`{"status":"x"}`, values{"status": "x"}, true},
		{`{"status":"x"}`, values{"status": "X"}, false},
		{`{"status":"x"}`, values{"status": nil}, false},
		{`{"status":""}`, values{"status": ""}, true},
		{`{"status":""}`, values{"status": nil}, false},
		{`{"status":{"eq":"é\"\\\n"}}`, values{"status": "é\"\\\n"}, true},
		{`{"status":{"ne":"x"}}`, values{"status": "y"}, true},
		{`{"status":{"ne":"x"}}`, values{"status": "x"}, false},
		{`{"status":{"ne":"x"}}`, values{"status": nil}, true},
		{`{"status":null}`, values{"status": nil}, true},
		{`{"status":null}`, values{"status": ""}, false},
		{`{"status":{"ne":null}}`, values{"status": ""}, true},
		{`{"status":{"ne":null}}`, values{"status": nil}, false},
		{`{"status":{"gt":"B"}}`, values{"status": "a"}, true},
		{`{"status":{"gt":"a"}}`, values{"status": "B"}, false},
		{`{"status":{"gt":"a"}}`, values{"status": "é"}, true},
		{`{"status":{"gt":"a"}}`, values{"status": nil}, false},
		{`{"status":{"lte":"a"}}`, values{"status": "a"}, true},
		{`{"status":{"in":["x","y"]}}`, values{"status": "y"}, true},
		{`{"status":{"in":["x","y"]}}`, values{"status": "z"}, false},
		{`{"status":{"in":["x","y"]}}`, values{"status": nil}, false},
		{`{"status":{"in":["a","b","c","d","e","f","g","h","i"]}}`, values{"status": "i"}, true},
		{`{"status":{"in":["a","b","c","d","e","f","g","h","i"]}}`, values{"status": "j"}, false},
		{`{"status":{"not_in":["x","y"]}}`, values{"status": "z"}, true},
		{`{"status":{"not_in":["x","y"]}}`, values{"status": "x"}, false},
		{`{"status":{"not_in":["x","y"]}}`, values{"status": nil}, true},
		{`{"status":{"contains":"pp"}}`, values{"status": "approved"}, true},
		{`{"status":{"contains":"PP"}}`, values{"status": "approved"}, false},
		{`{"status":{"contains":"pp"}}`, values{"status": nil}, false},
		{`{"status":{"starts_with":"app"}}`, values{"status": "approved"}, true},
		{`{"status":{"starts_with":"ppr"}}`, values{"status": "approved"}, false},
		{`{"code":{"contains":"b "}}`, values{"code": "ab   "}, false},
		{`{"code":{"starts_with":"ab "}}`, values{"code": "ab   "}, false},
		{`{"status":{"matches":"^a.*d$"}}`, values{"status": "approved"}, true},
		{`{"status":{"matches":"^b"}}`, values{"status": "approved"}, false},
		{`{"status":{"matches":""}}`, values{"status": nil}, false},
		{`{"status":{"is_null":true}}`, values{"status": nil}, true},
		{`{"status":{"is_null":false}}`, values{"status": nil}, false},
		{`{"status":{"not_null":true}}`, values{"status": "x"}, true},
		{`{"status":{"not_null":false}}`, values{"status": "x"}, false},
		{`{"status":{"between":["b","d"]}}`, values{"status": "c"}, true},
		{`{"status":{"between":["b","d"]}}`, values{"status": "d"}, true},
		{`{"status":{"between":["b","d"]}}`, values{"status": "e"}, false},
		// char(n), enum
		{`{"code":"ab"}`, values{"code": "ab   "}, true},
		{`{"code":"ab  "}`, values{"code": "ab   "}, true},
		{`{"code":{"gt":"ab"}}`, values{"code": "ab   "}, false},
		{`{"code":{"matches":"b$"}}`, values{"code": "ab   "}, true},
		{`{"mood":"sad"}`, values{"mood": "sad"}, true},
		{`{"mood":{"in":["sad","ok"]}}`, values{"mood": "happy"}, false},
		// int
		{`{"qty":5}`, values{"qty": "5"}, true},
		{`{"qty":5.0}`, values{"qty": "5"}, true},
		{`{"qty":"5"}`, values{"qty": "5"}, true},
		{`{"qty":5.5}`, values{"qty": "5"}, false},
		{`{"qty":-5}`, values{"qty": "-5"}, true},
		{`{"qty":{"gt":5.5}}`, values{"qty": "6"}, true},
		{`{"qty":{"gt":5.5}}`, values{"qty": "5"}, false},
		{`{"qty":{"gte":10}}`, values{"qty": "9"}, false},
		{`{"qty":{"lt":10}}`, values{"qty": "9"}, true},
		{`{"qty":{"lt":10}}`, values{"qty": nil}, false},
		{`{"id":9223372036854775807}`, values{"id": "9223372036854775807"}, true},
		{`{"id":9223372036854775806}`, values{"id": "9223372036854775807"}, false},
		{`{"id":{"gt":9007199254740992}}`, values{"id": "9007199254740993"}, true},
		{`{"id":{"lt":123456789012345678901}}`, values{"id": "9223372036854775807"}, true},
		{`{"id":{"gt":-9223372036854775808}}`, values{"id": "-9223372036854775807"}, true},
		// numeric
		{`{"total":10}`, values{"total": "10.00"}, true},
		{`{"total":10.00}`, values{"total": "10"}, true},
		{`{"total":1e1}`, values{"total": "10.0"}, true},
		{`{"total":0}`, values{"total": "0.00"}, true},
		{`{"total":100}`, values{"total": "100"}, true},
		{`{"total":0.1}`, values{"total": "0.10"}, true},
		{`{"total":0.1}`, values{"total": "0.1000000000000000055511151231257827"}, false},
		{`{"total":12345678901234567890.123456789}`, values{"total": "12345678901234567890.123456789"}, true},
		{`{"total":{"gt":12345678901234567890.123456789}}`, values{"total": "12345678901234567890.12345678901"}, true},
		{`{"total":{"gt":1000}}`, values{"total": "1000.00"}, false},
		{`{"total":{"gte":1000}}`, values{"total": "1000.00"}, true},
		{`{"total":{"gt":1000}}`, values{"total": "NaN"}, true},
		{`{"total":{"gt":1000}}`, values{"total": nil}, false},
		{`{"total":{"gt":"1000.5"}}`, values{"total": "1001"}, true},
		{`{"total":"NaN"}`, values{"total": "NaN"}, true},
		{`{"total":{"between":[1,2]}}`, values{"total": "1.50"}, true},
		{`{"total":{"between":[1,2]}}`, values{"total": "2.0001"}, false},
		{`{"total":{"between":[1,2]}}`, values{"total": nil}, false},
		{`{"total":{"in":[1,2.50]}}`, values{"total": "2.5"}, true},
		{`{"total":{"not_in":[1,2.5]}}`, values{"total": "2.50"}, false},
		{`{"total":{"gt":1,"lt":3,"ne":2}}`, values{"total": "2.00"}, false},
		{`{"total":{"gt":1,"lt":3,"ne":2}}`, values{"total": "2.01"}, true},
		{`{"total":{"gt":-1}}`, values{"total": "-0.999999999999999999999"}, true},
		{`{"total":{"gt":-10}}`, values{"total": "-9"}, true},
		{`{"total":{"lt":-9}}`, values{"total": "-10"}, true},
		{`{"total":{"lt":0}}`, values{"total": "-0.01"}, true},
		{`{"total":{"gte":0}}`, values{"total": "0.000"}, true},
		{`{"total":{"gte":-0.0}}`, values{"total": "0.000"}, true},
		{`{"total":{"lt":0.5}}`, values{"total": "0.49999999999999999999"}, true},
		{`{"total":{"gt":9}}`, values{"total": "10.5"}, true},
		{`{"total":{"lt":"Infinity"}}`, values{"total": "99999999999999999999999"}, true},
		{`{"total":{"lt":"-Infinity"}}`, values{"total": "-99999999999999999999999"}, false},
		{`{"total":{"gte":"NaN"}}`, values{"total": "Infinity"}, false},
		{`{"total":-0.5}`, values{"total": "-0.5"}, true},
		// float
		{`{"weight":0.1}`, values{"weight": "0.1"}, true},
		{`{"weight":{"gt":0.1}}`, values{"weight": "0.1"}, false},
		{`{"weight":{"gt":1e300}}`, values{"weight": "NaN"}, true},
		{`{"weight":{"lt":-1}}`, values{"weight": "-Infinity"}, true},
		{`{"weight":"NaN"}`, values{"weight": "NaN"}, true},
		{`{"weight":{"ne":1}}`, values{"weight": nil}, true},
		{`{"weight":100}`, values{"weight": "1e+02"}, true},
		// bool
		{`{"paid":true}`, values{"paid": "t"}, true},
		{`{"paid":true}`, values{"paid": "f"}, false},
		{`{"paid":false}`, values{"paid": "f"}, true},
		{`{"paid":false}`, values{"paid": nil}, false},
		{`{"paid":{"ne":true}}`, values{"paid": nil}, true},
		// uuid
		{`{"ref":"3F2504E0-4F89-11D3-9A0C-0305E82C3301"}`, values{"ref": ref}, true},
		{`{"ref":"{3f2504e04f8911d39a0c0305e82c3301}"}`, values{"ref": ref}, true},
		{`{"ref":"3f2504e0-4f89-11d3-9a0c-0305e82c3302"}`, values{"ref": ref}, false},
		{`{"ref":{"starts_with":"3f25"}}`, values{"ref": ref}, true},
		// dates and times
		{`{"due":"2026-01-31"}`, values{"due": "2026-01-31"}, true},
		{`{"due":{"gt":"2026-01-31"}}`, values{"due": "2026-02-01"}, true},
		{`{"due":{"gt":"2026-01-31"}}`, values{"due": "infinity"}, true},
		{`{"due":{"lt":"2026-01-31"}}`, values{"due": "0044-03-15 BC"}, true},
		{`{"due":{"lt":"infinity"}}`, values{"due": "9999-12-31"}, true},
		{`{"due":{"between":["2026-01-01","2026-12-31"]}}`, values{"due": "2026-12-31"}, true},
		{`{"due":{"in":["2026-01-01","2026-12-31"]}}`, values{"due": "2026-12-30"}, false},
		{`{"created_at":{"gte":"2026-01-31"}}`, values{"created_at": "2026-01-31 00:00:00+00"}, true},
		{`{"created_at":{"gte":"2026-01-31"}}`, values{"created_at": "2026-01-31 00:00:00+01"}, false},
		{`{"created_at":"2026-01-31T10:00:00+02:00"}`, values{"created_at": "2026-01-31 08:00:00+00"}, true},
		{`{"created_at":"2026-01-31 08:00"}`, values{"created_at": "2026-01-31 08:00:00+00"}, true},
		{`{"created_at":{"gt":"2026-01-31T08:00:00.000001Z"}}`, values{"created_at": "2026-01-31 08:00:00.000002+00"}, true},
		{`{"created_at":{"gt":"2026-01-31"}}`, values{"created_at": nil}, false},
		{`{"local_at":"2026-01-31T10:00:00+02:00"}`, values{"local_at": "2026-01-31 10:00:00"}, true},
		{`{"local_at":{"lt":"2026-02-01"}}`, values{"local_at": "2026-01-31 23:59:59.999999"}, true},
		{`{"opens":"9:30"}`, values{"opens": "09:30:00"}, true},
		{`{"opens":{"lt":"10:00"}}`, values{"opens": "09:59:59.5"}, true},
		{`{"wait":"1 day"}`, values{"wait": "1 day"}, true},
		// bytea, json, arrays
		{`{"blob":"\\x00ff"}`, values{"blob": `\x00ff`}, true},
		{`{"blob":{"ne":"\\x00FF"}}`, values{"blob": `\x00ff`}, false},
		{`{"meta":{"eq":{"a":[1,"b",null]}}}`, values{"meta": `{"a": [1.0, "b", null]}`}, true},
		{`{"meta":{"eq":{"a":[1,"b",null]}}}`, values{"meta": `{"a": [2, "b", null]}`}, false},
		{`{"meta":{"contains":"b"}}`, values{"meta": `["a","b"]`}, true},
		{`{"meta":"x"}`, values{"meta": `"x"`}, true},
		{`{"meta":5}`, values{"meta": `"5"`}, false},
		{`{"tags":{"contains":"b"}}`, values{"tags": "{a,b}"}, true},
		{`{"tags":{"contains":"c"}}`, values{"tags": "{a,b}"}, false},
		{`{"tags":{"contains":"c"}}`, values{"tags": nil}, false},
		{`{"tags":["a","b"]}`, values{"tags": "{a,b}"}, true},
		{`{"tags":["b","a"]}`, values{"tags": "{a,b}"}, false},
		{`{"tags":["a",null]}`, values{"tags": "{a,NULL}"}, true},
		{`{"scores":{"contains":2}}`, values{"scores": "{1,2}"}, true},
		{`{"scores":{"contains":2.5}}`, values{"scores": "{1,2}"}, false},
		{`{"scores":[1,2]}`, values{"scores": "{1,2}"}, true},
		// groups
		{`{"any":[{"status":"x"},{"qty":5}]}`, values{"status": "y", "qty": "5"}, true},
		{`{"any":[{"status":"x"},{"qty":5}]}`, values{"status": "y", "qty": "6"}, false},
		{`{"all":[{"status":"x"},{"qty":5}]}`, values{"status": "x", "qty": "5"}, true},
		{`{"all":[{"status":"x"},{"qty":5}]}`, values{"status": "x", "qty": "6"}, false},
		{`{"not":{"status":"x","qty":5}}`, values{"status": "x", "qty": "6"}, true},
		{`{"not":{"status":"x","qty":5}}`, values{"status": "x", "qty": "5"}, false},
		{`{"not":{"total":{"gt":5}}}`, values{"total": nil}, true},
		{`{"not":[{"status":"x"},{"qty":5}]}`, values{"status": "x", "qty": "6"}, true},
		{`{"paid":true,"any":[{"status":"x"},{"all":[{"qty":5},{"not":{"total":1}}]}]}`, values{"paid": "t", "qty": "5", "total": "2"}, true},
		{`[{"status":"x"},{"qty":5}]`, values{"status": "x", "qty": "5"}, true},
		{`{"field":"any","operator":"eq","value":"x"}`, values{"any": "x"}, true},
		{`{"all":[{"field":"any","operator":"is_null"},{"field":"qty","operator":"in","value":[1,2]}]}`, values{"qty": "2"}, true},
		{`{"odd name":"x"}`, values{"odd name": "x"}, true},
		{`{}`, nil, true},
		{`null`, nil, true},
	} {
		for _, op := range []change.Op{change.Create, change.Update, change.Delete} {
			b := bind(t, withForm(c.form), relation('f'), op)
			ev := change.Event{Op: op, Relation: relation('f')}
			switch op {
			case change.Create:
				ev.New = of(c.row)
			case change.Update:
				ev.New, ev.Old = of(c.row), of(values{})
			case change.Delete:
				ev.Old = of(c.row)
			}
			got, err := eval(t, b, ev)
			if err != nil || got != c.want {
				t.Errorf("%s on %v (%s): got %v, %v, want %v", c.form, c.row, op, got, err, c.want)
			}
		}
		if strings.HasPrefix(c.form, "{") && c.form != "{}" {
			b := bind(t, withConfig("field_value", c.form), relation('f'), change.Create)
			got, err := eval(t, b, change.Event{Op: change.Create, Relation: relation('f'), New: of(c.row)})
			if err != nil || got != c.want {
				t.Errorf("field_value %s on %v: got %v, %v, want %v", c.form, c.row, got, err, c.want)
			}
		}
	}
}

func TestChangedOperators(t *testing.T) {
	for _, c := range []struct {
		form     string
		old, new values
		want     bool
	}{
		{`{"status":{"changed":true}}`, values{"status": "a"}, values{"status": "b"}, true},
		{`{"status":{"changed":true}}`, values{"status": "a"}, values{"status": "a"}, false},
		{`{"status":{"changed":true}}`, values{"status": nil}, values{"status": "a"}, true},
		{`{"status":{"changed":true}}`, values{"status": nil}, values{"status": nil}, false},
		{`{"status":{"changed":true}}`, values{"status": "a"}, values{"status": unchanged{}}, false},
		{`{"status":{"changed":false}}`, values{"status": "a"}, values{"status": "a"}, true},
		{`{"total":{"changed":true}}`, values{"total": "10"}, values{"total": "10.00"}, false},
		{`{"total":{"changed":true}}`, values{"total": "10"}, values{"total": "10.01"}, true},
		{`{"code":{"changed":true}}`, values{"code": "a "}, values{"code": "a"}, false},
		{`{"weight":{"changed":true}}`, values{"weight": "-0"}, values{"weight": "0"}, false},
		{`{"weight":{"changed":true}}`, values{"weight": "NaN"}, values{"weight": "0"}, true},
		{`{"rates":{"changed":true}}`, values{"rates": "{1.0,NULL}"}, values{"rates": "{1,NULL}"}, false},
		{`{"rates":{"changed":true}}`, values{"rates": "{1.0,NULL}"}, values{"rates": "{1.01,NULL}"}, true},
		{`{"status":{"changed_from":"a"}}`, values{"status": "a"}, values{"status": "b"}, true},
		{`{"status":{"changed_from":"a"}}`, values{"status": "a"}, values{"status": "a"}, false},
		{`{"status":{"changed_from":"a"}}`, values{"status": "c"}, values{"status": "b"}, false},
		{`{"status":{"changed_from":["a","c"]}}`, values{"status": "c"}, values{"status": "b"}, true},
		{`{"status":{"changed_from":null}}`, values{"status": nil}, values{"status": "b"}, true},
		{`{"status":{"changed_to":"b"}}`, values{"status": "a"}, values{"status": "b"}, true},
		{`{"status":{"changed_to":"b"}}`, values{"status": "b"}, values{"status": "b"}, false},
		{`{"status":{"changed_to":["x","b"]}}`, values{"status": "a"}, values{"status": "b"}, true},
		{`{"status":{"changed_to":null}}`, values{"status": "a"}, values{"status": nil}, true},
		{`{"total":{"changed_to":10}}`, values{"total": "9"}, values{"total": "10.0"}, true},
	} {
		b := bind(t, withForm(c.form), relation('f'), change.Update)
		got, err := eval(t, b, change.Event{Op: change.Update, Relation: relation('f'), New: of(c.new), Old: of(c.old)})
		if err != nil || got != c.want {
			t.Errorf("%s from %v to %v: got %v, %v, want %v", c.form, c.old, c.new, got, err, c.want)
		}
	}
}

func TestFormErrors(t *testing.T) {
	for _, c := range []struct{ form, want string }{
		{`{"status":`, "field_conditions: malformed JSON: it ends too early"},
		{`{"a":1,"a":2}`, `field_conditions: malformed JSON: key "a" stands there twice`},
		{`{"a":1} {}`, `more than one JSON value`},
		{`"x"`, `field_conditions: a condition is an object of columns, not the text "x"`},
		{`{"status":{"equals":1}}`, `field_conditions.status.equals: there is no operator "equals"; use eq, ne`},
		{`{"status":{"start_with":"a"}}`, `field_conditions.status.start_with: there is no operator "start_with"; did you mean "starts_with"?`},
		{`{"status":{}}`, `field_conditions.status: there is no operator`},
		{`{"status":{"in":[]}}`, `field_conditions.status.in: in takes a list of at least one value, not an empty list`},
		{`{"status":{"in":"x"}}`, `in takes a list of at least one value, not the text "x"`},
		{`{"status":{"in":["x",null]}}`, `field_conditions.status.in[1]: null in a list matches nothing`},
		{`{"total":{"gt":null}}`, `gt compares with one value, not with null`},
		{`{"total":{"gt":[1]}}`, `gt compares with one value, not with a list`},
		{`{"total":{"between":[1]}}`, `between takes two values; write [least, greatest]`},
		{`{"status":{"starts_with":1}}`, `starts_with takes a text, not the number 1`},
		{`{"status":{"matches":"("}}`, `field_conditions.status.matches: pattern "(" can't be read (RE2 syntax): `},
		{`{"status":{"matches":"` + strings.Repeat("a", 1001) + `"}}`, `the pattern has 1001 bytes, at most 1000`},
		{`{"status":{"is_null":1}}`, `is_null takes true or false, not the number 1`},
		{`{"any":{"status":"x"}}`, `field_conditions.any: "any" takes a list of conditions, not an object; a column called any is written {"field": "any"`},
		{`{"any":[]}`, `field_conditions.any: the list is empty`},
		{`{"not":"x"}`, `field_conditions.not: "not" takes a condition, not the text "x"`},
		{`{"any":[{"status":"x"},{"total":{"gt":{}}}]}`, `field_conditions.any[1].total.gt: gt compares with one value, not with an object`},
		{`{"field":1,"operator":"eq","value":1}`, `field_conditions.field: field is the name of a column, not the number 1`},
		{`{"field":"status","operator":"eq"}`, `field_conditions: eq needs a value`},
		{strings.Repeat(`{"not":`, 20) + `{}` + strings.Repeat(`}`, 20), `groups are nested deeper than 16`},
		{`[` + strings.Repeat(" ", 70000) + `]`, `it has 70002 bytes, at most 65536 are read`},
	} {
		_, err := Parse(withForm(c.form))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: got %v, want %s", c.form, err, c.want)
		}
	}
}

func TestBindErrors(t *testing.T) {
	for _, c := range []struct {
		src      Source
		identity byte
		op       change.Op
		want     string
	}{
		{withForm(`{"statuss":"x"}`), 'f', change.Create, `field_conditions.statuss: table things has no column statuss; did you mean "status"?`},
		{withForm(`{"secret":"x"}`), 'f', change.Create, `table things has no column secret; it has id, tenant_id`},
		{withForm(`{"any":[{"id":1},{"total":{"gt":"abc"}}]}`), 'f', change.Create, `field_conditions.any[1].total.gt: column total is numeric and can't be compared with the text "abc"`},
		{withForm(`{"status":5}`), 'f', change.Create, `column status is text and can't be compared with the number 5`},
		{withForm(`{"status":["a"]}`), 'f', change.Create, `column status is text and can't be compared with a list; write in for one of several values`},
		{withForm(`{"total":{"gt":1e2000}}`), 'f', change.Create, `column total is compared with a number of 2001 digits, at most 1000 are taken`},
		{withForm(`{"paid":"yes"}`), 'f', change.Create, `column paid is bool and can't be compared with the text "yes"`},
		{withForm(`{"ref":"abc"}`), 'f', change.Create, `column ref is uuid, which "abc" is not`},
		{withForm(`{"due":"31.1.2026"}`), 'f', change.Create, `column due is date: "31.1.2026" is neither a date nor a time`},
		{withForm(`{"opens":"25:00"}`), 'f', change.Create, `column opens is a time of day, which "25:00" is not`},
		{withForm(`{"blob":"abc"}`), 'f', change.Create, `column blob is bytea`},
		{withForm(`{"mood":{"gt":"sad"}}`), 'f', change.Create, `column mood is of type mood, which conditions can't order; use eq`},
		{withForm(`{"paid":{"gt":true}}`), 'f', change.Create, `column paid is of type bool, which conditions can't order`},
		{withForm(`{"wait":{"lt":"1 day"}}`), 'f', change.Create, `column wait is of type interval, which conditions can't order`},
		{withForm(`{"tags":"a"}`), 'f', change.Create, `column tags is a list; compare it with a list, or use contains`},
		{withForm(`{"qty":{"contains":"a"}}`), 'f', change.Create, `contains needs a text, column qty is int4`},
		{withForm(`{"scores":{"contains":"a"}}`), 'f', change.Create, `can't be compared with the text "a"`},
		{withForm(`{"status":{"changed":true}}`), 'f', change.Create, `field_conditions.status.changed: a create changes no column; use changed with a trigger for update`},
		{withForm(`{"status":{"changed":true}}`), 'd', change.Update, `the old value of status in an update is never in the WAL: it is not part of the replica identity of table things; run ALTER TABLE public.things REPLICA IDENTITY FULL`},
		{withForm(`{"status":{"changed_from":"x"}}`), 'd', change.Update, `REPLICA IDENTITY FULL`},
		{withForm(`{"status":"x"}`), 'd', change.Delete, `column status of a deleted row is never in the WAL`},
		{withExpression(`tenant == "a"`), 'd', change.Delete, `column tenant_id of a deleted row is never in the WAL`},

		{withExpression(`new.statuss == "x"`), 'f', change.Create, "condition 1 (expression), line 1, column 5: table things has no column statuss; did you mean \"status\"?\n    new.statuss == \"x\"\n        ^"},
		{withExpression("new.qty > 1 &&\n  nev.status == 'x'"), 'f', change.Create, "line 2, column 3: unknown name \"nev\"; did you mean \"new\"?\n      nev.status == 'x'\n      ^"},
		{withExpression(`status == "x"`), 'f', change.Create, `unknown name "status"; a column is written new.status`},
		{withExpression(`new == nil`), 'f', change.Create, `new can't be used whole`},
		{withExpression(`new.status`), 'f', change.Create, `true or false is needed here, not a text`},
		{withExpression(`new.status > 5`), 'f', change.Create, `column status is text and can't be compared with the number 5`},
		{withExpression(`new.status > new.qty`), 'f', change.Create, `column status (text) can't be compared with column qty (int4)`},
		{withExpression(`new.status + 1 == "a"`), 'f', change.Create, `column status (text) + the number 1 can't be worked out`},
		{withExpression(`new.qty matches "a"`), 'f', change.Create, `matches needs a text, not column qty (int4)`},
		{withExpression(`new.status matches new.mood`), 'f', change.Create, `matches needs a pattern that is written out`},
		{withExpression(`new.status matches "("`), 'f', change.Create, `can't be read (RE2 syntax)`},
		{withExpression(`now().Year() > 1`), 'f', change.Create, `values have no functions of their own`},
		{withExpression(`env("HOME") == ""`), 'f', change.Create, `there is no function env`},
		{withExpression(`lowr(new.status) == "x"`), 'f', change.Create, `there is no function lowr; did you mean "lower"?`},
		{withExpression(`changed(new.status)`), 'f', change.Update, `changed takes a text that is written out`},
		{withExpression(`changed("statuss")`), 'f', change.Update, `did you mean "status"?`},
		{withExpression(`date("x") > now()`), 'f', change.Update, `"x" is neither a date nor a time`},
		{withExpression(`new.created_at > "x"`), 'f', change.Update, `"x" is neither a date nor a time`},
		{withExpression(`now() > "x"`), 'f', change.Update, `"x" is neither a date nor a time`},
		{withExpression(`new.status[0:1] == "x"`), 'f', change.Create, `slices can't be taken`},
		{withExpression(`new.status.x == "x"`), 'f', change.Create, `a text has no parts`},
		{withExpression(`new.qty in 1..5`), 'f', change.Create, `operator .. can't be used`},
		{withExpression(`new.qty in new.total`), 'f', change.Create, `in needs a list, not column total (numeric)`},
		{withExpression(`old.status == "x"`), 'f', change.Create, `the workflow's conditions read only old.status, and a create has no old row; write new.status`},
		{withExpression(`new.status == "x"`), 'f', change.Delete, `the workflow's conditions read only new.status, and a delete has no new row; write old.status`},
		{withExpression(`old.status == "x"`), 'd', change.Update, `the old value of status in an update is never in the WAL`},
		{withExpression(`let new = 1; new == 1`), 'f', change.Create, `new has a meaning already`},
		{withExpression(`sum(new.scores) > 1`), 'f', change.Create, `there is no function sum`},
		{withExpression(`event.xid == 1`), 'f', change.Create, `event has no such part`},
		{withExpression(`len() == 1`), 'f', change.Create, `len takes 1 arguments, not 0`},
	} {
		f, err := Parse(c.src)
		if err != nil {
			t.Errorf("Parse: %v", err)
			continue
		}
		_, err = f.Bind(relation(c.identity), things, c.op)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", f.Expressions(), err, c.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		src  Source
		want string
	}{
		{withExpression("new.status =! 1"), "condition 1 (expression), line 1, column 1"},
		{withExpression("new.total >"), "unexpected token EOF\n    new.total >\n"},
		{withExpression(" "), "condition_config holds no expression"},
		{withConfig("expression", `{"expr":"a"}`), `write {"expression": "new.total > 10"}`},
		{withConfig("expression", ``), `condition_config holds no expression`},
		{withExpression(strings.Repeat("(", 20000)), "it has 20000 bytes, at most 16384 are read"},
		{withExpression(strings.Repeat("!", 10000) + "true"), "it has more than 1000 parts"},
		{withConfig("time_based", `{}`), "condition 1 (time_based): it asks for no time; write days"},
		{withConfig("time_based", `[]`), "a time_based condition is an object, not an empty list"},
		{withConfig("time_based", `{"day":["mon"]}`), `.day: there is no such key in a time_based condition; did you mean "days"?`},
		{withConfig("time_based", `{"zone":"Europe/Berln","days":["mon"]}`), `.zone: there is no time zone "Europe/Berln"`},
		{withConfig("time_based", `{"zone":"Local","days":["mon"]}`), `there is no time zone "Local"`},
		{withConfig("time_based", `{"days":["monday"]}`), `.days[0]: there is no day "monday"; days are mon, tue`},
		{withConfig("time_based", `{"hours":{"from":"9:00","to":"17:00"}}`), `.hours.from: "9:00" is no hour of the day; write "09:00"`},
		{withConfig("time_based", `{"hours":[{"from":"09:00"}]}`), `.hours[0]: to is missing`},
		{withConfig("time_based", `{"hours":{"from":"09:00","to":"09:00"}}`), `it begins and ends at 09:00`},
		{withConfig("time_based", `{"dates":{"from":"2026-02-30"}}`), `.dates.from: "2026-02-30" is no date`},
		{withConfig("time_based", `{"dates":{"from":"2026-03-30","to":"2026-03-29"}}`), `.dates: it ends before it begins`},
		{withConfig("time_based", `{"dates":{}}`), `.dates: from and to are missing`},
		{withConfig("time_based", `{"holidays":["02-30"]}`), `.holidays[0]: "02-30" is no day`},
		{withConfig("time_based", `{"on_holidays":true}`), `.on_holidays: there are no holidays`},
		{withConfig("time_based", `{"column":"due"}`), `.column: it doesn't say when; write "within": "3d" beside it`},
		{withConfig("time_based", `{"within":"3d"}`), `.within: within goes with a column`},
		{withConfig("time_based", `{"column":"due","within":"3 days"}`), `.within: "3 days" is no duration; write "3d"`},
		{withConfig("role_based", `{}`), `condition 1 (role_based): it asks for nothing; write {"roles": ["approver"]}`},
		{withConfig("role_based", `{"role":"x"}`), `unknown field "role"; there are roles, all_roles`},
		{withConfig("role_based", `{"attributes":{"level":{"above":3}}}`), `condition 1 (role_based).attributes.level.above: there is no operator "above"`},
		{withConfig("role_based", `{"attributes":{"level":{"changed":true}}}`), `changed is about columns of a row`},
		{withConfig("magic", `{}`), `there is no condition_type "magic"`},
		{withConfig("field_value", `null`), `condition 1 (field_value): it has no condition_config`},
		{withConfig("field_value", `{"field":"status","operator":"is","value":1}`), `condition 1 (field_value): there is no operator "is"; `},
	} {
		_, err := Parse(c.src)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80s %.80s: got %v, want %s", c.src.Trigger.FieldConditions, c.src.Conditions, err, c.want)
		}
	}
}

// TestCompareDecimals compares digits with what Numeric says.
func TestCompareDecimals(t *testing.T) {
	list := []string{
		"0", "0.0", "1", "1.0", "1.05", "1.5", "1.50", "9", "10", "10.01", "99999999999999999999.5", "100000000000000000000",
		"-1", "-1.5", "-1.49", "-10", "-9", "-0.1", "0.1", "0.10", "0.09", "NaN", "Infinity", "-Infinity",
	}
	for _, a := range list {
		for _, b := range list {
			x, err := change.ParseNumeric(a)
			if err != nil {
				t.Fatal(err)
			}
			y, err := change.ParseNumeric(b)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := compareDecimals([]byte(a), []byte(b)), x.Cmp(y); got != want {
				t.Errorf("%s, %s: got %d, want %d", a, b, got, want)
			}
		}
	}
}
