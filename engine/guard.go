package engine

import (
	"cmp"
	"fmt"
	"time"

	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// loops says that an execution of c would be one too many in the chain that led to the
// transaction. It is decided by what stands in the WAL alone.
func (e *Engine) loops(c *match.Compiled) bool {
	chain := e.chain()
	return chain != nil && chain.Depth >= cmp.Or(c.Limits.MaxDepth, e.cfg.MaxDepth)
}

// loopError says so, and tells the owner, once in an hour of commit time.
func (e *Engine) loopError(c *match.Compiled, ev *workflow.Event) string {
	chain := ev.Next(c.WorkflowID)
	why := fmt.Sprintf("stopped: loop: %s (depth %d): each of these led to the next, and at most %d may; if that is meant, raise max_depth in the workflow's settings",
		chain.Path(), chain.Depth, cmp.Or(c.Limits.MaxDepth, e.cfg.MaxDepth))
	hour := ev.CommittedAt.UTC().Truncate(time.Hour)
	if e.hooks.Alert == nil || e.loopTold[c.WorkflowID].Equal(hour) {
		return why
	}
	if len(e.loopTold) >= mostTold {
		clear(e.loopTold)
	}
	e.loopTold[c.WorkflowID] = hour
	e.hooks.Alert(workflow.Alert{
		Key: fmt.Sprintf("loop/%s/%s", c.WorkflowID, hour.Format(time.RFC3339)), Kind: workflow.AlertLoop, TenantID: c.TenantID, WorkflowID: c.WorkflowID,
		Subject: "Workflow " + nameOf(c) + " went round in a loop, and was stopped",
		Text:    why + ".\nThe first such execution of this hour is of event " + ev.ID + ": rowbell workflow explain " + ev.ID + "\n",
		At:      ev.CommittedAt,
	})
	return why
}

// mostTold is of how many workflows it is known that their owners were told.
const mostTold = 10_000

// nameOf is a workflow's name as the subjects of alerts have it.
func nameOf(c *match.Compiled) string { return "“" + cmp.Or(c.Workflow.Name, c.WorkflowID) + "”" }

// alertStorm tells the owner that matches are held from now on. The batch with them is
// still to be recorded, and whoever takes the slot after a failure may say it again.
func (e *Engine) alertStorm(c *match.Compiled, id, what string) {
	if e.hooks.Alert == nil {
		return
	}
	e.hooks.Alert(workflow.Alert{
		Key: "storm/" + id, Kind: workflow.AlertStorm, TenantID: c.TenantID, WorkflowID: c.WorkflowID,
		Subject: "Workflow " + nameOf(c) + " " + what,
		Text: "The first of them are delivered; the rest is held until somebody decides. Deliver them: rowbell storm release " + id +
			"\nCancel them: rowbell storm discard " + id + "\nIf so many are meant, raise storm in the workflow's settings.\n",
		At: e.txn.committedAt,
	})
}

// storm is what a workflow has matched lately. Counts go by the minute of commit time, and
// are of what is recorded, so that whoever takes the slot next counts on from there.
type storm struct {
	minute    int64 // of the last match, in minutes since 1970
	n, before int32 // matches in that minute, and in the one before it
	txn       change.LSN
	inTxn     int32 // matches in the transaction txn

	key       change.LSN // of the row that holds what is too much of a minute; 0 none yet
	keyMinute int64
	opened    change.LSN // of the row that was opened last
	openedRef int32      // and the version that it is of
}

// storms is what the guard knows: of each workflow that has matched lately.
type storms struct {
	minute int64 // the newest of all matches
	of     map[string]*storm
}

func newStorms(start workflow.StormCounts, cp workflow.Checkpoint) storms {
	s := storms{minute: start.Minute, of: make(map[string]*storm, len(start.Counts))}
	for _, c := range start.Counts {
		one := &storm{minute: start.Minute, n: c.Newest, before: c.Before, inTxn: c.InTxn}
		if c.InTxn > 0 {
			one.txn = cp.Position.CommitLSN
		}
		s.of[c.WorkflowID] = one
	}
	return s
}

// count counts a match. A commit time that lies further back than the minute before the
// newest one counts for nothing: what the guard knows stays small.
func (s *storms) count(workflowID string, at time.Time, txn change.LSN) *storm {
	minute := at.Unix() / 60
	if minute < s.minute-1 {
		return nil
	}
	if minute > s.minute {
		s.minute = minute
		for id, one := range s.of {
			if one.minute < minute-1 {
				delete(s.of, id)
			}
		}
	}
	one := s.of[workflowID]
	if one == nil {
		one = &storm{minute: minute}
		s.of[workflowID] = one
	}
	switch {
	case minute == one.minute:
		one.n++
	case minute == one.minute-1:
		one.before++
	case minute == one.minute+1:
		one.before, one.n, one.minute = one.n, 1, minute
	default:
		one.before, one.n, one.minute = 0, 1, minute
	}
	if one.txn != txn {
		one.txn, one.inTxn = txn, 0
	}
	one.inTxn++
	return one
}

// guard counts a match, and says which row holds it back: the commit LSN of that, 0 for
// none. Beyond its limit in a transaction a workflow's matches are held by a row for that
// transaction, and beyond the one in a minute by a row for the minute.
func (e *Engine) guard(c *match.Compiled, hold bool) change.LSN {
	limits := [2]int32{cmp.Or(c.Limits.StormTransaction, e.cfg.StormTransaction), cmp.Or(c.Limits.StormMinute, e.cfg.StormMinute)}
	one := e.storms.count(c.WorkflowID, e.txn.committedAt, e.txn.commitLSN)
	if one == nil || !hold {
		return 0
	}
	minute := e.txn.committedAt.Unix() / 60
	n := one.n
	if minute < one.minute {
		n = one.before
	}
	key := e.txn.commitLSN
	what := ""
	switch {
	case limits[0] > 0 && one.inTxn > limits[0]:
		what = fmt.Sprintf("matched more than %d changes of one transaction", limits[0])
	case limits[1] > 0 && n > limits[1]:
		what = fmt.Sprintf("matched more than %d changes in a minute", limits[1])
		if one.key == 0 || one.keyMinute != minute {
			one.key, one.keyMinute = key, minute
		}
		key = one.key
	default:
		return 0
	}
	if one.opened != key || one.openedRef != c.Ref { // a new version has a row of its own
		one.opened, one.openedRef = key, c.Ref
		e.batch.Big = append(e.batch.Big, workflow.Big{
			Stream: workflow.StormStream(c.Ref), CommitLSN: key, CommittedAt: e.txn.committedAt, Status: workflow.BigHeld,
		})
		e.counts.storms++
		e.alertStorm(c, workflow.StormID(c.Ref, key), what)
	}
	e.counts.held++
	return key
}
