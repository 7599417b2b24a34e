// Package directory knows people: by SQL that the operator configures, run against the
// source.
//
// The host application has its own tables of users and roles, and no two have the same.
// So an operator gives a query for each thing that is asked, with the actor's or
// recipient's id and the tenant as bound parameters, and Rowbell never puts a value into
// its text. It runs in a READ ONLY transaction with a statement timeout, through
// connections of its own, of which there are few: neither a slow query nor a wrong one
// can hold up the rest of the worker, or write.
//
// What was answered counts for a while (Config.Keep). A role that was taken away may
// so count for that long, in each process; what is asked again and again, as of one
// actor's thousand rows, is one query.
package directory
