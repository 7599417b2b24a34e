package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// written notes what was asked of it.
type written []string

func (w *written) WriteHealth(_ context.Context, hs []workflow.Health) error {
	*w = append(*w, fmt.Sprint("write ", len(hs)))
	return nil
}

func (w *written) RemoveHealth(_ context.Context, ids []string) error {
	*w = append(*w, fmt.Sprint("remove ", len(ids)))
	return nil
}

func (w *written) ReplaceHealth(_ context.Context, all []workflow.Health) error {
	*w = append(*w, fmt.Sprint("replace by ", len(all)))
	return nil
}

// While a worker takes the slot its verdicts come in pieces. None of them is written
// before all are there: the rest would be taken for gone.
func TestHealthOfANewHolder(t *testing.T) {
	var got written
	w := newHealthWriter(&got, slog.New(slog.DiscardHandler))
	step := func(f func()) {
		t.Helper()
		f()
		if err := w.write(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	step(w.begin)
	step(func() { w.changed([]workflow.Health{{WorkflowID: "a"}, {WorkflowID: "b"}}) })
	step(func() { w.changed([]workflow.Health{{WorkflowID: "c"}}) })
	step(func() { w.withdrawn("b") })
	step(w.replace)
	step(func() { w.changed([]workflow.Health{{WorkflowID: "a"}}) })
	step(func() { w.withdrawn("a") })
	step(w.begin) // the slot was lost, and is taken again
	step(func() { w.changed([]workflow.Health{{WorkflowID: "c"}}) })
	step(w.replace)
	if list := strings.Join(got, ", "); list != "replace by 2, write 1, remove 1, replace by 1" {
		t.Errorf("got %s", list)
	}
}
