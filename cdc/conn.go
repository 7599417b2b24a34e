package cdc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowbell/rowbell/pkg/change"
)

// System is what the server said of itself when the slot was taken.
type System struct {
	SystemID      string
	Timeline      int32
	WALPos        change.LSN // where it had flushed WAL up to
	Database      string
	DatabaseOID   uint32
	Confirmed     change.LSN // the slot's confirmed_flush_lsn, read while we held it
	ServerVersion int        // as server_version_num: 150018
}

// sessionParams make values come out the same for every worker and at every decode,
// whatever is set for the role or the database.
var sessionParams = map[string]string{
	"client_encoding":     "UTF8",
	"client_min_messages": "warning",
	"DateStyle":           "ISO, YMD",
	"IntervalStyle":       "postgres",
	"TimeZone":            "UTC",
	"extra_float_digits":  "1",
	"bytea_output":        "hex",
	"lc_monetary":         "C",
	"search_path":         "pg_catalog",
	"statement_timeout":   "0",
	"lock_timeout":        "0",
}

// connectReplication opens a connection in the replication protocol.
func connectReplication(ctx context.Context, cfg Config) (*pgconn.PgConn, error) {
	pc, err := pgconn.ParseConfig(cfg.SourceURL)
	if err != nil {
		return nil, fmt.Errorf("source URL: %w", err)
	}
	for k, v := range sessionParams {
		pc.RuntimeParams[k] = v
	}
	pc.RuntimeParams["replication"] = "database"
	pc.RuntimeParams["application_name"] = cfg.applicationName()
	pc.RuntimeParams["wal_sender_timeout"] = strconv.FormatInt(cfg.SenderTimeout.Milliseconds(), 10) + "ms"
	pc.ConnectTimeout = cfg.ConnectTimeout
	pc.DialFunc = (&dialer{coalesce: cfg.Coalesce}).dial
	conn, err := pgconn.ConnectConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open a replication connection: %w", classify(cfg, err))
	}
	return conn, nil
}

// connectOrdinary opens a connection for queries.
func connectOrdinary(ctx context.Context, cfg Config) (*pgx.Conn, error) {
	pc, err := pgx.ParseConfig(cfg.SourceURL)
	if err != nil {
		return nil, fmt.Errorf("source URL: %w", err)
	}
	for k, v := range sessionParams {
		pc.RuntimeParams[k] = v
	}
	delete(pc.RuntimeParams, "replication")
	pc.RuntimeParams["application_name"] = cfg.applicationName()
	pc.ConnectTimeout = cfg.ConnectTimeout
	// Queries here run once a connection: preparing them would only cost a round trip.
	pc.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("connect to the source: %w", classify(cfg, err))
	}
	return conn, nil
}

func closeOrdinary(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // nothing is pending on it
}

// execRow runs a replication command and returns its only row.
func execRow(ctx context.Context, conn *pgconn.PgConn, command string) ([][]byte, error) {
	results, err := conn.Exec(ctx, command).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return nil, fmt.Errorf("%s: the server did not answer one row", command)
	}
	return results[0].Rows[0], nil
}

// source is what an ordinary connection tells of the server.
type source struct {
	version     int
	databaseOID uint32
	walLevel    string
	standby     bool
	missing     []string // publications
}

func lookAtSource(ctx context.Context, conn *pgx.Conn, cfg Config) (source, error) {
	var s source
	err := conn.QueryRow(ctx, `select current_setting('server_version_num')::int, (select oid from pg_database where datname = current_database()),
		current_setting('wal_level'), pg_is_in_recovery(),
		array(select p from unnest($1::text[]) p where not exists (select from pg_publication where pubname = p))`,
		cfg.publications()).Scan(&s.version, &s.databaseOID, &s.walLevel, &s.standby, &s.missing)
	if err != nil {
		return s, fmt.Errorf("look at the source: %w", classify(cfg, err))
	}
	return s, nil
}

func (s source) check(cfg Config) error {
	switch {
	case s.standby:
		return &mended{kind: ErrStandby, mend: "give ROWBELL_SOURCE_URL the primary"}
	case s.walLevel != "logical":
		return &mended{kind: ErrWALLevel, mend: fmt.Sprintf("it is %s. Run: alter system set wal_level = logical; then restart the server", s.walLevel)}
	case len(s.missing) > 0:
		return &mended{kind: ErrNoPublication, mend: fmt.Sprintf("there is no %s; %s", strings.Join(s.missing, " and no "), mendPublication(cfg))}
	}
	return nil
}

// Connect takes the slot and starts to stream from where it was confirmed. Call Run to
// read, or Abort to give it back. Returns ErrBusy (*BusyError), ErrNoSlot, ErrLost
// (*LostError), ErrMismatched, ErrNoPublication, ErrWALLevel, ErrPrivilege, ErrPooler,
// ErrStandby, ErrShutdown or ErrLimit.
func Connect(ctx context.Context, cfg Config) (*Stream, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ordinary, err := connectOrdinary(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer closeOrdinary(ordinary)
	src, err := lookAtSource(ctx, ordinary, cfg)
	if err != nil {
		return nil, err
	}
	// Missing publications are looked for here because 18 only warns of them, and
	// would send nothing.
	if err := src.check(cfg); err != nil {
		return nil, err
	}
	conn, err := connectReplication(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, cfg, conn, ordinary, src)
	if err != nil {
		_ = conn.Conn().Close() // err says why
		return nil, err
	}
	return s, nil
}

func start(ctx context.Context, cfg Config, conn *pgconn.PgConn, ordinary *pgx.Conn, src source) (*Stream, error) {
	sys, err := identify(ctx, cfg, conn)
	if err != nil {
		return nil, err
	}
	sys.DatabaseOID, sys.ServerVersion = src.databaseOID, src.version
	// From here the bytes are ours: pgconn would copy them once more, in reads of 8 kB.
	if err := conn.SyncConn(ctx); err != nil {
		return nil, err
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		return nil, err
	}
	s := newStream(cfg, hijacked.Conn, sys)
	if err := s.startReplication(ctx); err != nil {
		return nil, fmt.Errorf("read replication slot %q: %w", cfg.Slot, slotError(ctx, cfg, ordinary, err))
	}
	info, err := slotInfo(ctx, ordinary, cfg)
	if err != nil {
		return nil, err
	}
	if info.ActivePID != int32(hijacked.PID) {
		return nil, fmt.Errorf("replication slot %q is held by process %d of the server that queries reach, but ours is %d: the source URL leads to different servers; name one host", cfg.Slot, info.ActivePID, hijacked.PID)
	}
	s.began(info.Confirmed)
	return s, nil
}

func identify(ctx context.Context, cfg Config, conn *pgconn.PgConn) (System, error) {
	id, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == "42601" {
			// A pooler that drops the replication parameter leads to an ordinary backend.
			return System{}, &mended{kind: ErrPooler, mend: "give ROWBELL_SOURCE_URL the server's own host and port", err: pgErr}
		}
		return System{}, fmt.Errorf("IDENTIFY_SYSTEM: %w", classify(cfg, err))
	}
	return System{SystemID: id.SystemID, Timeline: id.Timeline, WALPos: change.LSN(id.XLogPos), Database: id.DBName}, nil
}

// startCommand reads from the slot's own confirmed position: 0/0 asks for it.
func (c Config) startCommand() string {
	quoted := make([]string, 0, 2)
	for _, p := range c.publications() {
		quoted = append(quoted, quoteIdent(p))
	}
	return "START_REPLICATION SLOT " + quoteIdent(c.Slot) + " LOGICAL 0/0 (proto_version '1', publication_names " +
		quoteLiteral(strings.Join(quoted, ",")) + ", messages 'true')"
}

// dialer connects, and prepares the socket for coalesced reads.
type dialer struct {
	coalesce Coalesce
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	on := d.coalesce == CoalesceOn || d.coalesce == CoalesceAuto && isLoopback(network, address)
	nd := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}
	if on && strings.HasPrefix(network, "tcp") {
		nd.Control = setReceiveBuffer
	}
	c, err := nd.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s := &socket{Conn: c, coalesce: on}
	if sc, ok := c.(syscall.Conn); ok {
		s.raw, err = sc.SyscallConn()
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// isLoopback says that the address is on this machine.
func isLoopback(network, address string) bool {
	if network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
