package store

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	MigrationLock   = migrationLock
	DeliveryFeedSQL = deliveryFeedSQL
)

// MigrateSource is the half of Migrate that most tests need.
func MigrateSource(ctx context.Context, url string) error { return migrate(ctx, url, WhichSource) }

// SQL is what Deliveries asks.
func (f DeliveryFilter) SQL() (string, []any, error) { return f.sql() }

// TenantDatabase is what As gives statements.
func TenantDatabase(pool *pgxpool.Pool, t Tenant) database { return tenantDB{pool, t} }
