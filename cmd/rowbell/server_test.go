package main

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

var servesAPI = regexp.MustCompile(`"what":"pages","addr":"([^"]+)"`)

// startServer runs a worker on a database with Rowbell's tables, and returns where its API is
// and a key for all tenants.
func startServer(t *testing.T, db *pgtest.Database, settings ...string) (url, key string) {
	t.Helper()
	log := &lockedBuffer{}
	env := append([]string{
		"ROWBELL_SOURCE_URL=" + db.URL, "ROWBELL_SLOT=" + db.Name, "ROWBELL_OPS_LISTEN=127.0.0.1:0", "ROWBELL_LISTEN=127.0.0.1:0", "ROWBELL_LOG_FORMAT=json", "TZ=UTC",
	}, settings...)
	worker := program(t, env, "run")
	worker.Stdout, worker.Stderr = log, log
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = worker.Process.Signal(syscall.SIGTERM)
		_ = worker.Wait()
		if t.Failed() {
			t.Logf("the worker says:\n%.4000s", log)
		}
	})
	pgtest.Eventually(t, pgtest.Patience, "the worker to hold the slot and serve", func() bool {
		// A slot is active before it is whole: what commits meanwhile it hasn't.
		return servesAPI.MatchString(log.String()) && strings.Contains(log.String(), "holding the slot")
	})
	made := rowbell(t, env, "key", "create", "--role", "admin", "--name", "of a test")
	if made.code != 0 {
		t.Fatal(made.stderr)
	}
	return "http://" + servesAPI.FindStringSubmatch(log.String())[1], strings.TrimSpace(made.stdout)
}

// twins are two databases that are alike, each with a worker: commands work on one, and on
// the other by its server.
type twins struct {
	direct, served     *pgtest.Database
	directly, byServer []string // environments
}

// newTwins makes them; setup has a database with Rowbell's tables.
func newTwins(t *testing.T, setup func(db *pgtest.Database, env []string), settings ...string) *twins {
	t.Helper()
	w := &twins{direct: migrated(t), served: migrated(t)}
	for _, db := range []*pgtest.Database{w.direct, w.served} {
		env := append([]string{"ROWBELL_SOURCE_URL=" + db.URL, "ROWBELL_SLOT=" + db.Name, "TZ=UTC"}, settings...)
		wants(t, rowbell(t, env, "migrate"), 0)
		setup(db, env)
		url, key := startServer(t, db, settings...)
		if db == w.direct {
			w.directly = env
			continue
		}
		w.byServer = []string{"ROWBELL_SERVER=" + url, "ROWBELL_KEY=" + key, "TZ=UTC"}
	}
	return w
}

// each does something to both databases.
func (w *twins) each(f func(db *pgtest.Database)) { f(w.direct); f(w.served) }

// differs is what two runs of the same need not have alike: ids, times, and in whose name
// something was done.
var differs = []struct {
	found *regexp.Regexp
	as    string
}{
	{regexp.MustCompile(`"?\bkey:[0-9A-HJKMNP-TV-Z]{26}\b"?`), "<actor>"}, // YAML quotes it
	{regexp.MustCompile(`\b[0-9A-HJKMNP-TV-Z]{26}\b`), "<id>"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?`), "<time>"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\.\d{3}\b`), "<time>"},
	{regexp.MustCompile(`\b\d+-[0-9A-F]+/[0-9A-F]+\b`), "<storm>"},
	{regexp.MustCompile(`\brbk_[0-9A-Z]+_[0-9A-Z]+\b`), "<key>"},
	{regexp.MustCompile(`\brbl_[0-9A-Z]+\b`), "<kid>"},
	{regexp.MustCompile(`public_key"?: "?[A-Za-z0-9+/=]+"?`), "<public key>"},
	{regexp.MustCompile(`--after \S+`), "--after <place>"},
	{regexp.MustCompile(`-----BEGIN[^-]*-----[^-]*-----END[^-]*-----`), "<PEM>"},
	{regexp.MustCompile(`\bwhsec_[A-Za-z0-9+/=]+`), "<secret>"},
	{regexp.MustCompile(`\b((under )?\d+(\.\d+)?(ms|µs)|0s)\b`), "<duration>"},
	{regexp.MustCompile(`\bduration_ms"?: \d+`), "<duration>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "<address>"},
	{regexp.MustCompile(`\b1:0/[0-9A-F]+:\d+`), "<position>"},
	{regexp.MustCompile(`[^\s"]*/Test\w+/\d{3}\b`), "<directory>"},
}

// same runs a command on both, and holds them to the same code and the same texts, and those
// to have some. It returns what the server's said.
func (w *twins) same(t *testing.T, code int, args []string, texts ...string) result {
	t.Helper()
	return w.sameOf(t, code, func(*pgtest.Database) []string { return args }, texts...)
}

// sameOf is same for a command with words that each database has its own of, as ids.
func (w *twins) sameOf(t *testing.T, code int, args func(*pgtest.Database) []string, texts ...string) result {
	t.Helper()
	direct, served := rowbell(t, w.directly, args(w.direct)...), rowbell(t, w.byServer, args(w.served)...)
	wants(t, direct, code, texts...)
	if a, b := w.plain(direct), w.plain(served); a != b {
		t.Errorf("rowbell %s\non the database: %s\nby the server:   %s", strings.Join(args(w.served), " "), a, b)
	}
	return served
}

func (w *twins) plain(r result) string {
	text := fmt.Sprintf("exits with %d\n%s\n%s", r.code, r.stdout, r.stderr)
	actor := (&call{}).actor() // in whose name commands act on the database
	text = regexp.MustCompile(`"?\b`+regexp.QuoteMeta(actor)+`\b"?`).ReplaceAllString(text, "<actor>")
	for _, d := range differs {
		text = d.found.ReplaceAllString(text, d.as)
	}
	return regexp.MustCompile(` {2,}`).ReplaceAllString(text, "  ") // columns are as wide as what is in them
}

// What people want to be told.
func TestServerPreferences(t *testing.T) {
	t.Parallel()
	w := newTwins(t, func(*pgtest.Database, []string) {})
	run := func(code int, line string, texts ...string) {
		t.Helper()
		w.same(t, code, append([]string{"preference"}, strings.Fields(line)...), texts...)
	}
	run(0, "list", "Nobody has said anything")
	run(0, "set ann off --channel email --tenant acme", "ann doesn't want: all by email.\n")
	run(0, "set ann on --channel email --workflow wf --tenant acme", "ann wants: workflow wf by email.\n")
	run(0, "set ann default --channel email --workflow wf --tenant acme", "ann doesn't want: workflow wf by email.\n")
	run(0, "set ben off", "ben doesn't want: all.\n")
	run(0, "quiet ann 22:00-07:00 --tenant acme", "ann has quiet hours: 22:00-07:00.\n")
	run(0, "quiet ann 00:00-24:00 --days sun,sat --zone Europe/Vienna --tenant acme", "ann has quiet hours: 00:00-24:00 sat sun (Europe/Vienna).\n")
	run(0, "list", "acme  ")
	run(0, "list --tenant acme --recipient ann --json", `"quiet_ends": "24:00"`)
	run(0, "list --tenant none --output yaml", "recipient_id: ben")
	run(0, "list --tenant globex --json", "[]")
	run(1, "set ann off --channel emial", `nothing reaches people by "emial"; there are: notification, email`)
	run(0, "set ann default --channel emial")
	run(2, "quiet ann 22:00", "are no hours")
	run(0, "quiet ann none --tenant acme", "there were 2.\n")
}
