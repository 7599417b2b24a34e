// Package pgtest gives tests a real PostgreSQL: a database each, slots, roles, a server
// of their own to restart or kill, and a proxy that breaks connections on demand.
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
//	func TestOrders(t *testing.T) {
//		t.Parallel()
//		db := pgtest.DB(t)
//		db.Exec(t, "create table orders (id int primary key)")
//		slot := pgtest.Slot(t, db)
//		…
//	}
//
// # Where the server comes from
//
// The first of these that there is: the server of ROWBELL_TEST_URL (a superuser's URL,
// wal_level=logical); binaries found or fetched by package localpg (ROWBELL_TEST_PG
// chooses a major version, such as 14); a container, where an engine runs. If there is
// none, the test fails and says what to install. No test is skipped for want of a server.
//
// # One server for each test process
//
// `go test ./...` runs a process for each package, a few at a time. Each starts its own
// server, at its first use, from a data directory that initdb made once for the machine
// (localpg.Options.Template): about 0.2 s. A server shared by the processes would save
// that, and cost a protocol for who starts and who stops it, and tests of one package
// would see the slots, the load and the shared limits of another. A server dies with its
// process, even one that is killed by the test timeout.
//
// # Containers
//
// Testcontainers starts them, in a program of its own (pgtest/container), run through
// `go run` only where it is needed: test binaries stay small, and its goroutines stay out
// of their leak checks.
package pgtest
