package checkpoint_test

import (
	"cmp"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/rowbell/rowbell/engine/checkpoint"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

type txn struct {
	commit, end change.LSN
	events      int32
}

type key struct {
	commit change.LSN
	seq    int32
}

// TestTrackerAgainstModel runs a stream of transactions through trackers that crash
// at random, while a model only keeps the set of events that were recorded. Whatever
// happens: every event is recorded once, nothing is confirmed whose transaction isn't
// recorded whole, and the checkpoint row is all that a new tracker knows.
func TestTrackerAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var txns []txn
		lsn := change.LSN(100)
		for range rapid.IntRange(1, 12).Draw(t, "txns") {
			lsn += change.LSN(rapid.IntRange(1, 50).Draw(t, "wal"))
			x := txn{commit: lsn, events: int32(rapid.IntRange(0, 6).Draw(t, "events"))}
			lsn += change.LSN(rapid.IntRange(1, 20).Draw(t, "commit record"))
			x.end = lsn
			txns = append(txns, x)
		}
		row := workflow.Checkpoint{Position: change.Position{Stream: 1, Seq: change.SeqWhole}, EndLSN: 100, ConfirmLSN: 100}
		slot := change.LSN(100) // the slot's confirmed_flush_lsn
		recorded := map[key]int{}
		for run := 0; ; run++ {
			if run > 200 {
				t.Fatal("no end")
			}
			if slot > row.ConfirmLSN {
				t.Fatalf("slot at %s is ahead of the checkpoint's %s", slot, row.ConfirmLSN)
			}
			tr := checkpoint.NewTracker(row)
			var batch []key
			record := func() {
				for _, k := range batch {
					recorded[k]++
				}
				batch, row = batch[:0], tr.Checkpoint()
				for _, x := range txns {
					if x.end > row.ConfirmLSN {
						break
					}
					for s := range x.events {
						if recorded[key{x.commit, s}] != 1 {
							t.Fatalf("confirmable %s, but event %s:%d was recorded %d times", row.ConfirmLSN, x.commit, s, recorded[key{x.commit, s}])
						}
					}
				}
				if rapid.Bool().Draw(t, "confirm") {
					slot = row.ConfirmLSN
				}
			}
			crashed := false
			crash := func() bool {
				crashed = crashed || rapid.IntRange(0, 15).Draw(t, "crash") == 0
				return crashed
			}
		stream:
			for _, x := range txns {
				if x.end <= slot { // the server does not send it again
					continue
				}
				if err := tr.Begin(x.commit); err != nil {
					t.Fatal(err)
				}
				for s := range x.events {
					if !tr.Recorded(s) {
						batch = append(batch, key{x.commit, s})
					}
					tr.Event(s)
					tr.Idle(x.end + 1000) // inside a transaction it must say nothing
					if rapid.IntRange(0, 3).Draw(t, "flush") == 0 {
						record()
					}
					if crash() {
						break stream
					}
				}
				tr.Commit(x.end)
				if rapid.IntRange(0, 3).Draw(t, "idle") == 0 {
					tr.Idle(x.end)
				}
				if crash() {
					break
				}
			}
			if !crashed {
				record()
				break
			}
		}
		for _, x := range txns {
			for s := range x.events {
				if n := recorded[key{x.commit, s}]; n != 1 {
					t.Fatalf("event %s:%d was recorded %d times", x.commit, s, n)
				}
			}
		}
	})
}

func TestTrackerRefusesDisorder(t *testing.T) {
	tr := checkpoint.NewTracker(workflow.Checkpoint{})
	if err := tr.Begin(20); err != nil {
		t.Fatal(err)
	}
	if err := tr.Begin(30); err == nil {
		t.Error("a transaction inside another was taken")
	}
	tr.Commit(25)
	if err := tr.Begin(20); err == nil {
		t.Error("a transaction out of commit order was taken")
	}
}

func TestResume(t *testing.T) {
	known := checkpoint.Known{
		SystemID: "7", Timeline: 1,
		Checkpoint: workflow.Checkpoint{
			Position: change.Position{Stream: 1, CommitLSN: 90, Seq: change.SeqWhole}, EndLSN: 100, ConfirmLSN: 120,
		},
	}
	history := func(lsn change.LSN) func() ([]checkpoint.Switch, error) {
		return func() ([]checkpoint.Switch, error) { return []checkpoint.Switch{{Timeline: 1, LSN: lsn}}, nil }
	}
	partly := known
	partly.Checkpoint.Position = change.Position{Stream: 1, CommitLSN: 130, Seq: 5}
	for _, tc := range []struct {
		name    string
		known   checkpoint.Known
		server  checkpoint.Server
		history func() ([]checkpoint.Switch, error)
		confirm change.LSN
		err     error
	}{
		{"same place", known, checkpoint.Server{SystemID: "7", Timeline: 1, Confirmed: 120}, nil, 120, nil},
		{"slot behind", known, checkpoint.Server{SystemID: "7", Timeline: 1, Confirmed: 50}, nil, 120, nil},
		{"slot ahead", known, checkpoint.Server{SystemID: "7", Timeline: 1, Confirmed: 121}, nil, 0, checkpoint.ErrGap},
		{"other system", known, checkpoint.Server{SystemID: "8", Timeline: 1, Confirmed: 120}, nil, 0, checkpoint.ErrMismatched},
		{"promoted, nothing lost", known, checkpoint.Server{SystemID: "7", Timeline: 2, Confirmed: 80}, history(110), 110, nil},
		{"promoted at the very end", known, checkpoint.Server{SystemID: "7", Timeline: 2, Confirmed: 80}, history(100), 100, nil},
		{"promoted, recorded beyond", known, checkpoint.Server{SystemID: "7", Timeline: 2, Confirmed: 80}, history(99), 0, checkpoint.ErrDiverged},
		{"promoted, recorded in part beyond", partly, checkpoint.Server{SystemID: "7", Timeline: 2, Confirmed: 80}, history(110), 0, checkpoint.ErrDiverged},
		{"unrelated timeline", known, checkpoint.Server{SystemID: "7", Timeline: 3, Confirmed: 80}, func() ([]checkpoint.Switch, error) { return nil, nil }, 0, checkpoint.ErrDiverged},
		{"promoted, slot ahead of the switch", known, checkpoint.Server{SystemID: "7", Timeline: 2, Confirmed: 115}, history(110), 0, checkpoint.ErrGap},
		{"set back to a copy", known, checkpoint.Server{SystemID: "7", Timeline: 1, Confirmed: 50, WALPos: 99}, nil, 0, checkpoint.ErrDiverged},
		{"set back, recorded in part beyond", partly, checkpoint.Server{SystemID: "7", Timeline: 1, Confirmed: 50, WALPos: 129}, nil, 0, checkpoint.ErrDiverged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.server.WALPos = cmp.Or(tc.server.WALPos, 1000)
			cp, err := checkpoint.Resume(tc.known, tc.server, tc.history)
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if err == nil && cp.ConfirmLSN != tc.confirm {
				t.Errorf("may confirm %s, want %s", cp.ConfirmLSN, tc.confirm)
			}
		})
	}
}
