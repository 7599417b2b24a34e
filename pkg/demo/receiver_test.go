package demo

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// send sends a webhook as Rowbell does, and returns the answer; "" if there was none.
func send(t *testing.T, r *receiver, id, body, secret string) string {
	t.Helper()
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signature, err := signer.Sign(id, now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("webhook-signature", signature)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status[:3] + " " + string(text)
}

func receive(t *testing.T, f faults) *receiver {
	t.Helper()
	r, err := startReceiver(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestReceiver(t *testing.T) {
	t.Parallel()
	r := receive(t, faults{Refuse: func(body []byte) string {
		if strings.Contains(string(body), "gold") {
			return "too dear"
		}
		return ""
	}, Fail: 8})
	other := receive(t, faults{})
	for _, c := range []struct{ id, body, secret, want string }{
		{"a", "1", r.secret, "200 thank you"},
		{"a", "1", r.secret, "200 it is here already"},
		{"a", "1", other.secret, "401 the signature is not right"},
		{"b", "gold", r.secret, "422 too dear"},
		{"c", "3", r.secret, "503 not now"}, // the third id
		{"d", "4", r.secret, "200 thank you"},
		{"c", "3", r.secret, "200 thank you"},
	} {
		if got := send(t, r, c.id, c.body, c.secret); got != c.want {
			t.Errorf("%s, %s: answered %q, want %q", c.id, c.body, got, c.want)
		}
	}
	if got, want := r.total(), (counts{Requests: 7, Verified: 6, Repeats: 2}); got != want {
		t.Errorf("it counts %+v, want %+v", got, want)
	}
	for id, want := range map[string]int{"a": 2, "b": 1, "c": 2, "d": 1} {
		if got, ok := r.receipt(id); !ok || got.Requests != want || got.Done != (id != "b") {
			t.Errorf("%s: %+v", id, got)
		}
	}
	if got, ok := r.receipt("a"); !ok || got.Path != "/webhook" || string(got.Body) != "1" || !strings.HasPrefix(got.Signature, "v1,") || got.Timestamp == "" {
		t.Errorf("a: %+v", got)
	}
	// What was never signed rightly is unknown.
	send(t, r, "e", "5", other.secret)
	if got, ok := r.receipt("e"); ok {
		t.Errorf("e: %+v", got)
	}
}

// Away, it hangs up, and notes nothing; then it is back.
func TestReceiverAway(t *testing.T) {
	t.Parallel()
	away := make(chan struct{}, 100)
	r := receive(t, faults{AwayEvery: 10 * time.Millisecond, AwayFor: time.Hour, Away: func() { away <- struct{}{} }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.comeAndGo(ctx) }()
	<-away
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := send(t, r, "a", "1", r.secret); got != "" {
		t.Errorf("away, it answered %q", got)
	}
	r.mu.Lock()
	r.awayUntil = time.Now()
	r.mu.Unlock()
	if got := send(t, r, "a", "1", r.secret); got != "200 thank you" {
		t.Errorf("back, it answered %q", got)
	}
	if n := r.total().Requests; n != 1 {
		t.Errorf("it counts %d requests", n)
	}
}

func TestReceiverForgets(t *testing.T) {
	t.Parallel()
	r := &receiver{receipts: make(map[string]*receipt)}
	for i := range mostReceipts + 5 {
		r.keep(strconv.Itoa(i), &receipt{})
	}
	_, first := r.receipt("4")
	_, second := r.receipt("5")
	if len(r.receipts) != mostReceipts || first || !second {
		t.Errorf("it has %d receipts; of the one to forget %v, of the next %v", len(r.receipts), first, second)
	}
}

func TestTooDear(t *testing.T) {
	for body, want := range map[string]bool{
		`{"type": "orders.update", "data": {"new": {"total": 1700.01}}}`:         true,
		`{"type": "orders.update", "data": {"new": {"total": 1700.00}}}`:         false,
		`{"type": "customers.update", "data": {"new": {"credit_limit": 99999}}}`: false,
		`{`: false,
	} {
		if got := tooDear([]byte(body)) != ""; got != want {
			t.Errorf("%s: refused: %v", body, got)
		}
	}
}

// --once is content only with what the receiver has and has verified.
func TestShowReceipts(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := &show{receiver: receive(t, faults{}), screen: &screen{out: &out}}
	send(t, d.receiver, "a", `{"type": "orders.update"}`, d.receiver.secret)
	send(t, d.receiver, "b", "1", receive(t, faults{}).secret)
	for _, c := range []struct {
		ids  []string
		good bool
	}{{nil, false}, {[]string{"a"}, true}, {[]string{"b"}, false}, {[]string{"a", "c"}, false}} {
		if err := d.showReceipts(c.ids); (err == nil) != c.good {
			t.Errorf("%v: %v", c.ids, err)
		}
	}
	for _, want := range []string{"webhook-id         a\n", "✓ verified by", `body               {"type": "orders.update"}`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
