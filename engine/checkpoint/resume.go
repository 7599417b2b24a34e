package checkpoint

import (
	"errors"
	"fmt"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

var (
	// ErrGap says that the slot is ahead of the checkpoint: WAL between the two was
	// never recorded and won't be sent again.
	ErrGap = errors.New("gap in the stream")
	// ErrDiverged says that what is recorded lies beyond the point where the server's
	// timeline parted from the one it was read on.
	ErrDiverged = errors.New("the server's history has diverged from what is recorded")
	// ErrMismatched says that the checkpoint belongs to another database cluster.
	ErrMismatched = errors.New("the checkpoint belongs to another server")
)

// GapError is ErrGap or ErrDiverged with the stretch of WAL that is concerned.
type GapError struct {
	Kind     error // ErrGap or ErrDiverged
	From, To change.LSN
	Reason   string
}

func (e *GapError) Error() string {
	return fmt.Sprintf("%v: %s (from %s to %s); nothing is read until you run: rowbell resync", e.Kind, e.Reason, e.From, e.To)
}

func (e *GapError) Unwrap() error { return e.Kind }

// Server is what a server said when the slot was taken.
type Server struct {
	SystemID  string
	Timeline  int32
	Confirmed change.LSN // the slot's confirmed_flush_lsn
	WALPos    change.LSN // where it wrote WAL to, asked after the slot was taken
}

// Switch is one line of a timeline's history: Timeline ended at LSN.
// (PostgreSQL manual: Streaming Replication Protocol, TIMELINE_HISTORY.)
type Switch struct {
	Timeline int32
	LSN      change.LSN
}

// Known is what the checkpoint row says of the server it was made on.
type Known struct {
	SystemID   string
	Timeline   int32
	Checkpoint workflow.Checkpoint
}

// Resume decides how to go on with a slot. It returns the checkpoint to go on from,
// which differs from the known one on a new timeline only: there ConfirmLSN is taken
// back to the switch, since beyond it LSNs mean something else. history is asked for
// when the timeline has changed. Returns ErrMismatched, or a *GapError.
func Resume(known Known, server Server, history func() ([]Switch, error)) (workflow.Checkpoint, error) {
	cp := known.Checkpoint
	if known.SystemID != server.SystemID {
		return cp, fmt.Errorf("%w: it was made on system %s, this is %s; run: rowbell adopt --discard-pending or rowbell adopt --keep", ErrMismatched, known.SystemID, server.SystemID)
	}
	// A transaction that is recorded in part has no end yet: its commit record counts.
	recorded := max(cp.EndLSN, cp.Position.CommitLSN)
	if server.WALPos < recorded {
		return cp, &GapError{
			Kind: ErrDiverged, From: server.WALPos, To: recorded,
			Reason: fmt.Sprintf("the server's WAL ends at %s, but transactions up to %s are recorded: it was set back to an older copy", server.WALPos, recorded),
		}
	}
	if known.Timeline != server.Timeline {
		switches, err := history()
		if err != nil {
			return cp, err
		}
		parted, ok := switchOf(switches, known.Timeline)
		if !ok {
			return cp, &GapError{
				Kind: ErrDiverged, From: cp.EndLSN, To: server.Confirmed,
				Reason: fmt.Sprintf("timeline %d is not in the history of timeline %d", known.Timeline, server.Timeline),
			}
		}
		if recorded > parted {
			return cp, &GapError{
				Kind: ErrDiverged, From: parted, To: recorded,
				Reason: fmt.Sprintf("timeline %d ended at %s, but transactions up to %s are recorded", known.Timeline, parted, recorded),
			}
		}
		cp.ConfirmLSN = min(cp.ConfirmLSN, parted)
	}
	if server.Confirmed > cp.ConfirmLSN {
		return cp, &GapError{
			Kind: ErrGap, From: cp.ConfirmLSN, To: server.Confirmed,
			Reason: "the slot was moved ahead of the checkpoint, so the WAL between them was never recorded",
		}
	}
	return cp, nil
}

func switchOf(history []Switch, timeline int32) (change.LSN, bool) {
	for _, s := range history {
		if s.Timeline == timeline {
			return s.LSN, true
		}
	}
	return 0, false
}
