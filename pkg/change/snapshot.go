package change

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Snapshot is a pg_snapshot: which transactions had ended when it was taken.
type Snapshot struct {
	Xmin, Xmax uint64
	InProgress []uint64
}

// ParseSnapshot reads pg_snapshot's text, xmin:xmax:xip,xip,….
// (PostgreSQL manual: System Information Functions, pg_snapshot components.)
func ParseSnapshot(s string) (Snapshot, error) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return Snapshot{}, fmt.Errorf("%q is not a pg_snapshot: want xmin:xmax:xip_list", s)
	}
	var sn Snapshot
	var err error
	if sn.Xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return Snapshot{}, fmt.Errorf("xmin of the pg_snapshot %q: %w", s, err)
	}
	if sn.Xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return Snapshot{}, fmt.Errorf("xmax of the pg_snapshot %q: %w", s, err)
	}
	for x := range strings.SplitSeq(parts[2], ",") {
		if x == "" {
			continue
		}
		xid, err := strconv.ParseUint(x, 10, 64)
		if err != nil {
			return Snapshot{}, fmt.Errorf("xip_list of the pg_snapshot %q: %w", s, err)
		}
		sn.InProgress = append(sn.InProgress, xid)
	}
	return sn, nil
}

// Sees says that the transaction had ended when the snapshot was taken.
func (s Snapshot) Sees(xid uint64) bool {
	return xid < s.Xmin || xid < s.Xmax && !slices.Contains(s.InProgress, xid)
}
