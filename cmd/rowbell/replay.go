package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// replayCommand starts replays, and has the commands about them.
func replayCommand() command {
	return command{
		name:   "replay",
		server: true,
		short:  "Run ended executions again, chosen by workflow, time and outcome",
		group:  groupDeliveries,
		long: `Each execution is made anew, with an id and idempotency keys of its own: receivers take it
for something new. To try the same deliveries again, with the keys that they had: rowbell
delivery retry. What is chosen stands when it is asked for; workers make the executions,
at the rate, also when this command has ended. Of an event and a workflow only the last
run is chosen.

--as recorded runs the version of the workflow that applied to the change. --as current runs
the version that applies now, evaluates its conditions on the recorded change, and leaves
out what doesn't match any more.`,
		examples: []example{
			{"rowbell replay --workflow large-order --since 24h --dry-run", "only look"},
			{"rowbell replay --workflow large-order --since 24h --as current --rate 10/s", ""},
			{"rowbell replay --tenant acme --since 2026-01-31T10:00:00Z --yes --wait", "until all have been made"},
		},
		values: map[string][]string{"status": {"failure", "cancelled", "success", "all"}, "as": {"recorded", "current"}},
		options: []option{
			{"workflow", "ID,…", "Of these workflows"},
			{"tenant", "ID", "Of this tenant's workflows; none for operators' workflows"},
			sinceOption, untilOption,
			{"status", "STATUS", "Executions that ended as failure (if not given), cancelled, success, or all"},
			{"cause", "TEXT", "Only those whose error has this text in it"},
			{"as", "VERSION", "recorded (if not given) or current"},
			{"rate", "N/s", "At most so many executions per second, or N/m per minute (50/s if not given)"},
			{"limit", "N", "At most so many, the oldest ones (100000 if not given)"},
			{"dry-run", "", "Say what would be run again, and do nothing"},
			waitOption, yesOption,
			actorOption,
			jsonOption,
		},
		run: startReplay,
		sub: []command{replayListCommand, replayShowCommand, replayCancelCommand},
	}
}

// replays is what these commands need.
type replays interface {
	PlanReplay(ctx context.Context, q api.ReplayRequest) (api.ReplayPlan, error)
	StartReplay(ctx context.Context, q api.ReplayRequest) (store.Replay, error)
	Replays(ctx context.Context) ([]store.Replay, error)
	Replay(ctx context.Context, id int32) (store.Replay, error)
	CancelReplay(ctx context.Context, id int32) (store.Replay, error)
}

// replays opens them for the length of f.
func (c *call) replays(f func(replays) error) error {
	return through(c, func(o *app.Operator) (replays, error) { return o, nil }, func(s *client.Client) replays { return s }, f)
}

const replayHelp = "rowbell replay --help"

func (c *call) replayRequest() (api.ReplayRequest, error) {
	q := api.ReplayRequest{By: c.actor()}
	for id := range strings.SplitSeq(c.own["workflow"], ",") {
		if id = strings.TrimSpace(id); id != "" {
			q.Workflows = append(q.Workflows, id)
		}
	}
	q.TenantID, q.Cause = c.chosenTenant(), c.own["cause"]
	wrong := func(format string, args ...any) (api.ReplayRequest, error) {
		return q, usage{fmt.Sprintf(format, args...), replayHelp}
	}
	if len(q.Workflows) == 0 && q.TenantID == nil {
		return wrong("nothing to replay. Give --workflow ID, or --tenant ID for all of a tenant's")
	}
	if !c.has("since") {
		return wrong("from when on? Give --since TIME, as 2026-01-31T10:00:00Z or 24h")
	}
	var err error
	if q.Since, err = c.chosenTime("since"); err != nil {
		return q, err
	}
	if q.Until, err = c.chosenTime("until"); err != nil {
		return q, err
	}
	if q.Limit, err = c.chosenNumber("limit", store.MostReplayed); err != nil {
		return q, err
	}
	switch status := cmp.Or(c.own["status"], string(workflow.Failure)); workflow.ExecutionStatus(status) {
	case workflow.Failure, workflow.Cancelled, workflow.Success:
		q.Statuses = []workflow.ExecutionStatus{workflow.ExecutionStatus(status)}
	case "all":
		q.Statuses = []workflow.ExecutionStatus{workflow.Failure, workflow.Cancelled, workflow.Success}
	default:
		return wrong("there is no status %q; it is failure, cancelled, success or all", status)
	}
	switch as := cmp.Or(c.own["as"], "recorded"); as {
	case "recorded":
	case "current":
		q.Current = true
	default:
		return wrong("--as is recorded (the version that applied) or current, not %q", as)
	}
	if q.Rate, err = readRate(cmp.Or(c.own["rate"], "50/s")); err != nil {
		return wrong("--rate: %v", err)
	}
	return q, nil
}

// readRate reads a rate as 50/s, 10/m, 600/h, or a number per second.
func readRate(text string) (float64, error) {
	number, per, _ := strings.Cut(text, "/")
	seconds := map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}[per]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || seconds == 0 || !(n > 0 && n <= 1e9) {
		return 0, fmt.Errorf("%q is not a rate; write 50/s, 10/m or 600/h", text)
	}
	return n / seconds, nil
}

func startReplay(ctx context.Context, c *call) error {
	q, err := c.replayRequest()
	if err != nil {
		return err
	}
	if q.Until.IsZero() {
		q.Until = time.Now()
	}
	return c.replays(func(o replays) error {
		dry := c.has("dry-run")
		if dry || !c.has(yesOption.name) {
			p, err := o.PlanReplay(ctx, q)
			if err != nil {
				return err
			}
			if dry && c.asData() {
				return c.writeData(p)
			}
			out := c.stdout
			if c.asData() {
				out = c.stderr
			}
			writePlan(out, &p, &q)
			if dry || p.Total == 0 {
				return nil
			}
			if len(p.Problems) > 0 {
				return errShown
			}
			if !isTerminal(os.Stdin) {
				return usage{"it is not known whether that is wanted. Give --yes, or --dry-run to look only", replayHelp}
			}
			if err := c.ask(fmt.Sprintf("Run %s again?", several(p.Total, "execution"))); err != nil {
				return err
			}
		}
		r, err := o.StartReplay(ctx, q)
		if err != nil {
			return err
		}
		if c.has(waitOption.name) {
			return c.waitFor(ctx, o, r)
		}
		if c.asData() {
			return c.writeData(inData(r))
		}
		_, err = fmt.Fprintf(c.stdout, "Replay %d runs %s again, at %s. See how it goes: rowbell replay show %d\n", r.ID, several(r.Total, "execution"), rateText(r.Rate), r.ID)
		return err
	})
}

// shownReplay is a replay for programs, to whom all ids are texts.
type shownReplay struct {
	store.Replay
	ID string `json:"id"`
}

func inData(r store.Replay) shownReplay { return shownReplay{r, strconv.Itoa(int(r.ID))} }

func rateText(perSecond float64) string {
	if perSecond < 1 {
		return strconv.FormatFloat(perSecond*60, 'g', 4, 64) + "/m"
	}
	return strconv.FormatFloat(perSecond, 'g', 6, 64) + "/s"
}

func writePlan(w io.Writer, p *api.ReplayPlan, q *api.ReplayRequest) {
	if p.Total == 0 {
		_, _ = fmt.Fprintln(w, "No ended execution is as asked for, or each has been replayed since.")
		return
	}
	rows := [][]string{{"WORKFLOW", "VERSION", "STATUS", "EXECUTIONS"}}
	for _, part := range p.Parts {
		rows = append(rows, []string{part.WorkflowID, fmt.Sprint(part.Version), string(part.Status), fmt.Sprint(part.Count)})
	}
	writeTable(w, rows)
	took := time.Duration(float64(p.Total) / q.Rate * float64(time.Second)).Round(time.Second)
	_, _ = fmt.Fprintf(w, "\n%s of changes from %s to %s, about %s at %s.\n", several(p.Total, "execution"), when(q.Since), when(q.Until), max(took, time.Second), rateText(q.Rate))
	if p.Full {
		_, _ = fmt.Fprintln(w, "There may be more: these are as many as the limit lets through.")
	}
	if p.Gone > 0 {
		_, _ = fmt.Fprintf(w, "Of %d the change is no longer in the log: they will be left out.\n", p.Gone)
	}
	if p.Evaluated > 0 {
		_, _ = fmt.Fprintf(w, "Of the first %d the current version no longer matches %d, and %d can't be decided from what is recorded: such are left out.\n", p.Evaluated, p.Unmatched, p.Undecided)
	}
	for _, problem := range p.Problems {
		_, _ = fmt.Fprintln(w, "It can't be done: "+problem+".")
	}
}

var replayListCommand = command{
	name:   "list",
	server: true,
	short:  "List replays, the newest first",
	examples: []example{
		{"rowbell replay list", ""},
	},
	options: []option{jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.replays(func(o replays) error {
			list, err := o.Replays(ctx)
			if err != nil {
				return err
			}
			if c.asData() {
				shown := make([]shownReplay, len(list))
				for i, r := range list {
					shown[i] = inData(r)
				}
				return c.writeData(shown)
			}
			if len(list) == 0 {
				_, err := fmt.Fprintln(c.stdout, "There are no replays.")
				return err
			}
			rows := [][]string{{"REPLAY", "STATUS", "BEGUN", "BY", "AS", "RATE", "DONE", "OF", "LEFT OUT"}}
			for i := range list {
				r := &list[i]
				rows = append(rows, []string{
					fmt.Sprint(r.ID), string(r.Status), when(r.CreatedAt), dash(r.CreatedBy), asText(r), rateText(r.Rate),
					fmt.Sprint(r.Done), fmt.Sprint(r.Total), fmt.Sprint(r.Unmatched + r.Undecided + r.Gone + r.Changed + r.Refused),
				})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

func asText(r *store.Replay) string {
	if r.Current {
		return "current"
	}
	return "recorded"
}

// replayNumber reads the argument that names a replay.
func (c *call) replayNumber() (int32, error) {
	n, err := strconv.ParseInt(c.args[0], 10, 32)
	if err != nil || n < 1 {
		return 0, usage{fmt.Sprintf("%q is not the number of a replay; see rowbell replay list", c.args[0]), replayHelp}
	}
	return int32(n), nil
}

var replayShowCommand = command{
	name:   "show",
	server: true,
	args:   "NUMBER",
	short:  "Show how far a replay has come",
	examples: []example{
		{"rowbell replay show 3", ""},
		{"rowbell replay show 3 --wait", "until it has ended"},
	},
	options: []option{waitOption, jsonOption},
	run: func(ctx context.Context, c *call) error {
		id, err := c.replayNumber()
		if err != nil {
			return err
		}
		return c.replays(func(o replays) error {
			r, err := o.Replay(ctx, id)
			if err != nil {
				return err
			}
			if c.has(waitOption.name) {
				return c.waitFor(ctx, o, r)
			}
			return c.showReplay(&r)
		})
	},
}

var waitOption = option{"wait", "", "Wait until the replay has ended, and show how it went"}

// replayEach is how often it is looked how far a replay has come.
const replayEach = 500 * time.Millisecond

// waitFor tells how far a replay has come until it has ended, and shows it. The replay goes
// on without: workers do it.
func (c *call) waitFor(ctx context.Context, o replays, r store.Replay) error {
	left := func() error {
		return fmt.Errorf("replay %d goes on, at %d of %d; see rowbell replay show %[1]d", r.ID, r.Total-r.Left(), r.Total)
	}
	p := c.progress(fmt.Sprintf("Replay %d", r.ID), r.Total)
	defer p.end()
	for r.Status == store.ReplayRunning {
		p.set(r.Total - r.Left())
		select {
		case <-time.After(replayEach):
		case <-ctx.Done():
			return left()
		}
		now, err := o.Replay(ctx, r.ID)
		switch {
		case err != nil && ctx.Err() != nil:
			return left()
		case err != nil:
			return err
		}
		r = now
	}
	p.end()
	if err := c.showReplay(&r); err != nil {
		return err
	}
	if r.Status != store.ReplayDone {
		return errShown // somebody has cancelled it
	}
	return nil
}

func (c *call) showReplay(r *store.Replay) error {
	if c.asData() {
		return c.writeData(inData(*r))
	}
	rows := [][]string{
		{"replay", fmt.Sprint(r.ID)},
		{"status", string(r.Status)},
		{"as", asText(r)},
		{"rate", rateText(r.Rate)},
		{"done", fmt.Sprintf("%d of %d", r.Done, r.Total)},
	}
	for _, out := range []struct {
		n    int
		what string
	}{
		{r.Unmatched, "the current version does not match the change"},
		{r.Undecided, "whether the current version matches can't be told from what is recorded"},
		{r.Gone, "the change is no longer in the log"},
		{r.Changed, "retried or replayed since this replay was asked for"},
		{r.Refused, "the version can't run"},
	} {
		if out.n > 0 {
			rows = append(rows, []string{"left out", fmt.Sprintf("%d: %s", out.n, out.what)})
		}
	}
	if left := r.Left(); left > 0 {
		rows = append(rows, []string{"left", fmt.Sprint(left)})
	}
	rows = append(rows, []string{"changes", fmt.Sprintf("from %s to %s", when(r.Filter.Since), when(r.Filter.Until))},
		[]string{"begun", strings.TrimSpace(when(r.CreatedAt) + " " + r.CreatedBy)})
	if r.EndedAt != nil {
		rows = append(rows, []string{"ended", when(*r.EndedAt)})
	}
	if r.Error != "" {
		rows = append(rows, []string{"last", r.Error})
	}
	writeFields(c.stdout, rows)
	return nil
}

var replayCancelCommand = command{
	name:   "cancel",
	server: true,
	args:   "NUMBER",
	short:  "End a replay; what it has made goes on",
	examples: []example{
		{"rowbell replay cancel 3", ""},
	},
	options: []option{actorOption},
	run: func(ctx context.Context, c *call) error {
		id, err := c.replayNumber()
		if err != nil {
			return err
		}
		return c.replays(func(o replays) error {
			r, err := o.CancelReplay(ctx, id)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "Replay %d is cancelled: it has made %d of %s.\n", r.ID, r.Done, several(r.Total, "execution"))
			return err
		})
	},
}
