package cdc

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowbell/rowbell/pkg/change"
)

// What can be wrong with a source. Texts say the mend; the typed errors below unwrap
// to these.
var (
	ErrBusy          = errors.New("the replication slot is in use")
	ErrLost          = errors.New("the replication slot is lost")
	ErrMismatched    = errors.New("the replication slot is not ours")
	ErrExists        = errors.New("the replication slot exists already")
	ErrNoSlot        = errors.New("the replication slot does not exist")
	ErrNoPublication = errors.New("a publication is missing")
	ErrShutdown      = errors.New("the server is shutting down or starting")
	ErrWALLevel      = errors.New("wal_level is not logical")
	ErrPrivilege     = errors.New("the role may not replicate")
	ErrPooler        = errors.New("the source URL leads to a pooler, not to the server")
	ErrStandby       = errors.New("the source is a standby")
	ErrLimit         = errors.New("the server has no place left for a slot or a walsender")
	ErrSilent        = errors.New("the server no longer answers")
	ErrMalformed     = errors.New("the stream can't be understood")
)

// BusyError is ErrBusy with the one who holds the slot.
type BusyError struct {
	Slot            string
	PID             int32     // 0 if it left meanwhile
	ApplicationName string    // empty if it left, or may not be seen
	ClientAddr      string    // empty for a Unix socket
	Since           time.Time // when its connection began
	Ours            bool      // a worker of the same instance
}

func (e *BusyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %q is held by process %d", ErrBusy, e.Slot, e.PID)
	if e.ApplicationName != "" {
		fmt.Fprintf(&b, " (%s", e.ApplicationName)
		if e.ClientAddr != "" {
			fmt.Fprintf(&b, " from %s", e.ClientAddr)
		}
		if !e.Since.IsZero() {
			fmt.Fprintf(&b, " since %s", e.Since.UTC().Format(time.RFC3339))
		}
		b.WriteString(")")
	}
	if e.PID == 0 {
		b.WriteString(" that has left meanwhile; try again")
	} else if !e.Ours {
		fmt.Fprintf(&b, ". It is no worker of this instance: give this one another slot (ROWBELL_SLOT), or end the other with: select pg_terminate_backend(%d)", e.PID)
	}
	return b.String()
}

func (e *BusyError) Unwrap() error { return ErrBusy }

// LostError is ErrLost with what is known of the WAL that can't be read any more: it
// begins at Confirmed.
type LostError struct {
	Slot      string
	Confirmed change.LSN // the slot's confirmed_flush_lsn
	Restart   change.LSN // its restart_lsn; 0 once the WAL is gone
	Reason    string
	Err       error // what the server said; may be nil
}

func (e *LostError) Error() string {
	s := fmt.Sprintf("%v: %q, confirmed up to %s, was invalidated: %s. The changes since then can't be read any more; run: rowbell resync. Raise max_slot_wal_keep_size to prevent it",
		ErrLost, e.Slot, e.Confirmed, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *LostError) Unwrap() []error { return []error{ErrLost, e.Err} }

// DecodeError is ErrMalformed, or a relation or message that can't be understood,
// with the place. The stream stops there: nothing is skipped.
type DecodeError struct {
	LSN       change.LSN // of the message; 0 where the server gave none
	CommitLSN change.LSN // of the open transaction; 0 outside
	Err       error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("%v: message at %s, transaction at %s: %v. Nothing is skipped; report this with the server's version",
		ErrMalformed, e.LSN, e.CommitLSN, e.Err)
}

func (e *DecodeError) Unwrap() []error { return []error{ErrMalformed, e.Err} }

// mended is a sentinel with what was tried, the server's words and the mend.
type mended struct {
	kind error
	mend string
	err  error
}

func (e *mended) Error() string {
	s := e.kind.Error()
	if e.mend != "" {
		s += ": " + e.mend
	}
	if e.err != nil {
		s += ": " + e.err.Error()
	}
	return s
}

func (e *mended) Unwrap() []error {
	if e.err == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.err}
}

// classify turns what a server or the network said into one of the errors above, if
// it is one. It knows nothing of slots: slotError does.
func classify(cfg Config, err error) error {
	if err == nil {
		return nil
	}
	wrap := func(kind error, format string, args ...any) error {
		return &mended{kind: kind, mend: fmt.Sprintf(format, args...), err: err}
	}
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	msg := pgErr.Message
	switch {
	case strings.Contains(msg, "unsupported startup parameter"), strings.Contains(msg, "replication connection"):
		// pgbouncer: 08P01 "unsupported startup parameter: replication", and others' words.
		return wrap(ErrPooler, "give ROWBELL_SOURCE_URL the server's own host and port")
	}
	switch pgErr.Code {
	case "57P01", "57P02", "57P03":
		return wrap(ErrShutdown, "waiting until it answers again")
	case "42501":
		return wrap(ErrPrivilege, "run as a superuser: alter role %s with replication (Amazon RDS: grant rds_replication to %[1]s)", quoteIdent(userOf(cfg)))
	case "28000":
		return wrap(ErrPrivilege, "pg_hba.conf does not let role %s in; add a line for its host, as: host all %[1]s <address>/32 scram-sha-256; then: select pg_reload_conf()", userOf(cfg))
	case "28P01":
		return wrap(ErrPrivilege, "the password of role %s is wrong; correct ROWBELL_SOURCE_URL", userOf(cfg))
	case "53300":
		return wrap(ErrLimit, "raise max_wal_senders or max_connections and restart the server, or stop who holds them: select * from pg_stat_replication")
	case "53400":
		return wrap(ErrLimit, "raise max_replication_slots and restart the server, or drop a slot that nobody reads: select slot_name, active from pg_replication_slots")
	case "55000":
		switch {
		case strings.Contains(msg, "wal_level"):
			return wrap(ErrWALLevel, "run: alter system set wal_level = logical; then restart the server")
		case strings.Contains(msg, "in recovery"):
			return wrap(ErrStandby, "give ROWBELL_SOURCE_URL the primary")
		}
	case "0A000":
		if strings.Contains(msg, "in recovery") {
			return wrap(ErrStandby, "give ROWBELL_SOURCE_URL the primary")
		}
	case "42704":
		if strings.HasPrefix(msg, "publication ") {
			return wrap(ErrNoPublication, "%s", mendPublication(cfg))
		}
	}
	return err
}

func mendPublication(cfg Config) string {
	return fmt.Sprintf("%s and %s must exist since before the WAL that is read. Run: rowbell resync, which makes them again and starts a new stream",
		quoteIdent(cfg.Publication), quoteIdent(cfg.Publication+"_insert"))
}

// timedOut says that a deadline of ours passed, which on a quiet connection is no fault.
func timedOut(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

func userOf(cfg Config) string {
	pc, err := pgconn.ParseConfig(cfg.SourceURL)
	if err != nil {
		return "rowbell"
	}
	return pc.User
}

func quoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func quoteLiteral(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }

// refused says that nobody listens at the source's address.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// IsShutdown says that an error of an ordinary connection, such as a pool's, means
// that the server is shutting down or starting (or that an administrator ended the
// connection).
func IsShutdown(err error) bool {
	if errors.Is(err, ErrShutdown) {
		return true
	}
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pgErr.Code == "57P01" || pgErr.Code == "57P02" || pgErr.Code == "57P03")
}
