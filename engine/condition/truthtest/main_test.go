// Package truthtest compares what conditions say with what PostgreSQL says. Random
// conditions are evaluated on random rows, as they come through a logical slot, and the
// SQL that each stands for is evaluated by the server on the same rows.
//
// The SQL is written here, from what engine/condition/doc.go promises, and knows nothing
// of how conditions are read. SEED repeats a run; ROWBELL_TRUTH=20m makes it that long,
// and then insists on enough comparisons of every operator and type.
package truthtest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// random prints the seed of a test, or takes it from SEED.
func random(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("SEED=%q: want a number", s)
		}
	}
	t.Logf("SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// long is how long ROWBELL_TRUTH wants a test to run; 0 for as many cases as it takes
// in the suite.
func long(t *testing.T) time.Duration {
	s := os.Getenv("ROWBELL_TRUTH")
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("ROWBELL_TRUTH=%q: want a duration, as 20m", s)
	}
	return d
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// one of n times.
func one(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }

// quote writes an SQL literal.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
