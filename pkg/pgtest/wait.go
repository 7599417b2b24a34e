package pgtest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Patience is how long tests wait for what is to happen, however soon that is on a machine with
// nothing else to do: who waits for less asserts how long it takes.
const Patience = time.Minute

// Eventually polls until ok says yes, and fails the test if it has not within the time.
func Eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("the test ended while waiting: %s", what)
		}
	}
}

// Rand returns a source of random choices. A failing test shows its seed; ROWBELL_SEED
// repeats it.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("ROWBELL_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("ROWBELL_SEED=%q: want a number", s)
		}
		seed = n
	}
	t.Logf("random choices: ROWBELL_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
