package store

import "context"

const (
	MigrationLock   = migrationLock
	DeliveryFeedSQL = deliveryFeedSQL
)

// MigrateSource is the half of Migrate that most tests need.
func MigrateSource(ctx context.Context, url string) error { return migrate(ctx, url, WhichSource) }

// SQL is what Deliveries asks.
func (f DeliveryFilter) SQL() (string, []any, error) { return f.sql() }

// LiveSQL are the statements of the live feed that read big tables, with the settings that
// they run under.
func LiveSQL() (settings string, settled, pending string) {
	return liveSettings, liveSettledSQL, livePendingSQL
}
