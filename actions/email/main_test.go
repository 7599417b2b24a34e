package email

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/email/mailtest"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/egress"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate is for 127.0.0.1 and example.com.
var certificate = sync.OnceValues(func() (*tls.Config, *x509.CertPool) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS12}, roots
})

func serve(t testing.TB, c mailtest.Config) *mailtest.Server {
	t.Helper()
	s, err := mailtest.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// mailer sends to addr as url says, where HOST stands for it.
func mailer(t testing.TB, addr, url string) *Mailer {
	t.Helper()
	server, err := ParseServer(strings.Replace(url, "HOST", addr, 1), "Rowbell Größe <rowbell@shop.example>")
	if err != nil {
		t.Fatal(err)
	}
	client, err := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	_, roots := certificate()
	m := newMailer(server, client, roots)
	t.Cleanup(m.Close)
	return m
}

// delivery is ann's share of one of order 42; n tells deliveries apart.
func delivery(n int) *actions.Delivery {
	return &actions.Delivery{
		ID: fmt.Sprintf("01M84JMESM%016d-12_0_ann", n), Attempt: 1,
		Event: &workflow.Event{
			ID: "01M84JMESM0000000000000001", Position: change.Position{Stream: 1, CommitLSN: 0x1A2B3C8},
			CommittedAt: time.Date(2026, 11, 23, 16, 8, 12, 0, time.UTC), Table: "orders", Op: change.Update, TenantID: "acme", RowKey: "42",
			Data: []byte(`{"new": {"id": 42, "status": "approved", "total": 1200.50, "customer": "Müller & Söhne"}, "old": null, "changed": ["status"]}`),
		},
		Workflow:  actions.Workflow{ID: "order-approved", Name: "Order approved", Version: 3, TenantID: "acme"},
		Recipient: "ann",
		Person:    &workflow.Person{ID: "ann", Name: "Ann Lee", Email: "ann@example.com", Locale: "en", Reasons: []string{"role approver"}},
	}
}

const simple = `{"subject": "Order {{ new.id }}", "body": "Order **{{ new.id }}** of {{ new.customer }} was approved."}`

func runner(t testing.TB, m *Mailer, config string, o Options) actions.Runner {
	t.Helper()
	r, err := Kind(m, o).Parse(json.RawMessage(config), actions.Texts{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sent runs a delivery and returns what arrived.
func sent(t testing.TB, s *mailtest.Server, r actions.Runner, d *actions.Delivery) (*mailtest.Mail, *mailtest.Read) {
	t.Helper()
	n := len(s.Mails())
	res, err := r.Run(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if res.Code != 250 || res.Response == "" {
		t.Errorf("the result is %+v", res)
	}
	mails := s.Mails()
	if len(mails) != n+1 {
		t.Fatalf("%d mails arrived", len(mails)-n)
	}
	m := mails[n]
	read, err := m.Read()
	if err != nil {
		t.Fatalf("%v in\n%s", err, m.Raw)
	}
	return &m, read
}

// how is an error's particulars.
func how(t testing.TB, err error) *actions.Error {
	t.Helper()
	var e *actions.Error
	if !errors.As(err, &e) {
		if err == nil {
			t.Fatal("there is no error")
		}
		return &actions.Error{Err: err}
	}
	return e
}

// script is a server that says what f writes, to each connection.
func script(t testing.TB, f func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				stop := context.AfterFunc(ctx, func() { _ = c.Close() })
				defer stop()
				f(c)
			})
		}
	})
	t.Cleanup(func() { cancel(); _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}
