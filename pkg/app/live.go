package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/pkg/live"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// newFeed makes a feed of what happens. It does nothing until it runs and somebody listens.
func (a *App) newFeed() *live.Feed {
	return live.New(live.Config{
		Log:    a.state,
		Pauses: func(ctx context.Context) ([]workflow.Pause, error) { return a.source.Pauses(ctx, mostPauses) },
		Stream: a.streamState,
		Logger: a.log, Readers: 200, // of the listener's connections
	})
}

// streamState is how the stream stands, as the databases know it: whichever worker reads.
func (a *App) streamState(ctx context.Context) live.StreamState {
	s := live.StreamState{RetainedBytes: -1, LagBytes: -1}
	at, err := a.state.LiveSlot(ctx, a.cfg.Slot)
	switch {
	case errors.Is(err, workflow.ErrNotFound):
		s.Problem = "nothing was ever read"
		return s
	case err != nil:
		s.Problem = "state can't be read: " + Redact(Message(err))
		return s
	}
	s.Held, s.CheckpointAt, s.CheckpointAge, s.Gaps = at.Held, at.MovedAt, at.Age.Seconds(), at.OpenGaps
	if at.Held {
		s.Holder = at.Holder
	}
	slot, err := cdc.SlotInfoOn(ctx, a.sourcePool, a.cdcConfig())
	switch {
	case err != nil:
		s.Problem = "the source can't be reached: " + Redact(Message(err))
	case !slot.Exists:
		s.Problem = fmt.Sprintf("there is no slot %q on the source; rowbell check says more", a.cfg.Slot)
	case slot.Lost != "":
		s.Problem = fmt.Sprintf("the server has given up WAL that the slot %q needs: %s; rowbell resync", a.cfg.Slot, slot.Lost)
	case at.OpenGaps > 0:
		s.Problem = "a stretch of WAL is lost; rowbell resync accepts it"
	case !at.Held:
		s.Problem = "no worker holds the slot"
	case at.Age > heartbeatPatience:
		s.Problem = fmt.Sprintf("the checkpoint has not moved for %s", at.Age.Round(time.Second))
	}
	if err == nil && slot.Exists {
		s.RetainedBytes, s.LagBytes = slot.RetainedBytes, int64(slot.WALPos-min(slot.WALPos, slot.Confirmed))
	}
	return s
}

// Tail tells what happens and passes the filter, until ctx ends: from so long ago on what has
// ended since, and from now on all. Returns ErrNotFound if there is no workflow or tenant as
// the filter says.
func (o *Operator) Tail(ctx context.Context, f live.Filter, since time.Duration, tell func(live.Event) error) error {
	a := o.app
	if f.WorkflowID != "" {
		if err := a.mustHaveWorkflow(ctx, f.WorkflowID); err != nil {
			return err
		}
	}
	if f.Tenant != nil && *f.Tenant != "" {
		owns, err := a.source.OwnsWorkflows(ctx, *f.Tenant)
		if err != nil {
			return err
		}
		if !owns {
			return said{fmt.Sprintf("no workflow belongs to tenant %s; rowbell workflow list has all, with their tenants", *f.Tenant), workflow.ErrNotFound}
		}
	}
	at, err := a.state.LiveHorizon(ctx)
	if err != nil {
		return err
	}
	after := ""
	if since > 0 {
		after = live.IDAt(at.Add(-since))
	}
	feed := a.newFeed()
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = feed.Run(running) // it goes on until it is stopped
	}()
	defer func() {
		stop()
		<-ended
	}()
	events, err := feed.Subscribe(running, f, after)
	if err != nil {
		return err
	}
	for e := range events {
		if err := tell(e); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// mustHaveWorkflow returns ErrNotFound if there is no such workflow.
func (a *App) mustHaveWorkflow(ctx context.Context, id string) error {
	statuses, err := a.source.Statuses(ctx, []string{id})
	if err == nil && statuses[id] == workflow.Deleted {
		err = said{fmt.Sprintf("there is no workflow %s; rowbell workflow list has all", id), workflow.ErrNotFound}
	}
	return err
}
