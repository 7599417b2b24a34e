package app

import (
	"context"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/definition"
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
