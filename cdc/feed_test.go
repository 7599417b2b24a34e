package cdc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
)

// fed is a connection that gives prepared bytes: head once, then cycle for as many
// times as wanted, and then nothing until a deadline, as a quiet server.
type fed struct {
	head, cycle []byte
	times       int
	most        int // bytes in one read; 0 no limit

	mu       sync.Mutex
	cond     *sync.Cond
	deadline time.Time
	closed   bool
	ended    bool
	at       int
	statuses [][]byte
}

func newFed(head, cycle []byte, times int) *fed {
	f := &fed{head: head, cycle: cycle, times: times}
	f.cond = sync.NewCond(&f.mu)
	return f
}

func (f *fed) Read(p []byte) (int, error) {
	if f.most > 0 && len(p) > f.most {
		p = p[:f.most]
	}
	n := 0
	for n < len(p) && len(f.head) > f.at {
		c := copy(p[n:], f.head[f.at:])
		n, f.at = n+c, f.at+c
		if f.at == len(f.head) && f.times > 0 {
			f.head, f.at, f.times = f.cycle, 0, f.times-1
		}
	}
	if n > 0 {
		return n, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.closed:
			return 0, net.ErrClosed
		case f.ended:
			return 0, io.EOF
		case !f.deadline.IsZero() && !time.Now().Before(f.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		timer := time.AfterFunc(time.Until(f.deadline), func() {
			f.mu.Lock() // so that it can't come before the Wait
			defer f.mu.Unlock()
			f.cond.Broadcast()
		})
		f.cond.Wait()
		timer.Stop()
	}
}

func (f *fed) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, net.ErrClosed
	}
	switch p[0] {
	case 'd':
		f.statuses = append(f.statuses, bytes.Clone(p))
	case 'c': // CopyDone: nothing more comes
		f.ended = true
		f.cond.Broadcast()
	}
	return len(p), nil
}

func (f *fed) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.cond.Broadcast()
	return nil
}

func (f *fed) SetReadDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deadline = t
	f.cond.Broadcast()
	return nil
}

func (f *fed) SetDeadline(t time.Time) error    { return f.SetReadDeadline(t) }
func (f *fed) SetWriteDeadline(time.Time) error { return nil }
func (f *fed) LocalAddr() net.Addr              { return nil }
func (f *fed) RemoteAddr() net.Addr             { return nil }

// What a server sends, built by hand.

func frame(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...)
}

func walData(lsn change.LSN, message []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'w'}, uint64(lsn))
	b = binary.BigEndian.AppendUint64(b, uint64(lsn))
	return frame('d', append(append(b, make([]byte, 8)...), message...))
}

func keepaliveFrame(walEnd change.LSN, reply byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'k'}, uint64(walEnd))
	return frame('d', append(append(b, make([]byte, 8)...), reply))
}

func beginMessage(commitLSN change.LSN, xid uint32) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'B'}, uint64(commitLSN))
	return binary.BigEndian.AppendUint32(append(b, make([]byte, 8)...), xid)
}

func commitMessage(commitLSN, end change.LSN) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'C', 0}, uint64(commitLSN))
	return append(binary.BigEndian.AppendUint64(b, uint64(end)), make([]byte, 8)...)
}

func relationMessage(oid uint32) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'R'}, oid)
	b = append(b, "public\x00orders\x00d\x00\x01\x01id\x00"...)
	b = binary.BigEndian.AppendUint32(b, 25)
	return binary.BigEndian.AppendUint32(b, 0xffffffff)
}

func insertMessage(oid uint32, value string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'I'}, oid)
	b = append(b, 'N', 0, 1, 't')
	return append(binary.BigEndian.AppendUint32(b, uint32(len(value))), value...)
}

func truncateMessage(n int, oid uint32) []byte {
	b := append(binary.BigEndian.AppendUint32([]byte{'T'}, uint32(n)), 0)
	for range n {
		b = binary.BigEndian.AppendUint32(b, oid)
	}
	return b
}

func fedStream(f *fed) *Stream {
	s := newStream(Config{Slot: "s", Publication: "p", StatusInterval: 20 * time.Millisecond}.withDefaults(), f, System{})
	s.began(1)
	return s
}

// drain runs the stream until n events came, and returns Run's error.
func drain(t testing.TB, s *Stream, n int, take func(*change.Part)) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for p := range s.Parts() {
		for i := range p.List {
			n -= len(p.List[i].Events)
			if take != nil {
				take(&p.List[i])
			}
		}
		p.Release()
		if n <= 0 {
			cancel()
			s.Finish()
		}
	}
	return <-done
}

// oneTransaction inserts one row.
func oneTransaction() []byte {
	return bytes.Join([][]byte{
		walData(90, beginMessage(100, 7)), walData(91, insertMessage(1, "a value of some length, as rows have")), walData(110, commitMessage(100, 110)),
	}, nil)
}

func TestNothingIsAllocatedPerEvent(t *testing.T) {
	const n = 500_000
	f := newFed(walData(0, relationMessage(1)), oneTransaction(), n)
	s := fedStream(f)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := drain(t, s, n, nil); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if per := float64(after.Mallocs-before.Mallocs) / n; per > 0.01 {
		t.Errorf("%.4f allocations per event", per)
	}
	if total := after.TotalAlloc - before.TotalAlloc; total > 16<<20 {
		t.Errorf("%d bytes allocated for %d events", total, n)
	}
}

// However the bytes are cut into reads, the same events come out.
func TestReadsMayBeCutAnywhere(t *testing.T) {
	t.Parallel()
	var wal []byte
	wal = append(wal, walData(0, relationMessage(1))...)
	const txns = 40
	for i := range txns {
		lsn := change.LSN(1000 * (i + 1))
		wal = append(wal, walData(lsn, beginMessage(lsn+500, uint32(i)))...)
		for j := range i * 40 {
			wal = append(wal, walData(lsn+1, insertMessage(1, fmt.Sprintf("%d/%d/%s", i, j, bytes.Repeat([]byte{'x'}, j%97))))...)
		}
		if i%10 == 3 {
			wal = append(wal, walData(lsn+2, insertMessage(1, string(bytes.Repeat([]byte{'b'}, 300_000*i))))...)
			wal = append(wal, walData(lsn+2, truncateMessage(3000, 1))...)
		}
		wal = append(wal, keepaliveFrame(lsn+400, 0)...) // in mid-transaction
		wal = append(wal, walData(lsn+600, commitMessage(lsn+500, lsn+600))...)
	}
	for _, most := range []int{0, 1 << 20, 4096, 777, 61} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			f := newFed(wal, nil, 0)
			f.most = most
			s := fedStream(f)
			txn, events, ended := 0, 0, 0
			want := func() int {
				if txn%10 == 3 {
					return txn*40 + 3001
				}
				return txn * 40
			}
			total := 0
			for txn = range txns {
				total += want()
			}
			txn = 0
			err := drain(t, s, total, func(p *change.Part) {
				if p.XID != uint32(txn) || p.CommitLSN != change.LSN(1000*(txn+1)+500) {
					t.Fatalf("part of transaction %d at %s, want %d", p.XID, p.CommitLSN, txn)
				}
				for i := range p.Events {
					e := &p.Events[i]
					j := events
					events++
					if e.Op == change.Truncate {
						continue
					}
					v, _ := e.New.Column(0)
					if prefix := fmt.Sprintf("%d/%d/", txn, j); len(v) < 300_000 && !bytes.HasPrefix(v, []byte(prefix)) {
						t.Fatalf("event %d of transaction %d is %.20q", j, txn, v)
					}
				}
				if p.Last() {
					if events != want() {
						t.Fatalf("transaction %d has %d events, want %d", txn, events, want())
					}
					txn, events, ended = txn+1, 0, ended+1
				}
			})
			if err != nil {
				t.Error(err)
			}
			if ended != txns {
				t.Errorf("%d transactions, want %d", ended, txns)
			}
		})
	}
}

// What was handed over stays as it is until it is released, however much comes after.
func TestPartsStayUntilReleased(t *testing.T) {
	t.Parallel()
	const n = 20_000
	var wal []byte
	wal = append(wal, walData(0, relationMessage(1))...)
	for i := range n {
		lsn := change.LSN(1000 * (i + 1))
		wal = append(wal, walData(lsn, beginMessage(lsn+1, uint32(i)))...)
		wal = append(wal, walData(lsn, insertMessage(1, fmt.Sprintf("value %d", i)))...)
		wal = append(wal, walData(lsn+2, commitMessage(lsn+1, lsn+2))...)
	}
	f := newFed(wal, nil, 0)
	f.most = 5000
	s := fedStream(f)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var held []*change.Parts
	seen := 0
	for p := range s.Parts() {
		held = append(held, p)
		for i := range p.List {
			seen += len(p.List[i].Events)
		}
		if seen == n {
			cancel()
			s.Finish()
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	i := 0
	for _, p := range held {
		for j := range p.List {
			for _, e := range p.List[j].Events {
				v, _ := e.New.Column(0)
				if string(v) != fmt.Sprintf("value %d", i) {
					t.Fatalf("event %d is %q now", i, v)
				}
				i++
			}
		}
		p.Release()
		p.Release() // harmless
	}
}

func TestStreamThatCannotBeUnderstood(t *testing.T) {
	t.Parallel()
	begin := walData(90, beginMessage(100, 7))
	rel := walData(0, relationMessage(1))
	for name, wal := range map[string][]byte{
		"unknown message":          append(bytes.Clone(begin), walData(95, []byte{'?', 1, 2})...),
		"short message":            append(bytes.Clone(begin), walData(95, []byte{'I', 0})...),
		"row of unknown relation":  append(bytes.Clone(begin), walData(95, insertMessage(9, "x"))...),
		"truncate of unknown":      append(bytes.Clone(begin), walData(95, truncateMessage(1, 9))...),
		"row outside":              append(bytes.Clone(rel), walData(95, insertMessage(1, "x"))...),
		"truncate outside":         append(bytes.Clone(rel), walData(95, truncateMessage(1, 1))...),
		"begin inside":             append(bytes.Clone(begin), walData(95, beginMessage(200, 8))...),
		"commit outside":           walData(95, commitMessage(100, 110)),
		"commit of another":        append(bytes.Clone(begin), walData(95, commitMessage(101, 110))...),
		"copy data of no kind":     frame('d', []byte("zzzzzzzzzzzzzzzzzzzzzzzzzzzz")),
		"short keepalive":          frame('d', []byte{'k', 1}),
		"message out of place":     frame('T', nil),
		"length below its own":     {'d', 0, 0, 0, 3, 0},
		"length beyond a gigabyte": {'d', 0xff, 0xff, 0xff, 0xff, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := append(walData(0, relationMessage(1)), oneTransaction()...)
			s := fedStream(newFed(append(good, wal...), nil, 0))
			done := make(chan error, 1)
			go func() { done <- s.Run(t.Context()) }()
			for p := range s.Parts() {
				for i := range p.List {
					if p.List[i].Last() && p.List[i].EndLSN != 110 {
						t.Errorf("handed over a transaction that ends at %s", p.List[i].EndLSN)
					}
				}
				p.Release()
			}
			err := <-done
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %v, want ErrMalformed", err)
			}
			if d, ok := errors.AsType[*DecodeError](err); ok && wal[5] == 'w' && d.LSN != 95 {
				t.Errorf("the place is %s, want 0/5F", d.LSN)
			}
		})
	}
}

func TestStatusTellsWhatWasConfirmed(t *testing.T) {
	t.Parallel()
	f := newFed(bytes.Join([][]byte{walData(0, relationMessage(1)), oneTransaction(), keepaliveFrame(500, 1)}, nil), nil, 0)
	s := fedStream(f)
	if err := drain(t, s, 1, func(p *change.Part) {
		s.Confirm(110, 400)
		s.Confirm(105, 0) // goes back: ignored
	}); err != nil {
		t.Fatal(err)
	}
	var last uint64
	for i, b := range f.statuses {
		write, flush, apply := binary.BigEndian.Uint64(b[6:]), binary.BigEndian.Uint64(b[14:]), binary.BigEndian.Uint64(b[22:])
		if flush == 0 || flush != apply || write < flush || flush < last {
			t.Errorf("status %d: write %d, flush %d, apply %d, before %d", i, write, flush, apply, last)
		}
		if flush != 1 && flush != 110 {
			t.Errorf("status %d tells %d, which nobody confirmed", i, flush)
		}
		if flush == 110 && write < 400 {
			t.Errorf("status %d tells 110 when only %d was passed", i, write)
		}
		last = flush
	}
	if last != 110 {
		t.Errorf("the last status tells %d, want 110", last)
	}
}

func TestNetworkIsReadThroughSocket(t *testing.T) {
	t.Parallel()
	// Small reads, as TLS makes them, come out of one big read, whole and in order.
	want := make([]byte, 3*receiveBuffer+17)
	for i := range want {
		want[i] = byte(i * 7)
	}
	f := newFed(bytes.Clone(want), nil, 0)
	if err := f.SetReadDeadline(past); err != nil {
		t.Fatal(err)
	}
	s := &socket{Conn: f, coalesce: true}
	var got []byte
	for i := 0; ; i++ {
		p := make([]byte, 1+i%5000)
		if i%50 == 0 {
			p = make([]byte, smallRead)
		}
		n, err := s.Read(p)
		got = append(got, p[:n]...)
		if err != nil {
			if !timedOut(err) {
				t.Fatal(err)
			}
			break
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came out, not the %d that went in", len(got), len(want))
	}
	if s.buffered() != 0 {
		t.Errorf("%d bytes are left", s.buffered())
	}
}

func TestSocketIsHotOnlyUnderBacklog(t *testing.T) {
	t.Parallel()
	s := &socket{coalesce: true}
	for range 10 * hotReads {
		s.window = time.Now().Add(-time.Hour) // reads far apart
		s.temper(300)
		if s.hot {
			t.Fatal("a trickle made it hot")
		}
	}
	s.temper(hotBytes)
	if !s.hot {
		t.Error("a big read didn't make it hot")
	}
	for i := range coldReads {
		if !s.hot {
			t.Fatalf("cold after %d small reads", i)
		}
		s.temper(coldBytes - 1)
	}
	if s.hot {
		t.Error("still hot after small reads")
	}
	for i := 0; i < 2*hotReads && !s.hot; i++ {
		s.temper(300)
	}
	if !s.hot {
		t.Error("many reads in no time didn't make it hot")
	}
}
