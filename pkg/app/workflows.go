package app

import (
	"context"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Workflows is the service behind rowbell workflow and the API. It judges as a worker
// does, but for the key of secrets and the directory, which are the worker's own.
func (o *Operator) Workflows() (*definition.Service, error) {
	if err := o.app.prepareKinds(""); err != nil {
		return nil, err
	}
	return o.app.definitions(), nil
}

func (a *App) definitions() *definition.Service {
	return &definition.Service{
		Source: a.source, State: a.state, Holding: a.cfg.Delivery == DeliveryHold, Registry: a.registry,
		Judge: a.judgeElsewhere,
		Describe: func(ctx context.Context, schema, name string) (*change.Relation, error) {
			return cdc.Describe(ctx, a.sourcePool, schema, name)
		},
		Secret: newSecrets(a.source, a.key).get,
	}
}

// OfflineWorkflows is a service without a database: for what can be said of files alone.
func OfflineWorkflows() (*definition.Service, error) {
	a := &App{cfg: Config{}.WithDefaults()}
	if err := a.prepareKinds(""); err != nil {
		return nil, err
	}
	return &definition.Service{Registry: a.registry, Judge: a.judgeElsewhere}, nil
}

// RecordedTest is a saved test of a recorded event, which expects what the workflow, an id
// or a file, says of it now.
func (o *Operator) RecordedTest(ctx context.Context, s definition.Simulation) (workflow.Test, trial.Result, error) {
	r, err := o.Simulate(ctx, s)
	if err != nil {
		return workflow.Test{}, r, err
	}
	_, w, err := o.app.definitions().Resolved(ctx, s)
	if err != nil {
		return workflow.Test{}, r, err
	}
	e, err := o.app.state.RecordedEvent(ctx, s.Event)
	if err != nil {
		return workflow.Test{}, r, err
	}
	t, err := trial.TestOf(e, &r, w)
	return t, r, err
}
