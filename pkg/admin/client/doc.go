// Package client asks a Rowbell server by its API, for commands that are given a server in
// place of the databases. Its methods are called as those that do the same on the databases
// (app.Operator, definition.Service), and take and give the same types, so that a command is
// written once.
//
// A request is sent again where that can do no harm: after 429 and 503, which say that nothing
// was done; and, of a GET or a POST, when the answer was lost. Each POST has an idempotency
// key, so that the server does it once.
//
// Decisions (2026-11-26):
//
//   - The same types as on the databases, and not those of the API: a command prints the one or
//     the other by the same code, and a test runs each on both and compares. Where the API lacked
//     what a command shows, it has got it.
//   - Files are sent with their names, and not documents: messages have file, line and column.
//   - A plan is not kept by the server between being shown and being done. It is made again, with
//     the same seed for new ids, and done if its tag is the same.
//   - No redirect is followed: a key is for the server that was named. Plain http to another
//     machine is refused (app.LoadServer), as the key would go in the clear.
//   - What a server says is not trusted with more than being shown: names of files are checked,
//     answers are bounded, and control characters are shown and not obeyed (cmd/rowbell).
package client
