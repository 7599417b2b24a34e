package app

import (
	"context"
	"fmt"

	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// directoryConnections are few: a directory that is slow holds up those who ask it, and
// is not to be asked the more for it.
const directoryConnections = 4

// openDirectory makes the directory, if there is one. It connects to nothing yet.
func (a *App) openDirectory() error {
	if a.cfg.DirectoryRoles == "" {
		return nil
	}
	var err error
	if a.directoryPool, err = openPool(a.cfg.SourceURL, a.applicationName(), directoryConnections); err != nil {
		return err
	}
	a.directory = directory.New(directory.Config{RolesSQL: a.cfg.DirectoryRoles}, a.directoryPool)
	return nil
}

// tryDirectory says at the start what is wrong with the directory's SQL, rather than at the
// first workflow that needs it. The worker runs all the same.
func (a *App) tryDirectory(ctx context.Context) {
	if a.directory == nil {
		return
	}
	if err := a.directory.Check(ctx); err != nil && ctx.Err() == nil {
		a.log.ErrorContext(ctx, "roles can't be looked up: workflows that ask the directory will fail", "setting", named("directory-roles"), "err", err)
	}
}

// judgeRoles says what is wrong with a workflow that asks for roles which nobody knows.
func (a *App) judgeRoles(w *workflow.Workflow) error {
	if a.cfg.DirectoryRoles != "" {
		return nil
	}
	for i, c := range w.Conditions {
		if c.Type != "role_based" {
			continue
		}
		if r, err := workflow.ParseRoles(c.Config); err == nil && r.By == workflow.ByDirectory {
			return fmt.Errorf(`condition %d (role_based): roles by directory need ROWBELL_DIRECTORY_ROLES; ask an operator to set it to SQL that returns an actor's roles and to start rowbell again, or go by what rowbell.set_actor was given: "by": "context"`, i+1)
		}
	}
	return nil
}

// examineDirectory tries the directory's SQL out.
func (d *doctor) examineDirectory(ctx context.Context) {
	const check = "directory"
	if d.cfg.DirectoryRoles == "" {
		return
	}
	if err := directory.New(directory.Config{RolesSQL: d.cfg.DirectoryRoles}, d.pool).Check(ctx); err != nil {
		d.report.add(LevelFailed, check, err.Error(),
			"Mend the query in ROWBELL_DIRECTORY_ROLES; $1 is the actor's id, $2 the tenant: SELECT role FROM user_roles WHERE user_id = $1 AND tenant_id = $2",
			fmt.Sprintf("If it may not read a table: GRANT SELECT ON … TO %s;", quoteName(d.Role)))
		return
	}
	d.report.ok(check, "the SQL for roles can be run")
}
