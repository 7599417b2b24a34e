package egress

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// newClient makes a client that is closed before the servers of the test, which would
// else wait for its connections.
func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

// get does one GET. Its request can't fail to be made: a test's URL may be anything.
func get(ctx context.Context, c *Client, url string) (*Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return c.Do(ctx, req)
}

// names is a name server on loopback: it answers the n-th question for a name with the
// n-th of its lists of IPv4 addresses, and again with the last.
type names struct {
	mu      sync.Mutex
	answers map[string][][]string
}

func (s *names) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if _, err := conn.WriteTo(s.answer(buf[:n]), from); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// answer makes the message of RFC 1035, section 4.1, that answers another.
func (s *names) answer(question []byte) []byte {
	var labels []string
	at := 12
	for question[at] != 0 {
		n := int(question[at])
		labels = append(labels, string(question[at+1:at+1+n]))
		at += 1 + n
	}
	kind := binary.BigEndian.Uint16(question[at+1:])
	end := at + 5
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.Join(labels, ".")
	lists, known := s.answers[name]
	var addrs []string
	if known && kind == 1 {
		addrs = lists[0]
		if len(lists) > 1 {
			s.answers[name] = lists[1:]
		}
	}
	m := append([]byte(nil), question[:2]...)
	code := byte(0)
	if !known {
		code = 3 // NXDOMAIN
	}
	m = append(m, 0x81, 0x80|code, 0, 1, 0, byte(len(addrs)), 0, 0, 0, 0)
	m = append(m, question[12:end]...)
	for _, a := range addrs {
		m = append(m, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		m = append(m, netip.MustParseAddr(a).AsSlice()...)
	}
	return m
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
