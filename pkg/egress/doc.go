// Package egress is the one way out: a dialer and an HTTP client for everything that a
// tenant's configuration can reach. An action that dials by itself could be made to
// fetch a cloud's credentials or to talk to the database next door.
//
// What is checked is the address that is about to be dialled, in the last moment before
// connect. A name says nothing: it may resolve to a public address when it is looked at
// and to 127.0.0.1 when it is dialled (DNS rebinding), or to both at once. Of several
// addresses those that are refused are passed over, and the others tried. CheckURL
// judges what can be judged when a configuration is saved; it is a courtesy, not the
// guard.
//
// Refused are all ranges of the IANA special-purpose registries, also those that the
// registries call globally reachable (no recipient lives at an AS112 or AMT anycast
// address), all of IPv6 outside 2000::/3, and the metadata services of clouds that have
// an address of their own. IPv6 has several ways to write an IPv4 address: a mapped one
// is judged as the IPv4 address it is; NAT64's well-known prefix is judged by the
// address inside, because on a network without IPv4 that is how public recipients look;
// the others (IPv4-compatible, 6to4, Teredo, NAT64's local-use prefix) are refused
// whatever is inside. A NAT64 prefix that a network has chosen itself can't be told from
// any other address: whoever runs one must make it drop private addresses.
//
// What an operator allows (ROWBELL_EGRESS_ALLOW) is allowed, and may be plain http.
// Nothing else may: the scheme is settled at connect too, before a byte is sent.
//
// No redirect is followed, because the signature and the headers were meant for the
// first recipient. No proxy of the environment is used: it would be the proxy that dials,
// and no check of ours would see where to.
//
// 2026-11-25: code.dny.dev/ssrf v0.3.0 was tried first. Its lists are generated from the
// same registries, but it refuses every NAT64 address or, if told so, none, not even
// 64:ff9b::7f00:1; an allowed IPv4 range doesn't count for mapped addresses; it does not
// know 168.63.129.16; and its errors name a prefix, not what that is. What would have
// remained of it is the table.
package egress
