package app

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// target is a place where a tenant writes where a kind goes: what action_config is for a
// URL there, and the secrets that go with it.
type target struct {
	kind, name string
	config     func(url string) (config string, secrets map[string]string)
	patient    bool // it waits for an answer as another one does, which is tried
}

// targets are all of them. A chat service is told by a URL that is its secret, or by a
// token for a server.
var targets = []target{
	{kind: "webhook", name: "webhook", config: func(url string) (string, map[string]string) {
		return fmt.Sprintf(`{"url": %q, "timeout": "2s"}`, url), nil
	}},
	{kind: "chat", name: "chat slack", config: func(url string) (string, map[string]string) {
		return fmt.Sprintf(`{"service": "slack", "secret": %q, "text": "x"}`, url), nil
	}},
	chatByURL("slack"), chatByURL("teams"), chatByURL("discord"), chatByURL("mattermost"), chatByURL("googlechat"),
	chatByServer("slack_bot"), chatByServer("telegram"), chatByServer("matrix"),
}

func chatByURL(service string) target {
	return target{kind: "chat", name: "chat " + service + " by a stored secret", patient: true, config: func(url string) (string, map[string]string) {
		return fmt.Sprintf(`{"service": %q, "secret": {"ref": "hook"}, "text": "x"}`, service), map[string]string{"hook": url}
	}}
}

func chatByServer(service string) target {
	return target{kind: "chat", name: "chat " + service, patient: true, config: func(url string) (string, map[string]string) {
		return fmt.Sprintf(`{"service": %q, "server": %q, "channel": "!a", "secret": {"ref": "bot"}, "text": "x"}`, service, url), map[string]string{"bot": "planted-token"}
	}}
}

// fixed are the kinds that go nowhere that a tenant could choose.
var fixed = []string{"email", "function", "log", "notification", "publish"}

// kinds makes the registry as a worker has it, with what an operator allows.
func kinds(t *testing.T, allow ...string) *actions.Registry {
	t.Helper()
	cfg := Config{SourceURL: "postgres://127.0.0.1:1/x"}.WithDefaults()
	for _, p := range allow {
		cfg.EgressAllow = append(cfg.EgressAllow, netip.MustParsePrefix(p))
	}
	a := &App{cfg: cfg}
	if err := a.prepareKinds("test"); err != nil {
		t.Fatal(err)
	}
	return a.registry
}

// attempt makes one attempt at a URL.
func attempt(t *testing.T, r *actions.Registry, to target, url string) (actions.Result, error) {
	t.Helper()
	config, secrets := to.config(url)
	k, err := r.Kind(to.kind)
	if err != nil {
		t.Fatal(err)
	}
	runner, err := k.Parse(json.RawMessage(config), actions.Texts{})
	if err != nil {
		return actions.Result{}, &actions.Error{Permanent: true, Err: err}
	}
	ctx, cancel := context.WithTimeout(t.Context(), pgtest.Patience)
	defer cancel()
	return runner.Run(ctx, &actions.Delivery{
		ID: "01M84JMESM0000000000000001-1_0", Attempt: 1,
		Event: &workflow.Event{
			ID: "01M84JMESM0000000000000001", Position: change.Position{Stream: 1, CommitLSN: 1}, CommittedAt: time.Now(), Table: "orders", Op: change.Create,
			TenantID: "acme", RowKey: "1", Data: []byte(`{"new": {"id": 1}, "old": null, "changed": null, "unavailable": [], "actor": null}`),
		},
		Workflow: actions.Workflow{ID: "w", Name: "W", Version: 1, TenantID: "acme"},
		Secret: func(_ context.Context, name string) (string, error) {
			if s, ok := secrets[name]; ok {
				return s, nil
			}
			return "", errors.New("there is none")
		},
	})
}

// Each kind is known here: one that is added must say whether a tenant chooses where it
// goes, and is tried then.
func TestEveryKindIsGuarded(t *testing.T) {
	t.Parallel()
	for _, k := range kinds(t).Kinds() {
		known := slices.ContainsFunc(targets, func(to target) bool { return to.kind == k.Name })
		if !known && !slices.Contains(fixed, k.Name) {
			t.Errorf("nothing is known of where %s goes; add it to targets or to fixed", k.Name)
		}
	}
}

// Nothing that a tenant writes reaches this machine, its network, or a cloud's metadata.
func TestNoKindReachesInside(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(canary.Close)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(secure.Close)
	port := func(s *httptest.Server) string {
		_, p, err := net.SplitHostPort(s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var hostile []string
	for _, host := range []string{
		"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "LOCALHOST.", "a.localhost", "0.0.0.0", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
		"[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "[fd00:ec2::254]", "100.100.100.200",
		"168.63.129.16", "169.254.170.2", "224.0.0.1", "255.255.255.255", "[fe80::1%25lo]", "[ff02::1]", "[fc00::1]", "ⓛocalhost", "①②⑦.⓪.⓪.①", "127.0.0.1.", "localhost%00.example.com", "user@127.0.0.1",
		"example.com@127.0.0.1", `example.com\@127.0.0.1`, "127.0.0.1#@example.com", "127.0.0.1?@example.com",
	} {
		hostile = append(hostile, "https://"+host+":"+port(secure)+"/", "http://"+host+":"+port(canary)+"/")
	}
	hostile = append(hostile, "https://93.184.216.34:25/", "https://93.184.216.34:6379/", "https://93.184.216.34:5432/", "http://93.184.216.34/", "ftp://93.184.216.34/", "file:///etc/passwd", "gopher://127.0.0.1:70/x", "unix:/var/run/docker.sock", "//127.0.0.1/")
	r := kinds(t)
	for _, to := range targets {
		for _, url := range hostile {
			begun := time.Now()
			_, err := attempt(t, r, to, url)
			var how *actions.Error
			// A name that no name server knows may be known later; it is looked at again then.
			unknown := err != nil && strings.Contains(err.Error(), "no such host")
			// Nor is a stored secret refused for good, which can be changed.
			mendable := err != nil && strings.HasPrefix(err.Error(), `secret "hook": `)
			if !unknown && !mendable && (!errors.As(err, &how) || !how.Permanent) {
				t.Errorf("%s to %s: %v, want a refusal", to.name, url, err)
			}
			if took := time.Since(begun); took > 12*time.Second { // a name server may lose a question
				t.Errorf("%s to %s was refused after %v", to.name, url, took)
			}
			if err != nil && strings.Contains(err.Error(), "planted") {
				t.Errorf("%s to %s: %v", to.name, url, err)
			}
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d requests have come through", n)
	}
}

// A receiver can neither lead a kind elsewhere, nor fill the memory, nor hold it up.
func TestNoKindIsLedAstray(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(canary.Close)
	mux := http.NewServeMux()
	for _, code := range []int{301, 302, 303, 307, 308} {
		mux.HandleFunc(fmt.Sprintf("/redirect/%d", code), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", canary.URL)
			w.Header().Set("Refresh", "0; url="+canary.URL)
			w.WriteHeader(code)
		})
	}
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		piece := []byte(strings.Repeat("x", 64<<10))
		for r.Context().Err() == nil {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/drip", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, "x"); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(200 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
	})
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		zeros := make([]byte, 1<<20)
		for range 1 << 10 { // 1 GiB, in about 1 MB
			if _, err := z.Write(zeros); err != nil {
				return
			}
		}
		_ = z.Close()
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 4096 {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 4096))
		}
	})
	mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then is the end of the connection seen
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(evil.Close)
	r := kinds(t, "127.0.0.0/8", "::1/128")
	for _, to := range targets {
		for _, path := range []string{"/redirect/301", "/redirect/302", "/redirect/303", "/redirect/307", "/redirect/308", "/endless", "/drip", "/bomb", "/headers", "/silent"} {
			if to.patient && (path == "/drip" || path == "/silent") {
				continue
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()
			res, err := attempt(t, r, to, evil.URL+path)
			runtime.ReadMemStats(&after)
			if strings.HasPrefix(path, "/redirect/") && err == nil {
				t.Errorf("%s takes a redirect for a success: %+v", to.name, res)
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("%s to %s took %v", to.name, path, took)
			}
			// All tests of the package allocate meanwhile, and what says little for long is no load.
			if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 256 && path != "/drip" && path != "/silent" {
				t.Errorf("%s to %s took %d MB", to.name, path, n)
			}
			if len(res.Response) > 8<<10 {
				t.Errorf("%s keeps %d bytes of the answer to %s", to.name, len(res.Response), path)
			}
			if err != nil && strings.Contains(err.Error(), url.QueryEscape(canary.URL)) {
				t.Errorf("%s to %s: %v", to.name, path, err)
			}
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d requests were led on", n)
	}
}
