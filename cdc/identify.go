package cdc

import (
	"context"
	"fmt"
)

// Identify asks the server who it is, over a replication connection that reads
// nothing. Confirmed is not set.
func Identify(ctx context.Context, cfg Config) (System, error) {
	cfg = cfg.withDefaults()
	conn, err := connectReplication(ctx, cfg)
	if err != nil {
		return System{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it only asked
	sys, err := identify(ctx, cfg, conn)
	if err != nil {
		return System{}, err
	}
	row, err := execRow(ctx, conn, "select oid from pg_database where datname = current_database()")
	if err != nil {
		return System{}, fmt.Errorf("read the database's oid: %w", classify(cfg, err))
	}
	if _, err := fmt.Sscan(string(row[0]), &sys.DatabaseOID); err != nil {
		return System{}, fmt.Errorf("read the database's oid: %w", err)
	}
	return sys, nil
}
