package log_test

import (
	"encoding/json"
	"testing"

	"go.uber.org/goleak"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/log"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestKind(t *testing.T) {
	t.Parallel()
	k := log.Kind()
	if k.Name != "log" || k.Title == "" || k.Help == "" || k.Recipients || !json.Valid([]byte(k.Schema)) {
		t.Errorf("the kind is %+v", k)
	}
	r, err := k.Parse(json.RawMessage(`{}`), actions.Texts{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Destination() != "" || len(r.Secrets()) != 0 {
		t.Errorf("destination %q, secrets %q", r.Destination(), r.Secrets())
	}
	if res, err := r.Run(t.Context(), &actions.Delivery{ID: "d"}); err != nil || res != (actions.Result{}) {
		t.Errorf("Run = %+v, %v", res, err)
	}
}
