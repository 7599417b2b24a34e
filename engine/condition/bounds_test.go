package condition

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Binding stands in the way of the stream, so the search for contradictions gives up: lists
// that nearly fill a form were compared each with each.
func TestSearchForContradictionsIsBounded(t *testing.T) {
	var src Source
	for k := range 8 {
		var list []string
		for i := range 9000 {
			list = append(list, fmt.Sprint(10_000+8_999*k+i))
		}
		src.Conditions = append(src.Conditions, workflow.Condition{Type: "field_value", Config: json.RawMessage(`{"qty":{"in":[` + strings.Join(list, ",") + `]}}`)})
	}
	src.Conditions = append(src.Conditions, workflow.Condition{
		Type: "field_value", Config: json.RawMessage(`{"any":[` + strings.TrimSuffix(strings.Repeat(`{"qty":1},`, 2800), ",") + `]}`),
	})
	at := time.Now()
	bind(t, src, relation('f'), change.Update)
	if d := time.Since(at); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
}

// A loop over a long list could keep a text of a megabyte for each element.
func TestTextMadeIsBounded(t *testing.T) {
	list := "{" + strings.TrimSuffix(strings.Repeat("1,", 1000), ",") + "}"
	ev := change.Event{Op: change.Create, Relation: relation('f')}
	for _, each := range []string{`new.status + "x"`, `"x" + new.meta`, `upper(new.status)`, `string(#) + new.status`} {
		ev.New = of(values{"status": strings.Repeat("a", 500_000), "meta": `"` + strings.Repeat("a", 500_000) + `"`, "scores": list})
		_, err := eval(t, bind(t, withExpression(`len(map(new.scores, `+each+`)) > 3`), relation('f'), change.Create), ev)
		if err == nil || !strings.Contains(err.Error(), "it makes more than 1048576 bytes of text") {
			t.Errorf("%s: %v", each, err)
		}
	}
	// One alone is none too many.
	if ok, err := eval(t, bind(t, withExpression(`upper(new.status) startsWith "AA"`), relation('f'), change.Create), ev); !ok || err != nil {
		t.Error(ok, err)
	}
}

// RE2 takes a time linear in the text, and in the pattern: a short one can stand for a
// hundred thousand steps for each byte.
func TestPatternsAreBounded(t *testing.T) {
	if _, err := Parse(withForm(`{"status":{"matches":"` + strings.Repeat("(?:a?){999}", 80) + `b"}}`)); err == nil || !strings.Contains(err.Error(), "at most 1000 are taken") {
		t.Errorf("%v", err)
	}
	for _, src := range []Source{withForm(`{"status":{"matches":"(?:a?){480}b"}}`), withExpression(`new.meta matches "(?:a?){480}b"`)} {
		b := bind(t, src, relation('f'), change.Create)
		long := strings.Repeat("a", 500_000)
		_, err := eval(t, b, change.Event{Op: change.Create, Relation: relation('f'), New: of(values{"status": long, "meta": `"` + long + `"`})})
		if err == nil || !strings.Contains(err.Error(), "bytes at most") {
			t.Error(err)
		}
	}
	// Plain patterns look at all that a condition reads.
	b := bind(t, withForm(`{"status":{"matches":"^a+b?$"}}`), relation('f'), change.Create)
	if ok, err := eval(t, b, change.Event{Op: change.Create, Relation: relation('f'), New: of(values{"status": strings.Repeat("a", maxValue)})}); !ok || err != nil {
		t.Error(ok, err)
	}
}

// A sentence is made of each condition that is shown, and what isn't of the form's making is
// read several times over.
func TestReadingBackIsBounded(t *testing.T) {
	at := time.Now()
	for _, open := range []string{strings.Repeat("(", 20), strings.Repeat("!(", 20)} {
		FromExpression(open + `changed("` + strings.Repeat("x", 15_000) + `") junk`)
	}
	if d := time.Since(at); d > 10*time.Second { // reading each bracket twice would take an hour
		t.Errorf("it took %v", d)
	}
}
