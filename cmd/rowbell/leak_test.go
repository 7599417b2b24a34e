package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// lockedBuffer is written by a process, and read while it runs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// servesMetrics finds in a log in JSON where metrics and health are served; there is another
// listener, for pages.
var servesMetrics = regexp.MustCompile(`"what":"metrics and health","addr":"(127[^"]+)"`)

// plants are secrets that were planted, by where.
type plants map[string]string

// plant makes one that stands nowhere else.
func (p plants) plant(where string) string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	p[where] = hex.EncodeToString(b)
	return p[where]
}

// key plants one that is written in base64.
func (p plants) key(where string) string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	p[where] = base64.StdEncoding.EncodeToString(b)
	return p[where]
}

// forms are how a secret could be written down.
func forms(secret string) []string {
	list := []string{secret, hex.EncodeToString([]byte(secret)), url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))}
	if raw, err := base64.StdEncoding.DecodeString(secret); err == nil && len(raw) == 32 {
		list = append(list, hex.EncodeToString(raw))
	}
	return list
}

// within says which secrets stand in a text, but for those of these places.
func (p plants) within(text string, except ...string) []string {
	var found []string
	for where, secret := range p {
		if slices.Contains(except, where) {
			continue
		}
		if slices.ContainsFunc(forms(secret), func(form string) bool { return strings.Contains(text, form) }) {
			found = append(found, where)
		}
	}
	return found
}

// everything is all that stands in the tables and views of Rowbell's schema, by name.
func everything(t *testing.T, db *pgtest.Database) map[string]string {
	t.Helper()
	all := make(map[string]string)
	names := pgtest.One[[]string](t, db, `select array_agg(relname::text) from pg_class where relnamespace = 'rowbell'::regnamespace and relkind in ('r', 'p', 'v')`)
	for _, name := range names {
		all[name] = pgtest.One[string](t, db, fmt.Sprintf(`select coalesce(string_agg(t::text, E'\n'), '') from rowbell.%s t`, name))
	}
	return all
}

// Secrets that were planted everywhere are found in no log, table, metric, answer or
// command, although a receiver sends back all that it gets.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, `create table orders (id bigint generated always as identity primary key, tenant_id text not null, status text not null default 'new', total numeric not null default 0)`)
	p := plants{}
	received := make(chan string, 1000)
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL)
		_ = r.Header.Write(&b)
		b.Write(body)
		received <- b.String()
		for name, values := range r.Header {
			w.Header().Set("echo-"+name, strings.Join(values, ", "))
		}
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, b.String())
	}))
	t.Cleanup(echo.Close)

	source, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	source.User = url.UserPassword(source.User.Username(), p.plant("the source's password"))
	log := &lockedBuffer{}
	env := []string{
		"ROWBELL_SOURCE_URL=" + source.String(), "ROWBELL_SLOT=" + db.Name, "ROWBELL_OPS_LISTEN=127.0.0.1:0", "ROWBELL_LISTEN=127.0.0.1:0", "ROWBELL_EGRESS_ALLOW=127.0.0.0/8",
		"ROWBELL_SECRET_KEY=" + p.key("the key of secrets"), "ROWBELL_LOG_LEVEL=debug", "ROWBELL_LOG_FORMAT=json",
		"ROWBELL_SMTP_URL=smtp://mailer:" + p.plant("the mail server's password") + "@" + echoMail(t, received), "ROWBELL_MAIL_FROM=rowbell@shop.example",
		"ROWBELL_NATS_URL=nats://publisher:" + p.plant("the broker's password") + "@" + echoBroker(t, received),
	}
	if r := rowbell(t, env, "migrate"); r.code != 0 {
		t.Fatal(r.stderr)
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
	pgtest.Eventually(t, pgtest.Patience, "the worker to hold the slot", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from pg_replication_slots where slot_name = $1 and active)`, db.Name)
	})
	if r := rowbell(t, env, "capture", "orders"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	signing, header := "whsec_"+p.key("a webhook's secret"), p.plant("a header's secret")
	db.Exec(t, `insert into rowbell.secret (tenant_id, name, plain) values ('acme', 'crm', $1)`, "Bearer "+header)
	define := func(id, kind, config string) {
		t.Helper()
		db.Exec(t, `with d as (insert into rowbell.workflow_definition (id, tenant_id, name, status) values ($1, 'acme', $1, 'active')),
			t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ($1, 'orders', 'create'))
			insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ($1, $2, $3::jsonb)`, id, kind, config)
	}
	define("retries", "webhook", fmt.Sprintf(`{"url": "%s/in?key=%s", "secret": %q, "headers": {"authorization": {"ref": "crm"}}, "retry": ["10ms"]}`, echo.URL, p.plant("a URL's query"), signing))
	define("bad-secret", "webhook", fmt.Sprintf(`{"url": "%s/in", "secret": {"ref": "crm"}, "retry": []}`, echo.URL))
	define("no-secret", "webhook", fmt.Sprintf(`{"url": "%s/in", "secret": %q, "retry": []}`, echo.URL, p.plant("a secret that is none")))
	define("chats", "chat", fmt.Sprintf(`{"service": "telegram", "server": %q, "channel": "-1", "secret": %q, "text": "Order {{ new.id }}", "retry": []}`, echo.URL, p.plant("a bot's token")))
	define("hooks", "chat", fmt.Sprintf(`{"service": "mattermost", "secret": "%s/hooks/%s", "text": "Order {{ new.id }}", "retry": []}`, echo.URL, p.plant("a chat webhook's path")))
	define("publishes", "publish", `{"subject": "orders", "retry": []}`)
	define("mails", "email", `{"subject": "Order", "body": "It is there.", "retry": []}`)
	db.Exec(t, `insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('mails', 'user', 'ann@customers.example')`)
	pgtest.Eventually(t, pgtest.Patience, "secrets to be sealed", func() bool {
		return pgtest.One[bool](t, db, `select count(*) > 2 and bool_and(plain is null) from rowbell.secret`)
	})
	pgtest.Eventually(t, pgtest.Patience, "the workflows to be judged", func() bool {
		return pgtest.One[bool](t, db, `select count(*) >= 7 from rowbell.workflow_health`)
	})
	db.Exec(t, `insert into orders (tenant_id, total) select 'acme', i from generate_series(1, 3) i`)
	pgtest.Eventually(t, pgtest.Patience, "executions to fail", func() bool {
		return pgtest.One[int](t, db, `select count(*)::int from rowbell.workflow_log where status = 'failure'`) == 21
	})

	// They were used, so the test has something to find.
	sent := strings.Join(drain(received), "\n")
	for _, where := range []string{"a header's secret", "a URL's query", "the mail server's password", "a bot's token", "a chat webhook's path", "the broker's password"} {
		if !slices.Contains(p.within(sent), where) {
			t.Errorf("%s did not reach the receiver", where)
		}
	}
	if got := pgtest.One[string](t, db, `select string_agg(distinct response, '') from rowbell.delivery_done where response is not null`); !strings.Contains(got, "POST /in?key=***") {
		t.Errorf("the receiver's answer isn't kept: %.300s", got)
	}

	if got := pgtest.One[string](t, db, `select string_agg(distinct response, '') from rowbell.delivery_done where kind = 'email'`); !strings.Contains(got, "AUTH PLAIN ***") {
		t.Errorf("the mail server's answer isn't kept: %.300s", got)
	}

	if got := pgtest.One[string](t, db, `select string_agg(distinct response, '') from rowbell.delivery_done where kind = 'chat'`); !strings.Contains(got, "POST /bot***/sendMessage") || !strings.Contains(got, "POST ***") {
		t.Errorf("the chat services' answers aren't kept: %.600s", got)
	}
	if got := pgtest.One[string](t, db, `select string_agg(distinct reason, '') from rowbell.delivery_done where kind = 'publish'`); !strings.Contains(got, "NATS") {
		t.Errorf("the broker's refusal isn't kept: %.300s", got)
	}

	// What is shown once is nowhere later.
	shownOnce := func(where string, args ...string) {
		t.Helper()
		r := rowbell(t, env, args...)
		if r.code != 0 || len(r.stdout) < 60 {
			t.Fatalf("rowbell %s: %s", strings.Join(args, " "), r.stderr)
		}
		p[where] = strings.TrimSpace(r.stdout)
		if found := p.within(r.stdout+r.stderr, where); found != nil {
			t.Errorf("rowbell %s writes %s", strings.Join(args, " "), strings.Join(found, ", "))
		}
		p[where] = strings.Split(p[where], "\n")[len(strings.Split(p[where], "\n"))/2] // of PEM, the line with the key
	}
	shownOnce("an API key", "key", "create", "--role", "admin")
	shownOnce("a link's private key", "link", "add-key", "--role", "viewer")
	if r := rowbell(t, env, "member", "add", "ann", "--issuer", "https://login.example.com", "--role", "viewer"); r.code != 0 {
		t.Fatal(r.stderr)
	}

	for name, text := range everything(t, db) {
		// What a definition's URL holds is its author's, and stays in the definition.
		except := []string{}
		if slices.Contains([]string{"workflow_action", "workflow_version"}, name) {
			except = append(except, "a URL's query")
		}
		if found := p.within(text, except...); found != nil {
			t.Errorf("rowbell.%s holds %s", name, strings.Join(found, ", "))
		}
	}
	event := pgtest.One[string](t, db, `select min(id) from rowbell.workflow_event`)
	planted := write(t, "planted.yaml", fmt.Sprintf("id: retries\ntenant_id: acme\nstatus: active\ntriggers:\n  - {entity_type: orders, operation: create}\nactions:\n"+
		"  - {action_type: webhook, action_config: {url: https://example.com, secret: %q}}\n  - {action_type: chat, action_config: {service: mattermost, secret: https://chat.example.com/%s, text: x}}\n",
		"whsec_"+p.key("a webhook's secret in a file"), p.plant("a chat's secret in a file")))
	delivery := pgtest.One[string](t, db, `select min(delivery_id) from rowbell.delivery_attempt`)
	pgtest.Eventually(t, pgtest.Patience, "the destination to be noted", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from rowbell.endpoint where destination like '%/in')`)
	})
	endpoint := pgtest.One[string](t, db, `select min(id) from rowbell.endpoint where destination like '%/in'`)
	// What the worker writes is looked at below, the demo has a database of its own, and the
	// others show something once; two of them were called above.
	asked := []string{"run", "demo", "key create", "link add-key", "destination rotate-secret"}
	tail := watched(t, env, "tail", "--since", "1h", "--output", "json")
	for range 21 {
		if found := p.within(tail.line(t)); found != nil {
			t.Errorf("rowbell tail writes %s", strings.Join(found, ", "))
		}
	}
	_ = tail.interrupt(t)
	asked = append(asked, tailCommand.name)
	for _, args := range [][]string{
		{"check"},
		{"workflow", "list"},
		{"workflow", "show", "retries"},
		{"workflow", "show", "retries", "--json"},
		{"workflow", "versions", "retries"},
		{"workflow", "check", "no-secret"},
		{"workflow", "explain", event},
		{"workflow", "simulate", "retries", "--event", event},
		{"workflow", "diff", "retries"},
		{"workflow", "diff", planted},
		{"workflow", "apply", planted, "--dry-run"},
		{"workflow", "apply", planted, "--dry-run", "--json"},
		{"workflow", "import", planted, "--replace", "--dry-run", "--json"},
		{"workflow", "validate", planted},
		{"workflow", "test", planted, "--json"},
		{"workflow", "export", "retries", "chats", "hooks"},
		{"capture", "orders"},
		{"delivery", "list", "--status", "all"},
		{"delivery", "list", "--status", "all", "--json"},
		{"delivery", "show", delivery},
		{"delivery", "show", delivery, "--output", "json"},
		{"delivery", "show", delivery, "--output", "yaml"},
		{completeWord, "delivery", "retry", ""},
		{completeWord, "destination", "show", ""},
		{completeWord, "workflow", "show", ""},
		{"destination", "list", "--output", "json"},
		{"destination", "list", "--output", "nothing"},
		{"workflow", "show", "chats", "--json"},
		{"template", "preview", "--workflow", "chats", "--event", event},
		{"template", "preview", "--workflow", "hooks", "--event", event, "--json"},
		{"template", "preview", "--workflow", "retries", "--event", event},
		{"replay", "--workflow", "retries", "--since", "1h", "--status", "all", "--dry-run"},
		{"workflow", "statistics", "retries", "chats"},
		{"failure", "list", "--json"},
		{"failure", "list"},
		{completeWord, "failure", "dismiss", ""},
		{"failure", "dismiss", "nothing", "--note", "it is known"},
		{"failure", "list", "--dismissed"},
		{"failure", "restore", "nothing"},
		{"view", "save", "Failed", "--status", "failure"},
		{"view", "list", "--json"},
		{"view", "delete", "nothing"},
		{"delivery", "cancel", "--execution", event},
		{"replay", "list"},
		{"pause", "list"},
		{"pause", "--workflow", "retries", "--for", "1h"},
		{"pause", "list", "--json"},
		{"resume", "--workflow", "retries"},
		{"storm", "list", "--all"},
		{"secret", "status"},
		{"key", "list"},
		{"key", "list", "--json"},
		{"key", "revoke", p["an API key"] + "A"},
		{"link", "list"},
		{"link", "list", "--json"},
		{"member", "list", "--json"},
		{"audit", "list"},
		{"audit", "list", "--output", "json"},
		{"audit", "list", "--csv"},
		{"audit", "show", "retries@1"},
		{"audit", "show", "retries@1", "--json"},
		{"audit", "list", "--object", "workflow:retries", "--output", "yaml"},
		{"tenant", "list", "--json"},
		{"tenant", "weight", "acme", "2"},
		{"connection", "list"},
		{"connection", "list", "--json"},
		{"connection", "verify", "mail"},
		{"connection", "verify", "nats"},
		{"connection", "verify", "directory"},
		{"connection", "verify", "sign-in"},
		{"connection", "verify", "chat"},
		{"limits"},
		{"limits", "--json"},
		{"workflow", "depends", "orders"},
		{"workflow", "schema"},
		{"workflow", "export", "retries", "--into", t.TempDir()},
		{"workflow", "draft", "retries", planted},
		{"workflow", "show", "retries", "--draft"},
		{"workflow", "discard", "retries", "--yes"},
		{"workflow", "restore", "retries", "1"},
		{"workflow", "deactivate", "no-secret"},
		{"workflow", "activate", "no-secret"},
		{"workflow", "apply", planted, "--yes", "--json"},
		{"template", "set", "footer", write(t, "footer.liquid", "Bye.")},
		{"template", "list", "--json"},
		{"template", "show", "footer"},
		{"template", "delete", "footer", "--yes"},
		{"preference", "set", "ann", "off"},
		{"preference", "quiet", "ann", "22:00-07:00"},
		{"preference", "list", "--json"},
		{"destination", "show", endpoint},
		{"destination", "disable", endpoint},
		{"destination", "enable", endpoint},
		{"delivery", "retry", delivery},
		{"delivery", "cancel", delivery},
		{"replay", "show", "1"},
		{"replay", "cancel", "1"},
		{"storm", "release", "retries"},
		{"storm", "discard", "retries"},
		{"link", "create", "ann", "--key", planted, "--role", "viewer"},
		{"link", "revoke", "nothing"},
		{"member", "add", "bea", "--role", "viewer", "--issuer", "https://login.example.com"},
		{"member", "remove", "nothing"},
		{"secret", "rotate"},
		{"migrate"},
		{"resync"},
		{"adopt"},
		{"uninstall"},
		{"version"},
		{"completion", "bash"},
		{"tenant", "delete", "acme"},
		{"erase", "row", "orders", "1", "--yes", "--json"},
		{"erase", "person", "ann@customers.example", "--yes", "--json"},
		{"tenant", "delete", "acme", "--yes", "--json"},
	} {
		asked = append(asked, args[0], strings.Join(args[:min(2, len(args))], " "))
		r := rowbell(t, env, args...)
		if strings.Contains(r.stderr, "is not a command") {
			t.Errorf("rowbell %s: %s", strings.Join(args, " "), r.stderr)
		}
		except := []string{}
		if args[0] == "workflow" && slices.Contains([]string{"show", "export"}, args[1]) || slices.Contains(args, planted) { // the old definition's
			except = append(except, "a URL's query")
		}
		if found := p.within(r.stdout+r.stderr, except...); found != nil {
			t.Errorf("rowbell %s writes %s", strings.Join(args, " "), strings.Join(found, ", "))
		}
	}
	for _, c := range every() {
		if !slices.Contains(asked, c.name) {
			t.Errorf("rowbell %s isn't called here, to see what it writes", c.name)
		}
	}
	ops := servesMetrics.FindStringSubmatch(log.String())
	if ops == nil {
		t.Fatalf("where metrics are isn't in the log:\n%.1000s", log)
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/cmdline"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ops[1]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if found := p.within(string(body)); found != nil {
			t.Errorf("%s answers with %s", path, strings.Join(found, ", "))
		}
	}
	_ = worker.Process.Signal(syscall.SIGTERM)
	_ = worker.Wait()
	if found := p.within(log.String()); found != nil {
		t.Errorf("the log holds %s", strings.Join(found, ", "))
	}
}

func drain(c chan string) []string {
	var list []string
	for {
		select {
		case s := <-c:
			list = append(list, s)
		default:
			return list
		}
	}
}

// echoMail starts a mail server that refuses each sender with all that it was told, and
// returns its address.
func echoMail(t *testing.T, received chan<- string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_, _ = io.WriteString(c, "220 mx ESMTP\r\n")
				told := []string{}
				for lines := bufio.NewScanner(c); lines.Scan(); {
					line := lines.Text()
					told = append(told, line)
					answer := "250 ok"
					switch verb, rest, _ := strings.Cut(line, " "); verb {
					case "EHLO":
						answer = "250-mx\r\n250 AUTH PLAIN"
					case "AUTH":
						answer = "235 ok"
						if plain, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN ")); err == nil {
							received <- string(plain)
							told = append(told, strings.Split(string(plain), "\x00")...)
						}
					case "MAIL":
						answer = "550-" + strings.Join(told, "\r\n550-") + "\r\n550 no"
					}
					_, _ = io.WriteString(c, answer+"\r\n")
				}
			}()
		}
	}()
	return l.Addr().String()
}

// echoBroker starts what says that it is a NATS server, refuses each client with all that it
// was told, and returns its address. (NATS documentation: Client Protocol.)
func echoBroker(t *testing.T, received chan<- string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_, _ = io.WriteString(c, `INFO {"server_id":"echo","version":"2.12.0","proto":1,"headers":true,"jetstream":true,"auth_required":true,"max_payload":1048576}`+"\r\n")
				for lines := bufio.NewScanner(c); lines.Scan(); {
					if told, ok := strings.CutPrefix(lines.Text(), "CONNECT "); ok {
						received <- told
						_, _ = io.WriteString(c, "-ERR 'Authorization Violation: "+told+"'\r\n")
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}
