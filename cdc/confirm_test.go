package cdc

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/rowbell/rowbell/pkg/change"
)

// The naive model keeps everything that was ever confirmed.
func TestConfirmationsAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var c confirmations
		c.begin(10)
		all := []confirmation{{10, 0}}
		received, told := change.LSN(10), change.LSN(10)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "confirm") {
				x := confirmation{
					lsn:        change.LSN(rapid.IntRange(1, 2000).Draw(t, "lsn")),
					recordedAt: change.LSN(rapid.SampledFrom([]int{0, 1, 2}).Draw(t, "lag")) * change.LSN(rapid.IntRange(0, 1000).Draw(t, "recordedAt")),
				}
				c.add(x.lsn, x.recordedAt)
				all = append(all, x)
				continue
			}
			received += change.LSN(rapid.IntRange(0, 100).Draw(t, "more"))
			got := c.advance(received)
			if got < told {
				t.Fatalf("went back from %s to %s", told, got)
			}
			ok := false
			for _, x := range all {
				ok = ok || x.lsn == got && x.recordedAt <= received && x.lsn <= received
			}
			if !ok {
				t.Fatalf("told %s at %s, which nobody allowed: %v", got, received, all)
			}
			told = got
		}
		// Everything can be told in the end: the greatest that was ever confirmed.
		most := change.LSN(0)
		for _, x := range all {
			most = max(most, x.lsn)
		}
		if got := c.advance(1 << 40); got != most || c.pending() || c.durable() != most {
			t.Fatalf("in the end told %s, want %s", got, most)
		}
	})
}

// A steady flow of confirmations, each waiting for WAL that is not passed yet when the
// next comes, is told all the same.
func TestConfirmationsAreNotStarved(t *testing.T) {
	t.Parallel()
	var c confirmations
	c.begin(1)
	told := change.LSN(1)
	for i := change.LSN(1); i < 10_000; i++ {
		c.add(i*10, i*10+5000) // passed 500 steps later
		next := c.advance(i * 10)
		if next > i*10-5000 && next > 1 {
			t.Fatalf("step %d: told %d too early", i, next)
		}
		told = next
	}
	if told < 30_000 {
		t.Errorf("told only %d of 100000", told)
	}
}
