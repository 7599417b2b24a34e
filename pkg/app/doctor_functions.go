package app

import (
	"context"
	"fmt"
	"strings"
)

// mostFunctions is how many functions that workflows call are looked at.
const mostFunctions = 50

// functions looks at the functions that active workflows call: whether they are registered
// and there, and whether this role may call them.
func (d *doctor) functions(ctx context.Context) {
	const check = "functions"
	uses, err := d.source.FunctionUses(ctx, mostFunctions)
	switch {
	case err != nil:
		d.report.trouble(check, err)
		return
	case len(uses) == 0:
		return
	case !d.cfg.stateInSource():
		d.report.add(LevelFailed, check, fmt.Sprintf("workflow %s calls a function, and state is in another database, so that a call and its record would not be one transaction", uses[0].WorkflowID),
			"Leave ROWBELL_STATE_URL out to keep state in the source, or call a webhook instead.")
		return
	}
	bad := 0
	for _, u := range uses {
		problem, mend := "", ""
		switch {
		case u.Function == "":
			whose := ""
			if u.TenantID != "" {
				whose = " for tenant " + u.TenantID
			}
			problem = "is not registered" + whose
			mend = fmt.Sprintf("SELECT rowbell.register_function(%s, 'schema.function(text,jsonb)');", sqlText(u.Name))
		case !u.Exists:
			problem = fmt.Sprintf("is registered as %s(text,jsonb), which is not there any more", u.Function)
			mend = fmt.Sprintf("Create it again, or register another: SELECT rowbell.register_function(%s, 'schema.function(text,jsonb)');", sqlText(u.Name))
		case !u.Usable:
			problem = fmt.Sprintf("is %s, and %s may not use its schema", u.Function, d.Role)
			mend = fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", u.Schema, quoteName(d.Role))
		case !u.Executable:
			problem = fmt.Sprintf("is %s, and %s may not execute it", u.Function, d.Role)
			mend = fmt.Sprintf("GRANT EXECUTE ON FUNCTION %s(text, jsonb) TO %s;", u.Function, quoteName(d.Role))
		default:
			continue
		}
		bad++
		d.report.add(LevelFailed, check, fmt.Sprintf("function %s, which workflow %s calls, %s: its deliveries fail, and are tried again", u.Name, u.WorkflowID, problem), mend)
	}
	if bad == 0 {
		d.report.ok(check, "%s that active workflows call can be called", counted(len(uses), "function", "functions"))
	}
}

// sqlText is a text as SQL writes it.
func sqlText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
