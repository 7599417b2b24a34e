package receivers_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

func manual(t *testing.T) string {
	t.Helper()
	return readFile(t, "../../docs/receiving-webhooks.md")
}

// blocks returns what stands between the fences of a language.
func blocks(text, language string) []string {
	var list []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}

// What the manual shows are the files that the other tests run.
func TestManualShowsTheReceivers(t *testing.T) {
	t.Parallel()
	text := manual(t)
	for language, file := range map[string]string{
		"go":     "go/main.go",
		"python": "python/receiver.py",
		"js":     "javascript/receiver.js",
	} {
		shown := blocks(text, language)
		if len(shown) != 1 {
			t.Errorf("the manual has %d blocks in %s, want 1", len(shown), language)
			continue
		}
		if shown[0] != readFile(t, file) {
			t.Errorf("the manual's block in %s is not examples/receivers/%s; copy it there", language, file)
		}
	}
}

// The test vector is right by the reference library, and by what the manual says of the
// signature.
func TestManualVector(t *testing.T) {
	t.Parallel()
	text := blocks(manual(t), "text")
	if len(text) != 1 {
		t.Fatalf("the manual has %d vectors", len(text))
	}
	vector := make(map[string]string)
	for line := range strings.Lines(text[0]) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		vector[name] = strings.TrimSpace(value)
	}
	seconds, err := strconv.ParseInt(vector["timestamp"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	webhook, err := standardwebhooks.NewWebhook(vector["secret"])
	if err != nil {
		t.Fatal(err)
	}
	signature, err := webhook.Sign(vector["id"], time.Unix(seconds, 0), []byte(vector["body"]))
	if err != nil {
		t.Fatal(err)
	}
	if signature != vector["signature"] {
		t.Errorf("the reference library signs %s, the manual says %s", signature, vector["signature"])
	}
	if byHand := signByHand(t, vector["secret"], vector["id"], seconds, vector["body"]); byHand != vector["signature"] {
		t.Errorf("by hand it is %s, the manual says %s", byHand, vector["signature"])
	}
}

// The schedule of the manual is the one that webhooks have.
func TestManualSchedule(t *testing.T) {
	t.Parallel()
	var got []time.Duration
	var total time.Duration
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \| (\d+ (?:s|min|h)) \| (.+?) \|$`).FindAllStringSubmatch(manual(t), -1) {
		wait := duration(t, m[2])
		got = append(got, wait)
		total += wait
		if since := duration(t, m[3]); since != total && since != total.Truncate(time.Minute) {
			t.Errorf("attempt %s is %v after the first, the manual says %s", m[1], total, m[3])
		}
		if m[1] != strconv.Itoa(len(got)+1) {
			t.Errorf("attempt %s stands in line %d", m[1], len(got))
		}
	}
	if !slices.Equal(got, actions.StandardWebhooks) {
		t.Errorf("the manual's waits are %v, those of webhooks %v", got, actions.StandardWebhooks)
	}
}

// duration reads 2 h 35 min.
func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(strings.NewReplacer(" ", "", "min", "m").Replace(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The body of the manual has the keys of the contract, and no others.
func TestManualBody(t *testing.T) {
	t.Parallel()
	text := blocks(manual(t), "json")
	if len(text) != 1 {
		t.Fatalf("the manual has %d bodies", len(text))
	}
	type object map[string]json.RawMessage
	var body, data, event, workflow object
	for _, part := range []struct {
		text string
		into *object
		want string
	}{
		{text[0], &body, "data timestamp type"},
		{"data", &data, "actor chain changed event new old unavailable workflow"},
		{"event", &event, "id lsn operation table tenant_id"},
		{"workflow", &workflow, "id name version"},
	} {
		source := []byte(part.text)
		if part.text == "data" {
			source = body["data"]
		} else if data != nil {
			source = data[part.text]
		}
		if err := json.Unmarshal(source, part.into); err != nil {
			t.Fatal(err)
		}
		var keys []string
		for key := range *part.into {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		if got := strings.Join(keys, " "); got != part.want {
			t.Errorf("keys are %q, want %q", got, part.want)
		}
	}
}

// The values in the manual's table are what Rowbell makes of PostgreSQL's text.
func TestManualValues(t *testing.T) {
	t.Parallel()
	text := manual(t)
	for _, c := range []struct {
		row  string // its first cell begins with
		of   change.Type
		text string
	}{
		{"`boolean`", change.Type{Kind: change.Bool}, "t"},
		{"`smallint`", change.Type{Kind: change.Int}, "9007199254740993"},
		{"`numeric`", change.Type{Kind: change.Number}, "1200.50"},
		{"`real`", change.Type{Kind: change.Float}, "0.1"},
		{"NaN", change.Type{Kind: change.Float}, "NaN"},
		{"`timestamptz`", change.Type{Kind: change.TimestampTZ}, "2026-11-23 17:08:12.340577+01"},
		{"`timestamp`", change.Type{Kind: change.Timestamp}, "2026-11-23 16:08:12.340577"},
		{"`date`", change.Type{Kind: change.Date}, "2026-11-23"},
		{"`bytea`", change.Type{Kind: change.Bytea}, `\xdeadbeef`},
		{"`json`", change.Type{Kind: change.JSON}, `{"tier": "gold"}`},
		{"arrays", change.Type{Kind: change.Array, Elem: change.Int}, "{1,NULL,3}"},
		{"all others", change.Type{Kind: change.UUID}, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
	} {
		m := regexp.MustCompile("(?m)^\\| " + regexp.QuoteMeta(c.row) + ".*\\| `(.*)` \\|$").FindStringSubmatch(text)
		if m == nil {
			t.Errorf("the manual has no example for %s", c.row)
			continue
		}
		if got := string(change.AppendJSON(nil, c.of, []byte(c.text))); got != m[1] {
			t.Errorf("%s: %s becomes %s, the manual says %s", c.row, c.text, got, m[1])
		}
	}
}

// The manual's SQL runs, on what the manual says it is about.
func TestManualSQL(t *testing.T) {
	t.Parallel()
	sql := blocks(manual(t), "sql")
	if len(sql) != 4 {
		t.Fatalf("the manual has %d blocks of SQL", len(sql))
	}
	forget, newer, workflow, look := sql[0], sql[1], sql[2], sql[3]

	d := pgtest.DB(t)
	d.Exec(t, `create table webhook_message (id text primary key, received_at timestamptz not null default now());
		insert into webhook_message values ('new', now()), ('old', now() - interval '8 days')`)
	d.Exec(t, forget)
	if left := pgtest.Query[string](t, d, "select id from webhook_message"); !slices.Equal(left, []string{"new"}) {
		t.Errorf("these ids are left: %q", left)
	}

	d.Exec(t, `create table order_copy (id bigint primary key, status text, lsn pg_lsn, event_id text);
		insert into order_copy values (42, 'approved', '0/A0', '01B')`)
	for _, c := range []struct {
		lsn, event string
		want       int64
	}{
		{"0/A0", "01B", 0}, // the same again
		{"0/A0", "01A", 0},
		{"0/9F", "01C", 0},
		{"0/A0", "01C", 1},
		{"0/100", "01A", 1}, // as text it would be less
		{"1/0", "01A", 1},
	} {
		if n := d.Exec(t, newer, 42, "shipped", c.lsn, c.event).RowsAffected(); n != c.want {
			t.Errorf("%s %s changes %d rows, want %d", c.lsn, c.event, n, c.want)
		}
	}

	if err := store.Migrate(t.Context(), d.URL, d.URL); err != nil {
		t.Fatal(err)
	}
	d.Exec(t, `create table orders (id bigint generated always as identity, tenant_id text, total numeric);
		insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('large-order', 'acme', 'Large order', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('large-order', 'orders', 'create')`)
	d.Exec(t, workflow)
	if config := d.QueryString(t, "select action_config::text from rowbell.workflow_action"); strings.Contains(config, "whsec_") {
		t.Errorf("the secret stays in %s", config)
	}
	d.Exec(t, look)
}

// The lock file pins each package by its hash, and names no registry: npm takes the one
// that it is set up for.
func TestLockFileNamesNoRegistry(t *testing.T) {
	t.Parallel()
	lock := readFile(t, "javascript/package-lock.json")
	if strings.Contains(lock, `"resolved"`) || strings.Contains(lock, "://") {
		t.Error("package-lock.json has addresses; make it with the .npmrc beside it")
	}
	if !strings.Contains(lock, `"integrity"`) {
		t.Error("package-lock.json has no hashes")
	}
}
