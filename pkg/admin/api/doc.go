// Package api is the HTTP API under /api/v1. Each operation is a typed function, and the
// OpenAPI document, which the server serves, is made of its types (huma).
//
// A request goes through, from the outside in: its id, who sends it (pkg/access), how many
// it may send, an idempotency key, the operation's right, and then the operation, which sees
// the database as its tenant may: queries filter by tenant, and where there is one, row-level
// security does as well.
//
// Errors are problem details (RFC 9457), with a pointer to the field and a mend. What another
// tenant has is not found, as what there isn't.
package api
