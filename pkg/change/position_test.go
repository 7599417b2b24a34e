package change

import (
	"cmp"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

func TestParseLSN(t *testing.T) {
	for in, want := range map[string]LSN{
		"0/0":               0,
		"16/B374D848":       0x16B374D848,
		"16/b374d848":       0x16B374D848,
		"00000016/0000000A": 0x160000000A,
		"FFFFFFFF/FFFFFFFF": math.MaxUint64,
	} {
		if got, err := ParseLSN(in); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "/", "0", "0/", "/0", "0/0/0", " 0/0", "0/0 ", "+1/0", "0x1/0", "G/0", "1_0/0", "000000001/0", "1/100000000", "-1/0", "0/\x000"} {
		if got, err := ParseLSN(in); err == nil {
			t.Errorf("%q: got %s, want an error", in, got)
		} else if !strings.Contains(err.Error(), "LSN") {
			t.Errorf("%q: error %q does not say what was wanted", in, err)
		}
	}
}

func FuzzParseLSN(f *testing.F) {
	for _, s := range []string{"0/0", "16/B374D848", "16/b374d848", "FFFFFFFF/FFFFFFFF", "1/2/3", "", " 1/2", "0x1/2"} {
		f.Add(s, uint64(len(s))<<30)
	}
	f.Fuzz(func(t *testing.T, s string, v uint64) {
		if back, err := ParseLSN(LSN(v).String()); err != nil || back != LSN(v) {
			t.Fatalf("%d is %s, which reads back as %d, %v", v, LSN(v), back, err)
		}
		l, err := ParseLSN(s)
		if err != nil {
			return
		}
		// Strict: only case and leading zeros may differ from what String gives.
		hi, lo, _ := strings.Cut(s, "/")
		trim := func(s string) string { return cmp.Or(strings.TrimLeft(strings.ToUpper(s), "0"), "0") }
		if got := trim(hi) + "/" + trim(lo); got != l.String() {
			t.Fatalf("%q was read as %s", s, l)
		}
	})
}

func TestPositionCompare(t *testing.T) {
	ascending := []Position{
		{0, 5, 0},
		{0, 5, SeqWhole},
		{1, 1, 0},
		{1, 1, 1},
		{1, 1, math.MaxInt32},
		{1, 1, SeqWhole},
		{1, 2, 0},
		{1, math.MaxUint64, 7},
		{2, 0, 0},
		{2, 1, SeqWhole},
	}
	for i, p := range ascending {
		for j, q := range ascending {
			if got, want := p.Compare(q), cmp.Compare(i, j); got != want {
				t.Errorf("%s compare %s = %d, want %d", p, q, got, want)
			}
		}
	}
}

func TestEventIDHoldsItsParts(t *testing.T) {
	at := time.Date(2024, 5, 6, 7, 8, 9, 123_456_000, time.UTC)
	id := EventID(at, Position{Stream: 3, CommitLSN: 0xABCD_1234_5678_9ABC, Seq: 42}, SideSecond)
	if got := ulid.Time(id.Time()); !got.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("time %s, want %s", got, at)
	}
	if got, want := id.Entropy(), []byte{0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0x80, 0, 0, 42}; string(got) != string(want) {
		t.Errorf("LSN, side and seq are %x, want %x", got, want)
	}
	if back, err := ulid.ParseStrict(id.String()); err != nil || back != id {
		t.Errorf("%s reads back as %s, %v", id, back, err)
	}
	before := EventID(time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC), Position{}, SideFirst)
	if before.Time() != 0 {
		t.Errorf("a time before 1970 became %d", before.Time())
	}
}

// Ids sort, as text and as bytes, by commit time in ms, then commit LSN, seq within
// side; and different events have different ids.
func TestEventIDOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	type event struct {
		ms   int64
		lsn  LSN
		seq  int32
		side Side
	}
	random := func() event {
		return event{
			ms:   1_700_000_000_000 + int64(r.IntN(3)),
			lsn:  LSN(0x1_0000_0000) + LSN(r.IntN(3)),
			seq:  []int32{0, 1, 255, 256, math.MaxInt32}[r.IntN(5)],
			side: Side(r.IntN(2)),
		}
	}
	for range 20_000 {
		a, b := random(), random()
		x := EventID(time.UnixMilli(a.ms), Position{CommitLSN: a.lsn, Seq: a.seq}, a.side)
		y := EventID(time.UnixMilli(b.ms).Add(900*time.Microsecond), Position{CommitLSN: b.lsn, Seq: b.seq}, b.side)
		want := cmp.Or(cmp.Compare(a.ms, b.ms), cmp.Compare(a.lsn, b.lsn), cmp.Compare(a.side, b.side), cmp.Compare(a.seq, b.seq))
		if x.Compare(y) != want || strings.Compare(x.String(), y.String()) != want {
			t.Fatalf("%+v is %s, %+v is %s: want order %d", a, x, b, y, want)
		}
	}
}

func TestTableLabel(t *testing.T) {
	if got := (&Relation{Schema: "public", Name: "orders"}).Label(); got != "orders" {
		t.Errorf("got %s", got)
	}
	if got := TableLabel("shop", "orders"); got != "shop.orders" {
		t.Errorf("got %s", got)
	}
}
