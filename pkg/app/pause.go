package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rowbell/rowbell/pkg/admin"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// mostPauses is how many pauses are listed.
const mostPauses = 10_000

// Pauses lists the pauses that hold, the oldest first.
func (o *Operator) Pauses(ctx context.Context) ([]workflow.Pause, error) {
	return o.app.source.Pauses(ctx, mostPauses)
}

// Pause lets deliveries wait for so long, 0: until they are resumed. One of just the same
// deliveries it replaces. Returns ErrNotFound if there is no such workflow, no workflow of
// such a tenant, or no such kind.
func (o *Operator) Pause(ctx context.Context, p workflow.Pause, long time.Duration, actor string) (workflow.Pause, error) {
	a := o.app
	if p.Kind != "" {
		if err := a.prepareJudging(); err != nil {
			return p, err
		}
		var kinds []string
		for _, k := range a.registry.Kinds() {
			kinds = append(kinds, k.Name)
		}
		if !slices.Contains(kinds, p.Kind) {
			text := fmt.Sprintf("there is no action kind %s; there are %s", p.Kind, sortedList(kinds))
			if near := Nearest(p.Kind, kinds); near != "" {
				text = fmt.Sprintf("there is no action kind %s. Did you mean %s?", p.Kind, near)
			}
			return p, said{text, workflow.ErrNotFound}
		}
	}
	if p.WorkflowID != "" {
		if err := a.mustHaveWorkflow(ctx, p.WorkflowID); err != nil {
			return p, err
		}
	}
	if p.TenantID != "" {
		owns, err := a.source.OwnsWorkflows(ctx, p.TenantID)
		if err != nil {
			return p, err
		}
		if !owns {
			return p, said{fmt.Sprintf("no workflow belongs to tenant %s, so that there is nothing to pause; rowbell workflow list has all, with their tenants", p.TenantID), workflow.ErrNotFound}
		}
	}
	return a.source.Pause(ctx, p, long, actor)
}

// Resume ends pauses: those of these ids, and those of just these deliveries. It returns
// those that held. Returns ErrNotFound if one of them is not there.
func (o *Operator) Resume(ctx context.Context, ids []string, of *workflow.Pause, actor string) ([]workflow.Pause, error) {
	list, err := o.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	chosen, err := store.ChoosePauses(list, ids, of)
	if err != nil {
		return nil, err
	}
	return o.app.source.Resume(ctx, actor, func(p workflow.Pause) bool {
		return slices.ContainsFunc(chosen, func(c workflow.Pause) bool { return c.ID == p.ID })
	})
}

// ResumeAll ends all pauses, and returns those that held.
func (o *Operator) ResumeAll(ctx context.Context, actor string) ([]workflow.Pause, error) {
	return o.app.source.Resume(ctx, actor, func(workflow.Pause) bool { return true })
}

// pausedWords says in one sentence that something is paused; "" if nothing is.
func pausedWords(list []workflow.Pause) string {
	switch {
	case len(list) == 0:
		return ""
	case len(list) > 1:
		return fmt.Sprintf("deliveries wait in %d pauses: %s", len(list), store.PauseNames(list))
	}
	p := &list[0]
	text := fmt.Sprintf("deliveries wait: %s is paused since %s", p, p.CreatedAt.UTC().Format("2006-01-02 15:04 UTC"))
	if p.CreatedBy != "" {
		text += " by " + p.CreatedBy
	}
	if !p.Until.IsZero() {
		text += " until " + p.Until.UTC().Format("2006-01-02 15:04 UTC")
	}
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// checkPause warns while something is paused.
func (a *App) checkPause(context.Context) (string, error) {
	list, known := a.executor.Paused()
	switch {
	case a.cfg.Delivery == DeliveryHold:
		return "on hold, whatever is paused (ROWBELL_DELIVERY)", nil
	case !known:
		return "it isn't known yet what is paused, and so deliveries wait", nil
	}
	if text := pausedWords(list); text != "" {
		return "", &admin.Problem{Message: text, Mend: "rowbell pause list; rowbell resume", Warning: true}
	}
	return "nothing is paused", nil
}

// pauses says what is paused.
func (d *doctor) pauses(ctx context.Context) {
	const check = "pause"
	list, err := d.source.Pauses(ctx, mostPauses)
	if err != nil {
		d.report.trouble(check, err)
		return
	}
	if text := pausedWords(list); text != "" {
		d.report.add(LevelWarning, check, text, "rowbell pause list has them, and rowbell resume ends them.")
	}
}
