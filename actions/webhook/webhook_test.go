package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestBody(t *testing.T) {
	t.Parallel()
	r := receive(t, nil)
	if _, err := parse(t, newClient(t), map[string]any{"url": r.URL}).Run(t.Context(), delivery()); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/body.json")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, r.all()[0].body, "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	if got.String() != string(want) {
		t.Errorf("got %s", got.String())
	}
}

func TestBodyOfHostileValues(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", `"`, `\`, `"},"x":{"`, "\x00\x1f\n\r\t", "\xff\xfe", "\u2028</script>", "ä😀", strings.Repeat(`"`, 1000)} {
		d := delivery()
		d.Event.Table, d.Event.TenantID, d.Event.ID = text, text, text
		d.Workflow.ID, d.Workflow.Name, d.Workflow.Version = text, text, -1<<31
		b, err := appendBody(d)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Type string
			Data struct {
				Event    struct{ ID, Table string }
				Workflow struct{ ID, Name string }
				New      map[string]any
			}
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Errorf("%q: %v in %s", text, err, b)
			continue
		}
		want := strings.ToValidUTF8(strings.ReplaceAll(text, "\xff\xfe", "\ufffd\ufffd"), "\ufffd")
		if got.Type != want+".update" || got.Data.Event.Table != want || got.Data.Event.ID != want || got.Data.Workflow.Name != want || got.Data.Workflow.ID != want || len(got.Data.New) != 3 {
			t.Errorf("%q reads as %+v", text, got)
		}
	}
	for _, data := range []string{"", "{}", "null", `["new", 123]`, `{"new": 12`} {
		d := delivery()
		d.Event.Data = []byte(data)
		if b, err := appendBody(d); err == nil {
			t.Errorf("%s makes the body %s", data, b)
		}
	}
}

func TestSignature(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	verifier, err := standardwebhooks.NewWebhook(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string]any{"text": testSecret, "unpadded": strings.TrimRight(testSecret, "="), "stored": map[string]string{"ref": "s"}} {
		for _, recipient := range []string{"", "ann", "a.1764000000.{}", "ä b\r\n%"} {
			r := receive(t, nil)
			run := parse(t, client, map[string]any{"url": r.URL, "secret": secret})
			d := delivery()
			d.Secret = secrets(map[string]string{"s": testSecret})
			d.ID = workflow.DeliveryID("01M84JMESM000038NKS0000000-12", 0, recipient)
			if _, err := run.Run(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			got := r.all()[0]
			if err := verifier.Verify(got.body, got.header); err != nil {
				t.Errorf("%s, recipient %q: %v", name, recipient, err)
			}
			if strings.Contains(got.header.Get("Webhook-Id"), ".") {
				t.Errorf("%s holds a dot", got.header.Get("Webhook-Id"))
			}
		}
	}
	r := receive(t, nil)
	if _, err := parse(t, client, map[string]any{"url": r.URL}).Run(t.Context(), delivery()); err != nil {
		t.Fatal(err)
	}
	h := r.all()[0].header
	if _, ok := h["Webhook-Signature"]; ok || h.Get("User-Agent") != "Rowbell/1.2" || h.Get("Content-Type") != "application/json" || h.Get("Idempotency-Key") != "" {
		t.Errorf("without a secret: %v", h)
	}
}

// The vector of docs/receiving-webhooks.md.
func TestSignatureVector(t *testing.T) {
	t.Parallel()
	key, err := decodeSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	got := sign([][]byte{key}, "01KAXM7Q3T00000VJ5ZC800002-7.0", "1764000000", []byte(`{"type":"orders.update","timestamp":"2025-11-24T15:59:59.5Z","data":{}}`))
	if got != "v1,vKB0MYCfGL/+akBVEEsCZjC3RWJ5bKH9Lc/7IcbDRyw=" {
		t.Error(got)
	}
}

func TestAttemptsAreTheSame(t *testing.T) {
	t.Parallel()
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	client := newClient(t)
	for attempt := 1; attempt <= 4; attempt++ {
		d := delivery()
		d.Attempt = attempt
		// Each attempt may be another process's, which parses the config anew.
		if _, err := parse(t, client, map[string]any{"url": r.URL, "secret": testSecret}).Run(t.Context(), d); err == nil {
			t.Fatal("it succeeded")
		}
	}
	got := r.all()
	if len(got) != 4 {
		t.Fatalf("%d requests for 4 attempts", len(got))
	}
	for _, g := range got[1:] {
		if g.header.Get("Webhook-Id") != delivery().ID || !bytes.Equal(g.body, got[0].body) {
			t.Errorf("%s %s", g.header.Get("Webhook-Id"), g.body)
		}
	}
}

func TestHeaderText(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"":            "",
		"01M-12_0_ab": "01M-12_0_ab",
		"a.b":         "a%2Eb",
		"a%2Eb":       "a%252Eb",
		"a b\r\nX: y": "a%20b%0D%0AX:%20y",
		"ä":           "%C3%A4",
		"\x00\x7f":    "%00%7F",
	} {
		if got := headerText(id); got != want {
			t.Errorf("%q: %s, want %s", id, got, want)
		}
	}
}

func FuzzHeaderText(f *testing.F) {
	for _, s := range []string{"a", "a.b", "a%2Eb", "ä\n"} {
		f.Add(s, "b")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := headerText(a), headerText(b)
		if (x == y) != (a == b) {
			t.Errorf("%q and %q are %s and %s", a, b, x, y)
		}
		if err := checkHeaderValue(x); err != nil || strings.ContainsAny(x, ". ") {
			t.Errorf("%q is %q: %v", a, x, err)
		}
	})
}

type answer struct {
	status     int
	retryAfter string
	location   string
	permanent  bool
	busy       bool
	wait       time.Duration
	says       string
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	for _, c := range []answer{
		{status: 200},
		{status: 201},
		{status: 204},
		{status: 301, location: "https://u@b.example/x?token=hunter2#f", permanent: true, says: "answered 301 Moved Permanently and Location https://b.example/x; redirects are not followed: put the final address into url; it said: no"},
		{status: 304, permanent: true, says: "redirects are not followed"},
		{status: 400, permanent: true, says: "answered 400 Bad Request; the receiver can't read the request"},
		{status: 401, permanent: true, says: "check secret and headers"},
		{status: 404, permanent: true, says: "check url"},
		{status: 410, permanent: true, says: "gone for good"},
		{status: 418, permanent: true, says: "418"},
		{status: 408},
		{status: 425},
		{status: 500, retryAfter: "7"},
		{status: 502},
		{status: 504},
		{status: 599},
		{status: 429, busy: true, wait: time.Minute},
		{status: 429, retryAfter: "7", busy: true, wait: 7 * time.Second},
		{status: 429, retryAfter: "date", busy: true, wait: time.Hour},
		{status: 429, retryAfter: "Sun, 06 Nov 1994 08:49:37 GMT", busy: true, wait: time.Minute},
		{status: 429, retryAfter: "99999999999999999999", busy: true, wait: maxRetryAfter},
		{status: 503},
		{status: 503, retryAfter: "120", busy: true, wait: 2 * time.Minute},
		{status: 503, retryAfter: "date", busy: true, wait: time.Hour},
		{status: 503, retryAfter: "soon"},
	} {
		t.Run(fmt.Sprint(c.status, c.retryAfter), func(t *testing.T) {
			t.Parallel()
			r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
				h := w.Header()
				if c.location != "" {
					h.Set("Location", c.location)
				}
				switch c.retryAfter {
				case "":
				case "date":
					h.Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
				default:
					h.Set("Retry-After", c.retryAfter)
				}
				w.WriteHeader(c.status)
				if c.status != 204 && c.status != 304 {
					_, _ = io.WriteString(w, "no")
				}
			})
			res, err := parse(t, client, map[string]any{"url": r.URL + "/p?token=hunter2"}).Run(t.Context(), delivery())
			if res.Code != c.status || c.status != 204 && c.status != 304 && res.Response != "no" {
				t.Errorf("result %+v", res)
			}
			if c.status < 300 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e := failed(t, err)
			if down := c.status >= 500 || c.status == 429; e.Down != down || e.Gone != (c.status == 410) {
				t.Errorf("down %t, gone %t", e.Down, e.Gone)
			}
			if e.Permanent != c.permanent || e.Busy != c.busy || e.RetryAfter > c.wait || e.RetryAfter < c.wait-10*time.Second {
				t.Errorf("permanent %t, busy %t, wait %v; want %t, %t, %v", e.Permanent, e.Busy, e.RetryAfter, c.permanent, c.busy, c.wait)
			}
			if err != nil {
				wants(t, err, c.says)
				if strings.Contains(err.Error(), "hunter2") {
					t.Error(err)
				}
			}
			if n := len(r.all()); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	gone, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := "http://" + gone.Addr().String()
	_ = gone.Close()
	hanging := receive(t, func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	closing := receive(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for name, c := range map[string]struct {
		url       string
		permanent bool
		says      string
	}{
		"refused":      {refusing, false, "connection refused"},
		"hanging":      {hanging.URL, false, "no answer within 1s; a receiver should answer first"},
		"closed":       {closing.URL, false, "closed before an answer"},
		"blocked":      {"http://10.1.2.3", true, "url: 10.1.2.3 is a private address"},
		"blocked link": {"https://169.254.169.254/latest", true, "url: 169.254.169.254 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, err := parse(t, client, map[string]any{"url": c.url + "/?token=hunter2", "timeout": "1s"}).Run(t.Context(), delivery())
			if e := failed(t, err); e.Permanent != c.permanent || e.Down == c.permanent || e.Busy || e.RetryAfter != 0 || res != (actions.Result{}) {
				t.Errorf("%+v, %+v", res, e)
			}
			wants(t, err, c.says)
			if strings.Contains(err.Error(), "hunter2") {
				t.Error(err)
			}
		})
	}
}

// A receiver that breaks over a request doesn't get it on each idle connection.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	const idle = 8
	var together sync.WaitGroup
	together.Add(idle)
	breaks := make(chan struct{})
	r := receive(t, func(http.ResponseWriter, *http.Request) {
		select {
		case <-breaks:
			panic(http.ErrAbortHandler)
		default:
			together.Done() // all at once, so that each has its connection
			together.Wait()
		}
	})
	run := parse(t, newClient(t), map[string]any{"url": r.URL})
	var wg sync.WaitGroup
	for range idle {
		wg.Go(func() {
			if _, err := run.Run(t.Context(), delivery()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(breaks)
	_, err := run.Run(t.Context(), delivery())
	if e := failed(t, err); e.Permanent {
		t.Error("it is permanent")
	}
	wants(t, err, "closed before an answer")
	if n := len(r.all()) - idle; n > 2 {
		t.Errorf("one attempt came %d times", n)
	}
}

// The status decides even if the body breaks off behind it.
func TestBrokenBody(t *testing.T) {
	t.Parallel()
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	res, err := parse(t, newClient(t), map[string]any{"url": r.URL}).Run(t.Context(), delivery())
	if err != nil || res.Code != 200 || res.Response != "part" {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestResponseIsPrintable(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"ok":                            "ok",
		"a\x00b\r\nc\td\x1b[31m":        "a\ufffdb\nc\td\ufffd[31m",
		"\xffx":                         "\ufffdx",
		"\u202eevil":                    "\ufffdevil",
		strings.Repeat("a", 3000):       strings.Repeat("a", maxResponse),
		strings.Repeat("ä", 3000):       strings.Repeat("ä", maxResponse/2),
		"a" + strings.Repeat("ä", 3000): "a" + strings.Repeat("ä", maxResponse/2-1),
	} {
		r := receive(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		res, err := parse(t, newClient(t), map[string]any{"url": r.URL}).Run(t.Context(), delivery())
		if err != nil || res.Response != want {
			t.Errorf("%.20q: %.20q, %v", body, res.Response, err)
		}
	}
}

// Some receivers answer with what they got.
func TestAnswerDoesNotRepeatSecrets(t *testing.T) {
	t.Parallel()
	r := receive(t, func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, "%s %q %q", req.URL, req.Header.Get("Authorization"), strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	})
	d := delivery()
	d.Secret = secrets(map[string]string{"a": "Bearer hunter2hunter2"})
	res, err := parse(t, newClient(t), map[string]any{
		"url": r.URL + "/p?token=planted-token", "headers": map[string]any{"Authorization": map[string]string{"ref": "a"}},
	}).Run(t.Context(), d)
	if err == nil || strings.Contains(err.Error()+res.Response, "hunter2") || strings.Contains(err.Error()+res.Response, "planted") || !strings.Contains(res.Response, "/p?token=***") {
		t.Errorf("%s\n%v", res.Response, err)
	}
	if got := r.all()[0].header.Get("Authorization"); got != "Bearer hunter2hunter2" {
		t.Errorf("it was sent %s", got)
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	r := receive(t, nil)
	ref := func(name string) map[string]string { return map[string]string{"ref": name} }
	run := parse(t, newClient(t), map[string]any{"url": r.URL, "secret": ref("s"), "headers": map[string]any{"X-A": ref("h"), "X-B": ref("h"), "X-C": ref("b")}})
	if got := run.Secrets(); !slices.Equal(got, []string{"b", "h", "s"}) {
		t.Errorf("secrets are %v", got)
	}
	const planted = "hunter2hunter2"
	good := map[string]string{"s": testSecret, "h": planted, "b": "x"}
	for name, c := range map[string]struct {
		name, value string // what is stored instead of the good one
		says        []string
	}{
		"missing":           {"s", "", []string{`secret: secret "s" can't be read: there is none of this name`}},
		"malformed":         {"s", planted, []string{`secret "s": it must be whsec_`, "the next attempt takes it"}},
		"no base64":         {"s", "whsec_" + planted + "!", []string{"it must be whsec_"}},
		"too short":         {"s", "whsec_" + planted, []string{"it must be whsec_"}},
		"missing of header": {"b", "", []string{`headers.X-C: secret "b" can't be read`}},
		"line break":        {"b", planted + "\r\nX-Evil: 1", []string{`headers.X-C: secret "b": character 15 is a line break`}},
		"not ASCII":         {"b", planted + "ä", []string{"is not ASCII"}},
		"space":             {"b", planted + " ", []string{"ends with a space"}},
		"too long":          {"b", planted + strings.Repeat("x", maxHeaderBytes), []string{"have more than 8192 bytes"}},
	} {
		stored := map[string]string{}
		for k, v := range good {
			stored[k] = v
		}
		stored[c.name] = c.value
		if c.value == "" {
			delete(stored, c.name)
		}
		d := delivery()
		d.Secret = secrets(stored)
		_, err := run.Run(t.Context(), d)
		if e := failed(t, err); e.Permanent {
			t.Errorf("%s is permanent", name)
		}
		wants(t, err, c.says...)
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), testSecret[6:]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(r.all()); n > 0 {
		t.Errorf("%d requests were made", n)
	}
	d := delivery()
	d.Secret = secrets(good)
	if _, err := run.Run(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if h := r.all()[0].header; h.Get("X-A") != planted || h.Get("X-B") != planted || h.Get("X-C") != "x" {
		t.Errorf("headers %v", h)
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	registry, err := actions.NewRegistry(Kind(newClient(t), "1"))
	if err != nil {
		t.Fatal(err)
	}
	many := make(map[string]string)
	for i := range 33 {
		many[fmt.Sprint("X-", i)] = ""
	}
	tooMany, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 5000)
	const u = `{"url": "https://a.example", `
	for config, want := range map[string]string{
		`{}`:                                      "url: it is missing",
		`{"url": ""}`:                             "url: it is empty",
		`{"url": 3}`:                              "url: it is a number",
		`{"url": "a.example"}`:                    "url: the URL has no scheme",
		`{"url": "ftp://a.example"}`:              "url: the URL must begin with https://",
		`{"url": "https://hunter2:x@a.example"}`:  "url: the URL holds a user or password",
		u + `"uri": "x"}`:                         `uri: there is no such key; did you mean "url"?`,
		u + `"secret": ""}`:                       "secret: it must be whsec_",
		u + `"secret": "hunter2"}`:                "secret: it must be whsec_",
		u + `"secret": {"ref": ""}}`:              "secret.ref: it is empty",
		u + `"secret": {"name": "a"}}`:            "secret.ref: it is missing",
		u + `"secret": null}`:                     "secret: it has none of the forms",
		u + `"timeout": "500ms"}`:                 "timeout: 500ms is out of range; use 1s to 30s",
		u + `"timeout": 31}`:                      "timeout: 31 is out of range",
		u + `"timeout": "soon"}`:                  `timeout: "soon" is not a duration`,
		u + `"timeout": true}`:                    "timeout: it is a boolean",
		u + `"headers": []}`:                      "headers: it is an array",
		u + `"headers": ` + string(tooMany) + `}`: "headers: it has 33 keys; the most are 32",
		u + `"headers": {"A": "` + long + `", "B": "` + long + `"}}`: "headers: names and values have 10002 bytes; the most are 8192",
		u + `"headers": {"X-A": "hunter2\r\nX-Evil: 1"}}`:            "headers.X-A: character 8 is a line break",
		u + `"headers": {"X-A": "hunter2\u0000"}}`:                   "headers.X-A: character 8 ",
		u + `"headers": {"X-A": "ä"}}`:                               "headers.X-A: character 1 is not ASCII",
		u + `"headers": {"X-A": " hunter2"}}`:                        "headers.X-A: it begins or ends with a space",
		u + `"headers": {"X-A": "1", "x-a": "2"}}`:                   "headers.x-a: it is there twice",
		u + `"headers": {"X A": "1"}}`:                               `it is not a header name`,
		u + `"headers": {"": "1"}}`:                                  `headers."": it is not a header name`,
		u + `"headers": {"X-A\r\nX-B": "1"}}`:                        "it is not a header name",
		u + `"headers": {"Ä": "1"}}`:                                 "it is not a header name",
		u + `"headers": {"webhook-id": "1"}}`:                        "headers.webhook-id: names that begin with webhook- are Rowbell's",
		u + `"headers": {"Rowbell-Kind": {"ref": "a"}}}`:             "headers.Rowbell-Kind: names that begin with rowbell- are Rowbell's",
	} {
		_, err := registry.Plan(&workflow.Workflow{Actions: []workflow.Action{{Type: "webhook", Config: json.RawMessage(config)}}})
		wants(t, err, "action 1 (webhook): ", want)
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v quotes a value", err)
		}
	}
	for name := range refusedHeaders {
		if err := checkHeaderName(strings.ToLower(name)); err == nil || name != http.CanonicalHeaderKey(name) {
			t.Errorf("%s can be set", name)
		}
	}
	for _, name := range []string{"X-Team", "authorization", "Cookie", "User-Agent", "Idempotency-Key"} {
		if err := checkHeaderName(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOwnHeadersMayReplace(t *testing.T) {
	t.Parallel()
	r := receive(t, nil)
	run := parse(t, newClient(t), map[string]any{"url": r.URL, "headers": map[string]string{"user-agent": "mine", "Idempotency-Key": "k", "X-Empty": ""}})
	if _, err := run.Run(t.Context(), delivery()); err != nil {
		t.Fatal(err)
	}
	if h := r.all()[0].header; h.Get("User-Agent") != "mine" || h.Get("Idempotency-Key") != "k" || len(h["X-Empty"]) != 1 {
		t.Errorf("headers %v", h)
	}
}

func TestDestination(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	for url, want := range map[string]string{
		"https://a.example/p?token=x#f": "https://a.example/p",
		"https://a.example:8443/a%2Fb":  "https://a.example:8443/a%2Fb",
		"http://127.0.0.1":              "http://127.0.0.1",
	} {
		if got := parse(t, client, map[string]any{"url": url}).Destination(); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

// other is a runner of another kind.
type other struct{ actions.Runner }

func (other) Destination() string { return "mailto:ä b" }

func TestRedirect(t *testing.T) {
	t.Parallel()
	client, r := newClient(t), receive(t, nil)
	kind := Kind(client, "1.2")
	hook := parse(t, client, map[string]any{
		"url": "https://a.example/h%20k?token=hunter2", "secret": map[string]string{"ref": "s"},
		"headers": map[string]any{"X-Secret": map[string]string{"ref": "never"}},
	})
	run := Redirect(r.URL+"/to?x=1", kind, hook, client, "1.2")
	if got := run.Secrets(); !slices.Equal(got, []string{"s"}) || run.Destination() != r.URL+"/to" {
		t.Errorf("secrets %v, destination %s", got, run.Destination())
	}
	d := delivery()
	d.Secret = secrets(map[string]string{"s": testSecret})
	for range 2 { // the second after the first: what is shared is not written to
		if _, err := run.Run(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	verifier, err := standardwebhooks.NewWebhook(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range r.all() {
		h := got.header
		if h.Get("Rowbell-Kind") != "webhook" || h.Get("Rowbell-Destination") != "https://a.example/h%20k" || h.Get("X-Secret") != "" || h.Get("Webhook-Id") != d.ID {
			t.Errorf("headers %v", h)
		}
		if err := verifier.Verify(got.body, h); err != nil {
			t.Error(err)
		}
	}

	run = Redirect(r.URL, &actions.Kind{Name: "email"}, other{}, client, "1.2")
	if _, err := run.Run(t.Context(), d); err != nil || run.Secrets() != nil {
		t.Fatal(err, run.Secrets())
	}
	if h := r.all()[2].header; h.Get("Rowbell-Kind") != "email" || h.Get("Rowbell-Destination") != "mailto:%C3%A4%20b" || h.Get("Webhook-Signature") != "" {
		t.Errorf("headers %v", h)
	}

	_, err = Redirect("nowhere", kind, hook, client, "1").Run(t.Context(), d)
	if e := failed(t, err); e.Permanent {
		t.Error("a bad target ends deliveries")
	}
	wants(t, err, "ROWBELL_DELIVERY=redirect: the URL has no scheme")
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, s := range []string{"", "0", "120", " 7 ", "-1", "1.5", "99999999999999999999", "Wed, 25 Nov 2026 13:00:00 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "soon"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got := retryAfter(header, now)
		if got < 0 || got > maxRetryAfter {
			t.Errorf("%q: %v", header, got)
		}
		var n int64
		if _, err := fmt.Sscanf(header, "%d", &n); err == nil && fmt.Sprint(n) == header && n >= 0 && got != min(time.Duration(min(n, 1e6))*time.Second, maxRetryAfter) {
			t.Errorf("%q: %v", header, got)
		}
	})
}

// What the checks let through, net/http sends, and it comes as one header.
func FuzzHeaders(f *testing.F) {
	f.Add("X-Team", "sales")
	f.Add("X-A\r\nX-B", "a\r\nb: c")
	f.Add("webhook-id", "ä")
	f.Fuzz(func(t *testing.T, name, value string) {
		if checkHeaderName(name) != nil || checkHeaderValue(value) != nil {
			return
		}
		var wire bytes.Buffer
		if err := (http.Header{http.CanonicalHeaderKey(name): {value}}).Write(&wire); err != nil {
			t.Fatal(err)
		}
		if got := wire.String(); got != http.CanonicalHeaderKey(name)+": "+value+"\r\n" {
			t.Errorf("%q: %q is sent as %q", name, value, got)
		}
	})
}

func BenchmarkRun(b *testing.B) {
	r := receive(b, nil)
	run := parse(b, newClient(b), map[string]any{"url": r.URL, "secret": testSecret})
	d := delivery()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := run.Run(context.Background(), d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBodyAndSignature(b *testing.B) {
	key, err := decodeSecret(testSecret)
	if err != nil {
		b.Fatal(err)
	}
	d := delivery()
	b.ReportAllocs()
	for b.Loop() {
		body, err := appendBody(d)
		if err != nil {
			b.Fatal(err)
		}
		sign([][]byte{key}, d.ID, "1764000000", body)
	}
}
