package app

import (
	"context"
	"fmt"
	"strings"

	"github.com/rowbell/rowbell/actions/publish"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// nats is the configuration of the broker.
func (c Config) nats() publish.Config {
	return publish.Config{URL: c.NATSURL, Credentials: c.NATSCreds, Prefix: c.NATSPrefix, Name: "rowbell/" + c.Instance}
}

// judgeBroker says what this process would need for a workflow that publishes.
func (a *App) judgeBroker(w *workflow.Workflow) error {
	for i, action := range w.Actions {
		if action.Type == "publish" && a.cfg.NATSURL == "" {
			return fmt.Errorf("action %d (publish): this worker has no broker; ask an operator to set ROWBELL_NATS_URL, as nats://nats.example.com:4222, and to start rowbell again", i+1)
		}
	}
	return nil
}

// broker looks whether NATS answers, and whether a stream takes what tenants publish.
func (d *doctor) broker(ctx context.Context) {
	const check = "nats"
	if d.cfg.NATSURL == "" {
		return // workflows that want it are broken, and say so
	}
	status, err := publish.Look(ctx, d.cfg.nats())
	switch {
	case err != nil:
		d.report.trouble(check, err, "See that the server of ROWBELL_NATS_URL runs, takes these credentials, and has JetStream enabled for the account: nats account info")
	case len(status.Streams) == 0:
		d.report.add(LevelWarning, check, fmt.Sprintf("NATS %s answers, and no stream takes what tenants' workflows publish, %s: their deliveries fail, and are tried again", status.Server, status.Subject),
			fmt.Sprintf("nats stream add ROWBELL --subjects='%s' --dupe-window=1h --defaults", status.Subject))
	default:
		d.report.ok(check, "NATS %s; %s go to stream %s", status.Server, status.Subject, strings.Join(status.Streams, ", "))
	}
}
