package app

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/chat"
	"github.com/rowbell/rowbell/actions/email"
	"github.com/rowbell/rowbell/actions/function"
	"github.com/rowbell/rowbell/actions/log"
	"github.com/rowbell/rowbell/actions/notification"
	"github.com/rowbell/rowbell/actions/publish"
	"github.com/rowbell/rowbell/actions/webhook"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/egress"
	"github.com/rowbell/rowbell/pkg/secret"
	"github.com/rowbell/rowbell/pkg/store"
)

// prepareKinds makes what is needed to read actions: the guarded client, the action
// kinds, and the key for secrets.
func (a *App) prepareKinds(version string) error {
	var err error
	if len(a.cfg.SecretKey) > 0 {
		if a.key, err = secret.NewKey(a.cfg.SecretKey); err != nil {
			return err
		}
	}
	if a.egress, err = egress.New(egress.Config{Allow: a.cfg.EgressAllow}); err != nil {
		return err
	}
	if err = a.prepareSigner(); err != nil {
		return err
	}
	if err = a.openMail(); err != nil {
		return err
	}
	a.inbox = newInbox(a.state)
	a.broker = publish.NewBroker(a.cfg.nats())
	a.registry, err = actions.NewRegistry(
		webhook.Kind(a.egress, version),
		notification.Kind(a.inbox),
		email.Kind(a.mailer, email.Options{Unsubscribe: a.unsubscribeURL("email")}),
		chat.Kind(a.egress),
		function.Kind(a.cfg.stateInSource()),
		publish.Kind(a.broker),
		log.Kind(),
	)
	return err
}

// prepareDelivery makes what deliveries need besides: where they are redirected to, and
// the executor.
func (a *App) prepareDelivery(version string) error {
	if err := a.prepareKinds(version); err != nil {
		return err
	}
	var err error
	if to := a.cfg.Delivery.Redirect(); to != "" {
		// Where the operator sends all is the operator's to choose.
		if a.redirectEgress, err = egress.New(egress.Config{Allow: everywhere}); err != nil {
			return err
		}
		a.redirect = func(kind *actions.Kind, r actions.Runner) actions.Runner {
			return webhook.Redirect(to, kind, r, a.redirectEgress, version)
		}
	}
	if err := a.openDirectory(); err != nil {
		return err
	}
	if a.alerts, err = newAlerter(a, version); err != nil {
		return err
	}
	var kinds []string
	for _, k := range a.registry.Kinds() {
		kinds = append(kinds, k.Name)
	}
	delivery := executor.Config{
		Concurrency: a.cfg.DeliveryConcurrency, PerDestination: a.cfg.DestinationConcurrency, PerTenant: a.cfg.TenantConcurrency,
		Lease: a.cfg.DeliveryLease, Hold: a.cfg.Delivery == DeliveryHold, Plan: a.plan, OnlyIf: a.ownConditions().decide, Directory: a.directory,
		Preferences: a.preferences(), Logger: a.log,
	}
	a.shareDestinations(&delivery)
	both := store.Definitions{State: a.state, Source: a.source}
	delivery.Pauses = both
	a.executor = executor.New(delivery, deliveryStore{both, newSecrets(a.source, a.key)},
		func() executor.Queue { return a.state.Queue(a.id, a.cfg.DeliveryLease) },
		executor.NewMetrics(a.reg, kinds))
	return nil
}

// shareDestinations lets the executor share with others what is known of destinations. A
// redirect is the operator's: what the sink does says nothing of where deliveries would go.
func (a *App) shareDestinations(c *executor.Config) {
	if a.redirect != nil {
		return
	}
	c.Destinations, c.Process, c.Alerts = a.state, a.id, a.alerts
	c.Breaker.DisableAfter = a.cfg.DisableAfter
	if a.cfg.DestinationRate != "" {
		c.Limits.Rate, _ = actions.ParseRate(a.cfg.DestinationRate) // Validate has read it
	}
}

// deliveryStore is what the executor reads.
type deliveryStore struct {
	store.Definitions
	secrets *secrets
}

// Secret is a tenant's secret, opened.
func (s deliveryStore) Secret(ctx context.Context, tenantID, name string) (string, error) {
	return s.secrets.get(ctx, tenantID, name)
}

// listen tells the executor which workflows were turned on or off, as the source
// notifies. What it misses while it has no connection, sweeps find.
func (a *App) listen(ctx context.Context) error {
	for ctx.Err() == nil {
		err := a.listenOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		a.log.DebugContext(ctx, "not listening to changes of status for a moment", "err", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	return nil
}

func (a *App) listenOnce(ctx context.Context) error {
	pooled, err := a.sourcePool.Acquire(ctx)
	if err != nil {
		return err
	}
	conn := pooled.Hijack()
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // it only listened
	}()
	if _, err := conn.Exec(ctx, `listen rowbell_status`); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	for {
		n, err := waitForNotification(ctx, conn)
		if err != nil {
			return err
		}
		if n != "" {
			a.executor.StatusChanged(n)
		}
	}
}

// waitForNotification waits for one, and asks now and then whether the server is still
// there: one that has gone without a word would be listened to for ever.
func waitForNotification(ctx context.Context, conn *pgx.Conn) (workflowID string, err error) {
	const look = 10 * time.Second
	wait, cancel := context.WithTimeout(ctx, look)
	n, err := conn.WaitForNotification(wait)
	cancel()
	switch {
	case err == nil:
		return n.Payload, nil
	case ctx.Err() != nil || wait.Err() == nil:
		return "", err
	}
	ping, cancel := context.WithTimeout(ctx, look)
	defer cancel()
	return "", conn.Ping(ping)
}

// everywhere is every address there is.
var everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
