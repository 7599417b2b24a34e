package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/egress"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, allow ...string) *egress.Client {
	t.Helper()
	var cfg egress.Config
	for _, a := range allow {
		cfg.Allow = append(cfg.Allow, netip.MustParsePrefix(a))
	}
	c, err := egress.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const loopback = "127.0.0.0/8"

func delivery(secrets map[string]string) *actions.Delivery {
	return &actions.Delivery{
		ID: "01JX-2_0", Attempt: 1,
		Event: &workflow.Event{
			ID: "01JX", Table: "orders", Op: change.Update, TenantID: "acme", CommittedAt: time.Date(2026, 11, 5, 9, 7, 3, 0, time.UTC),
			Data: []byte(`{"new": {"id": 7, "name": "a<b> & @here *x*", "empty": null, "total": 19.90}, "old": null, "changed": [], "unavailable": [], "actor": null}`),
		},
		Workflow: actions.Workflow{ID: "wf", Name: "Big orders", Version: 3, TenantID: "acme"},
		Secret: func(_ context.Context, name string) (string, error) {
			if s, ok := secrets[name]; ok {
				return s, nil
			}
			return "", errors.New("it is not there")
		},
	}
}

func parse(t *testing.T, client *egress.Client, config map[string]any) actions.Runner {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Kind(client).Parse(text, actions.Texts{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// recording is what a vendor documents: a request and answers, each with what it means.
type recording struct {
	Pages          []string // of the vendor's documentation
	Text           string   // the template of the text
	Token, Channel string   // of bots
	Method, Path   string
	Request        any
	Form           map[string][]any // instead: what is sent as a form
	Answers        []struct {
		Status  int
		Headers map[string]string
		Body    string
		Want    string // ok, retry, busy, permanent
		Wait    string
		Says    string
	}
}

// Each service gets what its vendor documents, and what it answers is understood. The
// counterpart replays testdata, which names the vendors' pages.
func TestServices(t *testing.T) {
	t.Parallel()
	for i := range services {
		s := &services[i]
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(filepath.Join("testdata", s.name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var rec recording
			if err := json.Unmarshal(data, &rec); err != nil {
				t.Fatal(err)
			}
			if len(rec.Pages) == 0 || len(rec.Answers) < 5 {
				t.Fatalf("%d pages, %d answers", len(rec.Pages), len(rec.Answers))
			}
			next := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				rec.check(t, r, body)
				a := rec.Answers[next]
				for name, value := range a.Headers {
					w.Header().Set(name, value)
				}
				if a.Status/100 == 3 {
					w.Header().Set("Location", "/elsewhere")
				}
				w.WriteHeader(a.Status)
				_, _ = io.WriteString(w, a.Body)
			}))
			t.Cleanup(server.Close)
			config := map[string]any{"service": s.name, "title": "Order {{ new.id }}\n of {{ new.name }}", "text": rec.Text, "secret": map[string]any{"ref": "key"}}
			secret := server.URL + rec.Path
			if rec.Token != "" {
				config["channel"], config["server"], secret = rec.Channel, server.URL, rec.Token
			}
			r := parse(t, newClient(t, loopback), config)
			for i, a := range rec.Answers {
				next = i
				res, err := r.Run(t.Context(), delivery(map[string]string{"key": secret + "\n"}))
				if res.Code != a.Status || !utf8.ValidString(res.Response) {
					t.Errorf("%d %s: the result is %+v", a.Status, a.Body, res)
				}
				e, _ := errors.AsType[*actions.Error](err)
				got := "ok"
				switch {
				case err == nil:
				case e == nil:
					t.Fatalf("%d %s: %v", a.Status, a.Body, err)
				case e.Permanent:
					got = "permanent"
				case e.Busy:
					got = "busy"
				default:
					got = "retry"
				}
				wait := time.Duration(0)
				if a.Wait != "" {
					if wait, err = time.ParseDuration(a.Wait); err != nil {
						t.Fatal(err)
					}
				}
				if got != a.Want || e != nil && e.RetryAfter != wait {
					t.Errorf("%d %s is %s, %+v; want %s, %s", a.Status, a.Body, got, e, a.Want, a.Wait)
				}
				if e != nil && (!strings.Contains(e.Error(), a.Says) || !strings.HasPrefix(e.Error(), s.title+" answered "+fmt.Sprint(a.Status)) || strings.Contains(strings.ToLower(e.Error()), "planted")) {
					t.Errorf("%d %s says %v; want %s", a.Status, a.Body, e, a.Says)
				}
			}
		})
	}
}

// check compares a request with the recorded one.
func (rec *recording) check(t *testing.T, r *http.Request, body []byte) {
	t.Helper()
	method := "POST"
	if rec.Method != "" {
		method = rec.Method
	}
	if r.Method != method || r.RequestURI != rec.Path || r.Header.Get("Idempotency-Key") != "01JX-2_0" {
		t.Errorf("the request is %s %s with %v; want %s %s", r.Method, r.RequestURI, r.Header, method, rec.Path)
	}
	if rec.Token != "" && !strings.Contains(rec.Path, rec.Token) && r.Header.Get("Authorization") != "Bearer "+rec.Token && !strings.Contains(string(body), "token="+rec.Token) {
		t.Errorf("the token is not in %v, %s", r.Header, body)
	}
	if rec.Form == nil {
		var got any
		if err := json.Unmarshal(body, &got); err != nil || !reflect.DeepEqual(got, rec.Request) {
			want, _ := json.Marshal(rec.Request)
			t.Errorf("%v; the body is\n%s, want\n%s", err, body, want)
		}
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		t.Error(err)
	}
	for key, want := range rec.Form {
		var got any = form.Get(key)
		if key == "blocks" {
			if err := json.Unmarshal([]byte(form.Get(key)), &got); err != nil {
				t.Error(err)
			}
		}
		if !reflect.DeepEqual(got, want[0]) {
			t.Errorf("%s is %v, want %v", key, got, want[0])
		}
	}
}

// Nothing is called that an operator has not allowed, whatever the URL is and wherever a
// service's server is said to be.
func TestGuard(t *testing.T) {
	t.Parallel()
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(server.Close)
	client := newClient(t)
	for _, to := range []string{
		server.URL, strings.Replace(server.URL, "http:", "https:", 1), "https://169.254.169.254/latest", "https://[::ffff:10.0.0.1]/x", "https://localhost/x",
	} {
		for i := range services {
			config := map[string]any{"service": services[i].name, "text": "x", "secret": map[string]any{"ref": "key"}}
			secret := to + "/planted-token"
			if services[i].channel != "" {
				config["channel"], config["server"], secret = "!a", to, "planted-token"
			}
			_, err := parse(t, client, config).Run(t.Context(), delivery(map[string]string{"key": secret}))
			e, ok := errors.AsType[*actions.Error](err)
			if !ok || !e.Permanent || !strings.Contains(err.Error(), "ROWBELL_EGRESS_ALLOW") && !strings.Contains(err.Error(), "never") && !strings.Contains(err.Error(), "not called") || strings.Contains(err.Error(), "planted") {
				t.Errorf("%s to %s: %v", services[i].name, to, err)
			}
		}
	}
	if asked {
		t.Error("the server was asked")
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	for config, want := range map[string]string{
		`{"service": "smtp", "secret": "x", "text": "x"}`:                                                                               "service: there are: slack, slack_bot, teams",
		`{"service": "slack", "secret": "xoxb-planted", "text": "x"}`:                                                                   "secret: ",
		`{"service": "slack", "secret": "slack://planted@x", "text": "x"}`:                                                              "secret: the URL must begin with https://",
		`{"service": "slack", "secret": "https://hooks.slack.com/planted", "text": " "}`:                                                "text: it is empty",
		`{"service": "slack", "secret": "https://hooks.slack.com/planted", "text": "{{ x | nope }}"}`:                                   `text: line 1: the filter "nope" is unknown`,
		`{"service": "slack", "secret": "https://hooks.slack.com/planted", "text": "x", "channel": "#a"}`:                               "channel: the webhook's URL of Slack says where it posts",
		`{"service": "teams", "secret": "https://a.example/planted", "text": "x", "server": "https://a.example"}`:                       "server: the webhook's URL of Teams says where it is",
		`{"service": "slack_bot", "secret": "xoxb-planted", "text": "x"}`:                                                               "channel: it is missing; write a channel's id",
		`{"service": "slack_bot", "secret": "https://hooks.slack.com/planted", "text": "x", "channel": "C1"}`:                           "secret: it has characters that a token of Slack doesn't have",
		`{"service": "slack_bot", "secret": "xoxb-planted", "text": "x", "channel": "C 1"}`:                                             "channel: it has white space",
		`{"service": "matrix", "secret": "planted", "text": "x", "channel": "!a:b"}`:                                                    "server: it is missing; write the server's URL",
		`{"service": "matrix", "secret": "planted", "text": "x", "channel": "!a:b", "server": "https://u:planted@a.example"}`:           "server: the URL holds a user",
		`{"service": "matrix", "secret": "planted", "text": "x", "channel": "!a:b", "server": "https://a.example/?x=1"}`:                "server: it has a query",
		`{"service": "telegram", "secret": "1:planted", "text": "x", "channel": "1", "title": "{% if %}", "server": "ftp://a.example"}`: "title: line 1",
		`[]`: "action_config: ",
	} {
		_, err := Kind(client).Parse(json.RawMessage(config), actions.Texts{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s gives %v, want %s", config, err, want)
		}
	}
	r := parse(t, client, map[string]any{"service": "slack", "secret": "https://hooks.slack.com/services/planted", "text": "{{ new.a }}", "title": "{{ old.b }}"})
	if d := r.Destination(); d != "chat slack" || len(r.Secrets()) != 0 {
		t.Errorf("destination %q, secrets %q", d, r.Secrets())
	}
	if got := fmt.Sprintf("%+v", r.(actions.Reader).Reads()); got != "[{Key:title Variable:old.b Where:line 1} {Key:text Variable:new.a Where:line 1}]" {
		t.Errorf("it reads %s", got)
	}
	r = parse(t, client, map[string]any{"service": "slack", "secret": map[string]any{"ref": "hook"}, "text": "x"})
	if d := r.Destination(); d != "chat slack hook" {
		t.Errorf("destination %q", d)
	}
	r = parse(t, client, map[string]any{"service": "telegram", "secret": map[string]any{"ref": "bot"}, "text": "x", "channel": "-1"})
	if d := r.Destination(); d != "chat telegram https://api.telegram.org -1 bot" || fmt.Sprint(r.Secrets()) != "[bot]" {
		t.Errorf("destination %q, secrets %q", d, r.Secrets())
	}
}

func TestShorten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, want string
		most     int
	}{
		{"abc", "abc", 3},
		{"abcd", "ab…", 3},
		{"üüüü", "üü…", 3},
		{"ab &amp; cd", "ab…", 6},
		{"ab &amp; cd", "ab &amp;…", 9},
		{"ab <b>cd</b>", "ab…", 6},
		{`ab \*cd`, `ab…`, 5},
		{`ab \\cd`, `ab \\…`, 6},
	} {
		if got := shorten(c.in, c.most); got != c.want {
			t.Errorf("%q in %d is %q, want %q", c.in, c.most, got, c.want)
		}
	}
}

// What is empty for an event is the same at each attempt.
func TestEmpty(t *testing.T) {
	t.Parallel()
	r := parse(t, newClient(t), map[string]any{"service": "slack", "secret": "https://hooks.slack.com/x", "text": "{{ new.empty }}"})
	_, err := r.Run(t.Context(), delivery(nil))
	if e, ok := errors.AsType[*actions.Error](err); !ok || !e.Permanent || !strings.Contains(err.Error(), "text: the template gives nothing for this event") {
		t.Errorf("Run gives %v", err)
	}
}

// Whether a service answers is looked at by the guarded client, at its first page: nothing is
// posted, and no secret is told.
func TestReach(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead || r.URL.Path != "/" || r.URL.RawQuery != "" || r.Header.Get("Authorization") != "" {
			t.Errorf("it is asked for %s %s", r.Method, r.URL)
		}
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	secrets := map[string]string{"hook": server.URL + "/services/T0/s3cr3t", "odd": "no URL, but s3cr3t"}
	secret := func(_ context.Context, name string) (string, error) {
		if s, ok := secrets[name]; ok {
			return s, nil
		}
		return "", errors.New("it is not there")
	}
	for _, c := range []struct {
		name, config, allow string
		want, problem       string
	}{
		{"a bot's server", `{"service": "matrix", "server": "` + server.URL + `", "channel": "!r:example.com", "secret": "syt_s3cr3t", "text": "x"}`, loopback, "Matrix at " + host, ""},
		{"a webhook", `{"service": "mattermost", "secret": {"ref": "hook"}, "text": "x"}`, loopback, "Mattermost at " + host, ""},
		{"a private address", `{"service": "matrix", "server": "https://127.0.0.1", "channel": "!r:example.com", "secret": "syt_s3cr3t", "text": "x"}`, "", "Matrix at 127.0.0.1", "127.0.0.1"},
		{"a webhook at a private address", `{"service": "mattermost", "secret": {"ref": "hook"}, "text": "x"}`, "", "Mattermost", "127.0.0.1"},
		{"nobody there", `{"service": "matrix", "server": "http://127.0.0.1:9", "channel": "!r:example.com", "secret": "syt_s3cr3t", "text": "x"}`, loopback, "Matrix at 127.0.0.1:9", "refused"},
		{"no secret", `{"service": "mattermost", "secret": {"ref": "none"}, "text": "x"}`, loopback, "Mattermost", "it is not there"},
		{"a secret that is none", `{"service": "mattermost", "secret": {"ref": "odd"}, "text": "x"}`, loopback, "Mattermost", `secret "odd"`},
	} {
		var allow []string
		if c.allow != "" {
			allow = append(allow, c.allow)
		}
		runner, err := Kind(newClient(t, allow...)).Parse(json.RawMessage(c.config), actions.Texts{})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		name, err := runner.(actions.Reacher).Reach(t.Context(), secret)
		if !strings.HasPrefix(name, c.want) || (err == nil) != (c.problem == "") {
			t.Errorf("%s: %q, %v", c.name, name, err)
		}
		if err != nil && (!strings.Contains(err.Error(), c.problem) || strings.Contains(err.Error(), "s3cr3t")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
