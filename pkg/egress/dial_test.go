package egress

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// hostPort is where a server on loopback is reached by a name.
func hostPort(t *testing.T, s *httptest.Server, name string) string {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(name, u.Port())
}

// closedPort is a port on loopback where nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestRebinding(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	s := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	dns := &names{answers: map[string][][]string{"rebind.example": {{"93.184.216.34"}, {"127.0.0.1"}}}}
	c := newClient(t, Config{})
	c.resolver = dns.resolver(t)

	// Whoever asks when the configuration is saved sees a public address …
	raw := "https://" + hostPort(t, s, "rebind.example") + "/"
	if _, err := c.CheckURL(raw); err != nil {
		t.Fatal(err)
	}
	addrs, err := c.resolver.LookupNetIP(t.Context(), "ip4", "rebind.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.check("rebind.example", addrs[0], false); err != nil {
		t.Fatal(err)
	}
	// … and whoever dials is led to this machine.
	_, err = get(t.Context(), c, raw)
	blocked, ok := errors.AsType[*BlockedError](err)
	if !ok || !Permanent(err) {
		t.Fatalf("%v, want a BlockedError", err)
	}
	if blocked.Addr != netip.MustParseAddr("127.0.0.1") || blocked.Host != "rebind.example" {
		t.Errorf("%+v", *blocked)
	}
	if want := "rebind.example leads to a loopback address (127.0.0.0/8), which is not called; an operator can allow it by ROWBELL_EGRESS_ALLOW=127.0.0.0/8"; err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if hits.Load() != 0 {
		t.Error("the server was called")
	}
}

// A name's port is looked at when it is dialled, before anything is sent.
func TestOtherProtocolsPort(t *testing.T) {
	t.Parallel()
	dns := &names{answers: map[string][][]string{"mail.example": {{"93.184.216.34"}}}}
	c := newClient(t, Config{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	c.resolver = dns.resolver(t)
	if _, err := c.CheckURL("https://mail.example:25/"); err != nil {
		t.Fatal(err) // it may lead to what is allowed
	}
	_, err := get(t.Context(), c, "https://mail.example:25/")
	if blocked, ok := errors.AsType[*BlockedError](err); !ok || !Permanent(err) || !strings.Contains(blocked.Reason, "port 25") {
		t.Errorf("%v, want a BlockedError for the port", err)
	}
}

func TestSomeAddressesBlocked(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })
	dns := &names{answers: map[string][][]string{
		"mixed.example":   {{"10.0.0.1", "127.0.0.1", "169.254.169.254"}},
		"refused.example": {{"10.0.0.1", "169.254.169.254"}},
	}}
	c := newClient(t, Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	c.resolver = dns.resolver(t)

	res, err := get(t.Context(), c, "http://"+hostPort(t, s, "mixed.example"))
	if err != nil || string(res.Body) != "here" {
		t.Errorf("%v, %v", res, err)
	}
	_, err = get(t.Context(), c, "http://"+hostPort(t, s, "refused.example"))
	if _, ok := errors.AsType[*BlockedError](err); !ok {
		t.Errorf("%v, want a BlockedError", err)
	}
	// An address that may be called and does not answer is worth another try, whatever
	// the others are.
	_, err = get(t.Context(), c, "http://mixed.example:"+closedPort(t))
	if err == nil || Permanent(err) {
		t.Errorf("%v is permanent", err)
	}
	_, err = get(t.Context(), c, "http://unknown.example/")
	if want := "unknown.example: no such host"; err == nil || err.Error() != want || Permanent(err) {
		t.Errorf("%v, want %s", err, want)
	}
}

// Plain http to an address that isn't allowed ends before a byte is sent: a server that
// accepts in order sees nothing before what the test itself sends.
func TestRefusedBeforeAByte(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dns := &names{answers: map[string][][]string{"public.example": {{"93.184.216.34"}}}}
	c := newClient(t, Config{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	c.resolver = dns.resolver(t)
	for _, u := range []string{
		"http://" + l.Addr().String(), "https://" + l.Addr().String(),
		strings.Replace("http://"+l.Addr().String(), "127.0.0.1", "[::ffff:127.0.0.1]", 1),
		"http://public.example/",
	} {
		_, err := get(t.Context(), c, u)
		if _, ok := errors.AsType[*BlockedError](err); !ok {
			t.Errorf("%s: %v, want a BlockedError", u, err)
		}
	}
	if _, err := c.DialContext(t.Context(), "tcp", l.Addr().String()); !Permanent(err) {
		t.Errorf("dialled: %v", err)
	}
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ours.Close() }()
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	if first.RemoteAddr().String() != ours.LocalAddr().String() {
		t.Error("a refused connection was made")
	}
}

func TestDialContext(t *testing.T) {
	t.Parallel()
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	c := newClient(t, Config{Allow: []netip.Prefix{loopback}})
	addr := s.Listener.Addr().String()
	conn, err := c.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	for _, network := range []string{"unix", "udp", "ip4:icmp"} {
		if conn, err := c.DialContext(t.Context(), network, addr); err == nil {
			_ = conn.Close()
			t.Errorf("dialled over %s", network)
		}
	}
	if _, err := c.DialContext(t.Context(), "tcp", "127.0.0.1"); !Permanent(err) {
		t.Errorf("%v, want a URLError", err)
	}
	_, err = c.DialContext(t.Context(), "tcp", "127.0.0.1:"+closedPort(t))
	if want := "127.0.0.1: connection refused"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// A name, because http.ProxyFromEnvironment spares loopback addresses by itself.
func TestProxyOfEnvironmentIsIgnored(t *testing.T) {
	var proxied atomic.Int64
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { proxied.Add(1) })
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	dns := &names{answers: map[string][][]string{"hooks.example": {{"127.0.0.1"}}}}
	c := newClient(t, Config{Allow: []netip.Prefix{loopback}})
	c.resolver = dns.resolver(t)
	res, err := get(t.Context(), c, "http://"+hostPort(t, s, "hooks.example"))
	if err != nil || res.StatusCode != http.StatusTeapot {
		t.Errorf("%v, %v", res, err)
	}
	_, _ = get(t.Context(), c, "https://hooks.example:"+closedPort(t)) // whether it asks the proxy
	if proxied.Load() != 0 {
		t.Error("the proxy was asked")
	}
}
