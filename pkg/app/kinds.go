package app

import (
	"fmt"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// judge says what recording must know of a workflow's actions, or what is wrong with them,
// or with what this process would need for the workflow and doesn't have.
func (a *App) judge(w *workflow.Workflow) (workflow.Judged, error) {
	judged, plan, secrets, err := a.judgeActions(w)
	if err == nil && secrets != "" && a.key == nil {
		err = fmt.Errorf("%s: it has a secret, and this worker has no key to keep it with; set ROWBELL_SECRET_KEY (make one with: openssl rand -base64 32) and start it again", secrets)
	}
	if err == nil {
		err = a.judgeBroker(w)
	}
	if err == nil {
		err = a.judgePeople(w, plan)
	}
	if err == nil {
		err = a.judgeMail(w)
	}
	if err != nil {
		return workflow.Judged{}, err
	}
	return judged, nil
}

// judgeElsewhere is judge for a process that is no worker: without the key of secrets and
// the directory, which are the workers' own.
func (a *App) judgeElsewhere(w *workflow.Workflow) (workflow.Judged, error) {
	judged, _, _, err := a.judgeActions(w)
	return judged, err
}

// judgeActions judges the actions, but for the settings of this process. secrets names the first
// one that has any.
func (a *App) judgeActions(w *workflow.Workflow) (judged workflow.Judged, plan *actions.Plan, secrets string, err error) {
	if plan, err = a.registry.Plan(w); err != nil {
		return judged, nil, "", err
	}
	if err = a.judgeSettings(w); err != nil {
		return judged, nil, "", err
	}
	judged = workflow.Judged{Routes: make([]workflow.Route, len(plan.Steps)), Columns: plan.Columns(w)}
	for i, s := range plan.Steps {
		if len(s.Runner.Secrets()) > 0 && secrets == "" {
			secrets = fmt.Sprintf("action %d (%s)", i+1, s.Kind.Name)
		}
		judged.Routes[i] = workflow.Route{Lane: s.Lane, Addressed: !s.Kind.Recipients}
	}
	return judged, plan, secrets, nil
}

// plan is what the executor runs: what the workflow says, or the same sent elsewhere.
func (a *App) plan(w *workflow.Workflow) (*actions.Plan, error) {
	plan, err := a.registry.Plan(w)
	if err == nil && a.redirect != nil {
		for i := range plan.Steps {
			if s := &plan.Steps[i]; s.Kind.Name != "log" {
				s.Runner = a.redirect(s.Kind, s.Runner)
			}
		}
	}
	return plan, err
}
