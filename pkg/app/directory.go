package app

import (
	"context"
	"fmt"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// directoryConnections are few: a directory that is slow holds up those who ask it, and
// is not to be asked the more for it.
const directoryConnections = 4

// directory is what the settings say of it; the zero one without any.
func (c Config) directory() directory.Config {
	return directory.Config{
		RolesSQL: c.DirectoryRoles, UsersSQL: c.DirectoryUsers, RoleMembersSQL: c.DirectoryRoleMembers, GroupMembersSQL: c.DirectoryGroupMembers,
	}
}

// openDirectory makes the directory, if there is one. It connects to nothing yet.
func (a *App) openDirectory() error {
	if a.cfg.directory() == (directory.Config{}) {
		return nil
	}
	var err error
	if a.directoryPool, err = openPool(a.cfg.SourceURL, a.applicationName(), directoryConnections, 0); err != nil {
		return err
	}
	a.directory = directory.New(a.cfg.directory(), a.directoryPool)
	return nil
}

// tryDirectory says at the start what is wrong with the directory's SQL, rather than at the
// first workflow that needs it. The worker runs all the same.
func (a *App) tryDirectory(ctx context.Context) {
	if a.directory == nil {
		return
	}
	if err := a.directory.Check(ctx); err != nil && ctx.Err() == nil {
		a.log.ErrorContext(ctx, "people can't be looked up: what needs the directory will fail", "err", err)
	}
}

// judgePeople says what is wrong with a workflow that asks for people whom nobody knows. plan
// has its steps.
func (a *App) judgePeople(w *workflow.Workflow, plan *actions.Plan) error {
	for i, c := range w.Conditions {
		if c.Type != "role_based" || a.cfg.DirectoryRoles != "" {
			continue
		}
		if r, err := workflow.ParseRoles(c.Config); err == nil && r.By == workflow.ByDirectory {
			return fmt.Errorf(`condition %d (role_based): roles by directory need ROWBELL_DIRECTORY_ROLES; ask an operator to set it to SQL that returns an actor's roles and to start rowbell again, or go by what rowbell.set_actor was given: "by": "context"`, i+1)
		}
	}
	missing := func(of string) bool {
		return of == "role" && a.cfg.DirectoryRoleMembers == "" || of == "group" && a.cfg.DirectoryGroupMembers == ""
	}
	for i, s := range plan.Steps {
		for _, r := range s.Recipients {
			if missing(r.Type) {
				return fmt.Errorf("action %d (%s): %w", i+1, s.Kind.Name, directory.NotConfigured(r.Type))
			}
		}
		for _, x := range s.Exclude {
			if missing(x.Type) {
				return fmt.Errorf("action %d (%s): exclude: %w", i+1, s.Kind.Name, directory.NotConfigured(x.Type))
			}
		}
	}
	return nil
}

// examineDirectory tries the directory's SQL out.
func (d *doctor) examineDirectory(ctx context.Context) {
	const check = "directory"
	if d.cfg.directory() == (directory.Config{}) {
		return
	}
	if err := directory.New(d.cfg.directory(), d.pool).Check(ctx); err != nil {
		d.report.add(LevelFailed, check, err.Error(),
			"Mend the query in ROWBELL_DIRECTORY_ROLES, _USERS, _ROLE_MEMBERS or _GROUP_MEMBERS; $1 is what is asked for, $2 the tenant",
			fmt.Sprintf("If it may not read a table: GRANT SELECT ON … TO %s;", quoteName(d.Role)))
		return
	}
	d.report.ok(check, "its SQL can be run")
}
