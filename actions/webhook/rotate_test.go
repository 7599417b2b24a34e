package webhook

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// made is a signing secret of 32 times this letter.
func made(letter string) string {
	return secretPrefix + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
}

// Whoever knows one of the secrets that sign finds a signature that is right, and whoever
// knows one that has expired finds none. The reference library judges.
func TestRotation(t *testing.T) {
	t.Parallel()
	past, future := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	ref := func(name string) map[string]string { return map[string]string{"ref": name} }
	for name, c := range map[string]struct {
		config map[string]any
		stored map[string]string
		sign   string // letters of the secrets that sign, in their order
		not    string
	}{
		"rotated":       {map[string]any{"secret": ref("s")}, map[string]string{"s": made("b") + " " + made("a") + untilPrefix + future}, "ba", "c"},
		"expired":       {map[string]any{"secret": ref("s")}, map[string]string{"s": made("b") + "  " + made("a") + untilPrefix + past + "\n"}, "b", "a"},
		"list":          {map[string]any{"secrets": []any{ref("new"), ref("old")}}, map[string]string{"new": made("n"), "old": made("o")}, "no", "a"},
		"both, one ref": {map[string]any{"secret": ref("s"), "secrets": []any{ref("s"), ref("t")}}, map[string]string{"s": made("s"), "t": made("t")}, "st", "a"},
		"in the text":   {map[string]any{"secret": made("b") + " " + made("a") + untilPrefix + future}, nil, "ba", "c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, nil)
			c.config["url"] = r.URL
			run := parse(t, newClient(t), c.config)
			d := delivery()
			d.Secret = secrets(c.stored)
			if _, err := run.Run(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			got := r.all()[0]
			header := strings.Split(got.header.Get("Webhook-Signature"), " ")
			if len(header) != len(c.sign) {
				t.Errorf("%d signatures in %q, want %d", len(header), header, len(c.sign))
			}
			for i, letter := range strings.Split(c.sign, "") {
				w, err := standardwebhooks.NewWebhook(made(letter))
				if err != nil {
					t.Fatal(err)
				}
				if err := w.Verify(got.body, got.header); err != nil {
					t.Errorf("who knows %s: %v", letter, err)
				}
				alone := got.header.Clone()
				alone["Webhook-Signature"] = header[i : i+1]
				if err := w.Verify(got.body, alone); err != nil {
					t.Errorf("signature %d alone: %v", i, err)
				}
			}
			w, err := standardwebhooks.NewWebhook(made(c.not))
			if err != nil {
				t.Fatal(err)
			}
			if w.Verify(got.body, got.header) == nil {
				t.Errorf("who knows %s finds a signature", c.not)
			}
		})
	}
}

// A receiver that answers with a secret is not quoted, whichever of several it was.
func TestRotatedSecretsAreHidden(t *testing.T) {
	t.Parallel()
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte("old " + made("o") + ", new " + strings.TrimPrefix(made("n"), secretPrefix)))
	})
	run := parse(t, newClient(t), map[string]any{"url": r.URL, "secret": map[string]string{"ref": "s"}})
	d := delivery()
	d.Secret = secrets(map[string]string{"s": made("n") + " " + made("o") + untilPrefix + "2999-01-01T00:00:00Z"})
	res, err := run.Run(t.Context(), d)
	for _, text := range []string{res.Response, err.Error()} {
		if strings.Contains(text, made("o")[6:]) || strings.Contains(text, made("n")[6:]) || !strings.Contains(text, "***") {
			t.Errorf("%q tells a secret", text)
		}
	}
}

func TestSecretsThatCannotSign(t *testing.T) {
	t.Parallel()
	r := receive(t, nil)
	run := parse(t, newClient(t), map[string]any{"url": r.URL, "secret": map[string]string{"ref": "s"}})
	for stored, says := range map[string]string{
		made("a") + untilPrefix + "2020-01-01T00:00:00Z":       "all of it has expired; write a secret without ;until=",
		made("a") + untilPrefix + "soon":                       "what stands behind ;until= is no time; write it as 2026-12-01T12:00:00Z",
		made("a") + " hunter2hunter2":                          "it must be whsec_",
		strings.Repeat(made("a")+" ", maxKeys+1):               "it holds 5 secrets; the most are 4",
		made("a") + ";" + made("b"):                            "it must be whsec_",
		" \n ":                                                 "it must be whsec_",
		made("a") + untilPrefix + "2999-01-01T00:00:00Z" + "x": "is no time",
	} {
		d := delivery()
		d.Secret = secrets(map[string]string{"s": stored})
		_, err := run.Run(t.Context(), d)
		if e := failed(t, err); e.Permanent || e.Down {
			t.Errorf("%q: %+v", stored, e)
		}
		wants(t, err, says)
		if strings.Contains(err.Error(), made("a")[6:]) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("it tells the secret: %v", err)
		}
	}
	if len(r.all()) > 0 {
		t.Error("a request was made")
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	until := now.Add(24 * time.Hour)
	const day = untilPrefix + "2026-11-27T12:00:00Z"
	for _, c := range []struct{ was, next, want string }{
		{made("a"), made("b"), made("b") + " " + made("a") + day},
		{made("a"), made("a"), made("a")},
		// What was to end sooner does; what has ended is gone.
		{made("b") + " " + made("a") + untilPrefix + "2026-11-26T13:00:00Z", made("c"), made("c") + " " + made("b") + day + " " + made("a") + untilPrefix + "2026-11-26T13:00:00Z"},
		{made("b") + " " + made("a") + untilPrefix + "2026-11-26T12:00:00Z", made("c"), made("c") + " " + made("b") + day},
		// No more than a secret may hold; the oldest go.
		{made("a") + " " + made("b") + " " + made("c") + " " + made("d"), made("e"), made("e") + " " + made("a") + day + " " + made("b") + day + " " + made("c") + day},
	} {
		got, err := Rotate(c.was, c.next, now, until)
		if err != nil || got != c.want {
			t.Errorf("%s, next %s: %s, %v; want %s", c.was, c.next, got, err, c.want)
		}
		if _, err := readKeys(got); err != nil {
			t.Errorf("%s can't be read: %v", got, err)
		}
	}
	if got, err := Rotate(made("a"), made("b"), now, now); err != nil || got != made("b") {
		t.Errorf("at once: %s, %v", got, err)
	}
	for _, c := range [][2]string{{"hunter2", made("b")}, {made("a"), "hunter2"}, {"", made("b")}} {
		if _, err := Rotate(c[0], c[1], now, until); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q to %q: %v", c[0], c[1], err)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	registry, err := actions.NewRegistry(Kind(newClient(t), "1"))
	if err != nil {
		t.Fatal(err)
	}
	for config, want := range map[string]actions.Limits{
		`{}`:                                     {},
		`{"rate": "10/s"}`:                       {Rate: actions.Rate{N: 10, Per: time.Second}},
		`{"rate": "600/m", "concurrency": 4}`:    {Rate: actions.Rate{N: 600, Per: time.Minute}, Concurrency: 4},
		`{"concurrency": 1000, "retry": ["1s"]}`: {Concurrency: 1000},
	} {
		plan, err := planOf(registry, config)
		if err != nil || plan.Steps[0].Limits != want {
			t.Errorf("%s: %+v, %v; want %+v", config, plan, err, want)
		}
	}
	for config, says := range map[string]string{
		`{"rate": "fast"}`:                    `rate: "fast" is no rate; write a whole number and its time, as "10/s"`,
		`{"rate": "0/s"}`:                     "rate: 0 is out of range; use 1 to 100000",
		`{"rate": 10}`:                        "rate",
		`{"concurrency": 0}`:                  "concurrency",
		`{"concurrency": 1001}`:               "concurrency",
		`{"concurrency": 1.5}`:                "concurrency",
		`{"secrets": ["` + testSecret + `"]}`: "secrets",
		`{"secrets": []}`:                     "secrets",
	} {
		_, err := planOf(registry, config)
		wants(t, err, says)
		if err != nil && strings.Contains(err.Error(), testSecret[6:]) {
			t.Errorf("it tells the secret: %v", err)
		}
	}
}

// planOf plans a workflow with one webhook of this configuration, and a URL.
func planOf(registry *actions.Registry, config string) (*actions.Plan, error) {
	config = strings.Replace(strings.Replace(config, "{", `{"url": "https://example.com/hook", `, 1), ", }", "}", 1)
	return registry.Plan(&workflow.Workflow{Actions: []workflow.Action{{Type: "webhook", Config: json.RawMessage(config)}}})
}

// What docs/actions.md shows of webhooks is taken as it stands there.
func TestManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/actions.md")
	if err != nil {
		t.Fatal(err)
	}
	registry, err := actions.NewRegistry(Kind(newClient(t), "1"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## webhook\n")
	section, _, _ = strings.Cut(section, "\n## ")
	configs, secrets := 0, 0
	for _, m := range regexp.MustCompile("(?s)```json\n(.*?)```|'webhook', '(.*?)'\\);|`(\"secrets\": [^`]*)`").FindAllStringSubmatch(section, -1) {
		config := m[1] + m[2]
		if m[3] != "" {
			config = `{"url": "https://example.com/rowbell", ` + m[3] + "}"
		}
		configs++
		if _, err := registry.Plan(&workflow.Workflow{Actions: []workflow.Action{{Type: "webhook", Config: json.RawMessage(config)}}}); err != nil {
			t.Errorf("%s: %v", config, err)
		}
	}
	for _, m := range regexp.MustCompile(`plain = '([^']*)'`).FindAllStringSubmatch(section, -1) {
		secrets++
		if keys, err := readKeys(m[1]); err != nil || len(keys) != 2 || keys[1].until.IsZero() {
			t.Errorf("%s: %v, %v", m[1], keys, err)
		}
	}
	if configs != 3 || secrets != 1 {
		t.Errorf("%d configurations and %d secrets were found", configs, secrets)
	}
}
