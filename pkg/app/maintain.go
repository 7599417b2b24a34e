package app

import (
	"context"
	"time"

	"github.com/rowbell/rowbell/cdc"
)

// watch looks now and then after the slot, the queue and the published tables.
func (a *App) watch(ctx context.Context) error {
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	slot := time.NewTicker(5 * time.Second)
	defer slot.Stop()
	queue := time.NewTicker(15 * time.Second) // counting it reads all of it
	defer queue.Stop()
	a.lookAtSlot(ctx)
	a.lookAtTables(ctx)
	a.countQueue(ctx)
	for {
		select {
		case <-slot.C:
			a.lookAtSlot(ctx)
		case <-queue.C:
			a.countQueue(ctx)
		case <-minute.C:
			a.lookAtTables(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// maintain makes partitions ahead, and drops those that are old. It may take long, and
// may wait for a lock that somebody holds, so nothing else waits for it.
func (a *App) maintain(ctx context.Context) error {
	due := time.NewTicker(10 * time.Minute)
	defer due.Stop()
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	a.partitions(ctx)
	for {
		a.countHours(ctx)
		select {
		case <-due.C:
			a.partitions(ctx)
		case <-minute.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// countHours counts what statistics show. After the first migration that is all of the log,
// hour by hour.
func (a *App) countHours(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if _, err := a.state.CountHours(limited, a.cfg.RetentionDays, a.cfg.KeptDays); err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "executions could not be counted for statistics, will try again", "err", err)
	}
}

func (a *App) partitions(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := a.state.MaintainPartitions(limited, a.cfg.RetentionDays, a.cfg.KeptDays); err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "partitions could not be maintained, will try again; rows of days without a partition go to the default one", "err", err)
	}
	const mostRequests = 10_000
	var err error
	for forgot := mostRequests; forgot == mostRequests && err == nil; {
		forgot, err = a.source.ForgetOldRequests(limited, mostRequests)
	}
	if err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "old idempotency keys of the API could not be deleted, will try again", "err", err)
	}
	if err := a.state.TrimInbox(limited, a.cfg.InboxDays); err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "old notifications could not be deleted, will try again", "err", err)
	}
	if a.cfg.AuditDays > 0 {
		if err := a.source.TrimAudit(limited, a.cfg.AuditDays); err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "what is old of the audit log could not be deleted, will try again", "err", err)
		}
	}
}

func (a *App) countQueue(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if q, err := a.state.QueueStats(ctx); err == nil {
		a.metrics.queue(q)
	}
	if plain, _, err := a.source.CountSecrets(ctx); err == nil {
		a.metrics.unsealed.Set(float64(plain))
	}
}

// lookAtSlot measures what the slot retains.
func (a *App) lookAtSlot(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	slot, err := cdc.SlotInfoOn(ctx, a.sourcePool, a.cdcConfig())
	a.metrics.slot(slot, err)
}

// lookAtTables finds published tables whose UPDATE and DELETE fail because they lost
// their replica identity, and captured ones that are not published any more.
func (a *App) lookAtTables(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tables, err := a.source.TablesPublishedWithoutIdentity(ctx, a.cfg.Publication)
	if err != nil {
		if ctx.Err() == nil {
			a.log.WarnContext(ctx, "the published tables could not be looked at", "err", err)
		}
		return
	}
	if lost, err := a.source.LostTables(ctx, a.cfg.Publication); err == nil {
		select {
		case <-a.lost: // that nobody has taken yet
		default:
		}
		a.lost <- lost
	}
	a.metrics.withoutIdentity.Set(float64(len(tables)))
	a.identity.Store(&tables)
	for _, t := range tables {
		a.log.ErrorContext(ctx, "a published table has lost its replica identity: the application's UPDATE and DELETE on it fail",
			"table", t, "mend", "ALTER TABLE "+t+" REPLICA IDENTITY FULL, or give it a primary key, or: CALL rowbell.release("+"'"+t+"')")
	}
}
