// Package client asks a Rowbell server by its API, for commands that are given a server in
// place of the databases. Its methods are called as those that do the same on the databases
// (app.Operator, definition.Service), and take and give the same types, so that a command is
// written once.
//
// A request is sent again where that can do no harm: after 429 and 503, which say that nothing
// was done; and, of a GET or a POST, when the answer was lost. Each POST has an idempotency
// key, so that the server does it once.
package client
