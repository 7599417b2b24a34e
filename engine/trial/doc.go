// Package trial says what a workflow would do, and why one did or did not: Simulate runs
// any definition on a change that was recorded, that could happen to a row, or that
// somebody made up; Explain tells for a recorded event of each workflow of its table what
// became of it.
//
// It is pure. Definitions, rows and executions are handed in, and nothing in it or below
// it can reach a network, a database or an action: a test holds its imports to that.
//
// What it says is decided by the code that the stream runs: conditions by
// condition.Form.Explain, which evaluates with the binder of Bound.Eval, and what is wrong
// with a definition by match.Compile and match.Index.
//
// # What a recorded event doesn't know
//
// Hidden columns are absent from what is recorded, and redacted ones masked. Conditions
// that need one of them can't be decided here, though the stream could: the verdict says
// so, and nothing is guessed.
package trial
