// Package workflow says what to do and what was done: workflows with their
// triggers, conditions, actions and recipients, and the executions, deliveries and
// checkpoint that are recorded.
//
// It is vocabulary, like package change, and imports nothing else of Rowbell.
package workflow
