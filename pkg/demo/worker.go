package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/rowbell/rowbell/examples"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/app"
)

// worker is a rowbell worker in this process. This file alone knows package app.
type worker struct {
	app   *app.App
	stop  context.CancelFunc
	ended chan struct{}
	err   error // why it ended, once ended is closed
}

// startWorker migrates and starts to read. It must be stopped.
func startWorker(ctx context.Context, sourceURL, smtpURL string, log *slog.Logger, version, revision string) (*worker, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	a, err := app.New(app.Config{
		SourceURL: sourceURL, Instance: "demo", Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0",
		// The receiver is on this machine. Nothing else is reached.
		EgressAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		SecretKey:   key,
		SMTPURL:     smtpURL, MailFrom: "The shop <shop@example.com>",
		DirectoryUsers: examples.Users, DirectoryRoleMembers: examples.RoleMembers,
	}, log, version, revision)
	if err != nil {
		return nil, err
	}
	// The worker is stopped in order, after the traffic, and not by ctx.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &worker{app: a, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.err = a.Run(ctx)
	}()
	return w, nil
}

// close stops the worker in order and returns why it ended; nil for an orderly end.
func (w *worker) close() error {
	w.stop()
	<-w.ended
	if w.err != nil {
		return fmt.Errorf("the worker ended: %w", w.err)
	}
	return nil
}

// opsURL is where its metrics and health are.
func (w *worker) opsURL() string { return "http://" + w.app.OpsAddr() }

// apiURL is where its API is.
func (w *worker) apiURL() string { return "http://" + w.app.PublicAddr().String() }

// makeKey makes a key for the API, of all tenants. Without one the worker would make it, and
// say so at length.
func makeKey(ctx context.Context, sourceURL string) (string, error) {
	o, err := app.NewOperator(app.Config{SourceURL: sourceURL}, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer o.Close()
	_, key, err := o.Access().CreateKey(ctx, access.NewKey{Name: "the demo's", Roles: []access.Role{access.Admin}}, "rowbell demo")
	return key, err
}

// migrate makes rowbell's tables, so that workflows can be written before it runs.
func migrate(ctx context.Context, sourceURL string) error {
	return app.Migrate(ctx, app.Config{SourceURL: sourceURL})
}
