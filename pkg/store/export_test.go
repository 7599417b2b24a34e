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

// MigrateState is the other half.
func MigrateState(ctx context.Context, url string) error { return migrate(ctx, url, WhichState) }

// SQL is what Deliveries asks.
func (f DeliveryFilter) SQL() (string, []any, error) { return f.sql() }

// TenantDatabase is what As gives statements.
func TenantDatabase(pool *pgxpool.Pool, t Tenant) database { return tenantDB{pool, t} }

// HotSQL are the statements that record, claim and settle.
func HotSQL() map[string]string {
	return map[string]string{
		"record": statementSQL(1<<nSections - 1), "claim": claimSQL, "settle": settleSQL, "address": addressSQL,
		"lock": lockOpenSQL, "next": nextOrderSQL, "stop": stopSQL, "close": closeSQL, "call": callSettleSQL,
	}
}

// ReplaySQL is what ReplayItems asks.
func ReplaySQL() string { return `with chosen as (` + chosenSQL + `) ` + itemsSQL("chosen") }

// LiveSQL are the statements of the live feed that read big tables, with the settings that
// they run under.
func LiveSQL() (settings string, settled, pending string) {
	return liveSettings, liveSettledSQL, livePendingSQL
}

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
