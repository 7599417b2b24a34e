package cdc

import (
	"sync/atomic"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
)

const (
	// blockBytes and blockEvents are the fixed size of a block. Events of common size
	// fill both about evenly.
	blockBytes  = 256 << 10
	blockEvents = 1024
	// maxParts is the most parts in one Parts.
	maxParts = 1024
	// keptBlocks and keptBatches bound what is kept for use again.
	keptBlocks  = 16
	keptBatches = 64
)

// block is memory that the network is read into, and the events whose rows point
// there. Neither ever grows or moves. It is shared by the reader and by all batches
// whose events lie in it.
type block struct {
	buf    []byte
	events []change.Event // the first len are in use
	refs   atomic.Int32
}

// batch is a *change.Parts with the block that it points into.
type batch struct {
	parts    *change.Parts
	block    *block // nil for one without events
	released atomic.Bool
}

// pool gives out blocks and batches, and keeps a few that came back.
type pool struct {
	blocks  chan *block
	batches chan *batch
}

func newPool() *pool {
	return &pool{blocks: make(chan *block, keptBlocks), batches: make(chan *batch, keptBatches)}
}

// block returns one with room for size bytes, held once.
func (p *pool) block(size int) *block {
	var b *block
	if size <= blockBytes {
		select {
		case b = <-p.blocks:
		default:
		}
		size = blockBytes
	}
	if b == nil {
		b = &block{buf: make([]byte, size), events: make([]change.Event, 0, blockEvents)}
	}
	b.events = b.events[:0]
	b.refs.Store(1)
	return b
}

// drop gives up one hold of the block. The last one gives it back.
func (p *pool) drop(b *block) {
	if b == nil || b.refs.Add(-1) > 0 || len(b.buf) != blockBytes {
		return
	}
	select {
	case p.blocks <- b:
	default:
	}
}

// batch returns an empty one that holds the block, which may be nil.
func (p *pool) batch(b *block, received time.Time) *batch {
	var x *batch
	select {
	case x = <-p.batches:
		x.released.Store(false)
	default:
		x = &batch{}
		x.parts = change.NewParts(func(*change.Parts) { p.release(x) })
	}
	if b != nil {
		b.refs.Add(1)
	}
	x.block = b
	x.parts.Received = received
	return x
}

// release is a batch's Release: what was handed over comes back. A second one does nothing.
func (p *pool) release(x *batch) {
	if x.released.Swap(true) {
		return
	}
	p.drop(x.block)
	x.block = nil
	clear(x.parts.List)
	x.parts.List = x.parts.List[:0]
	x.parts.WALEnd, x.parts.Idle = 0, 0
	select {
	case p.batches <- x:
	default:
	}
}
