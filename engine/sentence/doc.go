// Package sentence says in plain English what a workflow does, and what changed between
// two versions of it.
//
//	When an order is updated and its status becomes approved, send a webhook to
//	hooks.example.com and notify maria and the row's account manager.
//
// It reads the stored document alone: no catalogue, no database, no clock. So a draft, an
// old version and a definition that is broken all have their sentence, and what of them
// can't be read is said to be so. Nothing is left out that decides whether a workflow
// fires; what is too long for a reader is counted instead ("or 12 others").
//
// # How it is put together
//
// Field conditions and expressions become the same tree of clauses, as the form is an
// expression underneath: each leaf a subject and what is said of it, both as it is and
// as it isn't, so that a "not" is pushed down to the leaves (the logic is two-valued, see
// package condition). An expression that is more than comparisons of columns with values
// is quoted whole, never guessed at. One level of either … or stands as it is; whatever
// is nested deeper stands in parentheses, so that there is one way to read it.
//
// Table names are made singular by rules for English plurals; a name that is none of
// those, or no word, is a "row of" that table. Names and values are shown as words where
// they are words, and in “quotes” where they could be mistaken for the sentence's own.
// No secret, header or query of a URL is ever shown.
package sentence
