package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestTailArguments(t *testing.T) {
	t.Parallel()
	db, _ := shop(t)
	run := func(args ...string) result {
		return rowbell(t, []string{"ROWBELL_SOURCE_URL=" + db.URL}, append([]string{"tail"}, args...)...)
	}
	wants(t, run("--status", "sucess"), 2, `--status: there is no status "sucess"; it is success, failure, cancelled or pending. Did you mean success?`)
	wants(t, run("--since", "soon"), 2, `--since: "soon" is not a duration of up to 24h, such as 5m`)
	wants(t, run("--since", "48h"), 2, `--since: "48h" is not`)
	wants(t, run("--output", "xml"), 2, `there is no output "xml"; it is table, json or yaml`)
	wants(t, run("--workflow", "bigger"), 1, "there is no workflow bigger; rowbell workflow list has all")
	wants(t, run("--tenant", "globex"), 1, "no workflow belongs to tenant globex")
	wants(t, rowbell(t, []string{"ROWBELL_SOURCE_URL=postgres://127.0.0.1:1/x"}, "tail"), 1, "nothing answers at 127.0.0.1:1")
}

func TestTailLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 9, 30, 1, 234e6, time.Local)
	x := store.LiveExecution{
		Status: workflow.Failure, WorkflowID: "large-order", Table: "orders", RowKey: "42", Operation: "update", SettledAt: &at, Error: "gave up after 3 attempts:\nno",
		Did: []store.LiveDone{{Kind: "email", Status: "succeeded", Count: 2}, {Kind: "email", Status: "dead", Count: 1, Recipient: "ann", Reason: "gave up after 3 attempts:\nno"}, {Kind: "email", Status: "cancelled", Count: 1, Recipient: "ben", Reason: "they want none"}},
	}
	for _, c := range []struct {
		change func()
		colour bool
		want   string
	}{
		{func() {}, false, "09:30:01.234  failure    large-order  orders.42 update  2 email, email to ann dead, email to ben cancelled (they want none): gave up after 3 attempts: …"},
		{func() {}, true, "09:30:01.234  \x1b[31mfailure  \x1b[0m  large-order  orders.42 update  2 email, email to ann dead, email to ben cancelled (they want none): gave up after 3 attempts: …"},
		{func() {
			x.SettledAt, x.ExecutedAt, x.Status, x.Error, x.Did, x.RowKey, x.Table, x.Operation = nil, at, workflow.Pending, "", nil, "", "domain:paid", "emit"
		}, false, "09:30:01.234  pending    large-order  domain:paid emit"},
	} {
		c.change()
		if got := tailLine(&x, c.colour); got != c.want {
			t.Errorf("got\n%q, want\n%q", got, c.want)
		}
	}
}

// process is a program that runs, whose lines are read as they come.
type process struct {
	cmd   *exec.Cmd
	lines chan string
}

func watched(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	cmd := program(t, env, args...)
	cmd.Stderr = os.Stderr
	return started(t, cmd)
}

func started(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, lines: make(chan string, 1000)}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

func (p *process) line(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			t.Fatal("it has ended")
		}
		return line
	case <-time.After(pgtest.Patience):
		t.Fatal("it says nothing")
	}
	return ""
}

// interrupt stops it as Ctrl-C does, and returns its exit code.
func (p *process) interrupt(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for range p.lines { // to its end
	}
	_ = p.cmd.Wait() // the code says how
	return p.cmd.ProcessState.ExitCode()
}

// A worker runs, and tail shows what it does; pauses let it wait, which health and metrics
// tell; and Ctrl-C ends it in order.
func TestTailAndPause(t *testing.T) {
	t.Parallel()
	var fails atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if fails.Load() {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(receiver.Close)
	db, _ := shop(t)
	log := &lockedBuffer{}
	env := []string{
		"ROWBELL_SOURCE_URL=" + db.URL, "ROWBELL_SLOT=" + db.Name, "ROWBELL_OPS_LISTEN=127.0.0.1:0", "ROWBELL_LISTEN=127.0.0.1:0",
		"ROWBELL_EGRESS_ALLOW=127.0.0.0/8", "ROWBELL_LOG_FORMAT=json", "TZ=UTC",
	}
	worker := program(t, env, "run")
	worker.Stdout, worker.Stderr = log, log
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = worker.Process.Signal(syscall.SIGTERM)
		_ = worker.Wait()
	})
	for id, tenant := range map[string]string{"ours": "acme", "theirs": "globex"} {
		db.Exec(t, `with d as (insert into rowbell.workflow_definition (id, tenant_id, name, status) values ($1, $2, $1, 'active')),
			t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ($1, 'orders', 'create'))
			insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ($1, 'webhook', $3::jsonb)`, id, tenant, fmt.Sprintf(`{"url": %q}`, receiver.URL))
	}
	pgtest.Eventually(t, pgtest.Patience, "the workflows to be judged", func() bool {
		return pgtest.One[bool](t, db, `select count(*) >= 3 from rowbell.workflow_health`)
	})
	n := 0
	order := func(tenant string) {
		n++
		db.Exec(t, `insert into orders (id, tenant_id) values ($1, $2)`, n, tenant)
	}
	order("acme")
	all := watched(t, env, "tail", "--since", "1h")
	if line := all.line(t); !regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3}  success    ours  orders\.1 create  webhook 200 in (under )?\d+ms$`).MatchString(line) {
		t.Errorf("the first line is %q", line)
	}
	failures := watched(t, env, "tail", "--tenant", "globex", "--status", "failure", "--since", "1h", "--output", "json")
	fails.Store(true)
	order("acme")
	order("globex")
	if line := all.line(t); !strings.Contains(line, "  failure    ours  orders.2 create  webhook dead: ") || !strings.Contains(line, "400") {
		t.Errorf("the line of a failure is %q", line)
	}
	if line := all.line(t); !strings.Contains(line, "  failure    theirs  orders.3 create  ") {
		t.Errorf("the line of another's failure is %q", line)
	}
	var x store.LiveExecution
	if line := failures.line(t); json.Unmarshal([]byte(line), &x) != nil || x.WorkflowID != "theirs" || x.RowKey != "3" || x.Status != workflow.Failure || x.SettledAt == nil {
		t.Errorf("in JSON it is %q", line)
	}
	fails.Store(false)

	wants(t, rowbell(t, env, "pause", "--tenant", "acme", "--reason", "spring cleaning"), 0, "Paused: tenant acme")
	pgtest.Eventually(t, pgtest.Patience, "the worker to heed the pause", func() bool { return strings.Contains(log.String(), `"msg":"deliveries are paused"`) })
	order("acme")
	order("globex")
	if line := all.line(t); !strings.Contains(line, "theirs  orders.5") {
		t.Errorf("while acme is paused comes %q", line)
	}
	serving := servesMetrics.FindStringSubmatch(log.String())
	if serving == nil {
		t.Fatalf("where metrics are isn't in the log:\n%.1000s", log)
	}
	ready, status := get(t, "http://"+serving[1]+"/readyz")
	if status != http.StatusOK || !strings.Contains(ready, `"state": "warning"`) || !strings.Contains(ready, "deliveries wait: tenant acme is paused since ") || !strings.Contains(ready, "spring cleaning") {
		t.Errorf("/readyz says %d %s", status, ready)
	}
	if metrics, _ := get(t, "http://"+serving[1]+"/metrics"); !strings.Contains(metrics, `rowbell_paused{scope="tenant"} 1`) {
		t.Error("the metric knows of no pause")
	}
	if got := pgtest.One[int64](t, db, `select count(*) from rowbell.delivery where tenant_id = 'acme' and attempts = 0 and lease_until is null`); got != 1 {
		t.Errorf("%d deliveries of acme wait", got)
	}
	wants(t, rowbell(t, env, "resume", "--tenant", "acme"), 0, "Resumed: tenant acme")
	if line := all.line(t); !strings.Contains(line, "  success    ours  orders.4 create  webhook 200 in ") {
		t.Errorf("when it is over comes %q", line)
	}
	for _, p := range []*process{all, failures} {
		if code := p.interrupt(t); code != 0 {
			t.Errorf("Ctrl-C ends it with %d", code)
		}
	}
	pgtest.Eventually(t, pgtest.Patience, "the log to tell of the end", func() bool { return strings.Contains(log.String(), `"msg":"deliveries are not paused any more"`) })
}

func get(t *testing.T, url string) (body string, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), res.StatusCode
}
