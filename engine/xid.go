package engine

// widen gives the 64-bit xid that is nearest to near and ends in the 32 bits of xid.
// Transactions in a slot are never 2^31 apart. (PostgreSQL manual: Transactions and
// Identifiers.)
func widen(xid uint32, near uint64) uint64 {
	const epoch = 1 << 32
	full := near&^(epoch-1) | uint64(xid)
	switch {
	case full > near && full-near > epoch/2 && full >= epoch:
		return full - epoch
	case near > full && near-full > epoch/2:
		return full + epoch
	}
	return full
}
