package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "rbk_01M8BBN2R3B0RD0R44H8914CVH_HUNTER2HUNTER2"

// server answers with f, and a client of it notes how long it would have waited.
func server(t *testing.T, f http.HandlerFunc) (c *Client, waited *[]time.Duration) {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return clientOf(t, s.URL)
}

func clientOf(t *testing.T, url string) (c *Client, waited *[]time.Duration) {
	t.Helper()
	waited = new([]time.Duration)
	c = New(Config{URL: url, Key: testKey, KeyFrom: "ROWBELL_KEY", Version: "1.2.3"})
	c.sleep = func(_ context.Context, d time.Duration) error {
		*waited = append(*waited, d)
		return nil
	}
	t.Cleanup(c.Close)
	return c, waited
}

// problem answers as the API does.
func problem(w http.ResponseWriter, p api.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func answer(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, text)
}

// said holds an error to its words; none has the key.
func saidTo(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	text := err.Error()
	if e, ok := errors.AsType[*Error](err); ok {
		text += ". " + e.Mend()
	}
	for _, want := range texts {
		if !strings.Contains(text, want) {
			t.Errorf("%q isn't in: %s", want, text)
		}
	}
	if strings.Contains(text, "HUNTER2") {
		t.Errorf("the key is in: %s", text)
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	var got *http.Request
	c, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		answer(w, `{"items": []}`)
	})
	tenant := "acme"
	if _, err := c.ListPreferences(t.Context(), store.PreferenceFilter{TenantID: &tenant}); err != nil {
		t.Fatal(err)
	}
	h := got.Header
	if h.Get("Authorization") != "Bearer "+testKey || h.Get("User-Agent") != "rowbell/1.2.3" || h.Get(access.TenantHeader) != "acme" || len(h.Get("X-Request-Id")) != 26 || h.Get("Idempotency-Key") != "" {
		t.Errorf("the headers are %v", h)
	}
	if got.URL.String() != "/api/v1/preferences?tenant=acme" {
		t.Errorf("the path is %s", got.URL)
	}
	if _, err := c.TemplateUsers(t.Context(), "", "a/b c?"); err != nil || got.URL.EscapedPath() != "/api/v1/templates/a%2Fb%20c%3F" || got.Header.Get(access.TenantHeader) != "" {
		t.Errorf("an id becomes %s, error %v", got.URL.EscapedPath(), err)
	}
	saidTo(t, c.put(t.Context(), "/x", nil, strings.Repeat("x", api.MaxFiles), nil), "what is to be sent has 16 MiB, and a server takes 16 at most. Send fewer files at once")
	for _, id := range []string{"", ".", ".."} {
		got = nil
		if _, err := c.Show(t.Context(), id); !errors.Is(err, workflow.ErrNotFound) || got != nil {
			t.Errorf("workflow %q: %v, and was asked for: %t", id, err, got != nil)
		}
	}
}

// What may pass is asked for again, with one idempotency key, and as long as the server wants.
func TestAgain(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		do     func(c *Client) error
		fails  func(w http.ResponseWriter, r *http.Request)
		times  int // it fails
		tries  int
		waited []time.Duration
		err    string
	}{
		"429": {
			func(c *Client) error { return c.post(t.Context(), "/x", nil, nil, nil) },
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "3")
				problem(w, api.Problem{Status: 429, Detail: "too many"})
			}, 2, 3,
			[]time.Duration{3 * time.Second, 3 * time.Second},
			"",
		},
		"503 of a PUT": {
			func(c *Client) error { return c.put(t.Context(), "/x", nil, nil, nil) },
			func(w http.ResponseWriter, _ *http.Request) {
				problem(w, api.Problem{Status: 503, Detail: "the database can't be reached", Mend: "try again"})
			}, 2, 3,
			[]time.Duration{firstWait, 2 * firstWait},
			"",
		},
		"503 for long": {
			func(c *Client) error { return c.get(t.Context(), "/x", nil, nil) },
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "2")
				problem(w, api.Problem{Status: 503, Detail: "the database can't be reached", Mend: "try again"})
			}, 100, mostTries,
			slices.Repeat([]time.Duration{2 * time.Second}, mostTries-1), "the database can't be reached. Try again",
		},
		"a wait that is too long": {
			func(c *Client) error { return c.get(t.Context(), "/x", nil, nil) },
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "3600")
				problem(w, api.Problem{Status: 429, Detail: "too many failures", Mend: "wait for 3600 s"})
			}, 100, 1, nil, "too many failures. Wait for 3600 s",
		},
		"an answer of a POST that is lost": {
			func(c *Client) error { return c.post(t.Context(), "/x", nil, map[string]any{"a": 1}, nil) }, cutOff, 2, 3,
			[]time.Duration{firstWait, 2 * firstWait},
			"",
		},
		"an answer that breaks off": {
			func(c *Client) error { return c.get(t.Context(), "/x", nil, new(any)) },
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				answer(w, `{"a": `)
			}, 1, 2,
			[]time.Duration{firstWait},
			"",
		},
		"an answer of a PUT that is lost": {
			func(c *Client) error { return c.put(t.Context(), "/x", nil, nil, nil) }, cutOff, 1, 1, nil,
			"closed the connection before its answer was there. Look whether what was asked for is done",
		},
		"502 of a DELETE": {
			func(c *Client) error { return c.remove(t.Context(), "/x", nil, nil) },
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, 1, 1, nil, "answers 502 Bad Gateway, and not as a Rowbell server does",
		},
		"502 of a POST": {
			func(c *Client) error { return c.post(t.Context(), "/x", nil, nil, nil) },
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, 1, 2,
			[]time.Duration{firstWait},
			"",
		},
		"500": {
			func(c *Client) error { return c.get(t.Context(), "/x", nil, nil) },
			func(w http.ResponseWriter, _ *http.Request) {
				problem(w, api.Problem{Status: 500, Detail: "something failed that should not", Instance: "urn:rowbell:request:01K0"})
			}, 1, 1, nil, "failed: something failed that should not. Its log has more under the request's id, 01K0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			tries := 0
			keys := map[string]bool{}
			c, waited := server(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				tries++
				n := tries
				keys[r.Header.Get("Idempotency-Key")] = true
				mu.Unlock()
				body, _ := io.ReadAll(r.Body)
				if n <= x.times {
					x.fails(w, r)
					return
				}
				if r.ContentLength > 0 && string(body) != `{"a":1}` {
					t.Errorf("the body is %s", body)
				}
				answer(w, `{}`)
			})
			err := x.do(c)
			if x.err != "" {
				saidTo(t, err, x.err)
			} else if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if tries != x.tries || !slices.Equal(*waited, x.waited) || len(keys) != 1 {
				t.Errorf("it was asked %d times, with %d keys, after %v; want %d, after %v", tries, len(keys), *waited, x.tries, x.waited)
			}
		})
	}
}

func cutOff(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		is     error
		says   []string
	}{
		"401": {
			func(w http.ResponseWriter, _ *http.Request) {
				problem(w, api.Problem{Status: 401, Detail: "the API key was revoked"})
			},
			nil,
			[]string{"doesn't know who asks: the API key was revoked (key 01M8BBN2R3B0RD0R44H8914CVH of ROWBELL_KEY). Set ROWBELL_KEY"},
		},
		"403": {
			func(w http.ResponseWriter, _ *http.Request) {
				problem(w, api.Problem{Status: 403, Detail: "this needs the right workflow.publish", Mend: "use a key"})
			},
			nil,
			[]string{"this needs the right workflow.publish (key 01M8BBN2R3B0RD0R44H8914CVH of ROWBELL_KEY). Use a key with a role that has it"},
		},
		"404": {
			func(w http.ResponseWriter, _ *http.Request) {
				problem(w, api.Problem{Status: 404, Detail: "there is no workflow big"})
			},
			workflow.ErrNotFound,
			[]string{"there is no workflow big"},
		},
		"409": {
			func(w http.ResponseWriter, _ *http.Request) {
				problem(w, api.Problem{Status: 409, Detail: "it was changed; say ?force=true", Mend: "read it again"})
			},
			workflow.ErrConflict,
			[]string{"it was changed; say --force. Read it again"},
		},
		"412": {
			func(w http.ResponseWriter, _ *http.Request) {
				problem(w, api.Problem{Status: 412, Detail: "it has changed"})
			},
			workflow.ErrConflict,
			[]string{"it has changed"},
		},
		"422 of one thing": {
			func(w http.ResponseWriter, _ *http.Request) {
				problem(w, api.Problem{Status: 422, Detail: "no", Errors: []api.FieldError{{Detail: "no", Pointer: "#/zone", Mend: "write one"}}})
			},
			access.ErrInvalid,
			[]string{"no. Write one"},
		},
		"422 of several": {
			func(w http.ResponseWriter, _ *http.Request) {
				problem(w, api.Problem{Status: 422, Detail: "the request is not right", Errors: []api.FieldError{
					{Detail: "too long", Pointer: "#/name"}, {Detail: "unknown", Parameter: "query.lost"}, {Detail: "bad", Place: "a.yaml:3:4", Pointer: "#/x"},
				}})
			},
			workflow.ErrRefused,
			[]string{"name: too long\nquery.lost: unknown\na.yaml:3:4: bad"},
		},
		"an old server": {
			func(w http.ResponseWriter, r *http.Request) {
				problem(w, api.Problem{Status: 404, Detail: "there is no GET " + r.URL.Path})
			},
			nil,
			[]string{"is older than this rowbell: it has no GET /api/v1/things/a%2Fb. Update the server"},
		},
		"an old server that has the path": {
			func(w http.ResponseWriter, _ *http.Request) {
				problem(w, api.Problem{Status: 405, Detail: "/api/v1/things has no GET"})
			},
			nil,
			[]string{"is older than this rowbell"},
		},
		"a web page": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				_, _ = io.WriteString(w, "<html>hello</html>")
			},
			nil,
			[]string{"answers with a web page, and not as a Rowbell server does. Check the URL of the server"},
		},
		"a web page that says no": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(404)
			},
			nil,
			[]string{"answers 404 Not Found, and not as a Rowbell server does"},
		},
		"another place": {
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://login.example.com/", http.StatusFound)
			},
			nil,
			[]string{"sends on to https://login.example.com/, where the key isn't sent"},
		},
		"other JSON": {
			func(w http.ResponseWriter, _ *http.Request) { answer(w, `[1, 2`) },
			nil,
			[]string{"can't be read"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, waited := server(t, x.answer)
			var out struct{ Items []string }
			err := c.get(t.Context(), at("/things/%s", "a/b"), nil, &out)
			saidTo(t, err, x.says...)
			for _, e := range []error{workflow.ErrNotFound, workflow.ErrConflict} {
				if errors.Is(err, e) != errors.Is(x.is, e) {
					t.Errorf("%v is %v: %t", err, e, errors.Is(err, e))
				}
			}
			if x.is != nil && !errors.Is(err, x.is) {
				t.Errorf("%v isn't %v", err, x.is)
			}
			if len(*waited) > 0 {
				t.Errorf("it was asked again after %v", *waited)
			}
		})
	}
	c, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
		problem(w, api.Problem{Status: 401, Detail: "the token has expired"})
	})
	c.cfg.Key = "eyHUNTER2.x.y"
	saidTo(t, c.get(t.Context(), "/me", nil, nil), "by the token of ROWBELL_KEY")
}

func TestUnreached(t *testing.T) {
	t.Parallel()
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tls.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(slow.Close)
	for url, says := range map[string]string{
		gone.URL: "nothing answers at " + gone.URL + ". Check the URL of the server, and that rowbell run runs there",
		tls.URL:  "shows a certificate of an unknown authority. Name a file with the authority's certificate in SSL_CERT_FILE",
		strings.Replace(plain.URL, "http:", "https:", 1): "doesn't speak TLS",
		strings.Replace(tls.URL, "https:", "http:", 1):   "speaks TLS. Write " + tls.URL,
		"https://nobody.invalid":                         "the host nobody.invalid is not known",
	} {
		c, waited := clientOf(t, url)
		err := c.get(t.Context(), "/me", nil, nil)
		saidTo(t, err, says)
		if len(*waited) > 0 {
			t.Errorf("%s was asked again after %v", url, *waited)
		}
	}
	c, _ := clientOf(t, slow.URL)
	c.http.Transport.(*http.Transport).ResponseHeaderTimeout = 50 * time.Millisecond
	saidTo(t, c.put(t.Context(), "/me", nil, nil, nil), "no answer from "+slow.URL+" in time")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.get(ctx, "/me", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped, it says %v", err)
	}
}

// A server that isn't what it seems writes no file elsewhere.
func TestExportedNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"big.yaml": true, "template-footer-of-acme.yaml": true, "a%2Fb_c.yaml": true,
		"../big.yaml": false, "/etc/big.yaml": false, `..\\big.yaml`: false, ".bashrc": false, ".yaml": false, "": false, "big.yaml/../x": false,
	} {
		c, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
			answer(w, fmt.Sprintf(`{"files": [{"name": "%s", "text": "name: Big"}], "operators": []}`, name))
		})
		list, _, err := c.Export(t.Context(), []string{"big"}, store.WorkflowFilter{})
		if (err == nil) != ok || ok && (len(list) != 1 || list[0].File != name) {
			t.Errorf("a file called %q gives %v, error %v", name, list, err)
		}
	}
}

// Lists come page by page, and no further than they are read.
func TestPages(t *testing.T) {
	t.Parallel()
	var asked []url.Values
	c, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		asked = append(asked, q)
		n := len(asked)
		next := fmt.Sprintf(`, "next": "after %d"`, n)
		if n == 3 {
			next = ""
		}
		items := fmt.Sprintf(`"a%d", "b%d"`, n, n)
		if n == 2 {
			items = "" // a page may be empty, and have a next one
		}
		answer(w, `{"items": [`+items+`]`+next+`}`)
	})
	list, err := collect[string](t.Context(), c, "/things", url.Values{"tenant": {""}}, 0)
	if err != nil || strings.Join(list, " ") != "a1 b1 a3 b3" {
		t.Errorf("all are %v, error %v", list, err)
	}
	if len(asked) != 3 || asked[0].Get("cursor") != "" || asked[1].Get("cursor") != "after 1" || asked[2].Get("cursor") != "after 2" || !asked[2].Has("tenant") || asked[2].Get("limit") != "200" {
		t.Errorf("asked for %v", asked)
	}
	asked = nil
	if list, err = collect[string](t.Context(), c, "/things", nil, 1); err != nil || len(list) != 1 || len(asked) != 1 {
		t.Errorf("one is %v, error %v, asked for %v", list, err, asked)
	}
	fails, _ := server(t, func(w http.ResponseWriter, _ *http.Request) { problem(w, api.Problem{Status: 403, Detail: "no"}) })
	if _, err := collect[string](t.Context(), fails, "/things", nil, 0); err == nil {
		t.Error("a list that can't be read is empty")
	}
}
