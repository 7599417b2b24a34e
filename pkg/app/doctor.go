package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/store"
)

// Level says how bad a finding is.
type Level string

const (
	LevelOK      Level = "ok"
	LevelWarning Level = "warning" // rowbell runs, but something is worth a look
	LevelFailed  Level = "failed"  // rowbell can't run, or not as it is configured
)

// Finding is what the doctor found about one prerequisite.
type Finding struct {
	Check   string `json:"check"` // stable and short: wal_level, slot, …
	Level   Level  `json:"level"`
	Message string `json:"message"`
	// Mend is what to do, a line each. SQL ends in a semicolon; the rest are sentences
	// and shell commands.
	Mend []string `json:"mend,omitempty"`
}

// Report is all that the doctor found, in the order in which to mend it.
type Report struct {
	Source   string    `json:"source"`
	State    string    `json:"state"`
	Findings []Finding `json:"findings"`
}

// Count returns how many findings have the level.
func (r *Report) Count(l Level) int {
	n := 0
	for _, f := range r.Findings {
		if f.Level == l {
			n++
		}
	}
	return n
}

func (r *Report) add(l Level, check, message string, mend ...string) {
	r.Findings = append(r.Findings, Finding{Check: check, Level: l, Message: Redact(message), Mend: mend})
}

func (r *Report) ok(check, format string, args ...any) {
	r.add(LevelOK, check, fmt.Sprintf(format, args...))
}

// trouble adds what kept the doctor from looking.
func (r *Report) trouble(check string, err error, mend ...string) {
	text, own := explain(err)
	if own != "" {
		mend = append([]string{own}, mend...)
	}
	r.add(LevelFailed, check, text, mend...)
}

const (
	// doctorTimeout bounds the whole examination, connectTimeout connecting once.
	doctorTimeout  = 30 * time.Second
	connectTimeout = 5 * time.Second
	// clockTolerance is the difference of two clocks that nobody would notice.
	clockTolerance = 2 * time.Second
)

// doctor is one examination. What it needs to know of the source is read once.
type doctor struct {
	cfg    Config
	report *Report
	pool   *pgxpool.Pool // to the source
	source *store.Source
	state  *store.State // nil until state was reached
	store.Prerequisites
	platform store.Platform
}

// Doctor examines every prerequisite of the configuration. It changes nothing. The
// report is complete as far as what fails lets it look further.
func Doctor(ctx context.Context, cfg Config) *Report {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	cfg = cfg.WithDefaults()
	d := &doctor{cfg: cfg, report: &Report{Source: Target(cfg.SourceURL), State: Target(cfg.StateURL)}}
	reached := d.reachSource(ctx)
	if d.pool != nil {
		defer d.pool.Close()
	}
	if reached {
		d.connection(ctx)
		d.serverSettings()
		d.examineDirectory(ctx)
	}
	d.examineFiles()
	d.broker(ctx)
	statePool := d.reachState(ctx, reached)
	if statePool != nil && statePool != d.pool {
		defer statePool.Close()
	}
	if reached && statePool != nil {
		d.state = store.OpenState(statePool)
		d.examineInstallation(ctx)
	}
	d.examineMail(ctx)
	d.provider(ctx)
	return d.report
}

// dial opens a pool whose statements a pooler in transaction mode can pass on too, so
// that the doctor can name it, and connects once.
func dial(ctx context.Context, dsn string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = 1
	cfg.ConnConfig.ConnectTimeout = connectTimeout
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.ConnConfig.RuntimeParams["application_name"] = "rowbell/check"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

func (d *doctor) reachSource(ctx context.Context) bool {
	pool, err := dial(ctx, d.cfg.SourceURL)
	if err != nil {
		d.report.trouble("source", err)
		return false
	}
	d.pool, d.source = pool, store.OpenSource(pool)
	if d.Prerequisites, err = d.source.Prerequisites(ctx); err == nil {
		d.platform, err = d.source.Platform(ctx)
	}
	if err != nil {
		d.report.trouble("source", err)
		return false
	}
	if d.version("source", d.Prerequisites) {
		d.report.ok("source", "PostgreSQL %s, as %s", d.Version, d.Role)
	}
	if d.InRecovery {
		d.report.add(LevelFailed, "primary", "the source is a standby: definitions can't be written there",
			"Give the primary in ROWBELL_SOURCE_URL; with several hosts in the URL add target_session_attrs=primary.")
	}
	d.clock(ctx)
	return true
}

// version judges a server's version, and says whether it is one that Rowbell knows.
func (d *doctor) version(check string, p store.Prerequisites) bool {
	switch major := p.VersionNum / 10000; {
	case major < 14:
		d.report.add(LevelFailed, check, fmt.Sprintf("PostgreSQL %s is too old: Rowbell needs 14 to 18", p.Version), "Upgrade the server.")
	case major > 18:
		d.report.add(LevelWarning, check, fmt.Sprintf("PostgreSQL %s is newer than what this rowbell was tested with (14 to 18)", p.Version), "Look for a newer rowbell.")
	default:
		return true
	}
	return false
}

// clock compares the source's clock with ours.
func (d *doctor) clock(ctx context.Context) {
	before := time.Now()
	now, err := store.OpenState(d.pool).Now(ctx)
	if err != nil {
		d.report.trouble("clock", err)
		return
	}
	if skew := clockSkew(before, now.ExecutedAt, time.Now()); skew.Abs() > clockTolerance {
		d.report.add(LevelWarning, "clock", fmt.Sprintf("the source's clock is %s: lag in seconds and latencies are off by as much. Nothing is decided by this machine's clock", aheadOrBehind(skew)),
			"Let NTP keep both clocks.")
	}
}

// clockSkew is how far a clock that was read between two moments is off, as far as
// that is certain.
func clockSkew(before, read, after time.Time) time.Duration {
	switch {
	case read.Before(before):
		return read.Sub(before)
	case read.After(after):
		return read.Sub(after)
	}
	return 0
}

func aheadOrBehind(skew time.Duration) string {
	if skew < 0 {
		return fmt.Sprintf("%v behind this machine's", skew.Abs().Round(100*time.Millisecond))
	}
	return fmt.Sprintf("%v ahead of this machine's", skew.Round(100*time.Millisecond))
}

// connection judges what lies between: a pooler, and whether a replication connection
// can be made at all.
func (d *doctor) connection(ctx context.Context) {
	if d.Pooler != "" {
		cfg := d.pool.Config().ConnConfig
		name, mend := namePooler(cfg.Host, cfg.Port)
		d.report.add(LevelFailed, "connection", fmt.Sprintf("%s answers at %s:%d, not the server itself, and replication doesn't go through it (%s)",
			name, cfg.Host, cfg.Port, d.Pooler), mend)
		return
	}
	d.report.ok("connection", "direct, no pooler between")
	if d.mayReplicate() {
		d.replication(ctx)
	}
}

// namePooler guesses by the address which pooler it is, and where the server is.
func namePooler(host string, port uint16) (name, mend string) {
	switch {
	case strings.Contains(host, "-pooler.") && strings.HasSuffix(host, ".neon.tech"):
		return "Neon's pooler", fmt.Sprintf("Give the direct host in ROWBELL_SOURCE_URL: %s", strings.Replace(host, "-pooler.", ".", 1))
	case strings.HasSuffix(host, ".pooler.supabase.com"):
		return "Supabase's pooler", "Give the direct connection in ROWBELL_SOURCE_URL: db.<project>.supabase.co, port 5432, user postgres."
	case strings.Contains(host, ".proxy-") && strings.HasSuffix(host, ".rds.amazonaws.com"):
		return "RDS Proxy", "Give the endpoint of the instance, or the writer endpoint of the cluster, in ROWBELL_SOURCE_URL."
	case strings.HasSuffix(host, ".postgres.database.azure.com"):
		return "Azure's PgBouncer", "Give port 5432 in ROWBELL_SOURCE_URL."
	case port == 6432:
		return "a pooler (PgBouncer, by its port)", "Give host and port of the server that the pooler forwards to in ROWBELL_SOURCE_URL, most often port 5432."
	}
	return "a pooler (PgBouncer or the like)", "Give host and port of the server that it forwards to in ROWBELL_SOURCE_URL."
}

func (d *doctor) mayReplicate() bool { return d.Replication || d.platform.RDSReplication }

// serverSettings judges what the server was configured with.
func (d *doctor) serverSettings() {
	r := d.report
	if d.WALLevel == "logical" {
		r.ok("wal_level", "logical")
	} else {
		r.add(LevelFailed, "wal_level", fmt.Sprintf("%s, but must be logical", d.WALLevel), d.walLevelMend()...)
	}
	// Whether our own slot and sender are among those in use is for the slot's check.
	if d.UsedSlots < d.MaxSlots {
		r.ok("max_replication_slots", "%d of %d in use", d.UsedSlots, d.MaxSlots)
	} else {
		r.add(LevelWarning, "max_replication_slots", fmt.Sprintf("all %d are in use: no slot can be made", d.MaxSlots),
			"SELECT slot_name, active FROM pg_replication_slots;", "Drop one that nobody needs, or raise the limit and restart the server:",
			fmt.Sprintf("ALTER SYSTEM SET max_replication_slots = %d;", d.MaxSlots+10))
	}
	if d.UsedSenders < d.MaxSenders {
		r.ok("max_wal_senders", "%d of %d in use", d.UsedSenders, d.MaxSenders)
	} else {
		r.add(LevelFailed, "max_wal_senders", fmt.Sprintf("all %d are in use: no worker can connect", d.MaxSenders),
			"Raise the limit and restart the server:", fmt.Sprintf("ALTER SYSTEM SET max_wal_senders = %d;", d.MaxSenders+10))
	}
	switch role := quoteName(d.Role); {
	case d.Superuser:
		r.ok("replication", "%s is a superuser", d.Role)
	case d.mayReplicate():
		r.ok("replication", "%s may replicate", d.Role)
	case d.platform.RDS:
		r.add(LevelFailed, "replication", d.Role+" may not replicate", fmt.Sprintf("GRANT rds_replication TO %s;", role))
	default:
		r.add(LevelFailed, "replication", d.Role+" may not replicate", fmt.Sprintf("ALTER ROLE %s REPLICATION;", role))
	}
	if !d.EmitAllowed {
		r.add(LevelFailed, "heartbeat", d.Role+" may not call pg_logical_emit_message, by which heartbeats go through the slot",
			fmt.Sprintf("GRANT EXECUTE ON FUNCTION %s TO %s;", strings.Join(d.emitFunctions(), ", "), quoteName(d.Role)))
	}
}

func (d *doctor) walLevelMend() []string {
	switch {
	case d.platform.RDS:
		return []string{"Set rds.logical_replication = 1 in the parameter group, then reboot the instance."}
	case d.platform.Azure:
		return []string{"Set the server parameter wal_level to LOGICAL, then restart the server."}
	case d.platform.CloudSQL:
		return []string{"Set the flag cloudsql.logical_decoding = on; the instance restarts."}
	}
	return []string{"ALTER SYSTEM SET wal_level = logical;", "Then restart the server."}
}

// emitFunctions are the signatures of pg_logical_emit_message.
func (d *doctor) emitFunctions() []string {
	if d.VersionNum >= 170000 {
		return []string{"pg_logical_emit_message(boolean, text, text, boolean)", "pg_logical_emit_message(boolean, text, bytea, boolean)"}
	}
	return []string{"pg_logical_emit_message(boolean, text, text)", "pg_logical_emit_message(boolean, text, bytea)"}
}

// replication opens a replication connection, as the worker does: pg_hba.conf and
// what lies between are judged by trying.
func (d *doctor) replication(ctx context.Context) {
	const check = "replication connection"
	cfg, err := pgconn.ParseConfig(d.cfg.SourceURL)
	if err != nil {
		d.report.trouble(check, err)
		return
	}
	cfg.ConnectTimeout = connectTimeout
	cfg.RuntimeParams["replication"] = "database"
	cfg.RuntimeParams["application_name"] = "rowbell/check"
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "53300" {
			return // max_wal_senders: said with its mend
		}
		d.report.trouble(check, err, "The worker reads through such a connection: let pg_hba.conf allow it for this database.")
		return
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only asked
	if _, err := conn.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll(); err != nil {
		d.report.trouble(check, err, "Give the server itself in ROWBELL_SOURCE_URL, not a proxy.")
		return
	}
	d.report.ok(check, "works")
}

// reachState returns the pool of the state database: the source's own, or nil if it
// can't be reached.
func (d *doctor) reachState(ctx context.Context, sourceReached bool) *pgxpool.Pool {
	if d.cfg.stateInSource() {
		if !sourceReached {
			return nil
		}
		return d.pool
	}
	pool, err := dial(ctx, d.cfg.StateURL)
	if err != nil {
		d.report.trouble("state", err, "This is about ROWBELL_STATE_URL.")
		return nil
	}
	p, err := store.OpenSource(pool).Prerequisites(ctx)
	if err != nil {
		d.report.trouble("state", err)
		pool.Close()
		return nil
	}
	if d.version("state", p) {
		d.report.ok("state", "PostgreSQL %s, as %s", p.Version, p.Role)
	}
	if p.InRecovery {
		d.report.add(LevelFailed, "state", "the state database is on a standby: nothing can be recorded there", "Give the primary in ROWBELL_STATE_URL.")
	}
	if sourceReached && p.SystemID == d.SystemID && p.DatabaseOID == d.DatabaseOID {
		d.report.add(LevelWarning, "state", "ROWBELL_STATE_URL reaches the source's own database by another URL, so state is treated as if it were elsewhere",
			"Leave ROWBELL_STATE_URL out.")
		return pool
	}
	d.report.add(LevelWarning, "state", "state is in another database than the source. So actions of kind function don't work, and tenants' SQL roles have no access to the log: they use the API",
		"Leave ROWBELL_STATE_URL out to keep state in the source.")
	return pool
}

// sortedList joins names for a sentence, at most ten of them.
func sortedList(names []string) string {
	names = slices.Sorted(slices.Values(names))
	if len(names) > 10 {
		return strings.Join(names[:10], ", ") + fmt.Sprintf(" and %d more", len(names)-10)
	}
	return strings.Join(names, ", ")
}
