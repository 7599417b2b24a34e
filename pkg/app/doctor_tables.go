package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const (
	// muchWAL is what a slot may retain before the doctor mentions it.
	muchWAL = 1 << 30
	// longTransaction is how long a transaction must last to be named as one that
	// making a slot would wait for.
	longTransaction = time.Minute
)

// examineInstallation looks at what Rowbell made itself: the schema, publications,
// slot and checkpoint, and at the tables and workflows.
func (d *doctor) examineInstallation(ctx context.Context) {
	source, state := d.migrations(ctx)
	if source {
		d.rights(ctx, store.OpenState(d.pool), d.Role)
	}
	if state && !d.cfg.stateInSource() {
		d.rights(ctx, d.state, "the role of ROWBELL_STATE_URL")
	}
	started := false
	if source && state {
		started = d.checkpoint(ctx)
	}
	d.slot(ctx, started)
	if !source {
		return
	}
	d.publications(ctx, started)
	all := d.tenants(ctx)
	d.emitters(ctx)
	d.secrets(ctx)
	if all {
		d.tables(ctx)
	}
	d.functions(ctx)
	d.pauses(ctx)
	d.workflows(ctx)
}

// migrations says whether the tables of source and state are complete.
func (d *doctor) migrations(ctx context.Context) (source, state bool) {
	complete := func(which store.Which, url string) bool {
		check := string(which) + " schema"
		n, err := store.Pending(ctx, url, which)
		switch {
		case errors.Is(err, store.ErrNewer):
			d.report.trouble(check, err)
		case err != nil:
			d.report.trouble(check, err, "The role must be able to read schema rowbell: it is best its owner.")
		case n == 0:
			d.report.ok(check, "up to date")
			return true
		case which == store.WhichSource && !d.CreateOnDatabase && !d.hasSchema(ctx):
			d.report.add(LevelFailed, check, fmt.Sprintf("schema rowbell is not there, and %s may not make it", d.Role),
				fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s;", quoteName(d.Database), quoteName(d.Role)),
				"Or let an administrator run what this prints: rowbell migrate --print")
		case d.cfg.NoMigrate:
			d.report.add(LevelFailed, check, fmt.Sprintf("%s to be run, and ROWBELL_NO_MIGRATE is set", counted(n, "migration is", "migrations are")), "rowbell migrate")
		default:
			d.report.add(LevelWarning, check, fmt.Sprintf("%s to be run; rowbell run does it at its start", counted(n, "migration is", "migrations are")), "rowbell migrate")
		}
		return false
	}
	source = complete(store.WhichSource, d.cfg.SourceURL)
	if !source && d.cfg.stateInSource() {
		return false, false // what was said of the one is true of both
	}
	return source, complete(store.WhichState, d.cfg.StateURL)
}

// rights looks for tables that a migration has made since rights were granted.
func (d *doctor) rights(ctx context.Context, in *store.State, role string) {
	list, err := in.Ungranted(ctx)
	switch {
	case err != nil:
		d.report.trouble("rights", err)
	case len(list) > 0:
		d.report.add(LevelWarning, "rights", fmt.Sprintf("%s may do nothing with %s rowbell.%s: a migration has probably made what is new since rights were granted", role,
			map[bool]string{true: "table", false: "tables"}[len(list) == 1], strings.Join(list, ", rowbell.")),
			"Run grants.sql again on that database, as deploy/README.md has it: psql -v ON_ERROR_STOP=1 -f grants.sql",
			"Where you grant by statements of your own, take over what grants.sql has for these.")
	}
}

func (d *doctor) hasSchema(ctx context.Context) bool {
	var has bool
	err := d.pool.QueryRow(ctx, `select to_regnamespace('rowbell') is not null`).Scan(&has)
	return err == nil && has
}

// checkpoint looks at whose state it is and how far it got. It says whether this slot
// was ever read.
func (d *doctor) checkpoint(ctx context.Context) bool {
	r := d.report
	here := store.Installation{Instance: d.cfg.Instance, SystemID: d.SystemID, DatabaseOID: d.DatabaseOID}
	known, err := d.state.Installation(ctx)
	switch {
	case errors.Is(err, workflow.ErrNotFound):
		r.ok("installation", "none yet; rowbell run makes one")
		return false
	case err != nil:
		r.trouble("installation", err)
		return false
	}
	if err := compareInstallations(known, here); err != nil {
		r.add(LevelFailed, "installation", Message(err), "rowbell adopt --discard-pending", "or, when the original is gone: rowbell adopt --keep")
	} else {
		r.ok("installation", "%s, on this server and database", known.Instance)
	}
	gaps, err := d.state.OpenGaps(ctx, d.cfg.Slot)
	if err != nil {
		r.trouble("gap", err)
	}
	for _, g := range gaps {
		r.add(LevelFailed, "gap", fmt.Sprintf("changes from %s to %s can't be read any more (%s); nothing is read until you accept that", g.From, g.To, g.Reason), "rowbell resync")
	}
	if _, err := d.state.Checkpoint(ctx, d.cfg.Slot); err != nil {
		if !errors.Is(err, workflow.ErrNotFound) {
			r.trouble("checkpoint", err)
		}
		return false
	}
	return true
}

// slot looks at the replication slot, whose WAL the server keeps.
func (d *doctor) slot(ctx context.Context, started bool) {
	r, cfg := d.report, d.slotConfig()
	s, err := cdc.SlotInfo(ctx, cfg)
	if err != nil {
		r.trouble("slot", err)
		return
	}
	if !s.Exists {
		switch {
		case started:
			r.add(LevelFailed, "slot", fmt.Sprintf("%s is gone although it was read before: what changed since then can't be read any more", d.cfg.Slot), "rowbell resync")
		case d.UsedSlots >= d.MaxSlots:
			r.add(LevelFailed, "slot", fmt.Sprintf("%s isn't there, and can't be made: all %d slots are in use", d.cfg.Slot, d.MaxSlots))
		default:
			r.ok("slot", "%s isn't there yet; rowbell run makes it", d.cfg.Slot)
			d.blockers()
		}
		return
	}
	if err := s.Err(cfg); err != nil {
		r.trouble("slot", err)
		return
	}
	kept := fmt.Sprintf("the server keeps %s of WAL for it", bytesText(s.RetainedBytes))
	switch {
	case s.ActivePID != 0 && !s.Ours:
		r.trouble("slot", &cdc.BusyError{Slot: d.cfg.Slot, PID: s.ActivePID, ApplicationName: s.ApplicationName, ClientAddr: s.ClientAddr, Since: s.Since})
	case s.ActivePID != 0:
		r.ok("slot", "%s is read by %s; %s", d.cfg.Slot, s.ApplicationName, kept)
	case s.RetainedBytes >= muchWAL:
		r.add(LevelWarning, "slot", fmt.Sprintf("nobody reads %s, and %s: that grows until the disk is full", d.cfg.Slot, kept),
			"rowbell run", "Or, if it is no longer needed: rowbell uninstall")
	default:
		r.ok("slot", "%s is free; %s", d.cfg.Slot, kept)
	}
	if s.ActivePID != 0 && s.RetainedBytes >= muchWAL {
		r.add(LevelWarning, "retained WAL", kept+" although it is read", "Look at rowbell_replication_lag_bytes, and for long transactions in pg_stat_activity: WAL is kept until they end.")
	}
	if s.SafeBytes >= 0 && s.SafeBytes < s.RetainedBytes {
		r.add(LevelWarning, "retained WAL", fmt.Sprintf("the slot is lost after %s more of WAL (max_slot_wal_keep_size)", bytesText(s.SafeBytes)), "Let rowbell catch up, or raise max_slot_wal_keep_size.")
	}
	if d.MaxSlotWALKeepSizeMB < 0 && s.RetainedBytes >= muchWAL {
		r.add(LevelWarning, "retained WAL", "max_slot_wal_keep_size is -1: the disk may fill up while nobody reads",
			"ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();")
	}
}

func (d *doctor) slotConfig() cdc.Config {
	return cdc.Config{SourceURL: d.cfg.SourceURL, Slot: d.cfg.Slot, Publication: d.cfg.Publication, Instance: d.cfg.Instance, WorkerID: "check"}
}

// blockers names transactions that making a slot would wait for.
func (d *doctor) blockers() {
	for _, b := range d.Blockers {
		if age := time.Since(b.Since); age > longTransaction {
			d.report.add(LevelWarning, "slot", fmt.Sprintf("making it waits for a transaction of %s in %s (%s, for %s)", b.Role, b.Database, b.State, age.Round(time.Second)), b.Mend())
		}
	}
}

// publications looks at the two publications, without which the slot can't be read.
func (d *doctor) publications(ctx context.Context, started bool) {
	r := d.report
	p, err := d.source.PublicationState(ctx, d.cfg.Publication)
	if err != nil {
		r.trouble("publications", err)
		return
	}
	both := d.cfg.Publication + " and " + d.cfg.InsertPublication()
	switch {
	case (!p.Exists || !p.InsertExists) && started:
		missing := d.cfg.Publication
		if p.Exists {
			missing = d.cfg.InsertPublication()
		}
		r.add(LevelFailed, "publications", fmt.Sprintf("%s was dropped: the slot can't get past rows that were written meanwhile", missing),
			"rowbell resync")
	case !p.Exists || !p.InsertExists:
		r.ok("publications", "%s are not there yet; rowbell run makes them", both)
	case !p.Complete:
		r.add(LevelWarning, "publications", both+" were altered by hand; rowbell run mends them at its start", "rowbell run")
	default:
		r.ok("publications", "%s, with %s", both, counted(len(p.Tables), "table", "tables"))
	}
	if p.Exists && !p.Member && d.cfg.Capture == CaptureAuto {
		r.add(LevelWarning, "publications", fmt.Sprintf("%s is not a member of their owner %s, so it can't capture tables", d.Role, p.Owner),
			fmt.Sprintf("GRANT %s TO %s;", quoteName(p.Owner), quoteName(d.Role)))
	}
}

// tenants: the worker must see all of them, and it must be able to act for one. It says
// whether all are seen.
func (d *doctor) tenants(ctx context.Context) bool {
	const check = "tenants"
	r, role := d.report, quoteName(d.Role)
	switch err := d.source.SeesAll(ctx); {
	case errors.Is(err, store.ErrPrivilege):
		r.add(LevelFailed, check, fmt.Sprintf("%s sees and edits the rows of some tenants only, and would take the others' workflows for deleted", d.Role),
			fmt.Sprintf("INSERT INTO rowbell.sql_member (role_name, tenant_id, access) VALUES ('%s', '*', 'edit') ON CONFLICT (role_name, tenant_id) DO UPDATE SET access = 'edit';", strings.ReplaceAll(d.Role, "'", "''")))
		return false
	case err != nil:
		r.trouble(check, err)
		return false
	}
	at := []func(context.Context) (store.TenantRole, error){d.source.TenantRole}
	if !d.cfg.stateInSource() {
		at = append(at, d.state.TenantRole)
	}
	for i, look := range at {
		where := []string{"", " of the state's server"}[i]
		t, err := look(ctx)
		const cannot = "as which the API does what it is asked"
		switch {
		case err != nil:
			r.trouble(check, err)
		case !t.Exists:
			r.add(LevelWarning, check, fmt.Sprintf("role rowbell_api%s is missing, %s", where, cannot),
				"CREATE ROLE rowbell_api NOLOGIN;", fmt.Sprintf("GRANT rowbell_api TO %s;", role), "rowbell migrate")
		case !t.Member:
			r.add(LevelWarning, check, fmt.Sprintf("%s may not take on role rowbell_api%s, %s", d.Role, where, cannot), fmt.Sprintf("GRANT rowbell_api TO %s;", role))
		case !t.Granted:
			r.add(LevelWarning, check, fmt.Sprintf("role rowbell_api%s has no rights in schema rowbell, %s", where, cannot), "rowbell migrate")
		default:
			continue
		}
		return true
	}
	r.ok(check, "kept apart by row-level security; %s sees all, and the API acts as rowbell_api", d.Role)
	return true
}

// emitters: whoever may send messages can forge events and actors.
func (d *doctor) emitters(ctx context.Context) {
	members, err := d.source.SQLMembers(ctx)
	if err != nil {
		d.report.trouble("forgery", err)
		return
	}
	if members == 0 || !slices.Contains(d.EmitGrantees, "PUBLIC") {
		return
	}
	functions := strings.Join(d.emitFunctions(), ", ")
	d.report.add(LevelFailed, "forgery", fmt.Sprintf("%s of tenants can write workflows by SQL, and anyone may call pg_logical_emit_message: they could forge events and actors", counted(members, "role", "roles")),
		fmt.Sprintf("REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC;", functions),
		fmt.Sprintf("GRANT EXECUTE ON FUNCTION %s TO %s;", functions, quoteName(d.Role)))
}

// secrets: what workflows keep secret must be sealed, for which there must be a key.
func (d *doctor) secrets(ctx context.Context) {
	plain, sealed, err := d.source.CountSecrets(ctx)
	switch {
	case err != nil:
		d.report.trouble("secrets", err)
	case len(d.cfg.SecretKey) == 0 && plain+sealed > 0:
		d.report.add(LevelWarning, "secrets", fmt.Sprintf("there is no ROWBELL_SECRET_KEY, and %s in rowbell.secret: workflows with secrets are broken", counted(plain+sealed, "secret is", "secrets are")),
			"Make a key, keep it, and set ROWBELL_SECRET_KEY to it: openssl rand -base64 32")
	case len(d.cfg.SecretKey) > 0:
		d.report.ok("secrets", "there is a key, and %s", counted(plain+sealed, "secret", "secrets"))
	}
}

// tables looks at what is captured, and at what active workflows name.
func (d *doctor) tables(ctx context.Context) {
	r := d.report
	load, err := d.source.FirstLoad(ctx)
	if err != nil {
		r.trouble("tables", err)
		return
	}
	bare, err := d.source.TablesPublishedWithoutIdentity(ctx, d.cfg.Publication)
	if err != nil {
		r.trouble("tables", err)
		return
	}
	for _, t := range bare {
		r.add(LevelFailed, "table "+t, "published, but it has lost its replica identity: the application's UPDATE and DELETE on it fail",
			fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL;", t), fmt.Sprintf("Or give it a primary key, or: rowbell capture %s, which then serves create only", t))
	}
	p, err := d.source.PublicationState(ctx, d.cfg.Publication)
	if err != nil {
		r.trouble("tables", err)
		return
	}
	published := make(map[string]bool)
	for _, t := range p.Tables {
		published[t.Schema+"."+t.Name] = true
	}
	captured := make(map[string]bool)
	for _, t := range load.Tables {
		captured[t.Label] = true
		d.captured(ctx, t, published[t.Schema+"."+t.Name])
	}
	d.uncaptured(ctx, load.Versions, captured)
}

// captured looks at one captured table.
func (d *doctor) captured(ctx context.Context, t workflow.Table, published bool) {
	r, check := d.report, "table "+t.Label
	name := pgx.Identifier{t.Schema, t.Name}.Sanitize()
	var columns []string
	if t.TenantColumn != "" {
		columns = append(columns, t.TenantColumn)
	}
	lacking, err := d.source.LacksColumns(ctx, name, slices.Concat(columns, t.KeyColumns))
	if err != nil {
		r.trouble(check, err)
		return
	}
	rights, err := d.source.TableRights(ctx, []string{name})
	switch {
	case err != nil:
		r.trouble(check, err)
	case !rights[0].Exists:
		r.add(LevelWarning, check, "captured, but it was dropped or renamed", fmt.Sprintf("CALL rowbell.release('%s');", t.Label))
	case !published:
		r.add(LevelFailed, check, "captured, but somebody took it out of the publication: its changes don't come", "rowbell capture "+t.Label)
	case slices.Contains(lacking, t.TenantColumn):
		r.add(LevelFailed, check, fmt.Sprintf("its tenant column %s is gone, so nobody knows whose rows they are", t.TenantColumn), fmt.Sprintf("rowbell capture %s --tenant-column COLUMN", t.Label))
	case len(lacking) > 0:
		r.add(LevelWarning, check, fmt.Sprintf("its key columns are gone: %s", sortedList(lacking)), "rowbell capture "+t.Label)
	case t.InsertOnly:
		r.add(LevelWarning, check, "captured for create only: it has no replica identity", fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL;", name), "rowbell capture "+t.Label)
	case t.TenantColumn == "":
		r.ok(check, "captured; it has no tenant column, so it serves operators' workflows only")
	default:
		r.ok(check, "captured; tenant in %s", t.TenantColumn)
	}
}

// uncaptured looks at tables that active workflows name and that aren't captured.
func (d *doctor) uncaptured(ctx context.Context, versions []workflow.Version, captured map[string]bool) {
	r := d.report
	named := make(map[string][]string) // table → workflows
	for _, v := range versions {
		if v.Status != workflow.Active {
			continue
		}
		w, err := workflow.Parse(v.Document)
		if err != nil {
			continue // workflow_health says so
		}
		for _, t := range w.Triggers {
			label := t.EntityLabel()
			if !captured[label] && !t.Domain() && !slices.Contains(named[label], v.WorkflowID) {
				named[label] = append(named[label], v.WorkflowID)
			}
		}
	}
	labels := slices.Sorted(maps.Keys(named))
	rights, err := d.source.TableRights(ctx, labels)
	if err != nil {
		r.trouble("tables", err)
		return
	}
	for i, t := range rights {
		check, by := "table "+labels[i], "named by "+sortedList(named[labels[i]])
		switch {
		case !t.Exists:
			r.add(LevelWarning, check, by+", but there is no such table", "Write its name in entity_type as it is: orders in schema public, else sales.orders.")
		case !t.Member && d.cfg.Capture == CaptureAuto:
			r.add(LevelWarning, check, fmt.Sprintf("%s; %s can't capture it, since it is not a member of its owner %s", by, d.Role, t.Owner),
				fmt.Sprintf("GRANT %s TO %s;", quoteName(t.Owner), quoteName(d.Role)),
				fmt.Sprintf("Or let %s run, after GRANT rowbell_publisher TO %s: CALL rowbell.capture('%s');", t.Owner, quoteName(t.Owner), labels[i]))
		case d.cfg.Capture == CaptureManual:
			r.add(LevelWarning, check, by+"; it isn't captured, so they don't fire", "rowbell capture "+labels[i])
		default:
			r.ok(check, "%s; rowbell run captures it", by)
		}
	}
}

// workflows shows what the worker says of them.
func (d *doctor) workflows(ctx context.Context) {
	r := d.report
	health, err := d.source.Health(ctx)
	if err != nil {
		r.trouble("workflows", err)
		return
	}
	fine := 0
	for _, h := range health {
		if h.Verdict == workflow.OK {
			fine++
			continue
		}
		what := strings.ReplaceAll(string(h.Verdict), "_", " ")
		r.add(LevelWarning, "workflow "+h.WorkflowID, fmt.Sprintf("version %d is %s: %s", h.Version, what, h.Message))
	}
	switch {
	case fine > 0:
		r.ok("workflows", "%s in order", counted(fine, "is", "are"))
	case len(health) == 0:
		r.ok("workflows", "none yet, or the worker hasn't judged them yet")
	}
}

// bytesText says a number of bytes in a unit that suits it.
func bytesText(n int64) string {
	value := float64(n)
	for _, unit := range []string{"bytes", "kB", "MB", "GB"} {
		if value < 1024 || unit == "GB" {
			if unit == "bytes" {
				return fmt.Sprintf("%d bytes", n)
			}
			return fmt.Sprintf("%.1f %s", value, unit)
		}
		value /= 1024
	}
	return fmt.Sprint(n)
}
