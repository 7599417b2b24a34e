package match

// arena keeps values of one kind in chunks, so that they lie close to each other and
// never move. They are named by their place, from 1, which is half as long as a pointer.
// The zero value is empty.
type arena[T any] struct {
	chunks []*[chunkSize]T
	placed uint32   // places given out
	free   []uint32 // places given back
}

const (
	chunkBits = 6
	chunkSize = 1 << chunkBits
)

func (a *arena[T]) at(ref uint32) *T {
	return &a.chunks[ref>>chunkBits][ref&(chunkSize-1)]
}

// take returns the place of an unused value, which is zero.
func (a *arena[T]) take() uint32 {
	if n := len(a.free); n > 0 {
		ref := a.free[n-1]
		a.free = a.free[:n-1]
		return ref
	}
	a.placed++
	if int(a.placed>>chunkBits) == len(a.chunks) {
		a.chunks = append(a.chunks, new([chunkSize]T))
	}
	return a.placed
}

// give takes a place back.
func (a *arena[T]) give(ref uint32) {
	var zero T
	*a.at(ref) = zero
	a.free = append(a.free, ref)
}

// reach makes the places up to ref usable, for a second arena with the places of a first.
func (a *arena[T]) reach(ref uint32) {
	for int(ref>>chunkBits) >= len(a.chunks) {
		a.chunks = append(a.chunks, new([chunkSize]T))
	}
}
