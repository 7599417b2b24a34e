package cdc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowbell/rowbell/pkg/change"
)

// Slot is what the server says of a replication slot.
// (PostgreSQL manual: pg_replication_slots.)
type Slot struct {
	Exists    bool
	Plugin    string // empty for a physical slot
	Database  string // empty for a physical slot
	Temporary bool
	Failover  bool // always false before 17
	// Foreign says what makes the slot not ours (another plugin, another database);
	// empty for a slot that we can read, and for one that is still being made: that one
	// has no confirmed position, and for a moment not even a plugin.
	Foreign string

	ActivePID       int32 // 0: nobody reads it
	ApplicationName string
	ClientAddr      string
	Since           time.Time // when the holder's connection began
	Ours            bool      // the holder is a worker of this instance

	Confirmed change.LSN // confirmed_flush_lsn
	Restart   change.LSN // restart_lsn; 0 once the WAL is gone
	// WALStatus is reserved, extended, unreserved (the last call) or lost.
	WALStatus string
	// Lost says why the slot can't be read any more; empty while it can.
	Lost string
	// RetainedBytes is the WAL that the server keeps for the slot; SafeBytes how much
	// more it may grow before the slot is lost, -1 if there is no limit.
	RetainedBytes int64
	SafeBytes     int64
	WALPos        change.LSN // where the server writes
}

// slotQuery takes the slot's name and the prefix of our application names. Columns
// that a version lacks come as null out of to_jsonb.
const slotQuery = `select coalesce(s.plugin, ''), coalesce(s.database, ''), s.temporary,
	coalesce((to_jsonb(s) ->> 'failover')::bool, false),
	case when s.slot_type <> 'logical' then 'it is a physical slot'
		when s.plugin not in ('pgoutput', '') then 'its plugin is ' || s.plugin
		when s.database <> current_database() then 'it reads database ' || s.database
		else '' end,
	coalesce(s.active_pid, 0), coalesce(a.application_name, ''), coalesce(host(a.client_addr), ''), a.backend_start,
	coalesce(starts_with(a.application_name, $2), false),
	coalesce(s.confirmed_flush_lsn::text, ''), coalesce(s.restart_lsn::text, ''), coalesce(s.wal_status, ''),
	coalesce(to_jsonb(s) ->> 'invalidation_reason',
		case when (to_jsonb(s) ->> 'conflicting')::bool then 'it conflicted with recovery'
			when s.wal_status = 'lost' then 'it held more WAL than max_slot_wal_keep_size' else '' end),
	coalesce(pg_wal_lsn_diff(w.pos, s.restart_lsn), 0)::bigint, coalesce(s.safe_wal_size, -1), w.pos::text
	from pg_replication_slots s
	cross join (select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end) w (pos)
	left join pg_stat_activity a on a.pid = s.active_pid
	where s.slot_name = $1`

// SlotInfo asks the server about the slot. A slot that does not exist is no error:
// Exists is false.
func SlotInfo(ctx context.Context, cfg Config) (Slot, error) {
	cfg = cfg.withDefaults()
	conn, err := connectOrdinary(ctx, cfg)
	if err != nil {
		return Slot{}, err
	}
	defer closeOrdinary(conn)
	return slotInfo(ctx, conn, cfg)
}

// SlotInfoOn is SlotInfo by a connection, or a pool of them, that there is already: what is
// asked every few seconds is worth no connection of its own.
func SlotInfoOn(ctx context.Context, db rowQuerier, cfg Config) (Slot, error) {
	return slotInfo(ctx, db, cfg.withDefaults())
}

type rowQuerier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func slotInfo(ctx context.Context, db rowQuerier, cfg Config) (Slot, error) {
	var s Slot
	var since *time.Time
	var confirmed, restart, pos string
	err := db.QueryRow(ctx, slotQuery, cfg.Slot, cfg.ownPrefix()).Scan(&s.Plugin, &s.Database, &s.Temporary, &s.Failover, &s.Foreign,
		&s.ActivePID, &s.ApplicationName, &s.ClientAddr, &since, &s.Ours,
		&confirmed, &restart, &s.WALStatus, &s.Lost, &s.RetainedBytes, &s.SafeBytes, &pos)
	if errors.Is(err, pgx.ErrNoRows) {
		return Slot{}, nil
	}
	if err != nil {
		return Slot{}, fmt.Errorf("look at replication slot %q: %w", cfg.Slot, classify(cfg, err))
	}
	s.Exists = true
	if since != nil {
		s.Since = *since
	}
	for _, l := range []struct {
		text string
		to   *change.LSN
	}{{confirmed, &s.Confirmed}, {restart, &s.Restart}, {pos, &s.WALPos}} {
		if l.text == "" {
			continue
		}
		if *l.to, err = change.ParseLSN(l.text); err != nil {
			return Slot{}, fmt.Errorf("look at replication slot %q: %w", cfg.Slot, err)
		}
	}
	return s, nil
}

// Err says what keeps the slot from being read, apart from who holds it: ErrNoSlot,
// ErrMismatched, ErrLost, or nil.
func (s Slot) Err(cfg Config) error {
	switch {
	case !s.Exists:
		return &mended{kind: ErrNoSlot, mend: fmt.Sprintf("there is no slot %q on the source. If it was dropped, changes since then can't be read: run rowbell resync", cfg.Slot)}
	case s.Foreign != "":
		return &mended{kind: ErrMismatched, mend: fmt.Sprintf("%q: %s. Give Rowbell another name (ROWBELL_SLOT), or drop that one if nobody needs it: select pg_drop_replication_slot(%s)", cfg.Slot, s.Foreign, quoteLiteral(cfg.Slot))}
	case s.Lost != "":
		return &LostError{Slot: cfg.Slot, Confirmed: s.Confirmed, Restart: s.Restart, Reason: s.Lost}
	}
	return nil
}

func (s Slot) busy(cfg Config) *BusyError {
	return &BusyError{Slot: cfg.Slot, PID: s.ActivePID, ApplicationName: s.ApplicationName, ClientAddr: s.ClientAddr, Since: s.Since, Ours: s.Ours}
}

// slotError says what a failed command on the slot means. The message texts differ by
// version ("can no longer get changes" up to 17, "can no longer access" in 18,
// "cannot read from logical replication slot", "requested WAL segment … removed"), so
// the slot itself is asked first.
func slotError(ctx context.Context, cfg Config, conn *pgx.Conn, err error) error {
	if known, ok := errors.AsType[*mended](classify(cfg, err)); ok {
		return known
	}
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	info, infoErr := slotInfo(ctx, conn, cfg)
	if pgErr.Code == "55006" {
		return info.busy(cfg)
	}
	if infoErr == nil {
		wrong := info.Err(cfg)
		if lost, ok := errors.AsType[*LostError](wrong); ok {
			lost.Err = pgErr
		}
		if wrong != nil {
			return wrong
		}
	}
	if lostMessage(pgErr) {
		return &LostError{Slot: cfg.Slot, Confirmed: info.Confirmed, Restart: info.Restart, Reason: "its WAL is gone", Err: pgErr}
	}
	return err
}

func lostMessage(e *pgconn.PgError) bool {
	switch e.Code {
	case "55000", "58P01", "XX000":
	default:
		return false
	}
	for _, s := range []string{"can no longer get changes", "can no longer access", "cannot read from logical replication slot", "has already been removed", "invalidated"} {
		if strings.Contains(e.Message, s) || strings.Contains(e.Detail, s) {
			return true
		}
	}
	return false
}

// CreateSlot makes the slot and returns the point from which it sends everything.
// Before that the server waits for every transaction that runs; who is waited for is
// logged, and stands in the error when ctx ends. Returns ErrExists if a slot of ours
// has the name, ErrMismatched if another's has it, ErrWALLevel, ErrPrivilege,
// ErrLimit, ErrStandby or ErrPooler.
//
// On 17 and later the slot is made with failover, so that a standby that synchronizes
// slots has it when it is promoted.
func CreateSlot(ctx context.Context, cfg Config) (change.LSN, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return 0, err
	}
	ordinary, err := connectOrdinary(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer closeOrdinary(ordinary)
	src, err := lookAtSource(ctx, ordinary, cfg)
	if err != nil {
		return 0, err
	}
	if err := src.check(cfg); err != nil {
		return 0, err
	}
	conn, err := connectReplication(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // the command has ended, one way or the other
	}()

	command := "CREATE_REPLICATION_SLOT " + quoteIdent(cfg.Slot) + " LOGICAL pgoutput NOEXPORT_SNAPSHOT"
	if src.version >= 170000 {
		command = "CREATE_REPLICATION_SLOT " + quoteIdent(cfg.Slot) + " LOGICAL pgoutput (SNAPSHOT 'nothing', FAILOVER)"
	}
	row, err := createWatched(ctx, cfg, conn, ordinary, command)
	if err != nil {
		err = classify(cfg, err)
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == "42710" {
			info, infoErr := slotInfo(ctx, ordinary, cfg)
			if infoErr == nil && info.Foreign != "" {
				return 0, info.Err(cfg)
			}
			return 0, &mended{kind: ErrExists, mend: fmt.Sprintf("%q", cfg.Slot), err: pgErr}
		}
		return 0, fmt.Errorf("create replication slot %q: %w", cfg.Slot, err)
	}
	if len(row) < 2 {
		return 0, fmt.Errorf("create replication slot %q: the server answered %d columns, not its name and consistent point", cfg.Slot, len(row))
	}
	return change.ParseLSN(string(row[1]))
}

// createWatched runs the command, and tells who is waited for meanwhile. When ctx ends
// the command is cancelled on the server: a walsender that waits there would go on
// although nobody listens, and leave the slot behind.
func createWatched(ctx context.Context, cfg Config, conn *pgconn.PgConn, ordinary *pgx.Conn, command string) ([][]byte, error) {
	type answer struct {
		row [][]byte
		err error
	}
	done := make(chan answer, 1)
	go func() {
		row, err := execRow(context.WithoutCancel(ctx), conn, command)
		done <- answer{row, err}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var blockers []blocker
	logged := ""
	for {
		select {
		case a := <-done:
			return a.row, a.err
		case <-tick.C:
			found, err := findBlockers(ctx, ordinary, conn.PID())
			if err != nil {
				continue // the command itself will say what is wrong
			}
			if blockers = found; describe(blockers) != logged {
				logged = describe(blockers)
				if logged != "" {
					cfg.Logger.WarnContext(ctx, "the replication slot can't be made before older transactions end", "slot", cfg.Slot, "waiting_for", logged)
				}
			}
		case <-ctx.Done():
			cancelCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ConnectTimeout)
			cancelErr := conn.CancelRequest(cancelCtx)
			cancel()
			if cancelErr != nil {
				_ = conn.Conn().Close() // execRow returns
			}
			a := <-done
			if a.err == nil {
				return a.row, nil // it was made in the last moment
			}
			err := context.Cause(ctx)
			if s := describe(blockers); s != "" {
				err = fmt.Errorf("%w; it waited for %s", err, s)
			}
			return nil, errors.Join(err, cancelErr)
		}
	}
}

// blocker is a transaction that a slot in the making waits for.
type blocker struct {
	pid         int32 // 0 for a prepared one
	xid         string
	since       time.Time
	application string
	gid         string // of a prepared transaction
}

func describe(list []blocker) string {
	var b strings.Builder
	for i, x := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		if x.gid != "" {
			fmt.Fprintf(&b, "prepared transaction %q (xid %s, since %s; end it with: rollback prepared %s)", x.gid, x.xid, x.since.UTC().Format(time.RFC3339), quoteLiteral(x.gid))
			continue
		}
		fmt.Fprintf(&b, "process %d (xid %s, since %s, %s; end it with: select pg_terminate_backend(%d))", x.pid, x.xid, x.since.UTC().Format(time.RFC3339), x.application, x.pid)
	}
	return b.String()
}

func findBlockers(ctx context.Context, conn *pgx.Conn, pid uint32) ([]blocker, error) {
	rows, err := conn.Query(ctx, `select coalesce(h.pid, 0), w.transactionid::text,
			coalesce(a.xact_start, p.prepared, clock_timestamp()), coalesce(nullif(a.application_name, ''), 'no application name'), coalesce(p.gid, '')
		from pg_locks w
		left join pg_locks h on h.locktype = 'transactionid' and h.transactionid = w.transactionid and h.granted and h.pid is not null
		left join pg_stat_activity a on a.pid = h.pid
		left join pg_prepared_xacts p on p.transaction = w.transactionid
		where w.pid = $1 and not w.granted and w.locktype = 'transactionid'`, int32(pid))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (blocker, error) {
		var b blocker
		err := row.Scan(&b.pid, &b.xid, &b.since, &b.application, &b.gid)
		return b, err
	})
}

// DropSlot drops the slot. Returns ErrNoSlot, or ErrBusy if somebody reads it.
func DropSlot(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	conn, err := connectOrdinary(ctx, cfg)
	if err != nil {
		return err
	}
	defer closeOrdinary(conn)
	info, err := slotInfo(ctx, conn, cfg)
	if err != nil {
		return err
	}
	if !info.Exists || info.Foreign != "" {
		return info.Err(cfg)
	}
	if _, err = conn.Exec(ctx, "select pg_drop_replication_slot($1)", cfg.Slot); err != nil {
		return fmt.Errorf("drop replication slot %q: %w", cfg.Slot, slotError(ctx, cfg, conn, err))
	}
	return nil
}

// EndHolder ends the backend that holds the slot, if it is still pid and the worker of
// this instance that goes by the application name holder; in one statement, so that
// nobody else is hit. Another of ours may have the slot and not have said so yet: it has
// just taken over, or makes the slot anew. It says whether it did.
func EndHolder(ctx context.Context, cfg Config, pid int32, holder string) (bool, error) {
	cfg = cfg.withDefaults()
	conn, err := connectOrdinary(ctx, cfg)
	if err != nil {
		return false, err
	}
	defer closeOrdinary(conn)
	var ended bool
	err = conn.QueryRow(ctx, `select pg_terminate_backend(s.active_pid)
		from pg_replication_slots s join pg_stat_activity a on a.pid = s.active_pid
		where s.slot_name = $1 and s.active_pid = $2 and a.application_name = $3 and starts_with($3, $4)`,
		cfg.Slot, pid, holder, cfg.ownPrefix()).Scan(&ended)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("end process %d, which holds slot %q: %w", pid, cfg.Slot, classify(cfg, err))
	}
	return ended, nil
}

// Switch is one line of a timeline's history: Timeline ended at LSN.
type Switch struct {
	Timeline int32
	LSN      change.LSN
}

// TimelineHistory returns where the timelines before tli ended, oldest first. The
// first timeline has none.
func TimelineHistory(ctx context.Context, cfg Config, tli int32) ([]Switch, error) {
	cfg = cfg.withDefaults()
	if tli <= 1 {
		return nil, nil
	}
	conn, err := connectReplication(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	history, err := pglogrepl.TimelineHistory(ctx, conn, tli)
	if err != nil {
		return nil, fmt.Errorf("history of timeline %d: %w", tli, classify(cfg, err))
	}
	return parseHistory(string(history.Content))
}

// parseHistory reads a history file: per line the timeline, where it ended, and a
// reason, with tabs between; # begins a comment.
func parseHistory(s string) ([]Switch, error) {
	var list []Switch
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			return nil, fmt.Errorf("line %q of a timeline's history has no timeline and LSN", line)
		}
		tli, err := strconv.ParseInt(fields[0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("line %q of a timeline's history: %w", line, err)
		}
		lsn, err := change.ParseLSN(fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %q of a timeline's history: %w", line, err)
		}
		list = append(list, Switch{int32(tli), lsn})
	}
	return list, nil
}
