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
