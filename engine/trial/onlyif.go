package trial

import (
	"fmt"
	"sync"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// LeftOut is an action that would not run, since its own conditions don't hold or can't be
// decided.
type LeftOut struct {
	Number  int                `json:"number"` // in the definition, from 1
	Kind    string             `json:"kind"`
	Verdict condition.Verdict  `json:"verdict"` // false; failed: the action fails; not_evaluated: one before it failed, so that it was never begun
	Reason  string             `json:"reason"`
	OnlyIf  []condition.Clause `json:"only_if"`
}

func (l *LeftOut) named() string { return fmt.Sprintf("action %d (%s)", l.Number, l.Kind) }

// Own is what became of an action's own conditions.
type Own struct {
	Verdict condition.Verdict // true, false or failed
	Reason  string            // as it is recorded; "" if they hold
	Clauses []condition.Clause
}

// OnlyIf decides the conditions of an action, by its index in the definition and its kind, for
// the change as it is recorded. The executor goes by this answer.
func (c *Change) OnlyIf(action int, kind string, list []workflow.Condition) Own {
	return c.onlyIf(action, kind, list, c.event(), side{c.Op, c.Side})
}

// Programs keeps what actions' conditions were bound to, for who decides often. The zero value
// is ready; it may be used by several goroutines.
type Programs struct {
	mu    sync.Mutex
	bound map[string]*condition.Bound
}

const mostPrograms = 10_000

// OnlyIf answers as Change.OnlyIf, but without Clauses where the conditions hold.
func (p *Programs) OnlyIf(c *Change, action int, kind string, list []workflow.Condition) Own {
	if b := p.find(c, action, kind, list); b != nil {
		env := c.env(c.event(), side{c.Op, c.Side})
		if ok, err := b.Eval(env); ok && err == nil {
			return Own{Verdict: condition.True}
		}
	}
	return c.OnlyIf(action, kind, list) // which says why
}

// find returns conditions that are bound to a change's table; nil if they can't be.
func (p *Programs) find(c *Change, action int, kind string, list []workflow.Condition) *condition.Bound {
	key := fmt.Appendf(nil, "%s %d %x %d", c.Table.Label, c.Table.Version, c.Relation.Fingerprint, c.Op)
	for _, cond := range list {
		key = fmt.Appendf(key, " %d %s %s", len(cond.Config), cond.Type, cond.Config)
	}
	p.mu.Lock()
	b := p.bound[string(key)]
	p.mu.Unlock()
	if b != nil {
		return b
	}
	form, err := match.OnlyIfOf(action, kind, list)
	if err != nil || form == nil {
		return nil
	}
	if b, err = form.Bind(c.Relation, c.Table, c.Op); err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bound == nil || len(p.bound) >= mostPrograms {
		p.bound = make(map[string]*condition.Bound)
	}
	p.bound[string(key)] = b
	return b
}

// env is what conditions are evaluated against for one side of the change.
func (c *Change) env(ev *change.Event, s side) *condition.Env {
	env := &condition.Env{}
	env.LoadAs(ev, s.op, &condition.Context{Position: c.Position, Side: s.side, CommittedAt: c.CommittedAt, Actor: decodeActor(c.Actor)})
	env.Mask(c.masked)
	return env
}

func (c *Change) onlyIf(action int, kind string, list []workflow.Condition, ev *change.Event, s side) Own {
	form, err := match.OnlyIfOf(action, kind, list)
	if err != nil {
		return undecided(err)
	}
	if form == nil {
		return Own{Verdict: condition.True}
	}
	clauses, err := form.Explain(c.Relation, c.Table, s.op, c.env(ev, s))
	if err != nil {
		return undecided(err)
	}
	own := Own{Verdict: condition.Decide(clauses), Clauses: clauses}
	stop := condition.Stopper(clauses)
	switch {
	case own.Verdict == condition.True:
	case own.Verdict == condition.False && stop != nil:
		own.Reason = workflow.NotMet + Describe(stop)
	default:
		own.Verdict = condition.Failed
		own.Reason = "its condition can't be decided"
		if stop != nil {
			own.Reason += ": " + stop.Error
		}
	}
	return own
}

func undecided(err error) Own {
	return Own{Verdict: condition.Failed, Reason: "its condition can't be decided: " + err.Error()}
}

// own decides the conditions of each action that has any, by its index.
func (c *Change) own(w *workflow.Workflow, ev *change.Event, s side) map[int]Own {
	var all map[int]Own
	for i, a := range w.Actions {
		list, err := a.OnlyIf()
		if err != nil || list == nil {
			continue // a broken one has been said to be
		}
		if all == nil {
			all = make(map[int]Own)
		}
		all[i] = c.onlyIf(i, a.Type, list, ev, s)
	}
	return all
}

// leftOut lists the actions that own leaves out, as they run.
func leftOut(w *workflow.Workflow, own map[int]Own) []LeftOut {
	var list []LeftOut
	for _, n := range byOrder(w) {
		if o, ok := own[n]; ok && o.Verdict != condition.True {
			list = append(list, LeftOut{Number: n + 1, Kind: w.Actions[n].Type, Verdict: o.Verdict, Reason: o.Reason, OnlyIf: o.Clauses})
		}
	}
	return list
}
