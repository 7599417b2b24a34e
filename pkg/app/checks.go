package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/pkg/admin"
)

const (
	// heartbeatPatience is how long no heartbeat may come back through the slot.
	heartbeatPatience = 30 * time.Second
	// retryPatience is how long a broken-off stream may be tried again before the
	// process calls itself unhealthy.
	retryPatience = 30 * time.Second
)

// checks are what /readyz and /healthz show. They are tied to progress: a process
// whose connection is up but whose heartbeats don't come back is not healthy.
func (a *App) checks() []admin.Check {
	return []admin.Check{
		{Name: "stream", Run: a.checkStream},
		{Name: "heartbeat", Live: true, Run: a.checkHeartbeat},
		{Name: "state", Run: func(ctx context.Context) (string, error) {
			if err := a.statePool.Ping(ctx); err != nil {
				return "", &admin.Problem{Message: "state can't be reached: " + Redact(err.Error()), Mend: "see that its server runs and accepts connections"}
			}
			return "state answers", nil
		}},
		{Name: "slot", Run: a.checkSlot},
		{Name: "delivery", Run: a.checkDelivery},
		{Name: "pause", Run: a.checkPause},
		{Name: "storm", Run: a.checkStorm},
		{Name: "capture", Run: a.checkCapture},
		{Name: "replica_identity", Run: a.checkIdentity},
	}
}

func (a *App) checkStream(context.Context) (string, error) {
	if !a.ready.Load() {
		return "", &admin.Problem{Message: "starting"}
	}
	p, since, err := a.reader.get()
	switch p {
	case phaseHolding:
		return "holding the slot and reading", nil
	case phaseWaiting:
		return "another worker holds the slot; this one waits to take over", nil
	case phaseStopped:
		return "", &admin.Problem{Message: Redact(err.Error()), Mend: "rowbell resync"}
	case phaseMustMend:
		return "", &admin.Problem{Message: Redact(err.Error()), Mend: "rowbell check"}
	case phaseRetrying:
		problem := &admin.Problem{Message: fmt.Sprintf("the stream broke off and is tried again: %s", Redact(err.Error()))}
		problem.Warning = time.Since(since) < retryPatience
		return "", problem
	}
	return "", &admin.Problem{Message: "starting"}
}

// checkHeartbeat fails while this process holds the slot and no heartbeat has come
// back through it for a while, though the stream says that it reads.
func (a *App) checkHeartbeat(context.Context) (string, error) {
	p, since, _ := a.reader.get()
	hb := a.reader.heartbeat()
	if p != phaseHolding || hb == nil {
		return "not holding the slot", nil
	}
	age := min(hb.Age(), time.Since(since))
	if age > heartbeatPatience {
		return "", &admin.Problem{
			Message: fmt.Sprintf("no heartbeat has come back through the slot for %s", age.Round(time.Second)),
			Mend:    "see rowbell_slot_retained_bytes and the server's log; a walsender that waits for a long transaction to decode catches up by itself",
		}
	}
	return fmt.Sprintf("the last heartbeat came back %s ago", age.Round(time.Second)), nil
}

func (a *App) checkSlot(ctx context.Context) (string, error) {
	slot, err := cdc.SlotInfoOn(ctx, a.sourcePool, a.cdcConfig())
	if err != nil {
		return "", &admin.Problem{Message: Redact(err.Error()), Mend: "rowbell check"}
	}
	if !slot.Exists {
		return "", &admin.Problem{Message: fmt.Sprintf("there is no slot %q on the source", a.cfg.Slot), Mend: "rowbell check"}
	}
	if slot.Lost != "" {
		return "", &admin.Problem{Message: fmt.Sprintf("the server has given up WAL that the slot %q needs: %s", a.cfg.Slot, slot.Lost), Mend: "rowbell resync"}
	}
	return fmt.Sprintf("retains %d bytes of WAL", slot.RetainedBytes), nil
}

// checkDelivery says what becomes of deliveries, and warns while the databases keep the
// executor from its work. What receivers do is no matter of this process's health.
func (a *App) checkDelivery(context.Context) (string, error) {
	for _, t := range a.executor.Troubles() {
		return "", &admin.Problem{
			Message: fmt.Sprintf("deliveries wait, since it has not been possible for %s to %s: %s", time.Since(t.Since).Round(time.Second), t.What, Redact(t.Err.Error())),
			Mend:    "see that the servers of source and state answer, and run: rowbell check",
			Warning: time.Since(t.Since) < retryPatience,
		}
	}
	switch to := a.cfg.Delivery.Redirect(); {
	case a.cfg.Delivery == DeliveryHold:
		return "on hold: deliveries are recorded, and nothing is sent (ROWBELL_DELIVERY)", nil
	case to != "":
		return "everything is sent to one receiver instead (ROWBELL_DELIVERY)", nil
	}
	return "delivering", nil
}

func (a *App) checkCapture(context.Context) (string, error) {
	failing := a.capturer.failing()
	if len(failing) == 0 {
		return "no table waits to be captured", nil
	}
	var lines []string
	for table, reason := range failing {
		lines = append(lines, table+": "+reason)
	}
	slices.Sort(lines)
	return "", &admin.Problem{
		Message: "tables that workflows name could not be captured: " + strings.Join(lines, "; "), Mend: "rowbell check", Warning: true,
	}
}

func (a *App) checkIdentity(context.Context) (string, error) {
	tables := a.identity.Load()
	if tables == nil || len(*tables) == 0 {
		return "every published table has a replica identity", nil
	}
	return "", &admin.Problem{
		Message: "published tables without a replica identity, whose UPDATE and DELETE fail: " + strings.Join(*tables, ", "),
		Mend:    "ALTER TABLE … REPLICA IDENTITY FULL, or give it a primary key, or CALL rowbell.release(…)",
		Warning: true,
	}
}
