// Package demo shows Rowbell at work: a throw-away PostgreSQL server, a small shop of
// two tenants in steady traffic, the example workflows, a worker in this process, and
// a feed of what it recorded.
//
// Whatever it shows is read back from rowbell.workflow_log and from the worker's own
// metrics: nothing on the screen is made up on the way. When it ends, in whatever way,
// the server and its files are gone (see package localpg).
package demo
