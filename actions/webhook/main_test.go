package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/egress"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testSecret = "whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE="

// newClient may call loopback, where the servers of the tests are.
func newClient(t testing.TB) *egress.Client {
	t.Helper()
	c, err := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// received is one request that a receiver got.
type received struct {
	header http.Header
	body   []byte
}

// receiver is a server that keeps what it got.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	got []received
}

// receive starts one whose answers answer gives; nil answers 200.
func receive(t testing.TB, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := new(receiver)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.got = append(r.got, received{req.Header.Clone(), body})
		r.mu.Unlock()
		if answer != nil {
			answer(w, req)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.got...)
}

func parse(t testing.TB, client *egress.Client, config map[string]any) actions.Runner {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	run, err := Kind(client, "1.2").Parse(text, actions.Texts{})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func delivery() *actions.Delivery {
	return &actions.Delivery{
		ID:      "01M84JMESM000038NKS0000000-12_0",
		Attempt: 1,
		Event: &workflow.Event{
			ID: "01M84JMESM000038NKS0000000", Position: change.Position{CommitLSN: 0x1A2B3C8},
			CommittedAt: time.Date(2026, 11, 23, 17, 8, 12, 340577000, time.FixedZone("", 3600)),
			Table:       "orders", Op: change.Update, TenantID: "acme",
			Data: []byte(`{"new": {"id": 42, "total": 1200.50, "note": null}, "old": null, "changed": ["total"], "unavailable": ["old.note"], "actor": {"id": "ada"}}`),
		},
		Workflow: actions.Workflow{ID: "order-approved", Name: "Order approved", Version: 3, TenantID: "acme"},
		Secret:   secrets(nil),
	}
}

// secrets are what a delivery can read.
func secrets(stored map[string]string) func(context.Context, string) (string, error) {
	return func(_ context.Context, name string) (string, error) {
		if text, ok := stored[name]; ok {
			return text, nil
		}
		return "", errors.New("there is none of this name")
	}
}

// failed takes the error apart that an attempt ended with.
func failed(t *testing.T, err error) (e actions.Error) {
	t.Helper()
	if err == nil {
		t.Fatal("the attempt succeeded")
	}
	if of, ok := errors.AsType[*actions.Error](err); ok {
		e = *of
	}
	return e
}

func wants(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v, want something with %q", err, w)
		}
	}
}
