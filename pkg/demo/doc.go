// Package demo shows Rowbell at work: a throw-away PostgreSQL server, a small shop of
// two tenants in steady traffic, the example workflows, a worker in this process, a
// receiver of webhooks that has bad days, and a feed of what was delivered.
//
// Whatever it shows of an execution is read back from rowbell.workflow_log, the queue, the
// inbox and the worker's own metrics, or is what the receiver noted: nothing on the screen
// is made up on the way. When it ends, in whatever way, the server and its files are gone
// (see package localpg).
package demo
