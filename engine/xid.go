package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

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

// snapshot is a pg_snapshot: which transactions had ended when it was taken.
type snapshot struct {
	xmin, xmax uint64
	inProgress []uint64
}

// parseSnapshot reads pg_snapshot's text, xmin:xmax:xip,xip,….
// (PostgreSQL manual: System Information Functions, pg_snapshot components.)
func parseSnapshot(s string) (snapshot, error) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return snapshot{}, fmt.Errorf("%q is not a pg_snapshot: want xmin:xmax:xip_list", s)
	}
	var sn snapshot
	var err error
	if sn.xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return snapshot{}, fmt.Errorf("xmin of the pg_snapshot %q: %w", s, err)
	}
	if sn.xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return snapshot{}, fmt.Errorf("xmax of the pg_snapshot %q: %w", s, err)
	}
	for x := range strings.SplitSeq(parts[2], ",") {
		if x == "" {
			continue
		}
		xid, err := strconv.ParseUint(x, 10, 64)
		if err != nil {
			return snapshot{}, fmt.Errorf("xip_list of the pg_snapshot %q: %w", s, err)
		}
		sn.inProgress = append(sn.inProgress, xid)
	}
	return sn, nil
}

// sees says that the transaction had ended when the snapshot was taken.
func (s snapshot) sees(xid uint64) bool {
	return xid < s.xmin || xid < s.xmax && !slices.Contains(s.inProgress, xid)
}
