// Package actions says what an action kind is: a name, a JSON Schema of its
// action_config, and a Runner that makes one attempt at one delivery. Kinds live in
// packages below this one, each with its own Config; the Registry holds those that are
// wired in, and turns a workflow's document into a Plan that can be run.
//
// Every kind passes package actiontest.
//
// # Who does what
//
// A Runner tries once, and says by its error whether another try can help. When it is
// tried, how often, how many at a time, and what is written down is the executor's:
// a Runner never waits, never retries and never logs a failure.
//
// All attempts at a delivery carry one idempotency key, Delivery.ID. A Runner hands it
// to the receiver in the way that its kind has for this.
package actions
