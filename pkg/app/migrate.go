package app

import (
	"context"
	"io"
	"log/slog"

	"github.com/rowbell/rowbell/pkg/store"
)

// Migrate makes or updates the tables in source and state, and makes the publications.
func Migrate(ctx context.Context, cfg Config) error {
	a, err := newApp(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer a.closePools()
	if err := store.Migrate(ctx, a.cfg.SourceURL, a.cfg.StateURL); err != nil {
		return err
	}
	return a.preparePublications(ctx)
}

// PrintMigrations writes the SQL of all migrations.
func PrintMigrations(w io.Writer) error { return store.PrintMigrations(w) }
