package store_test

import (
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// waitLong is for what should happen soon, on a busy machine.
const waitLong = pgtest.Patience

// sourceDB gives a database with the tables of the source.
func sourceDB(t *testing.T) *pgtest.Database {
	t.Helper()
	return pgtest.Filled(t, "source", store.MigrateSource)
}
