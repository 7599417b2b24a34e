package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/actiontest"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The server's clock of nuid and of its log goes on for the process.
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.init.0.func1"))
}

// broker is a NATS server in this process, with JetStream on disk.
type broker struct {
	t    *testing.T
	port int
	dir  string
	*server.Server
}

func startBroker(t *testing.T) *broker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{t: t, port: l.Addr().(*net.TCPAddr).Port, dir: t.TempDir()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b.start()
	t.Cleanup(b.stop)
	return b
}

// start starts it, again with what it had.
func (b *broker) start() {
	b.t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: b.port, JetStream: true, StoreDir: b.dir, NoSigs: true, NoLog: true, MaxPayload: 256 << 10})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Server = s
	go s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		b.t.Fatal("the server doesn't take connections")
	}
}

func (b *broker) stop() {
	b.Shutdown()
	b.WaitForShutdown()
}

func (b *broker) url() string { return "nats://127.0.0.1:" + strconv.Itoa(b.port) }

// admin is a connection of the test's own.
func (b *broker) admin() jetstream.JetStream {
	b.t.Helper()
	conn, err := nats.Connect(b.url(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		b.t.Fatal(err)
	}
	return js
}

func newBroker(t *testing.T, cfg Config) *Broker {
	t.Helper()
	b := NewBroker(cfg)
	t.Cleanup(b.Close)
	return b
}

func stream(t *testing.T, js jetstream.JetStream, change func(*jetstream.StreamConfig)) jetstream.Stream {
	t.Helper()
	cfg := jetstream.StreamConfig{Name: "ROWBELL", Subjects: []string{"rowbell.>", "free.>"}, Storage: jetstream.FileStorage, MaxMsgs: -1}
	if change != nil {
		change(&cfg)
	}
	s, err := js.CreateOrUpdateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stored are the messages of a stream.
func stored(t *testing.T, s jetstream.Stream) []*jetstream.RawStreamMsg {
	t.Helper()
	info, err := s.Info(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var list []*jetstream.RawStreamMsg
	for n := info.State.FirstSeq; n <= info.State.LastSeq && n > 0; n++ {
		m, err := s.GetMsg(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

func delivery(n int, tenant string) *actions.Delivery {
	id := fmt.Sprintf("01JX%08d", n)
	return &actions.Delivery{
		ID: id + "-2_0", Attempt: 1,
		Event: &workflow.Event{
			ID: id, Table: "orders", Op: change.Update, TenantID: tenant, CommittedAt: time.Date(2026, 11, 5, 9, 7, 3, 0, time.UTC),
			Data: []byte(`{"new": {"id": 7, "status": "a.b > *\r\nx", "empty": null}, "old": null, "changed": [], "unavailable": [], "actor": null}`),
		},
		Workflow: actions.Workflow{ID: "wf", Name: "Big orders", Version: 3, TenantID: tenant},
	}
}

func runner(t *testing.T, b *Broker, subject string) actions.Runner {
	t.Helper()
	config, err := json.Marshal(action{subject})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Kind(b).Parse(config, actions.Texts{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestConformance(t *testing.T) {
	t.Parallel()
	srv := startBroker(t)
	js := srv.admin()
	kept := stream(t, js, nil)
	proxy := pgtest.Proxy(t, "127.0.0.1:"+strconv.Itoa(srv.port))
	b := newBroker(t, Config{URL: "nats://" + proxy.Addr()})
	connected := func() {
		pgtest.Eventually(t, pgtest.Patience, "a connection", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.conn == nil || b.conn.IsConnected()
		})
	}
	full := func(size int32) func() {
		return func() {
			stream(t, js, func(c *jetstream.StreamConfig) {
				if c.MaxMsgSize = size; size == 0 {
					c.MaxMsgs, c.Discard = int64(max(1, len(stored(t, kept)))), jetstream.DiscardNew
				}
			})
		}
	}
	actiontest.Run(t, actiontest.Subject{
		Kind: Kind(b),
		Valid: []string{
			`{"subject": "orders.{{ event.operation }}.{{ new.id }}"}`,
			`{"subject": "orders"}`,
			`{"subject": "{{ new.status }}"}`,
		},
		Invalid: map[string][]string{
			`{}`:                                {"subject", "missing"},
			`{"subject": ""}`:                   {"subject", "empty"},
			`{"subject": "a..b"}`:               {"subject", "empty part"},
			`{"subject": "a.>"}`:                {"subject", "for subscribers"},
			`{"subject": "a b"}`:                {"subject", "white space"},
			`{"subject": "$JS.API.x"}`:          {"subject", "the server's own"},
			`{"subject": "{{ x | nope }}"}`:     {"subject", `"nope" is unknown`},
			`{"subject": "a", "stream": "ROW"}`: {"stream", "there is no such key"},
		},
		OK: func() {
			proxy.Resume()
			stream(t, js, nil)
			connected()
		},
		Refuse:       full(1),
		RefuseForNow: full(0),
		Away:         proxy.Refuse,
		Hang: func() (<-chan struct{}, func()) {
			// Somebody else takes the subject, and doesn't acknowledge.
			stream(t, js, func(c *jetstream.StreamConfig) { c.Subjects = []string{"other"} })
			reached := make(chan struct{})
			var once sync.Once
			sub, err := js.Conn().Subscribe("rowbell.>", func(*nats.Msg) { once.Do(func() { close(reached) }) })
			if err != nil {
				t.Fatal(err)
			}
			if err := js.Conn().Flush(); err != nil {
				t.Fatal(err)
			}
			return reached, func() {
				if err := sub.Unsubscribe(); err != nil {
					t.Error(err)
				}
				stream(t, js, nil)
			}
		},
		Effects: func() []actiontest.Effect {
			var list []actiontest.Effect
			for _, m := range stored(t, kept) {
				list = append(list, actiontest.Effect{Key: m.Header.Get("Nats-Msg-Id"), Content: m.Subject + " " + string(m.Data)})
			}
			return list
		},
	})
}

// What is published is what a webhook would be, under the tenant's subject, once.
func TestPublish(t *testing.T) {
	t.Parallel()
	srv := startBroker(t)
	s := stream(t, srv.admin(), nil)
	b := newBroker(t, Config{URL: srv.url()})
	r := runner(t, b, "orders.{{ new.status }}")
	for n, want := range []string{"stream ROWBELL, sequence 1", "stream ROWBELL, sequence 1, which had it already"} {
		res, err := r.Run(t.Context(), delivery(1, "ac.me>"))
		if err != nil || res.Response != want || res.Code != 0 {
			t.Errorf("attempt %d: %+v, %v", n, res, err)
		}
	}
	if _, err := runner(t, b, "free.{{ new.id }}").Run(t.Context(), delivery(2, "")); err != nil {
		t.Error(err)
	}
	list := stored(t, s)
	if len(list) != 2 {
		t.Fatalf("%d messages", len(list))
	}
	if want := "rowbell.ac%2Eme%3E.orders.a%2Eb%20%3E%20%2A%0D%0Ax"; list[0].Subject != want {
		t.Errorf("the subject is %s, want %s", list[0].Subject, want)
	}
	body, err := actions.Body(delivery(1, "ac.me>"))
	if err != nil {
		t.Fatal(err)
	}
	if string(list[0].Data) != string(body) || list[0].Header.Get("Nats-Msg-Id") != "01JX00000001-2_0" || list[0].Header.Get("Content-Type") != "application/json" {
		t.Errorf("the message is %v %s", list[0].Header, list[0].Data)
	}
	if list[1].Subject != "free.7" {
		t.Errorf("operators' subject is %s", list[1].Subject)
	}
	other := newBroker(t, Config{URL: srv.url(), Prefix: "free.of-{tenant}.x"})
	if _, err := runner(t, other, "a").Run(t.Context(), delivery(3, "acme")); err != nil {
		t.Error(err)
	}
	if got := stored(t, s)[2].Subject; got != "free.of-acme.x.a" {
		t.Errorf("with another prefix the subject is %s", got)
	}
}

// The server goes and comes back with its disk while messages are published: each stands
// there once, however often it was tried.
func TestRestart(t *testing.T) {
	t.Parallel()
	srv := startBroker(t)
	js := srv.admin()
	s := stream(t, js, nil)
	r := runner(t, newBroker(t, Config{URL: srv.url()}), "orders.{{ new.id }}")
	const messages = 300
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed, done := 0, 0
	progress := make(chan struct{}, messages)
	for w := range 6 {
		wg.Go(func() {
			for n := w; n < messages; n += 6 {
				for try := 0; ; try++ {
					res, err := r.Run(t.Context(), delivery(n, "acme"))
					if err == nil {
						// As if the outcome had not been written: again, with the same key.
						if n%5 == 0 && !strings.Contains(res.Response, "already") {
							_, err = r.Run(t.Context(), delivery(n, "acme"))
						}
					}
					if err == nil {
						break
					}
					if e, ok := errors.AsType[*actions.Error](err); ok && e.Permanent || try > 2000 {
						t.Errorf("message %d: %v", n, err)
						return
					}
					mu.Lock()
					failed++
					mu.Unlock()
					select {
					case <-time.After(10 * time.Millisecond):
					case <-t.Context().Done():
						return
					}
				}
				mu.Lock()
				done++
				mu.Unlock()
				progress <- struct{}{}
			}
		})
	}
	for range 60 {
		<-progress
	}
	srv.stop()
	for mu.Lock(); failed < 20; mu.Lock() {
		mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	mu.Unlock()
	srv.start()
	wg.Wait()
	ids := make(map[string]int)
	pgtest.Eventually(t, pgtest.Patience, "the test's own connection", func() bool { return js.Conn().IsConnected() })
	for _, m := range stored(t, s) {
		ids[m.Header.Get("Nats-Msg-Id")]++
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("%s stands there %d times", id, n)
		}
	}
	if len(ids) != messages {
		t.Errorf("%d messages, want %d", len(ids), messages)
	}
	t.Logf("%d attempts failed while the server was away", failed)
}

func TestFailures(t *testing.T) {
	t.Parallel()
	srv := startBroker(t)
	js := srv.admin()
	b := newBroker(t, Config{URL: srv.url()})
	how := func(r actions.Runner, d *actions.Delivery) (permanent bool, text string) {
		t.Helper()
		_, err := r.Run(t.Context(), d)
		if err == nil {
			t.Fatal("it succeeds")
		}
		e, ok := errors.AsType[*actions.Error](err)
		return ok && e.Permanent, err.Error()
	}
	if p, text := how(runner(t, b, "orders"), delivery(1, "acme")); p || !strings.Contains(text, "no stream takes the subject rowbell.acme.orders; an operator can make one: nats stream add ROWBELL --subjects='rowbell.>'") {
		t.Errorf("without a stream: permanent %v, %s", p, text)
	}
	stream(t, js, nil)
	if _, err := runner(t, b, "orders").Run(t.Context(), delivery(1, "acme")); err != nil {
		t.Errorf("and with it: %v", err)
	}
	for subject, want := range map[string]string{
		"orders.{{ new.empty }}":                                 "it has an empty part between dots, or a dot at an end; give its variables a default",
		"{{ new.status | raw }}":                                 "it has white space or another character that a subject can't have",
		"{{ new.id }}.{{ '>' | raw }}":                           "it has * or >, which are for subscribers",
		"{{ '$JS.API.' | raw }}{{ new.id }}":                     "subjects that begin with $ or _INBOX are the server's own",
		"{{ new.id | divided_by: 0 }}":                           "subject: line 1: divided_by: division by zero",
		"{{ new.id }}." + strings.Repeat("{{ new.status }}", 40): "the most are 512",
	} {
		if p, text := how(runner(t, b, subject), delivery(2, "")); !p || !strings.Contains(text, want) {
			t.Errorf("%s: permanent %v, %s; want %s", subject, p, text, want)
		}
	}
	big := delivery(3, "acme")
	big.Event.Data = []byte(`{"new": {"note": "` + strings.Repeat("x", 300<<10) + `"}}`)
	if p, text := how(runner(t, b, "orders"), big); !p || !strings.Contains(text, "more than the server takes (max_payload)") {
		t.Errorf("a big message: permanent %v, %s", p, text)
	}
	// What a tenant is called may not lead there either.
	bare := newBroker(t, Config{URL: srv.url(), Prefix: "{tenant}"})
	if p, text := how(runner(t, bare, "orders"), delivery(7, "_INBOX")); !p || !strings.Contains(text, "subjects that begin with $ or _INBOX are the server's own") {
		t.Errorf("a tenant _INBOX: permanent %v, %s", p, text)
	}
	if p, text := how(runner(t, newBroker(t, Config{}), "orders"), delivery(4, "acme")); p || !strings.Contains(text, "ROWBELL_NATS_URL") {
		t.Errorf("without a broker: permanent %v, %s", p, text)
	}
	if p, text := how(runner(t, newBroker(t, Config{URL: "nats://ann:hunter2@127.0.0.1:1"}), "orders"), delivery(5, "acme")); p || strings.Contains(text, "hunter2") {
		t.Errorf("nobody there: permanent %v, %s", p, text)
	}
	if p, text := how(runner(t, newBroker(t, Config{URL: srv.url(), Credentials: "/no/such/file"}), "orders"), delivery(6, "acme")); p || !strings.Contains(text, "ROWBELL_NATS_CREDS: can't read /no/such/file") {
		t.Errorf("no credentials: permanent %v, %s", p, text)
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	srv := startBroker(t)
	js := srv.admin()
	st, err := Look(t.Context(), Config{URL: srv.url()})
	if err != nil || st.Server != server.VERSION || len(st.Streams) != 0 || st.Subject != "rowbell.*.>" {
		t.Errorf("without a stream: %+v, %v", st, err)
	}
	stream(t, js, nil)
	if st, err = Look(t.Context(), Config{URL: srv.url()}); err != nil || len(st.Streams) != 1 || st.Streams[0] != "ROWBELL" {
		t.Errorf("with one: %+v, %v", st, err)
	}
	if _, err = Look(t.Context(), Config{URL: "nats://ann:hunter2@127.0.0.1:1"}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"": true, "nats://a.example": true, "tls://u:p@a.example:4222": true, "nats://a:1, nats://b:2": true,
		"a.example:4222": false, "http://a.example": false, "nats://": false, "nats://a,": false, "nats://ann:hunter2@%zz": false,
	} {
		err := Config{URL: text}.Check()
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		DefaultPrefix: "", "a.{tenant}-x": "", "rowbell": "{tenant}", "{tenant}.{tenant}": "once", "a..{tenant}": "empty part", "$JS.{tenant}": "server's own", "{tenant}.>": "subscribers",
	} {
		if err := CheckPrefix(text); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// A server may repeat what it was told, and say a lot.
func TestQuiet(t *testing.T) {
	t.Parallel()
	cfg := Config{URL: `nats://ann:hunter2%40%22@a.example, nats://tok-en123@b.example,nats://c.example`}
	said := fmt.Errorf(`%w: {"user":"ann","pass":"hunter2@\""} nats://ann:hunter2%%40%%22@a.example, HUNTER2@" TOK-EN123 %s`+"\x1b]0;x", nats.ErrAuthorization, strings.Repeat("x", 1000))
	err := cfg.quiet(said)
	text := err.Error()
	if lower := strings.ToLower(text); strings.Contains(lower, "hunter2") || strings.Contains(lower, "tok-en") || len(text) > maxSaid || !strings.HasPrefix(text, `nats: authorization violation: {"user":"ann","pass":"***"} nats://ann:***@a.example, *** ***`) {
		t.Errorf("it says %s", text)
	}
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Error("it is another error")
	}
	if got := cfg.shown("a\x1b[2Jb"); strings.ContainsRune(got, '\x1b') {
		t.Errorf("control characters stay in %q", got)
	}
	if err := cfg.quiet(nil); err != nil {
		t.Errorf("none is %v", err)
	}
}
