// Package access says who asks, and what they may do: API keys, signed links by which a host
// application embeds Rowbell's pages for its own people, and tokens of an OpenID Connect
// provider. What somebody may do is a set of rights; roles are names for sets of them, in
// one table (roleRights). Whose things they may do it with is one tenant, or all.
//
// # Keys
//
// A key is rbk_<id>_<secret>: what a leak scanner knows by its beginning, an id by which the
// row is found, and 130 random bits with a checksum, so that a key that was cut or mistyped
// is told apart without a look at the database. Only its SHA-256 is stored. A slow hash
// would protect what people choose; nobody can try 2^130 secrets, and each request would pay
// for it.
//
// # Links
//
// A link is a JWT that the host application signs with a private key of its own, and lives a
// quarter of an hour at most. Rowbell has the public keys only (rowbell.link_key), Ed25519 or
// P-256: whoever reads the database, a backup of it, or ROWBELL_SECRET_KEY can't make links.
// Secrets shared with the host (HS256) were not taken. In rowbell.secret a tenant's authors
// could name one in an action ({"ref": …}), have it sent to them, and make themselves
// administrators; derived from ROWBELL_SECRET_KEY, the key of one host could not be changed
// without those of all others. The algorithm is that of the stored key and never the token's
// word, so there is nothing to confuse. Several keys may count at a time: that is how they
// are changed.
//
// # What is kept in memory
//
// Rows of keys, link keys and members are kept for a few seconds (see fresh), and no longer:
// so long after it was revoked a key may still work, also while the database is away.
package access
