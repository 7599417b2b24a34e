package cdc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Heartbeat sends small transactional messages through the source's WAL, so that a
// quiet or filtered database moves the slot on, and watches that they come back: a
// stream that looks healthy and is dead is seen by that.
//
// A message's content is xmin:xmax:instance/worker:n. xmin and xmax are those of
// pg_current_snapshot() when it was sent; transactions below xmin have ended. n counts
// this worker's beats, and only its own count as come back: an old beat of another
// worker says nothing about us.
type Heartbeat struct {
	cfg        Config
	onShutdown func()
	who        string // instance/worker
	now        func() time.Time

	mu    sync.Mutex
	n     uint64
	sent  map[uint64]time.Time // those that have not come back
	since time.Time            // when one came back last, or when it all began
	round time.Duration
}

// maxOutstanding is how many beats are waited for; older ones are forgotten.
const maxOutstanding = 1024

// NewHeartbeat makes a heartbeat for one holding of the slot. onShutdown is called, at
// most once per connection, when the source answers that it is shutting down or
// starting; it must not block. It may be nil.
func NewHeartbeat(cfg Config, onShutdown func()) *Heartbeat {
	cfg = cfg.withDefaults()
	return &Heartbeat{
		cfg: cfg, onShutdown: onShutdown, who: cfg.Instance + "/" + cfg.WorkerID,
		now: time.Now, sent: make(map[uint64]time.Time), since: time.Now(),
	}
}

// Seen takes the content of a message with HeartbeatPrefix that came through the slot.
func (h *Heartbeat) Seen(content string) {
	_, rest, _ := strings.Cut(content, ":")
	_, rest, _ = strings.Cut(rest, ":")
	who, count, ok := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(count, 10, 64)
	if !ok || err != nil || who != h.who {
		return
	}
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.sent[n]
	if !ok {
		return
	}
	h.since, h.round = now, now.Sub(at)
	for k := range h.sent {
		if k <= n {
			delete(h.sent, k)
		}
	}
	h.cfg.Metrics.beats.WithLabelValues("seen").Inc()
	h.cfg.Metrics.beatRound.Set(h.round.Seconds())
}

// Age is how long ago a beat came back last, or the heartbeat was made if none has.
func (h *Heartbeat) Age() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now().Sub(h.since)
}

// RoundTrip is how long the last beat that came back took; 0 before the first.
func (h *Heartbeat) RoundTrip() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.round
}

// Run sends a beat at once and then each HeartbeatInterval, until ctx ends; then it
// returns nil. A source that can't be reached is tried again, and Age tells.
//
// Between beats it listens on its connection: a server that shuts down tells its
// ordinary connections at once, but waits for the one that replicates.
func (h *Heartbeat) Run(ctx context.Context) error {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			closeOrdinary(conn)
		}
	}()
	wait := time.Duration(0)
	for {
		err := h.beat(ctx, &conn)
		if err == nil {
			wait = 0
			err = h.listen(ctx, conn)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			continue
		}
		if conn != nil {
			closeOrdinary(conn)
			conn = nil
		}
		h.cfg.Metrics.beats.WithLabelValues("failed").Inc()
		if down(err) {
			// An administrator may have ended this one connection: only a server that lets
			// no other in is going.
			if probe, probeErr := connectOrdinary(ctx, h.cfg); probeErr == nil {
				conn = probe
				continue
			} else if down(probeErr) || refused(probeErr) {
				h.cfg.Logger.WarnContext(ctx, "the source is shutting down or starting", "err", probeErr)
				if h.onShutdown != nil {
					h.onShutdown()
				}
			}
		} else {
			h.cfg.Logger.WarnContext(ctx, "a heartbeat could not be sent, will retry", "err", err)
		}
		wait = min(max(2*wait, 250*time.Millisecond), h.cfg.HeartbeatInterval)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// beat sends one, over a connection that it opens if there is none.
func (h *Heartbeat) beat(ctx context.Context, conn **pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.ConnectTimeout)
	defer cancel()
	if *conn == nil {
		c, err := connectOrdinary(ctx, h.cfg)
		if err != nil {
			return err
		}
		*conn = c
	}
	h.mu.Lock()
	h.n++
	n := h.n
	h.sent[n] = h.now()
	delete(h.sent, n-maxOutstanding)
	h.mu.Unlock()
	_, err := (*conn).Exec(ctx, `select pg_logical_emit_message(true, $1, pg_snapshot_xmin(s)::text || ':' || pg_snapshot_xmax(s)::text || ':' || $2)
		from pg_current_snapshot() s`, HeartbeatPrefix, h.who+":"+strconv.FormatUint(n, 10))
	if err != nil {
		return fmt.Errorf("send a heartbeat: %w", classify(h.cfg, err))
	}
	h.cfg.Metrics.beats.WithLabelValues("sent").Inc()
	return nil
}

// listen waits for the next beat's time. It returns an error if the server ends the
// connection meanwhile.
func (h *Heartbeat) listen(ctx context.Context, conn *pgx.Conn) error {
	next := time.Now().Add(h.cfg.HeartbeatInterval)
	for {
		wait, cancel := context.WithDeadline(ctx, next)
		err := conn.PgConn().WaitForNotification(wait)
		cancel()
		switch {
		case err == nil: // nobody notifies here; a notice may end the wait
			continue
		case ctx.Err() != nil, pgconn.Timeout(err) && !conn.IsClosed():
			return nil
		}
		return classify(h.cfg, err)
	}
}

// down says that the server ended the connection, or lets none in, because it goes or comes.
func down(err error) bool { return errors.Is(err, ErrShutdown) }
