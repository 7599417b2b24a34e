package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rowbell/rowbell/actions/webhook"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Destinations lists where deliveries go.
func (o *Operator) Destinations(ctx context.Context, f store.DestinationFilter) ([]workflow.Destination, error) {
	return o.app.state.Destinations(ctx, f)
}

// Destination finds one by its id, or by its name, for which tenant may be needed; nil is
// any. The second result is how many deliveries wait for it.
func (o *Operator) Destination(ctx context.Context, idOrName string, tenant *string) (workflow.Destination, int64, error) {
	d, err := o.destination(ctx, idOrName, tenant)
	if err != nil {
		return d, 0, err
	}
	n, err := o.app.state.WaitingFor(ctx, d.Lane)
	return d, n, err
}

func (o *Operator) destination(ctx context.Context, idOrName string, tenant *string) (workflow.Destination, error) {
	if lane, ok := workflow.ParseLaneID(idOrName); ok {
		return o.app.state.Destination(ctx, lane)
	}
	list, err := o.app.state.Destinations(ctx, store.DestinationFilter{Name: idOrName, Tenant: tenant, Limit: 10})
	if err != nil {
		return workflow.Destination{}, err
	}
	return store.OneDestination(list, Redact(idOrName))
}

// EnableDestination lets deliveries to a destination be tried again.
func (o *Operator) EnableDestination(ctx context.Context, idOrName string, tenant *string, actor string) (workflow.Destination, error) {
	d, err := o.destination(ctx, idOrName, tenant)
	if err != nil {
		return d, err
	}
	if err := o.app.state.EnableDestination(ctx, d.Lane); err != nil {
		return d, err
	}
	return d, o.note(ctx, destinationAct(&d, actor, "destination.enable", workflow.Closed, ""))
}

// DisableDestination cancels what waits for a destination, and what comes.
func (o *Operator) DisableDestination(ctx context.Context, idOrName string, tenant *string, actor, reason string) (workflow.Destination, error) {
	d, err := o.destination(ctx, idOrName, tenant)
	if err != nil {
		return d, err
	}
	if err := o.app.state.DisableDestination(ctx, d.Lane, actor, reason); err != nil {
		return d, err
	}
	return d, o.note(ctx, destinationAct(&d, actor, "destination.disable", workflow.Disabled, reason))
}

// destinationAct is what audit_log has of a destination that is d, and becomes state.
func destinationAct(d *workflow.Destination, actor, action string, state workflow.DestinationState, reason string) store.Act {
	stands := func(state workflow.DestinationState, reason string) map[string]any {
		m := map[string]any{"state": state}
		if reason != "" {
			m["reason"] = reason
		}
		return m
	}
	return store.Act{
		Actor: actor, TenantID: d.TenantID, Action: action, ObjectType: "destination", ObjectID: workflow.LaneID(d.Lane),
		Before: stands(d.State, d.DisabledReason), After: stands(state, reason),
		Detail: map[string]any{"destination": d.Destination, "kind": d.Kind},
	}
}

// RotateSecret makes a new signing secret for the webhooks of active workflows that go to
// a destination; the one so far signs as well for so long. Each secret that signs there is
// changed, and each is signed with by all workflows that name it.
func (o *Operator) RotateSecret(ctx context.Context, idOrName string, tenant *string, keep time.Duration, actor string) ([]api.RotatedSecret, error) {
	a := o.app
	if err := a.prepareJudging(); err != nil {
		return nil, err
	}
	lane, byLane := workflow.ParseLaneID(idOrName)
	// Whose destination it is says whose workflows are to be read. By a name it may be several
	// tenants', which is refused below.
	if byLane && tenant == nil {
		switch d, err := a.state.Destination(ctx, lane); {
		case err == nil:
			tenant = &d.TenantID
		case !errors.Is(err, workflow.ErrNotFound): // nothing was sent there yet
			return nil, err
		}
	}
	list, err := a.source.Definitions(ctx, store.WorkflowFilter{Tenant: tenant, Status: workflow.Active, Kinds: []string{"webhook"}})
	if err != nil {
		return nil, err
	}
	type named struct{ tenantID, name string }
	users := make(map[named][]string)
	var wanted []named
	unsigned := false
	for _, d := range list {
		w, err := workflow.Parse(d.Document)
		if err != nil {
			continue // it is broken, and sends nothing
		}
		plan, err := a.registry.Plan(w)
		if err != nil {
			continue
		}
		for _, s := range plan.Steps {
			if s.Kind.Name != "webhook" {
				continue
			}
			here := byLane && s.Lane == lane || !byLane && s.Runner.Destination() == idOrName
			name := webhook.SigningSecret(s.Runner)
			if name == "" {
				unsigned = unsigned || here
				continue
			}
			n := named{d.TenantID, name}
			if !slices.Contains(users[n], d.ID) {
				users[n] = append(users[n], d.ID)
			}
			if here && !slices.Contains(wanted, n) {
				wanted = append(wanted, n)
			}
		}
	}
	switch {
	case len(wanted) == 0 && unsigned:
		return nil, said{"the webhooks that go there have no stored secret; write a secret into their action_config first", workflow.ErrConflict}
	case len(wanted) == 0:
		return nil, said{fmt.Sprintf("no active workflow has a webhook to %s; rowbell destination list has all destinations, by id and in full without the query", Redact(idOrName)), workflow.ErrNotFound}
	case !byLane && slices.ContainsFunc(wanted, func(n named) bool { return n.tenantID != wanted[0].tenantID }):
		return nil, said{"workflows of several tenants have webhooks that go there; name one with --tenant", workflow.ErrRefused}
	}
	var done []api.RotatedSecret
	for _, n := range wanted {
		r, err := a.rotate(ctx, n.tenantID, n.name, keep, actor, users[n])
		if err != nil {
			return done, err
		}
		done = append(done, r)
	}
	return done, nil
}

// rotate changes one stored secret, with which these workflows sign.
func (a *App) rotate(ctx context.Context, tenantID, name string, keep time.Duration, actor string, workflows []string) (api.RotatedSecret, error) {
	row, err := a.source.Secret(ctx, tenantID, name)
	if err != nil {
		return api.RotatedSecret{}, err
	}
	value, err := newSecrets(a.source, a.key).open(row)
	if err != nil {
		return api.RotatedSecret{}, err
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	now := time.Now()
	r := api.RotatedSecret{Name: name, TenantID: tenantID, Secret: "whsec_" + base64.StdEncoding.EncodeToString(random), Until: now.Add(keep).UTC().Truncate(time.Second), Workflows: workflows}
	next, err := webhook.Rotate(value, r.Secret, now, r.Until)
	if err != nil {
		return api.RotatedSecret{}, fmt.Errorf("secret %q: %w", name, err)
	}
	var sealed []byte
	keyID := ""
	if a.key != nil {
		sealed, keyID = a.key.Seal(next, tenantID, name), a.key.ID()
	}
	return r, a.source.ReplaceSecret(ctx, row, next, sealed, keyID, store.Act{
		Actor: actor, TenantID: tenantID, Action: "secret.rotate", ObjectType: "secret", ObjectID: name,
		Detail: map[string]any{"until": r.Until, "workflows": workflows},
	})
}
