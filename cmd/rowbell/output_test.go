package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// every is each command that can be called, with its whole name.
func every() []command {
	var all []command
	for _, c := range commands() {
		if c.run != nil {
			all = append(all, c)
		}
		for _, s := range c.sub {
			s.name = c.name + " " + s.name
			all = append(all, s)
		}
	}
	return all
}

// freeform is what people or the application have named: its keys are theirs.
var freeform = []string{"data", "settings", "field_conditions", "condition_config", "action_config", "document", "draft", "templates", "before", "after", "detail"}

// checkData says what is wrong with names and values of what a command has written.
func checkData(where string, v any) (problems []string) {
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			problems = append(problems, checkData(fmt.Sprintf("%s[%d]", where, i), item)...)
		}
	case map[string]any:
		for key, value := range v {
			at := where + "." + key
			if !regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`).MatchString(key) {
				problems = append(problems, at+" is not in snake_case")
			}
			text, isText := value.(string)
			if (key == "id" || strings.HasSuffix(key, "_id")) && value != nil && !isText {
				problems = append(problems, fmt.Sprintf("%s is no text: %v", at, value))
			}
			if strings.HasSuffix(key, "_at") || key == "since" || key == "until" {
				if _, err := time.Parse(time.RFC3339Nano, text); value != nil && (err != nil || !strings.HasSuffix(text, "Z")) {
					problems = append(problems, fmt.Sprintf("%s is no time in UTC: %v", at, value))
				}
			}
			if !slices.Contains(freeform, key) {
				problems = append(problems, checkData(at, value)...)
			}
		}
	}
	return problems
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Errorf("%v in %s", err, text)
	}
	return v
}

// busyShop is a shop in which deliveries have failed, a storm is held, and a replay has
// run, and how commands are called there.
func busyShop(t *testing.T) (db *pgtest.Database, env []string) {
	t.Helper()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }))
	t.Cleanup(receiver.Close)
	db, _ = shop(t)
	env = []string{
		"ROWBELL_SOURCE_URL=" + db.URL, "ROWBELL_SLOT=" + pgtest.Slot(t, db), "ROWBELL_LISTEN=127.0.0.1:0", "ROWBELL_OPS_LISTEN=127.0.0.1:0",
		"ROWBELL_EGRESS_ALLOW=127.0.0.0/8", "ROWBELL_SECRET_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "TZ=Asia/Tokyo", "LANG=de_AT.UTF-8",
	}
	db.Exec(t, `create table stock (sku text primary key, tenant_id text not null);
		insert into rowbell.secret (tenant_id, name, plain) values ('acme', 'hook', 'whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE=')`)
	db.Exec(t, `begin;
		insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values
			('hook', 'acme', 'Tell the CRM', 'active', '{}'), ('restocked', 'acme', 'Restocked', 'active', '{"storm": {"transaction": 2}}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('hook', 'orders', 'create'), ('restocked', 'stock', 'create');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
			('hook', 'webhook', jsonb_build_object('url', '`+receiver.URL+`/hook'::text, 'secret', '{"ref": "hook"}'::jsonb)),
			('restocked', 'webhook', jsonb_build_object('url', '`+receiver.URL+`/stock'::text));
		commit`)
	worker := program(t, env, "run")
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = worker.Process.Signal(os.Interrupt); _ = worker.Wait() })
	eventually := func(what, sql string) {
		t.Helper()
		pgtest.Eventually(t, pgtest.Patience, what, func() bool { return pgtest.One[bool](t, db, sql) })
	}
	eventually("tables to be captured", `select count(*) = 2 from rowbell.applied where kind = 'table'`)
	db.Exec(t, `insert into orders (id, tenant_id, total, note) values (41, 'acme', 2000, '漢字 🔔'), (42, 'acme', 12345678901234567890.123, 'two
lines')`)
	db.Exec(t, `insert into stock select 'sku-' || n, 'acme' from generate_series(1, 5000) n`)
	eventually("deliveries to die", `select count(*) = 2 from rowbell.workflow_log where status = 'failure' and workflow_id = 'hook'`)
	eventually("the destination to be noted", `select exists (select from rowbell.endpoint where destination like '%/hook')`)
	eventually("the storm to be held", `select exists (select from rowbell.big_transaction where status = 'held' and stream < 0)`)
	return db, env
}

// documentedFields is which fields the manual says of each command.
func documentedFields(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile(cliPage)
	if err != nil {
		t.Fatal(err)
	}
	fields := make(map[string][]string)
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z -]+)` \\| [a-z, ]+ \\| (.*) \\|$").FindAllStringSubmatch(string(page), -1) {
		for _, f := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(m[2], -1) {
			fields[m[1]] = append(append(fields[m[1]], f[1]), fields[f[1]]...) // as another command
		}
	}
	return fields
}

// keysOf are the fields of what is shown, or of what is listed.
func keysOf(v any) []string {
	var keys []string
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			keys = append(keys, keysOf(item)...)
		}
	case map[string]any:
		keys = slices.AppendSeq(keys, maps.Keys(v))
	}
	return keys
}

// outputOf runs a command; one that doesn't end by itself, until it has shown something.
func outputOf(t *testing.T, env []string, c command, words []string) result {
	t.Helper()
	if c.name != tailCommand.name {
		return rowbell(t, env, words...)
	}
	p := watched(t, env, words...)
	text := p.line(t) + "\n"
	if text == "---\n" { // a document, up to the next one
		for line := p.line(t); line != "---"; line = p.line(t) {
			text += line + "\n"
		}
	}
	return result{stdout: text, code: p.interrupt(t)}
}

// Whatever a command shows, programs can read it: in each format, from each command.
func TestOutput(t *testing.T) {
	t.Parallel()
	db, env := busyShop(t)
	wants(t, rowbell(t, env, "template", "set", "footer", write(t, "footer.liquid", "Bye.")), 0)
	wants(t, rowbell(t, env, "preference", "set", "ann", "off", "--tenant", "acme"), 0)
	wants(t, rowbell(t, env, "preference", "quiet", "ann", "22:00-07:00", "--tenant", "acme"), 0)
	edited := rowbell(t, env, "workflow", "show", "big", "--yaml")
	wants(t, rowbell(t, env, "workflow", "draft", "big", write(t, "big.yaml", strings.Replace(edited.stdout, "1000", "5000", 1))), 0)
	r := rowbell(t, env, "replay", "--workflow", "hook", "--since", "1h", "--yes", "--output", "json")
	if replay, ok := decoded(t, r.stdout).(map[string]any); !ok || replay["id"] != "1" || r.code != 0 {
		t.Errorf("replay writes %s%s", r.stdout, r.stderr)
	}
	waited := rowbell(t, env, "replay", "show", "1", "--wait", "--output", "json")
	if replay, ok := decoded(t, waited.stdout).(map[string]any); !ok || replay["status"] != "done" || waited.code != 0 {
		t.Errorf("replay show --wait writes %s%s", waited.stdout, waited.stderr)
	}
	wants(t, rowbell(t, env, "pause", "--workflow", "big", "--for", "1h"), 0)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name) values ('theirs', 'leaving', 'Of a tenant that goes')`)
	changed := write(t, "big.yaml", strings.Replace(edited.stdout, "1000", "6000", 1))
	files := directory(t, map[string]string{"urgent.yaml": urgentYAML, "templates.yaml": signOffYAML})
	delivery := pgtest.One[string](t, db, `select id from rowbell.delivery_done where workflow_id = 'hook' order by id limit 1`)
	endpoint := pgtest.One[string](t, db, `select id from rowbell.endpoint where destination like '%/hook'`)

	// How each is called, so that it has something to show.
	calls := map[string][]string{
		"check":                     {},
		"version":                   {},
		"workflow list":             {},
		"workflow show":             {"big"},
		"workflow statistics":       {"hook", "big"},
		"workflow check":            {},
		"workflow versions":         {"big"},
		"workflow diff":             {"big"},
		"workflow depends":          {"orders.total"},
		"workflow simulate":         {"big", "--row", "orders", "42"},
		"workflow explain":          {"orders", "42"},
		"template list":             {},
		"template show":             {"footer"},
		"template preview":          {"--workflow", "big", "--row", "orders", "42"},
		"preference list":           {},
		"destination list":          {},
		"destination show":          {endpoint},
		"destination rotate-secret": {endpoint},
		"delivery list":             {"--status", "all"},
		"delivery show":             {delivery},
		"failure list":              {},
		"view save":                 {"Failed today", "--status", "failure", "--within", "day"},
		"view list":                 {},
		"replay":                    {"--workflow", "hook", "--since", "1h", "--status", "all", "--dry-run"},
		"replay list":               {},
		"replay show":               {"1"},
		"storm list":                {},
		"secret status":             {},
		"connection list":           {},
		"connection verify":         {"chat"},
		"limits":                    {},
		"workflow validate":         {files},
		"workflow test":             {files},
		"workflow apply":            {changed, "--dry-run"},
		"workflow import":           {changed, "--replace", "--dry-run"},
		"pause list":                {},
		"tail":                      {"--since", "1h"},
		"key create":                {"--role", "admin", "--name", "laptop"},
		"key list":                  {},
		"link list":                 {},
		"member add":                {"ann", "--issuer", "https://login.example.com", "--role", "viewer"},
		"member list":               {},
		"audit list":                {},
		"audit show":                {"big@1"},
		"tenant list":               {},
		"tenant delete":             {"leaving", "--yes"},
		"erase row":                 {"stock", "sku-1", "--yes"},
		"erase person":              {"ann", "--yes"},
	}
	wants(t, rowbell(t, env, "link", "add-key", "--role", "viewer"), 0)
	wants(t, rowbell(t, env, "view", "save", "Failed", "--status", "failure"), 0)
	once := []string{"destination rotate-secret", "connection verify", "key create", "member add", "tenant delete", "erase row", "erase person"} // the second time there is something else to show
	lists := []string{
		"workflow versions", "workflow statistics", "workflow check", "workflow explain", "workflow validate", "workflow test", "workflow apply", "workflow import", "destination rotate-secret",
	}
	documented := documentedFields(t)
	for _, c := range every() {
		if !c.shows() {
			continue
		}
		args, known := calls[c.name]
		if !known {
			t.Errorf("rowbell %s has --output, but this test doesn't know how to call it", c.name)
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			words := append(strings.Fields(c.name), args...)
			var data [2]any
			for i, format := range []string{"json", "yaml"} {
				if slices.Contains(once, c.name) && i == 1 {
					continue
				}
				r := outputOf(t, env, c, append(words, "--output", format))
				switch {
				case r.code == exitOK:
				case r.code == exitError && (c.name == "check" || c.name == "workflow check"):
				case r.code == exitDifferent && slices.Contains(words, "--dry-run"):
				default:
					t.Fatalf("--output %s: exit code %d, %s", format, r.code, r.stderr)
				}
				if r.stderr != "" {
					t.Errorf("--output %s tells besides: %s", format, r.stderr)
				}
				if strings.Contains(r.stdout, "\x1b") {
					t.Errorf("--output %s has colours", format)
				}
				text := []byte(r.stdout)
				if format == "yaml" {
					if json.Valid(text) {
						t.Errorf("--output yaml is JSON:\n%s", r.stdout)
					}
					var v any
					if err := yaml.Unmarshal(text, &v); err != nil {
						t.Fatalf("%v in\n%s", err, r.stdout)
					}
					var err error
					if text, err = json.Marshal(v); err != nil {
						t.Fatal(err)
					}
				}
				data[i] = decoded(t, string(text))
			}
			for _, key := range keysOf(data[0]) {
				if !slices.Contains(documented[c.name], key) {
					t.Errorf("the field %s is not in %s", key, cliPage)
				}
			}
			if problems := checkData("", data[0]); problems != nil {
				t.Error(strings.Join(problems, "\n"))
			}
			if _, isList := data[0].([]any); isList != (strings.HasSuffix(c.name, "list") || slices.Contains(lists, c.name)) {
				t.Errorf("a list: %t", isList)
			}
			// What is still on its way changes between two calls.
			if c.name != "check" && data[1] != nil && !reflect.DeepEqual(data[0], data[1]) {
				t.Errorf("JSON and YAML differ:\n%v\n%v", data[0], data[1])
			}
			r := rowbell(t, env, append(words, "--no-such-option", "--output=json")...)
			problem, _ := decoded(t, r.stderr).(map[string]any)
			if r.code != exitUsage || r.stdout != "" || problem["error"] != "unknown option --no-such-option." || problem["mend"] != "See rowbell "+c.name+" --help" {
				t.Errorf("an error: exit code %d, %s", r.code, r.stderr)
			}
		})
	}
	// Digits, characters and lines come through both.
	for _, format := range []string{"json", "yaml"} {
		r := rowbell(t, env, "delivery", "show", delivery, "--output", format)
		other := rowbell(t, env, "workflow", "explain", "orders", "42", "--output", format)
		if !strings.Contains(r.stdout, "漢字 🔔") {
			t.Errorf("the text isn't there:\n%s", r.stdout)
		}
		last := rowbell(t, env, "delivery", "list", "--row", "orders", "42", "--json")
		list, _ := decoded(t, last.stdout).([]any)
		if len(list) == 0 {
			t.Fatalf("no delivery of order 42: %s%s", last.stdout, other.stderr)
		}
		id, _ := list[0].(map[string]any)["id"].(string)
		if r = rowbell(t, env, "delivery", "show", id, "--output", format); !strings.Contains(r.stdout, "12345678901234567890.123") {
			t.Errorf("digits are lost:\n%s", r.stdout)
		}
	}
}

// A list that has nothing in it is [], for programs.
func TestEmptyOutput(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL}
	wants(t, rowbell(t, env, "migrate"), 0)
	n := 0
	for _, c := range every() {
		if !c.shows() || !strings.HasSuffix(c.name, " list") && c.name != "workflow check" && c.name != "workflow test" {
			continue
		}
		if c.name == "connection list" {
			continue // which has all there could be
		}
		n++
		for _, format := range []string{"json", "yaml"} {
			if r := rowbell(t, env, append(strings.Fields(c.name), "--output", format)...); r.code != 0 || r.stdout != "[]\n" || r.stderr != "" {
				t.Errorf("rowbell %s --output %s: %d, %q, %q", c.name, format, r.code, r.stdout, r.stderr)
			}
		}
	}
	if n < 14 {
		t.Errorf("only %d commands list something", n)
	}
}

func TestFilled(t *testing.T) {
	t.Parallel()
	type Inner struct {
		List []string        `json:"list"`
		Raw  json.RawMessage `json:"raw"`
		Left []int           `json:"left,omitempty"`
		At   time.Time       `json:"at"`
	}
	type outer struct {
		Inner
		Some []Inner  `json:"some"`
		One  *Inner   `json:"one"`
		None *Inner   `json:"none"`
		Any  any      `json:"any"`
		Text []byte   `json:"text"`
		hide []string //nolint:unused // it must stay as it is
	}
	was := outer{Some: []Inner{{}}, One: &Inner{}, Any: []int(nil)}
	got, err := marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, got); err != nil {
		t.Fatal(err)
	}
	const empty = `"list":[],"raw":null,"at":"0001-01-01T00:00:00Z"`
	if want := `{` + empty + `,"some":[{` + empty + `}],"one":{` + empty + `},"none":null,"any":[],"text":null}`; b.String() != want {
		t.Errorf("%s, want\n%s", b.String(), want)
	}
	if was.List != nil || was.One.List != nil || was.Some[0].List != nil {
		t.Error("it has changed what it was given")
	}
}

// Errors in how rowbell was called, and others, are objects for programs.
func TestErrorOutput(t *testing.T) {
	t.Parallel()
	env := []string{"ROWBELL_SOURCE_URL=postgres://rowbell:hunter2@127.0.0.1:1/shop"}
	r := rowbell(t, env, "workflow", "list", "--output", "json")
	problem, _ := decoded(t, r.stderr).(map[string]any)
	if text, _ := problem["error"].(string); r.code != exitError || !strings.Contains(text, "nothing answers at 127.0.0.1:1") {
		t.Errorf("%d, %s", r.code, r.stderr)
	}
	if mend, _ := problem["mend"].(string); !strings.HasPrefix(mend, "Check host and port in the URL") {
		t.Errorf("the mend is %s", r.stderr)
	}
	wants(t, rowbell(t, env, "workflow", "list", "--output", "yaml"), exitError, "error: ", "\nmend: Check host")
	wants(t, rowbell(t, env, "workflow", "list", "--output", "xml"), exitUsage, `rowbell: there is no output "xml"; it is table, json or yaml`)
	wants(t, rowbell(t, env, "workflow", "list", "--json", "--output", "yaml"), exitUsage, "either --json or --output yaml, not both")
	wants(t, rowbell(t, env, "workflow", "list", "--color", "sometimes"), exitUsage, `--color is always, never or auto, not "sometimes"`)
	wants(t, rowbell(t, env, "workflow", "activate", "w", "--output", "json"), exitUsage, "unknown option --output.")
}
