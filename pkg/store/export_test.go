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

// SQL is what AuditLog asks.
func (f AuditFilter) SQL(cursor string, limit int) (string, []any, error) {
	return f.sql(cursor, limit)
}

// Masked is what audit_log has of a value.
func Masked(v any) (string, error) {
	raw, err := masked(v)
	return string(raw), err
}

// FindRowSQL finds the events of a row that is to be erased.
const FindRowSQL = findRowSQL + "200"
