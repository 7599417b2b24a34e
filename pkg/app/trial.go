package app

import (
	"context"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/definition"
)

// Simulate says what a workflow would do. It reads, and sends nothing.
func (o *Operator) Simulate(ctx context.Context, s definition.Simulation) (trial.Result, error) {
	if err := o.app.prepareJudging(); err != nil {
		return trial.Result{}, err
	}
	return o.app.definitions().Simulate(ctx, s)
}

// Explain says of an event what became of it, for each workflow on its table.
func (o *Operator) Explain(ctx context.Context, eventID string) (definition.Explanation, error) {
	if err := o.app.prepareJudging(); err != nil {
		return definition.Explanation{}, err
	}
	return o.app.definitions().Explain(ctx, eventID)
}

// prepareJudging makes the action kinds, to judge configurations with, unless they are there:
// those of a worker are read by all its requests at once. Nothing is run.
func (a *App) prepareJudging() error {
	if a.registry != nil {
		return nil
	}
	return a.prepareKinds("")
}

// mark is a tick or a cross, with a word for those who see neither.
func mark(v condition.Verdict) string {
	switch v {
	case condition.True:
		return "✓ true"
	case condition.False:
		return "✗ false"
	case condition.Failed:
		return "! failed"
	}
	return "- not evaluated"
}
