package change

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a place in the write-ahead log. It is an opaque ordered number: the
// only arithmetic that means anything is the distance of two LSNs in bytes.
// Zero is "none" (PostgreSQL's InvalidXLogRecPtr).
type LSN uint64

// String gives PostgreSQL's notation, as 16/B374D848.
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l))
}

// ParseLSN reads PostgreSQL's notation strictly: two groups of 1 to 8 hexadecimal
// digits with one slash between, and nothing else.
func ParseLSN(s string) (LSN, error) {
	hi, lo, ok := strings.Cut(s, "/")
	if !ok || !isHex(hi) || !isHex(lo) {
		return 0, fmt.Errorf("%q is not an LSN: want two hexadecimal numbers of at most 8 digits, as 16/B374D848", s)
	}
	h, err := strconv.ParseUint(hi, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not an LSN: %w", s, err)
	}
	l, err := strconv.ParseUint(lo, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not an LSN: %w", s, err)
	}
	return LSN(h<<32 | l), nil
}

func isHex(s string) bool {
	if len(s) == 0 || len(s) > 8 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}
