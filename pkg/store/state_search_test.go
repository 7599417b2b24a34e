package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// fillLog writes so many events of three and a half days, of which one transaction has a
// seventh, with their executions: of tenant big, which has more workflows than are looked up one by
// one, of acme, which has few, and of operators' workflows on rows of both. Some are
// pending, some have several deliveries.
func fillLog(t testing.TB, db *pgtest.Database, events int) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	surrogates := [][]any{
		{1, "table", "orders", 1, nil, "orders"},
		{2, "table", "orders", 2, nil, "orders"},
		{3, "table", "invoices", 1, nil, "invoices"},
	}
	refs := map[string][]int32{}
	workflows := func(tenant any, key, id string, n int) {
		for i := range n {
			ref := int32(10 + len(surrogates))
			surrogates = append(surrogates, []any{ref, "workflow", fmt.Sprintf("%s-%d", id, i/2), 1 + i%2, tenant, fmt.Sprintf("Workflow %s %d", id, i/2)})
			refs[key] = append(refs[key], ref)
		}
	}
	workflows("big", "big", "big", 240)
	workflows("acme", "acme", "acme", 8)
	workflows("quiet", "quiet", "quiet", 2)
	workflows(nil, "", "operators", 4)
	var rows struct{ events, executions, queue, open, ended, attempts [][]any }
	base := time.Now().UTC().Truncate(time.Microsecond)
	at, lsn := base, change.LSN(0)
	for n := range events {
		bulk := n > events/3 && n < events/3+events/7
		seq := int32(0)
		if bulk {
			seq = int32(n)
		} else {
			lsn = change.LSN(0x1000 + 0x100*n)
			at = base.Add(-time.Duration(r.Float64() * float64(84*time.Hour))).Truncate(time.Microsecond)
			if r.IntN(10) == 0 { // several within one millisecond
				at = at.Truncate(time.Minute).Add(time.Duration(r.IntN(900)) * time.Microsecond)
			}
		}
		tenant := []string{"big", "big", "big", "acme"}[r.IntN(4)]
		table := 1 + r.IntN(3)
		key := fmt.Sprint(r.IntN(40))
		id := change.EventID(at, change.Position{Stream: 1, CommitLSN: lsn, Seq: seq}, change.SideFirst).String()
		rows.events = append(rows.events, []any{id, lsn.String(), 1, seq, 0, at, table, "u", tenant, key, `{"new": {"id": 1}}`})
		of := []int32{refs[tenant][r.IntN(len(refs[tenant]))]}
		if r.IntN(4) == 0 {
			of = append(of, refs[""][r.IntN(4)])
		}
		for _, ref := range of {
			x := fmt.Sprintf("%s-%d", id, ref)
			who := fmt.Sprintf("user-%d", r.IntN(12))
			kind := []string{"webhook", "email"}[r.IntN(2)]
			status, reason := "success", any(nil)
			switch r.IntN(12) {
			case 0:
				status, reason = "failure", fmt.Sprintf("status %d from the shop", 500+r.IntN(4))
			case 1:
				status, reason = "cancelled", "it was turned off"
			}
			settled := at.Add(time.Duration(r.IntN(3_000_000)) * time.Microsecond)
			switch u := r.IntN(20); {
			case u == 0: // pending, with one delivery
				rows.queue = append(rows.queue, []any{x, at, at, base.Add(time.Hour), ref, 100, 0, 0, r.IntN(2), true, true, who, kind, "timeout"})
			case u == 1: // pending, with two of which one has ended
				rows.open = append(rows.open, []any{x, at, at, ref, 100, 1, "status 503 from the shop"})
				rows.queue = append(rows.queue, []any{x, at, at, base.Add(time.Hour), ref, 100, 0, 1, 1, false, true, "zoe", kind, "timeout"})
				rows.ended = append(rows.ended, []any{x, at, settled, ref, 0, 5, 0, 2, who, kind, "dead", "status 503 from the shop"})
				rows.attempts = append(rows.attempts, []any{x, at, at, 5, 0, 1, who, "refused"})
			case u < 5: // several that have ended
				for i := range 2 + r.IntN(2) {
					ended := map[string]string{"success": "succeeded", "failure": "dead", "cancelled": "cancelled"}[status]
					rows.ended = append(rows.ended, []any{x, at, settled, ref, 0, 5, i, 1, who, kind, ended, reason})
				}
				rows.executions = append(rows.executions, []any{x, at, at, settled, ref, 100, status, reason, nil, nil, nil, nil, nil})
			case u == 5: // none
				rows.executions = append(rows.executions, []any{x, at, at, at, ref, 100, status, reason, nil, nil, nil, nil, nil})
			default:
				var to any
				if kind == "email" {
					to = who
				}
				rows.executions = append(rows.executions, []any{x, at, at, settled, ref, 100, status, reason, 0, 1, 7, kind, to})
			}
		}
	}
	conn := db.Conn(t)
	for _, c := range []struct {
		table   string
		columns []string
		rows    [][]any
	}{
		{"surrogate", []string{"ref", "kind", "id", "version", "tenant_id", "name"}, surrogates},
		{"event", []string{"event_id", "commit_lsn", "stream", "seq", "side", "committed_at", "table_ref", "op", "tenant_id", "row_key", "data"}, rows.events},
		{"execution", []string{"id", "committed_at", "executed_at", "settled_at", "version_ref", "priority", "status", "error", "action", "attempts", "duration_ms", "kind", "recipient"}, rows.executions},
		{"queue", []string{"execution_id", "committed_at", "executed_at", "ready_at", "version_ref", "priority", "order", "action", "attempts", "sole", "addressed", "recipient", "kind", "error"}, rows.queue},
		{"execution_open", []string{"id", "committed_at", "executed_at", "version_ref", "priority", "open", "error"}, rows.open},
		{"delivery_ended", []string{"execution_id", "committed_at", "ended_at", "version_ref", "order", "duration_ms", "action", "attempts", "recipient", "kind", "status", "reason"}, rows.ended},
		{"attempt", []string{"execution_id", "committed_at", "started_at", "duration_ms", "action", "attempt", "recipient", "error"}, rows.attempts},
	} {
		// As text, since COPY in binary knows no pg_lsn and no "char".
		var b strings.Builder
		for _, row := range c.rows {
			for i, v := range row {
				if i > 0 {
					b.WriteByte('\t')
				}
				switch v := v.(type) {
				case nil:
					b.WriteString(`\N`)
				case time.Time:
					b.WriteString(v.Format("2006-01-02 15:04:05.999999Z07"))
				default:
					fmt.Fprint(&b, v)
				}
			}
			b.WriteByte('\n')
		}
		columns := `"` + strings.Join(c.columns, `", "`) + `"`
		if _, err := conn.PgConn().CopyFrom(t.Context(), strings.NewReader(b.String()), "copy rowbell."+c.table+" ("+columns+") from stdin"); err != nil {
			t.Fatal(c.table, err)
		}
	}
	db.Exec(t, `vacuum analyze`)
	for _, table := range []string{"event", "execution", "delivery_ended", "attempt"} {
		db.Exec(t, `analyze rowbell.`+table)
	}
}

// logged is an execution as the views have it.
type logged struct {
	ID, EventID, WorkflowID, Tenant, Status, Error, Table, RowKey string
	At                                                            time.Time
	Recipients                                                    []string
}

func readLog(t testing.TB, db *pgtest.Database) []logged {
	t.Helper()
	return pgtest.Structs[logged](t, db, `select l.id, l.trigger_event_id as event_id, l.workflow_id, coalesce(l.tenant_id, '') as tenant, l.status, coalesce(l.error, '') as error,
	e.table_name as table, e.row_key, l.committed_at as at,
	array(select recipient from rowbell.delivery_done d where d.execution_id = l.id and recipient is not null union select recipient from rowbell.delivery d where d.execution_id = l.id) as recipients
from rowbell.workflow_log l join rowbell.workflow_event e on e.id = l.trigger_event_id`)
}

func str(s string) *string { return &s }

// TestSearchExecutions compares all pages of many searches with what the views have.
func TestSearchExecutions(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fillLog(t, db, 3000)
	all := readLog(t, db)
	now := time.Now()
	for name, f := range map[string]store.ExecutionFilter{
		"all":                          {},
		"failed":                       {Statuses: []workflow.ExecutionStatus{workflow.Failure}},
		"failed or cancelled":          {Statuses: []workflow.ExecutionStatus{workflow.Failure, workflow.Cancelled}},
		"failed or pending":            {Statuses: []workflow.ExecutionStatus{workflow.Failure, workflow.Pending}},
		"pending":                      {Statuses: []workflow.ExecutionStatus{workflow.Pending}},
		"succeeded":                    {Statuses: []workflow.ExecutionStatus{workflow.Success}},
		"a big tenant":                 {TenantID: str("big")},
		"a big tenant, failed":         {TenantID: str("big"), Statuses: []workflow.ExecutionStatus{workflow.Failure}},
		"a big tenant, pending":        {TenantID: str("big"), Statuses: []workflow.ExecutionStatus{workflow.Pending}},
		"a big tenant, by a text":      {TenantID: str("big"), Error: "FROM the"},
		"a big tenant, a day":          {TenantID: str("big"), Since: now.Add(-40 * time.Hour), Until: now.Add(-16 * time.Hour)},
		"a big tenant, a table":        {TenantID: str("big"), Table: "orders"},
		"a small tenant":               {TenantID: str("acme")},
		"a small tenant, failed":       {TenantID: str("acme"), Statuses: []workflow.ExecutionStatus{workflow.Failure}},
		"a small tenant, a table":      {TenantID: str("acme"), Table: "invoices"},
		"a small tenant, a day":        {TenantID: str("acme"), Since: now.Add(-40 * time.Hour), Until: now.Add(-16 * time.Hour)},
		"a tenant with nothing":        {TenantID: str("quiet")},
		"no such tenant":               {TenantID: str("nobody")},
		"operators":                    {TenantID: str("")},
		"operators, a table":           {TenantID: str(""), Table: "orders"},
		"a workflow":                   {WorkflowIDs: []string{"acme-1"}},
		"workflows of a tenant":        {WorkflowIDs: []string{"acme-1", "big-3", "operators-0"}, TenantID: str("big")},
		"a workflow, a table":          {WorkflowIDs: []string{"acme-1"}, Table: "orders"},
		"a row":                        {Table: "orders", RowKey: "7"},
		"a row of a big tenant":        {Table: "public.orders", RowKey: "7", TenantID: str("big")},
		"a row of any table, failed":   {RowKey: "7", Statuses: []workflow.ExecutionStatus{workflow.Failure}},
		"a row, operators":             {Table: "orders", RowKey: "7", TenantID: str("")},
		"a table":                      {Table: "invoices"},
		"no such table":                {Table: "nothing"},
		"a text":                       {Error: "503"},
		"a text that is nowhere":       {Error: "abracadabra"},
		"a recipient":                  {Recipient: "user-3"},
		"a recipient of a big tenant":  {Recipient: "user-3", TenantID: str("big")},
		"a recipient, failed":          {Recipient: "user-3", Statuses: []workflow.ExecutionStatus{workflow.Failure}},
		"an event":                     {EventID: all[5].EventID},
		"an event, of another tenant":  {EventID: all[5].EventID, TenantID: str("quiet")},
		"what can't be the id of any":  {EventID: "x"},
		"a day":                        {Since: now.Add(-40 * time.Hour), Until: now.Add(-16 * time.Hour)},
		"a day, by a text in an error": {Since: now.Add(-40 * time.Hour), Until: now.Add(-16 * time.Hour), Error: "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			for _, x := range all {
				label, ok := strings.TrimPrefix(f.Table, "public."), true
				ok = ok && (f.TenantID == nil || *f.TenantID == x.Tenant)
				ok = ok && (len(f.WorkflowIDs) == 0 || slices.Contains(f.WorkflowIDs, x.WorkflowID))
				ok = ok && (len(f.Statuses) == 0 || slices.Contains(f.Statuses, workflow.ExecutionStatus(x.Status)))
				ok = ok && (label == "" || label == x.Table) && (f.RowKey == "" || f.RowKey == x.RowKey)
				ok = ok && (f.Recipient == "" || slices.Contains(x.Recipients, f.Recipient)) && (f.EventID == "" || f.EventID == x.EventID)
				ok = ok && strings.Contains(x.Error, strings.ToLower(f.Error))
				ok = ok && !x.At.Before(f.Since) && (f.Until.IsZero() || x.At.Before(f.Until))
				if ok {
					want = append(want, x.ID)
				}
			}
			f.Limit = 37
			var got []string
			var last time.Time
			for pages := 0; ; pages++ {
				page, err := state.SearchExecutions(t.Context(), f)
				if err != nil {
					t.Fatal(err)
				}
				for _, x := range page.Items {
					if len(got) > 0 && x.CommittedAt.Truncate(time.Millisecond).After(last) {
						t.Fatalf("%s of %s comes behind %s", x.ID, x.CommittedAt, last)
					}
					last = x.CommittedAt
					got = append(got, x.ID)
				}
				if len(page.Items) < f.Limit && page.Next != "" && page.SearchedTo == nil && f.Recipient == "" {
					t.Errorf("page %d has %d rows, and doesn't say why", pages, len(page.Items))
				}
				if f.Cursor = page.Next; f.Cursor == "" {
					break
				}
				if pages > 500 {
					t.Fatal("it doesn't end")
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				missing := slices.DeleteFunc(slices.Clone(want), func(id string) bool { return slices.Contains(got, id) })
				t.Errorf("%d executions, want %d; missing %.300q", len(got), len(want), missing)
			}
		})
	}
	for _, bad := range []string{"x", "e30=", "bnVsbCB4"} {
		if _, err := state.SearchExecutions(t.Context(), store.ExecutionFilter{Cursor: bad}); !errors.Is(err, store.ErrCursor) {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}

// TestSearchDeliveries does the same with deliveries.
func TestSearchDeliveries(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fillLog(t, db, 3000)
	type delivery struct {
		ID, WorkflowID, Tenant, Kind, Recipient, Status, Reason, Table, RowKey string
		At                                                                     time.Time
	}
	all := pgtest.Structs[delivery](t, db, `select d.id, d.workflow_id, coalesce(d.tenant_id, '') as tenant, d.kind, coalesce(d.recipient, '') as recipient, d.status, coalesce(d.reason, '') as reason,
	e.table_name as table, e.row_key, d.committed_at as at
from (
	select id, workflow_id, tenant_id, kind, recipient, status, reason, committed_at, execution_id from rowbell.delivery_done
	union all
	select id, workflow_id, tenant_id, kind, recipient, case attempts when 0 then 'pending' else 'retrying' end, error, committed_at, execution_id from rowbell.delivery
) d join rowbell.workflow_event e on e.id = left(d.execution_id, 26)`)
	var actions []store.VersionAction
	for _, ref := range pgtest.Query[int32](t, db, `select ref from rowbell.surrogate where id in ('acme-1', 'acme-2')`) {
		actions = append(actions, store.VersionAction{VersionRef: ref, Action: 0})
	}
	db.Exec(t, `update rowbell.queue set lane = 42 where kind = 'email'`)
	toLane := pgtest.Query[string](t, db, `select id from rowbell.delivery_done where workflow_id in ('acme-1', 'acme-2') and action = 0
		union all select id from rowbell.delivery where kind = 'email'`)
	for name, f := range map[string]store.DeliverySearch{
		"all":                             {},
		"given up":                        {Statuses: []store.DeliveryStatus{store.DeliveryDead}},
		"cancelled or retrying":           {Statuses: []store.DeliveryStatus{store.DeliveryCancelled, store.DeliveryRetrying}},
		"pending":                         {Statuses: []store.DeliveryStatus{store.DeliveryPending}},
		"succeeded":                       {Statuses: []store.DeliveryStatus{store.DeliverySucceeded}},
		"a big tenant":                    {TenantID: str("big")},
		"a big tenant, given up":          {TenantID: str("big"), Statuses: []store.DeliveryStatus{store.DeliveryDead}},
		"a big tenant, a kind":            {TenantID: str("big"), Kind: "email"},
		"a big tenant, a kind, given up":  {TenantID: str("big"), Kind: "email", Statuses: []store.DeliveryStatus{store.DeliveryDead}},
		"a small tenant":                  {TenantID: str("acme")},
		"a small tenant, a kind":          {TenantID: str("acme"), Kind: "webhook"},
		"operators, a kind":               {TenantID: str(""), Kind: "webhook"},
		"a workflow":                      {WorkflowIDs: []string{"big-7"}},
		"a recipient":                     {Recipient: "user-5"},
		"a recipient of a big tenant":     {Recipient: "user-5", TenantID: str("big")},
		"a recipient, succeeded":          {Recipient: "user-5", Statuses: []store.DeliveryStatus{store.DeliverySucceeded}},
		"a recipient of a row":            {Recipient: "user-5", Table: "orders", RowKey: "9"},
		"a row":                           {Table: "orders", RowKey: "9"},
		"a row of a big tenant, given up": {Table: "orders", RowKey: "9", TenantID: str("big"), Statuses: []store.DeliveryStatus{store.DeliveryDead}},
		"a table of a small tenant":       {Table: "orders", TenantID: str("acme")},
		"a cause":                         {Cause: "Status 503"},
		"a destination":                   {Lane: 42, Actions: actions},
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			for _, d := range all {
				ok := f.TenantID == nil || *f.TenantID == d.Tenant
				ok = ok && (len(f.WorkflowIDs) == 0 || slices.Contains(f.WorkflowIDs, d.WorkflowID))
				ok = ok && (len(f.Statuses) == 0 || slices.Contains(f.Statuses, store.DeliveryStatus(d.Status)))
				ok = ok && (f.Table == "" || f.Table == d.Table) && (f.RowKey == "" || f.RowKey == d.RowKey) && (f.Kind == "" || f.Kind == d.Kind)
				ok = ok && (f.Recipient == "" || f.Recipient == d.Recipient) && strings.Contains(d.Reason, strings.ToLower(f.Cause))
				ok = ok && (f.Lane == 0 || slices.Contains(toLane, d.ID))
				if ok {
					want = append(want, d.ID)
				}
			}
			f.Limit = 41
			var got []string
			for pages := 0; ; pages++ {
				page, err := state.SearchDeliveries(t.Context(), f)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range page.Items {
					got = append(got, d.ID)
				}
				if f.Cursor = page.Next; f.Cursor == "" {
					break
				}
				if pages > 500 {
					t.Fatal("it doesn't end")
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				missing := slices.DeleteFunc(slices.Clone(want), func(id string) bool { return slices.Contains(got, id) })
				t.Errorf("%d deliveries, want %d; missing %.300q", len(got), len(want), missing)
			}
		})
	}
}

func TestSearchEvents(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fillLog(t, db, 3000)
	type event struct {
		ID, Table, RowKey, Tenant string
		By                        []string // tenants whose workflows matched
	}
	all := pgtest.Structs[event](t, db, `select id, table_name as table, row_key, tenant_id as tenant,
		array(select coalesce(l.tenant_id, '') from rowbell.workflow_log l where l.trigger_event_id = e.id) as by from rowbell.workflow_event e`)
	for name, f := range map[string]store.EventFilter{
		"all":                     {},
		"a tenant":                {TenantID: str("acme")},
		"operators'":              {TenantID: str("")},
		"a table":                 {Table: "orders"},
		"a table of a tenant":     {Table: "invoices", TenantID: str("acme")},
		"a row":                   {Table: "orders", RowKey: "11"},
		"a row of a tenant":       {Table: "orders", RowKey: "11", TenantID: str("acme"), Executions: true, Data: true},
		"rows of this key":        {RowKey: "11"},
		"a row that isn't there":  {Table: "orders", RowKey: "no"},
		"a table that isn't used": {Table: "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			for _, e := range all {
				ok := f.TenantID == nil || f.RowKey == "" && slices.Contains(e.By, *f.TenantID) || f.RowKey != "" && *f.TenantID == e.Tenant
				if ok && (f.Table == "" || f.Table == e.Table) && (f.RowKey == "" || f.RowKey == e.RowKey) {
					want = append(want, e.ID)
				}
			}
			f.Limit = 23
			var got []string
			for pages := 0; pages < 500; pages++ {
				page, err := state.SearchEvents(t.Context(), f)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range page.Items {
					got = append(got, e.ID)
					if f.Data && len(e.Data) == 0 || f.Executions && len(e.Executions) == 0 {
						t.Errorf("event %s has no data or no executions", e.ID)
					}
					for _, x := range e.Executions {
						if x.EventID != e.ID || x.TenantID != *f.TenantID {
							t.Errorf("event %s has execution %s of tenant %q", e.ID, x.ID, x.TenantID)
						}
					}
				}
				if f.Cursor = page.Next; f.Cursor == "" {
					break
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%d events, want %d", len(got), len(want))
			}
		})
	}
}

func TestExecutionDetail(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fillLog(t, db, 300)
	for _, want := range pgtest.Structs[struct {
		ID, Status string
		Deliveries int64
	}](t, db, `select l.id, l.status, (select count(*) from rowbell.delivery_done d where d.execution_id = l.id) + (select count(*) from rowbell.delivery d where d.execution_id = l.id) as deliveries
		from rowbell.workflow_log l order by l.id limit 60`) {
		x, err := state.Execution(t.Context(), want.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		if string(x.Status) != want.Status || int64(len(x.Deliveries)) != want.Deliveries || len(x.Data) == 0 || x.Table == "" {
			t.Errorf("%+v, want %+v", x, want)
		}
		for _, d := range x.Deliveries {
			shown, err := state.Delivery(t.Context(), d.ID)
			if err != nil {
				t.Fatal(err)
			}
			if shown.Status != d.Status || len(shown.Tries) != len(d.Tries) || shown.Reason != d.Reason {
				t.Errorf("delivery %s is %+v with its execution, and alone %+v", d.ID, d, shown)
			}
		}
		if _, err := state.Execution(t.Context(), want.ID, str("quiet")); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("another tenant's execution: %v", err)
		}
	}
	for _, id := range []string{"", "x", "01ARZ3NDEKTSV4RRFFQ69G5FAV-2"} {
		if _, err := state.Execution(t.Context(), id, nil); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("execution %q: %v", id, err)
		}
	}
}

func TestFailureCauses(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fillLog(t, db, 2000)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	since := time.Now().Add(-50 * time.Hour)
	long := since.Add(-50 * time.Hour) // further back than hours are looked at that have been counted
	if _, err := state.CountHours(ctx, 30, 90); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]store.CauseFilter{
		"all": {}, "a tenant": {TenantID: str("big")}, "operators": {TenantID: str("")}, "a workflow": {WorkflowID: "acme-0"}, "of another tenant": {WorkflowID: "acme-0", TenantID: str("big")},
		"all, long": {Since: long}, "a tenant, long": {TenantID: str("big"), Since: long}, "operators, long": {TenantID: str(""), Since: long}, "a workflow, long": {WorkflowID: "acme-0", Since: long},
	} {
		if f.Since.IsZero() {
			f.Since = since
		}
		got, err := state.FailureCauses(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, c := range got.Causes {
			n += c.Count
			if c.Cause != "status # from the shop" || c.ExampleError == "" || c.FirstSeen.After(c.LastSeen) {
				t.Errorf("%s: %+v", name, c)
			}
		}
		want := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_log where status = 'failure' and committed_at >= $1
			and ($2::text is null or coalesce(tenant_id, '') = $2) and ($3 = '' or workflow_id = $3)`, f.Since, f.TenantID, f.WorkflowID)
		if int64(n) != want || got.Counted != n || !got.All {
			t.Errorf("%s: %d failures, %+v, want %d", name, n, got, want)
		}
	}
}

// A statement of a search, as it was sent.
type sent struct {
	sql  string
	args []any
}

type listener struct{ sent []sent }

func (l *listener) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	l.sent = append(l.sent, sent{d.SQL, d.Args})
	return ctx
}

func (l *listener) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestSearchUsesIndexes looks at the plans of all statements of searches: none reads a
// partition of the log from end to end.
func TestSearchUsesIndexes(t *testing.T) {
	t.Parallel()
	db, _ := alone(t)
	fillLog(t, db, 40_000)
	cfg, err := pgxpool.ParseConfig(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{}
	cfg.ConnConfig.Tracer = l
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	state := store.OpenState(pool)
	failed := []workflow.ExecutionStatus{workflow.Failure}
	executions := func(f store.ExecutionFilter) func() (string, error) {
		return func() (string, error) {
			page, err := state.SearchExecutions(t.Context(), f)
			f.Cursor = page.Next
			return page.Next, err
		}
	}
	deliveries := func(f store.DeliverySearch) func() (string, error) {
		return func() (string, error) {
			page, err := state.SearchDeliveries(t.Context(), f)
			f.Cursor = page.Next
			return page.Next, err
		}
	}
	events := func(f store.EventFilter) func() (string, error) {
		return func() (string, error) {
			page, err := state.SearchEvents(t.Context(), f)
			f.Cursor = page.Next
			return page.Next, err
		}
	}
	someEvent := db.QueryString(t, `select event_id from rowbell.event order by event_id desc limit 1`)
	conn := db.Conn(t)
	big := map[string]bool{}
	for _, name := range pgtest.Query[string](t, db, `select relname from pg_class where relnamespace = 'rowbell'::regnamespace and relkind = 'r' and reltuples > 1000
		and relname ~ '^(event|execution|delivery_ended|attempt)_(default|[0-9]{8})$'`) {
		big[name] = true
	}
	if len(big) < 6 {
		t.Fatalf("only %d partitions have rows", len(big))
	}
	for name, page := range map[string]func() (string, error){
		"all":                         executions(store.ExecutionFilter{}),
		"failed":                      executions(store.ExecutionFilter{Statuses: failed}),
		"a big tenant":                executions(store.ExecutionFilter{TenantID: str("big")}),
		"a big tenant, failed":        executions(store.ExecutionFilter{TenantID: str("big"), Statuses: failed}),
		"a small tenant":              executions(store.ExecutionFilter{TenantID: str("quiet")}),
		"a workflow":                  executions(store.ExecutionFilter{WorkflowIDs: []string{"big-3"}}),
		"a workflow, failed":          executions(store.ExecutionFilter{WorkflowIDs: []string{"big-3"}, Statuses: failed}),
		"an event":                    executions(store.ExecutionFilter{EventID: someEvent}),
		"a recipient":                 executions(store.ExecutionFilter{Recipient: "user-3", TenantID: str("acme")}),
		"a table":                     executions(store.ExecutionFilter{Table: "orders"}),
		"a text":                      executions(store.ExecutionFilter{Error: "abracadabra"}),
		"deliveries of a big tenant":  deliveries(store.DeliverySearch{TenantID: str("big")}),
		"deliveries of a workflow":    deliveries(store.DeliverySearch{WorkflowIDs: []string{"big-3"}}),
		"deliveries to somebody":      deliveries(store.DeliverySearch{Recipient: "nobody"}),
		"deliveries that gave up":     deliveries(store.DeliverySearch{Statuses: []store.DeliveryStatus{store.DeliveryDead}}),
		"deliveries of a workflow, d": deliveries(store.DeliverySearch{WorkflowIDs: []string{"big-3"}, Statuses: []store.DeliveryStatus{store.DeliveryDead}}),
		"events of a tenant":          events(store.EventFilter{TenantID: str("acme")}),
		"a row":                       events(store.EventFilter{Table: "orders", RowKey: "no", Executions: true}),
		"last executions": func() (string, error) {
			_, err := state.LastExecutions(t.Context(), []string{"big-3", "quiet-0"}, nil)
			return "", err
		},
		"causes": func() (string, error) {
			_, err := state.FailureCauses(t.Context(), store.CauseFilter{TenantID: str("quiet")})
			return "", err
		},
	} {
		l.sent = nil
		for range 2 {
			if next, err := page(); err != nil {
				t.Fatal(name, err)
			} else if next == "" {
				break
			}
		}
		for _, s := range l.sent {
			args := s.args
			if len(args) > 0 {
				if _, ok := args[0].(pgx.QueryExecMode); ok {
					args = args[1:]
				}
			}
			plan := explain(t, conn, s.sql, args...)
			for _, scan := range regexp.MustCompile(`Seq Scan on (\w+)`).FindAllStringSubmatch(plan, -1) {
				if big[scan[1]] {
					t.Errorf("%s: %s in\n%s\n%s", name, scan[0], s.sql, plan)
				}
			}
		}
	}
}

// batchListener hears what is sent for a tenant.
type batchListener struct{ listener }

func (l *batchListener) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (l *batchListener) TraceBatchQuery(_ context.Context, _ *pgx.Conn, d pgx.TraceBatchQueryData) {
	l.sent = append(l.sent, sent{d.SQL, d.Args})
}

func (l *batchListener) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// TestSearchPlansForTenant looks at the plans of what is read for a tenant: the first page of
// what happens much is of a window of time, on all tables, and no partition is read or
// locked beside it; and row-level security asks no subquery of rows of a page that a
// cheaper condition leaves out.
func TestSearchPlansForTenant(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fillLog(t, db, 40_000)
	if _, err := state.CountHours(t.Context(), 30, 90); err != nil {
		t.Fatal(err)
	}
	cfg, err := pgxpool.ParseConfig(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	l := &batchListener{}
	cfg.ConnConfig.Tracer = l
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	whole := store.OpenState(pool)
	since := time.Now().Add(-20 * time.Hour) // the days before yesterday have no partitions here
	failed := []workflow.ExecutionStatus{workflow.Failure}
	partition := regexp.MustCompile(`\bon ((event|execution|delivery_ended)_([0-9]{8}|default))`)
	for name, c := range map[string]struct {
		tenant string
		read   func(*store.State) error
		days   int // at most, of each table
	}{
		"executions": {"big", func(s *store.State) error {
			_, err := s.SearchExecutions(t.Context(), store.ExecutionFilter{TenantID: str("big"), Limit: 50})
			return err
		}, 2},
		"executions, failed": {"big", func(s *store.State) error {
			_, err := s.SearchExecutions(t.Context(), store.ExecutionFilter{TenantID: str("big"), Limit: 50, Statuses: failed})
			return err
		}, 2},
		"executions of a table": {"big", func(s *store.State) error {
			_, err := s.SearchExecutions(t.Context(), store.ExecutionFilter{TenantID: str("big"), Limit: 50, Table: "orders"})
			return err
		}, 3},
		"deliveries of a kind": {"acme", func(s *store.State) error {
			_, err := s.SearchDeliveries(t.Context(), store.DeliverySearch{TenantID: str("acme"), Limit: 20, Kind: "email"})
			return err
		}, 3},
		"executions of a row": {"acme", func(s *store.State) error {
			_, err := s.SearchExecutions(t.Context(), store.ExecutionFilter{TenantID: str("acme"), Limit: 50, Table: "orders", RowKey: "7"})
			return err
		}, 7},
		"causes": {"acme", func(s *store.State) error {
			_, err := s.FailureCauses(t.Context(), store.CauseFilter{TenantID: str("acme"), Since: since})
			return err
		}, 2},
		"last executions": {"acme", func(s *store.State) error {
			_, err := s.LastExecutions(t.Context(), []string{"acme-0", "acme-1"}, nil)
			return err
		}, 7},
		"runs of workflows": {"acme", func(s *store.State) error {
			_, err := s.WorkflowRuns(t.Context(), []string{"acme-0", "acme-1"}, store.StatisticFilter{Since: since, TenantID: str("acme")})
			return err
		}, 7},
	} {
		l.sent = nil
		if err := c.read(whole.As(store.Tenant{ID: c.tenant})); err != nil {
			t.Fatal(name, err)
		}
		conn := db.Conn(t)
		plans := 0
		for _, s := range l.sent {
			if strings.Contains(s.sql, "set_config") || !strings.Contains(s.sql, "rowbell.execution x") {
				continue
			}
			plans++
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), `select set_config('rowbell.tenant', $1, true), set_config('role', 'rowbell_api', true)`, c.tenant); err != nil {
				t.Fatal(err)
			}
			plan := explain(t, conn, s.sql, s.args...)
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			days := make(map[string]map[string]bool)
			for _, m := range partition.FindAllStringSubmatch(plan, -1) {
				if days[m[2]] == nil {
					days[m[2]] = make(map[string]bool)
				}
				days[m[2]][m[3]] = true
				ahead := time.Now().UTC().Add(25 * time.Hour).Format("20060102")
				if m[3] != "default" && m[3] > ahead || m[3] == "default" && c.days < 5 {
					t.Errorf("%s: partition %s is in\n%s\n%s", name, m[1], s.sql, plan)
				}
			}
			for table, list := range days {
				if len(list) > c.days {
					t.Errorf("%s: %d partitions of %s, want at most %d, are in\n%s\n%s", name, len(list), table, c.days, s.sql, plan)
				}
			}
			for _, m := range regexp.MustCompile(`Seq Scan on (?:event|execution)_([0-9]{8})`).FindAllStringSubmatch(plan, -1) {
				if m[1] <= time.Now().UTC().Add(-time.Hour).Format("20060102") { // around midnight the new day's is as good as empty
					t.Errorf("%s: a partition is read from end to end in\n%s\n%s", name, s.sql, plan)
				}
			}
			if c.days == 7 && name == "executions of a row" && !strings.Contains(plan, "tenant_id_idx") {
				t.Errorf("%s: the index by the row's key isn't used in\n%s\n%s", name, s.sql, plan)
			}
		}
		if plans == 0 {
			t.Errorf("%s: no statement was heard: %q", name, l.sent)
		}
	}
}
