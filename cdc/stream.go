package cdc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/rowbell/rowbell/cdc/pgoutput"
	"github.com/rowbell/rowbell/pkg/change"
)

const (
	// minRead is the least room that a read is given.
	minRead = 16 << 10
	// channelParts is how many Parts wait for a slow reader. More would not help: the
	// kernel holds the rest, and it comes in bigger reads then.
	channelParts = 4
	// idleInterval is the least time between two Parts that carry nothing but Idle.
	idleInterval = 100 * time.Millisecond
	// gather is how long transactions are gathered when they come faster than this. One
	// that comes alone is handed over at once.
	gather = time.Millisecond
	// writeTimeout bounds a status: one that can't be written in it never will.
	writeTimeout = 5 * time.Second
	// finishGrace is how long an orderly stop waits for the stream to pass the WAL of
	// the last checkpoint, so that it can be told to the slot.
	finishGrace = 500 * time.Millisecond
	// endGrace is how long it waits for the server to say goodbye.
	endGrace = time.Second
	// maxMessage is the greatest message that PostgreSQL sends.
	maxMessage = 1 << 30

	ownPrefix = "rowbell." // of logical messages
)

// HeartbeatPrefix is the prefix of logical messages that a Heartbeat sends.
const HeartbeatPrefix = "rowbell.heartbeat"

var past = time.Unix(1, 0)

// Stream reads one slot over one connection. Run owns the connection; Confirm, Finish,
// Abort, System and Progress may be called from any goroutine.
type Stream struct {
	cfg   Config
	conn  net.Conn
	sock  *socket // below conn; nil if conn is not ours
	sys   System
	parts chan *change.Parts
	pool  *pool

	confirm  confirmations
	received atomic.Uint64 // greatest WAL position that the server has told
	told     atomic.Uint64 // last written to the server as flushed

	finishOnce, abortOnce sync.Once
	finished, aborted     chan struct{}
	interrupts            atomic.Int32 // times that a read was broken off by us

	// What follows belongs to Run.
	seen       int32 // interrupts that were acted on
	dec        pgoutput.Decoder
	rels       pgoutput.Relations
	msg        pgoutput.Message
	block      *block
	pos, end   int // what is read and not taken yet: block.buf[pos:end]
	cur        *batch
	part       int // index of the open transaction's part in cur, -1 none
	firstEvent int // of that part, in block.events
	txn        transaction
	recv       change.LSN // becomes received after each read
	readAt     time.Time  // of the last read
	commitTime time.Time  // of the last transaction
	idle       change.LSN // WAL end of a keepalive that was not handed over yet
	lastIdle   change.LSN // handed over last
	idleAt     time.Time  // not before
	reply      bool       // the server wants a status at once
	nextStatus time.Time
	handedAt   time.Time // when something was handed over last
	gathering  bool      // the read's deadline is set to hand over what is gathered
	silent     int       // status intervals without a byte
	counts     counts
	status     [39]byte
	timer      *time.Timer
}

// transaction is the one that is being received.
type transaction struct {
	open       bool
	first      bool // nothing of it was handed over yet
	xid        uint32
	commitLSN  change.LSN
	commitTime time.Time
}

type counts struct {
	bytes        int
	transactions int
	events       [change.Emit + 1]int
}

// Progress is how far a stream is. Confirmed ≤ Durable ≤ Received.
type Progress struct {
	Received  change.LSN // greatest WAL position that the server has told
	Durable   change.LSN // greatest LSN that Confirm was called with
	Confirmed change.LSN // told to the slot
}

func newStream(cfg Config, conn net.Conn, sys System) *Stream {
	s := &Stream{
		cfg: cfg, conn: conn, sys: sys,
		parts: make(chan *change.Parts, channelParts), pool: newPool(), part: -1,
		finished: make(chan struct{}), aborted: make(chan struct{}),
	}
	c := conn
	if t, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = t.NetConn()
	}
	s.sock, _ = c.(*socket)
	s.block = s.pool.block(blockBytes)
	return s
}

// startReplication sends START_REPLICATION and waits until the server streams.
func (s *Stream) startReplication(ctx context.Context) error {
	if err := s.conn.SetDeadline(time.Now().Add(2 * s.cfg.ConnectTimeout)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(past) })
	defer stop()
	query, err := (&pgproto3.Query{String: s.cfg.startCommand()}).Encode(nil)
	if err != nil {
		return err
	}
	if _, err := s.conn.Write(query); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	for {
		kind, body, ok, err := s.frame()
		switch {
		case err != nil:
			return err
		case !ok:
			if err := s.fill(); err != nil {
				return errors.Join(err, context.Cause(ctx))
			}
		case kind == 'W': // CopyBothResponse
			if !stop() {
				return context.Cause(ctx)
			}
			return s.conn.SetDeadline(time.Time{})
		case kind == 'E':
			return serverError(body)
		case kind == 'N', kind == 'S':
		default:
			return fmt.Errorf("%w: the server answered START_REPLICATION with message %q", ErrMalformed, kind)
		}
	}
}

// began notes where the slot is. The server sends what comes after.
func (s *Stream) began(confirmed change.LSN) {
	s.sys.Confirmed = confirmed
	s.recv = confirmed
	s.received.Store(uint64(confirmed))
	s.told.Store(uint64(confirmed))
	s.confirm.begin(confirmed)
	s.cfg.Metrics.connects.Inc()
}

// System is what the server said when the slot was taken.
func (s *Stream) System() System { return s.sys }

// Parts is where Run hands over what it reads. It is closed when reading has ended.
func (s *Stream) Parts() <-chan *change.Parts { return s.parts }

// Confirm says that lsn may be told to the slot once the stream has passed
// recordedAt; zero means at once. The next status tells it. An lsn that is not beyond
// an earlier one is ignored: what was confirmed stays.
func (s *Stream) Confirm(lsn, recordedAt change.LSN) { s.confirm.add(lsn, recordedAt) }

// Progress says how far the stream is.
func (s *Stream) Progress() Progress {
	return Progress{
		Received:  change.LSN(s.received.Load()),
		Durable:   s.confirm.durable(),
		Confirmed: change.LSN(s.told.Load()),
	}
}

// Finish says that everything handed over has been taken and no more Confirm comes:
// Run sends the last status and returns.
func (s *Stream) Finish() {
	s.finishOnce.Do(func() {
		close(s.finished)
		s.interrupt()
	})
}

// Abort closes the connection at once, without a last status: a server in fast
// shutdown waits for its readers otherwise. Run returns ErrShutdown.
func (s *Stream) Abort() {
	s.abortOnce.Do(func() {
		close(s.aborted)
		_ = s.conn.Close() // nothing more is said over it
	})
}

// interrupt breaks off the read that Run waits in, or the next one.
func (s *Stream) interrupt() {
	s.interrupts.Add(1)
	_ = s.conn.SetReadDeadline(past) // fails only if the connection is closed, which wakes Run too
}

// deadline sets when the next read gives up. One that was interrupted does at once.
func (s *Stream) deadline(t time.Time) error {
	if err := s.conn.SetReadDeadline(t); err != nil {
		return err
	}
	if s.interrupts.Load() != s.seen {
		return s.conn.SetReadDeadline(past)
	}
	return nil
}

// rearm sets the deadline to what is due first: a status, what is gathered, or an Idle.
func (s *Stream) rearm() error {
	t := s.nextStatus
	if at := s.handedAt.Add(gather); s.gathering && at.Before(t) {
		t = at
	}
	if s.idle != 0 && s.cur == nil && s.idleAt.Before(t) {
		t = s.idleAt
	}
	return s.deadline(t)
}

// Keep tells the server that the reader lives until ctx ends, for a caller that has
// something to do before Run: after SenderTimeout without a status the server gives the
// slot free. Run may only be called when it has returned. What breaks the connection
// meanwhile is Run's to say.
func (s *Stream) Keep(ctx context.Context) {
	tick := time.NewTicker(s.cfg.StatusInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := s.sendStatus(false); err != nil {
			return
		}
	}
}

// Run reads until ctx ends or Finish is called, then closes Parts, keeps the slot alive
// until Finish, tells the last status and returns nil. It may be called once. It
// returns a *DecodeError, ErrNoPublication, ErrLost, ErrShutdown, ErrSilent or what the
// network said as soon as it happens; Parts is closed then too.
func (s *Stream) Run(ctx context.Context) error {
	defer func() { _ = s.conn.Close() }() // the last status was answered, or an error is returned
	stop := context.AfterFunc(ctx, s.interrupt)
	defer stop()
	s.timer = time.NewTimer(time.Hour)
	defer s.timer.Stop()

	err := s.read(ctx)
	if errors.Is(err, errStopped) {
		err = nil
	}
	close(s.parts)
	if s.cur != nil {
		s.pool.release(s.cur) // not confirmed, so it will be sent again
		s.cur = nil
	}
	if err == nil {
		err = s.linger()
	}
	select {
	case <-s.aborted:
		return &mended{kind: ErrShutdown, mend: "the replication connection was closed so as not to hold it up"}
	default:
	}
	if err != nil {
		return s.explain(err)
	}
	return nil
}

// explain says what an error of the running stream means; for some the slot is asked.
func (s *Stream) explain(err error) error {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	if known, ok := errors.AsType[*mended](classify(s.cfg, pgErr)); ok {
		return known
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.ConnectTimeout)
	defer cancel()
	conn, connErr := connectOrdinary(ctx, s.cfg)
	if connErr != nil {
		return err
	}
	defer closeOrdinary(conn)
	return slotError(ctx, s.cfg, conn, err)
}

// read is the loop until ctx ends or Finish is called.
func (s *Stream) read(ctx context.Context) error {
	if err := s.sendStatus(false); err != nil {
		return err
	}
	for {
		if err := s.takeAll(ctx); err != nil {
			return err
		}
		if s.stopped(ctx) {
			return nil
		}
		if s.cur != nil && !s.txn.open && !s.more() {
			if err := s.gatherOrHandOver(ctx); err != nil {
				return err
			}
		}
		if err := s.beIdle(); err != nil {
			return err
		}
		if s.reply {
			if err := s.sendStatus(false); err != nil {
				return err
			}
		}
		if err := s.makeRoom(ctx); err != nil {
			return err
		}
		if err := s.fill(); err != nil {
			if !timedOut(err) {
				return s.readError(err)
			}
			s.seen = s.interrupts.Load()
			if s.stopped(ctx) {
				return nil
			}
			if s.gathering {
				if !s.txn.open {
					if err := s.handOver(ctx); err != nil {
						return err
					}
				}
				s.gathering = false
			}
			if err := s.tick(); err != nil {
				return err
			}
			continue
		}
		// A backlog leaves no read to time out in.
		if !s.readAt.Before(s.nextStatus) {
			if err := s.sendStatus(false); err != nil {
				return err
			}
		}
	}
}

// gatherOrHandOver hands over what was read, unless something was handed over a moment
// ago: waking the reader costs more than a transaction does.
func (s *Stream) gatherOrHandOver(ctx context.Context) error {
	if s.readAt.Sub(s.handedAt) >= gather {
		if err := s.handOver(ctx); err != nil {
			return err
		}
		if s.gathering {
			s.gathering = false
			return s.rearm()
		}
		return nil
	}
	if s.gathering {
		return nil
	}
	s.gathering = true
	return s.rearm()
}

// tick is a read that gave up because a status is due, or an Idle.
func (s *Stream) tick() error {
	now := time.Now()
	if now.Before(s.nextStatus) {
		return s.rearm()
	}
	// A quiet server has nothing to say unless asked; one that does not answer is gone.
	s.silent++
	if limit := int(s.cfg.SenderTimeout / s.cfg.StatusInterval); s.silent > limit {
		return &mended{kind: ErrSilent, mend: fmt.Sprintf("nothing came for %v, not even an answer to a status; check the network between here and there", time.Duration(s.silent)*s.cfg.StatusInterval)}
	}
	return s.sendStatus(s.silent >= 2)
}

// stopped says that reading is to end.
func (s *Stream) stopped(ctx context.Context) bool {
	if ctx.Err() != nil {
		return true
	}
	select {
	case <-s.finished:
		return true
	default:
		return false
	}
}

// more says that bytes wait between the network and us, so that a read gives more at once.
func (s *Stream) more() bool { return s.sock != nil && s.sock.buffered() > 0 }

// frame returns the next whole message that is in the block.
func (s *Stream) frame() (kind byte, body []byte, ok bool, err error) {
	b := s.block.buf[s.pos:s.end]
	if len(b) < 5 {
		return 0, nil, false, nil
	}
	n := int(binary.BigEndian.Uint32(b[1:]))
	if n < 4 || n > maxMessage {
		return 0, nil, false, fmt.Errorf("%w: message %q claims a length of %d", ErrMalformed, b[0], n)
	}
	if len(b) < 1+n {
		return 0, nil, false, nil
	}
	s.pos += 1 + n
	return b[0], b[5 : 1+n : 1+n], true, nil
}

// fill reads once.
func (s *Stream) fill() error {
	n, err := s.conn.Read(s.block.buf[s.end:])
	s.end += n
	s.counts.bytes += n
	if n > 0 {
		s.readAt = time.Now()
		s.silent = 0
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// makeRoom sees to it that the next read can take a message whole.
func (s *Stream) makeRoom(ctx context.Context) error {
	if s.pos == s.end && s.cur == nil && s.block.refs.Load() == 1 {
		// Nobody else looks at the block. One that was made for a big message goes.
		if len(s.block.buf) != blockBytes {
			s.block = s.pool.block(blockBytes)
		}
		s.pos, s.end = 0, 0
		s.block.events = s.block.events[:0]
	}
	need := minRead
	if b := s.block.buf[s.pos:s.end]; len(b) >= 5 {
		need = max(need, 1+int(binary.BigEndian.Uint32(b[1:]))-len(b))
	}
	if len(s.block.buf)-s.end >= need {
		return nil
	}
	return s.rotate(ctx, s.end-s.pos+need)
}

// rotate hands over what points into the block, and goes on in another with room for
// size bytes, where it takes along what is not taken yet.
func (s *Stream) rotate(ctx context.Context, size int) error {
	if err := s.handOver(ctx); err != nil {
		return err
	}
	next := s.pool.block(size)
	s.end = copy(next.buf, s.block.buf[s.pos:s.end])
	s.pos = 0
	s.pool.drop(s.block)
	s.block = next
	return nil
}

// takeAll takes every whole message that was read. It is one of the two places that
// recover a panic: what the decoder chokes on stops the stream, not the process.
func (s *Stream) takeAll(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &DecodeError{LSN: s.recv, CommitLSN: s.txn.commitLSN, Err: fmt.Errorf("panic: %v", p)}
		}
		s.received.Store(uint64(s.recv))
	}()
	for {
		if len(s.block.events) == cap(s.block.events) {
			if err := s.rotate(ctx, s.end-s.pos); err != nil {
				return err
			}
		} else if s.cur != nil && len(s.cur.parts.List) >= maxParts {
			if err := s.handOver(ctx); err != nil {
				return err
			}
		}
		kind, body, ok, err := s.frame()
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		if kind != 'd' {
			if err := s.other(kind, body); err != nil {
				return err
			}
			continue
		}
		if len(body) >= 25 && body[0] == 'w' {
			if err := s.take(ctx, body); err != nil {
				return err
			}
			continue
		}
		if err := s.keepalive(body); err != nil {
			return err
		}
	}
}

// other takes a message that is not CopyData.
func (s *Stream) other(kind byte, body []byte) error {
	switch kind {
	case 'N': // NoticeResponse
		var n pgproto3.NoticeResponse
		if err := n.Decode(body); err != nil {
			return fmt.Errorf("%w: a notice: %w", ErrMalformed, err)
		}
		// 18 warns of a publication that is missing at this place, and leaves its rows out.
		if strings.Contains(n.Message, "publication") {
			return &mended{kind: ErrNoPublication, mend: mendPublication(s.cfg), err: errors.New(n.Message)}
		}
		s.cfg.Logger.Warn("the server has a notice", "slot", s.cfg.Slot, "code", n.Code, "notice", n.Message)
		return nil
	case 'S': // ParameterStatus
		return nil
	case 'E':
		return serverError(body)
	case 'c', 'C': // CopyDone, CommandComplete
		return &mended{kind: ErrShutdown, mend: "it ended the stream"}
	}
	return fmt.Errorf("%w: message %q in the stream", ErrMalformed, kind)
}

func serverError(body []byte) error {
	var e pgproto3.ErrorResponse
	if err := e.Decode(body); err != nil {
		return fmt.Errorf("%w: an error response: %w", ErrMalformed, err)
	}
	return pgconn.ErrorResponseToPgError(&e)
}

func (s *Stream) readError(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read from the replication connection: %w", err)
}

// keepalive takes a primary keepalive message: WAL end, clock, reply requested.
func (s *Stream) keepalive(body []byte) error {
	if len(body) < 18 || body[0] != 'k' {
		return &DecodeError{LSN: s.recv, CommitLSN: s.txn.commitLSN, Err: fmt.Errorf("%d bytes of CopyData are neither XLogData nor a keepalive", len(body))}
	}
	walEnd := change.LSN(binary.BigEndian.Uint64(body[1:]))
	s.recv = max(s.recv, walEnd)
	if !s.txn.open && walEnd > s.lastIdle {
		s.idle = walEnd
	}
	if body[17] != 0 {
		s.reply = true
	}
	return nil
}

// take takes an XLogData: start of the WAL, end of the WAL, clock, then pgoutput's message.
func (s *Stream) take(ctx context.Context, body []byte) error {
	start := change.LSN(binary.BigEndian.Uint64(body[1:]))
	s.recv = max(s.recv, start, change.LSN(binary.BigEndian.Uint64(body[9:])))
	data := body[25:]
	m := &s.msg
	err := s.dec.Decode(data, m)
	if err == nil {
		err = s.message(ctx, m, len(data))
	}
	if err != nil {
		if errors.Is(err, errHandOver) || errors.Is(err, errStopped) {
			return err
		}
		return &DecodeError{LSN: start, CommitLSN: s.txn.commitLSN, Err: err}
	}
	return nil
}

func (s *Stream) message(ctx context.Context, m *pgoutput.Message, size int) error {
	switch m.Kind {
	case pgoutput.Insert:
		rel, err := s.related(m)
		if err != nil {
			return err
		}
		e := s.event(change.Create, size)
		e.Relation, e.New = rel, m.New
	case pgoutput.Update:
		rel, err := s.related(m)
		if err != nil {
			return err
		}
		e := s.event(change.Update, size)
		e.Relation, e.New, e.Old, e.OldKeyOnly = rel, m.New, m.Old, m.OldKeyOnly
	case pgoutput.Delete:
		rel, err := s.related(m)
		if err != nil {
			return err
		}
		e := s.event(change.Delete, size)
		e.Relation, e.Old, e.OldKeyOnly = rel, m.Old, m.OldKeyOnly
	case pgoutput.Begin:
		if s.txn.open {
			return fmt.Errorf("transaction %d begins inside transaction %d", m.XID, s.txn.xid)
		}
		s.txn = transaction{open: true, first: true, xid: m.XID, commitLSN: m.FinalLSN, commitTime: m.CommitTime}
		s.idle = 0
	case pgoutput.Commit:
		if !s.txn.open || m.CommitLSN != s.txn.commitLSN || m.EndLSN == 0 {
			return fmt.Errorf("a commit at %s, ending at %s, where the open transaction's is %s", m.CommitLSN, m.EndLSN, s.txn.commitLSN)
		}
		s.openPart().EndLSN = m.EndLSN
		s.closePart()
		s.txn.open = false
		s.commitTime = s.txn.commitTime
		s.recv = max(s.recv, m.EndLSN)
		s.counts.transactions++
	case pgoutput.Logical:
		if m.Transactional && strings.HasPrefix(string(m.Prefix), ownPrefix) {
			if !s.txn.open {
				return errors.New("a transactional message outside a transaction")
			}
			e := s.event(change.Emit, size)
			e.Message = change.Message{Prefix: internPrefix(m.Prefix), Content: m.Content}
		}
	case pgoutput.Truncate:
		return s.truncate(ctx, m, size)
	case pgoutput.Relation, pgoutput.TypeInfo:
		s.rels.Apply(m)
	case pgoutput.Origin:
		// Rows that were replicated into the source are changes like any other.
	}
	return nil
}

// related returns the relation of a row, which must be inside a transaction.
func (s *Stream) related(m *pgoutput.Message) (*change.Relation, error) {
	if !s.txn.open {
		return nil, fmt.Errorf("%s outside a transaction", m.Kind)
	}
	return s.rels.For(m)
}

// truncate makes one event per relation. The bytes count once.
func (s *Stream) truncate(ctx context.Context, m *pgoutput.Message, size int) error {
	if !s.txn.open {
		return fmt.Errorf("%s outside a transaction", m.Kind)
	}
	for _, oid := range m.Relations {
		rel := s.rels.Get(oid)
		if rel == nil {
			return fmt.Errorf("%w: truncate of relation %d, which no Relation message has described", ErrMalformed, oid)
		}
		if len(s.block.events) == cap(s.block.events) {
			if err := s.rotate(ctx, s.end-s.pos); err != nil {
				return err
			}
		}
		s.event(change.Truncate, size).Relation = rel
		size = 0
	}
	return nil
}

// internPrefix gives the usual prefixes without allocating.
func internPrefix(b []byte) string {
	switch string(b) {
	case "rowbell.event":
		return "rowbell.event"
	case "rowbell.context":
		return "rowbell.context"
	case "rowbell.chain":
		return "rowbell.chain"
	case HeartbeatPrefix:
		return HeartbeatPrefix
	}
	return string(b)
}

// event adds an event to the open transaction's part. The block has room for one.
func (s *Stream) event(op change.Op, size int) *change.Event {
	s.openPart().Bytes += size
	n := len(s.block.events)
	s.block.events = s.block.events[:n+1]
	e := &s.block.events[n]
	*e = change.Event{Op: op}
	s.counts.events[op]++
	return e
}

// openPart returns the open transaction's part in the current batch.
func (s *Stream) openPart() *change.Part {
	if s.cur == nil {
		s.cur = s.pool.batch(s.block, s.readAt)
	}
	list := &s.cur.parts.List
	if s.part < 0 {
		s.part = len(*list)
		s.firstEvent = len(s.block.events)
		*list = append(*list, change.Part{
			XID: s.txn.xid, CommitLSN: s.txn.commitLSN, CommitTime: s.txn.commitTime, First: s.txn.first,
		})
		s.txn.first = false
	}
	return &(*list)[s.part]
}

// closePart gives the open part its events.
func (s *Stream) closePart() {
	if s.part < 0 {
		return
	}
	n := len(s.block.events)
	s.cur.parts.List[s.part].Events = s.block.events[s.firstEvent:n:n]
	s.part = -1
}

var (
	// errHandOver says that handing over failed, which is not the message's fault.
	errHandOver = errors.New("hand over what was read")
	// errStopped says that reading is to stop, which is no error of Run's.
	errStopped = errors.New("reading is to stop")
)

// handOver sends what was gathered. While nobody takes it the server is told that we
// are alive.
func (s *Stream) handOver(ctx context.Context) error {
	if s.cur == nil {
		return nil
	}
	s.closePart()
	p := s.cur.parts
	p.WALEnd = s.recv
	if s.idle != 0 && !s.txn.open {
		p.Idle, s.lastIdle, s.idle = s.idle, s.idle, 0
	}
	s.flushCounts()
	s.handedAt = s.readAt
	select {
	case s.parts <- p:
		s.cur = nil
		return nil
	default:
	}
	s.received.Store(uint64(s.recv))
	blocked := time.Now()
	defer func() { s.cfg.Metrics.blocked.Add(time.Since(blocked).Seconds()) }()
	for {
		s.timer.Reset(time.Until(s.nextStatus))
		select {
		case s.parts <- p:
			s.cur = nil
			s.silent = 0
			return nil
		case <-s.timer.C:
			if err := s.sendStatus(false); err != nil {
				return fmt.Errorf("%w: %w", errHandOver, err)
			}
		case <-ctx.Done():
			return errStopped
		case <-s.finished:
			return errStopped
		case <-s.aborted:
			return errHandOver
		}
	}
}

// beIdle hands over a keepalive's WAL end when there is nothing else to hand over.
// It never waits: the next one says more.
func (s *Stream) beIdle() error {
	if s.idle == 0 || s.cur != nil || s.txn.open {
		return nil
	}
	now := time.Now()
	if !s.reply && now.Before(s.idleAt) {
		return s.rearm()
	}
	s.idleAt = now.Add(idleInterval)
	b := s.pool.batch(nil, s.readAt)
	b.parts.WALEnd, b.parts.Idle = s.recv, s.idle
	select {
	case s.parts <- b.parts:
		s.lastIdle, s.idle = s.idle, 0
		s.cfg.Metrics.lagSeconds.Set(0)
		s.flushCounts()
	default:
		s.pool.release(b)
	}
	return s.rearm()
}

func (s *Stream) flushCounts() {
	m := s.cfg.Metrics
	m.bytes.Add(float64(s.counts.bytes))
	m.transactions.Add(float64(s.counts.transactions))
	for op, n := range s.counts.events {
		if n > 0 {
			m.events[op].Add(float64(n))
		}
	}
	s.counts = counts{}
	if !s.commitTime.IsZero() {
		m.lagSeconds.Set(max(0, s.readAt.Sub(s.commitTime).Seconds()))
	}
}

// sendStatus tells the server what was received and what is confirmed. Flush and apply
// are always what Confirm allowed, and never 0.
// (PostgreSQL manual: Streaming Replication Protocol, Standby status update.)
func (s *Stream) sendStatus(askReply bool) error {
	now := time.Now()
	confirmed := s.confirm.advance(s.recv)
	b := s.status[:]
	b[0] = 'd'
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-1))
	b[5] = 'r'
	binary.BigEndian.PutUint64(b[6:], uint64(s.recv))
	binary.BigEndian.PutUint64(b[14:], uint64(confirmed))
	binary.BigEndian.PutUint64(b[22:], uint64(confirmed))
	binary.BigEndian.PutUint64(b[30:], uint64(now.UnixMicro()-postgresEpoch))
	b[38] = 0
	if askReply {
		b[38] = 1
	}
	if err := s.conn.SetWriteDeadline(now.Add(writeTimeout)); err != nil {
		return s.writeError(err)
	}
	if _, err := s.conn.Write(b); err != nil {
		return s.writeError(err)
	}
	s.reply = false
	s.told.Store(uint64(confirmed))
	m := s.cfg.Metrics
	m.received.Set(float64(s.recv))
	m.confirmed.Set(float64(confirmed))
	m.lagBytes.Set(float64(s.recv - confirmed))
	s.nextStatus = now.Add(s.cfg.StatusInterval)
	return s.rearm()
}

func (s *Stream) writeError(err error) error {
	return fmt.Errorf("send a status over the replication connection: %w", err)
}

// postgresEpoch is 2000-01-01 UTC in Unix microseconds.
const postgresEpoch = 946_684_800_000_000

// linger keeps the slot alive until Finish. What comes is not decoded any more, only
// its positions are noted: the last checkpoint may wait for the stream to pass it.
func (s *Stream) linger() error {
	s.idle, s.gathering = 0, false
	// The block may hold what is still being looked at; what is not taken goes along.
	if err := s.rotate(context.Background(), s.end-s.pos+minRead); err != nil {
		return err
	}
	var giveUp time.Time // set once Finish was called
	for {
		if _, err := s.skipAll(); err != nil {
			return err
		}
		now := time.Now()
		if giveUp.IsZero() {
			select {
			case <-s.finished:
				giveUp = now.Add(finishGrace)
				if err := s.sendStatus(true); err != nil { // the answer tells where the WAL ends
					return err
				}
			default:
				if s.reply || !now.Before(s.nextStatus) {
					if err := s.sendStatus(false); err != nil {
						return err
					}
				}
			}
		}
		if !giveUp.IsZero() {
			s.confirm.advance(s.recv)
			if !s.confirm.pending() || !now.Before(giveUp) {
				return s.sayGoodbye()
			}
			if err := s.deadline(giveUp); err != nil {
				return err
			}
		}
		if err := s.makeRoom(context.Background()); err != nil {
			return err
		}
		if err := s.fill(); err != nil {
			if !timedOut(err) {
				return s.readError(err)
			}
			s.seen = s.interrupts.Load()
			if err := s.tick(); err != nil {
				return err
			}
		}
	}
}

// skipAll notes the positions of what was read. It says whether the server has ended
// the copy.
func (s *Stream) skipAll() (ended bool, err error) {
	defer func() { s.received.Store(uint64(s.recv)) }()
	for {
		kind, body, ok, err := s.frame()
		switch {
		case err != nil || !ok:
			return false, err
		case kind == 'd' && len(body) >= 25 && body[0] == 'w':
			s.recv = max(s.recv, change.LSN(binary.BigEndian.Uint64(body[1:])), change.LSN(binary.BigEndian.Uint64(body[9:])))
		case kind == 'd':
			if err := s.keepalive(body); err != nil {
				return false, err
			}
			s.idle = 0 // nobody takes it any more
		case kind == 'C', kind == 'Z':
			return true, nil
		case kind == 'E':
			return false, serverError(body)
		}
	}
}

// sayGoodbye tells the last status and waits a moment for the server to have read it
// and to give the slot free: closing with unread bytes would reset the connection.
func (s *Stream) sayGoodbye() error {
	if err := s.sendStatus(false); err != nil {
		return err
	}
	if _, err := s.conn.Write([]byte{'c', 0, 0, 0, 4}); err != nil { // CopyDone
		return s.writeError(err)
	}
	if err := s.conn.SetReadDeadline(time.Now().Add(endGrace)); err != nil {
		return err
	}
	for {
		ended, err := s.skipAll()
		if err != nil {
			return err
		}
		if ended {
			_, err := s.conn.Write([]byte{'X', 0, 0, 0, 4}) // Terminate
			if err != nil {
				return s.writeError(err)
			}
			return nil
		}
		if err := s.makeRoom(context.Background()); err != nil {
			return err
		}
		if err := s.fill(); err != nil {
			// A server in the middle of a big transaction doesn't stop for us. It has the
			// status, and meets the closed connection.
			if timedOut(err) || errors.Is(err, io.EOF) {
				return nil
			}
			return s.readError(err)
		}
	}
}
