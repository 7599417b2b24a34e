package checkpoint

import (
	"fmt"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/fault"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Tracker follows the stream and says what a checkpoint that covers everything
// taken so far holds. It is used by one goroutine.
type Tracker struct {
	start   change.Position // what was recorded when the stream began
	now     workflow.Checkpoint
	open    bool
	commit  change.LSN // of the open transaction
	skipped bool       // the open transaction is recorded whole already
	upTo    int32      // seqs up to this one of the open transaction are recorded already; -1 none
}

// NewTracker starts from the checkpoint row as it was read when the slot was taken.
func NewTracker(cp workflow.Checkpoint) *Tracker {
	return &Tracker{start: cp.Position, now: cp, upTo: -1}
}

// Begin opens a transaction. It returns an error if transactions come out of
// commit order: then positions mean nothing, and reading must stop.
func (t *Tracker) Begin(commitLSN change.LSN) error {
	if t.open {
		return fmt.Errorf("transaction with commit LSN %s began inside the one with %s", commitLSN, t.commit)
	}
	if commitLSN <= t.commit {
		return fmt.Errorf("transaction with commit LSN %s came after the one with %s: the stream is out of order", commitLSN, t.commit)
	}
	t.open, t.commit = true, commitLSN
	t.skipped, t.upTo = false, -1
	switch {
	case fault.On("no_skip"):
	case commitLSN < t.start.CommitLSN:
		t.skipped = true
	case commitLSN == t.start.CommitLSN:
		t.skipped = t.start.Seq == change.SeqWhole
		t.upTo = t.start.Seq
	}
	return nil
}

// Skip says that the open transaction is recorded whole already.
func (t *Tracker) Skip() bool { return t.skipped }

// Recorded says that the event with this seq of the open transaction is recorded.
func (t *Tracker) Recorded(seq int32) bool { return t.skipped || seq <= t.upTo }

// Event notes that an event was taken: its matches are in what will be recorded next.
func (t *Tracker) Event(seq int32) {
	if t.Recorded(seq) {
		return
	}
	t.now.Position.CommitLSN, t.now.Position.Seq = t.commit, seq
}

// Commit closes the transaction.
func (t *Tracker) Commit(endLSN change.LSN) {
	t.open = false
	if t.skipped {
		return // EndLSN and ConfirmLSN are beyond it already
	}
	t.now.Position.CommitLSN, t.now.Position.Seq = t.commit, change.SeqWhole
	t.now.EndLSN = max(t.now.EndLSN, endLSN)
	t.now.ConfirmLSN = max(t.now.ConfirmLSN, endLSN)
}

// Idle notes a keepalive's WAL end. Inside a transaction it says nothing.
func (t *Tracker) Idle(walEnd change.LSN) {
	if !t.open {
		t.now.ConfirmLSN = max(t.now.ConfirmLSN, walEnd)
	}
}

// Floor notes the xmin of a heartbeat that came back through the slot.
func (t *Tracker) Floor(xmin uint64) { t.now.XIDFloor = max(t.now.XIDFloor, xmin) }

// Stream is the stream that positions are counted in.
func (t *Tracker) Stream() int32 { return t.now.Position.Stream }

// Checkpoint covers everything taken so far. Recording it together with the
// matches of what was taken is what makes the log exact.
func (t *Tracker) Checkpoint() workflow.Checkpoint { return t.now }
