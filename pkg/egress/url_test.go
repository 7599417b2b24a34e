package egress

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://example.com":                          "https://example.com",
		"https://example.com:8443/a?b=c#part":          "https://example.com:8443/a?b=c",
		"http://10.0.0.1/":                             "http://10.0.0.1/",
		"https://[2606:4700::1]:443/x":                 "https://[2606:4700::1]:443/x",
		"HTTPS://Example.com/":                         "https://Example.com/",
		"https://bücher.example/":                      "https://b%C3%BCcher.example/",
		"https://my_service.example./":                 "https://my_service.example./",
		"https://example.com/a%20b?q=%zz":              "https://example.com/a%20b?q=%zz", // a query may hold anything
		"https://e.de/" + strings.Repeat("x", 2048-13): "https://e.de/" + strings.Repeat("x", 2048-13),
	} {
		u, err := CheckURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		} else if u.String() != want {
			t.Errorf("%s gives %s, want %s", raw, u, want)
		}
	}
	for _, c := range []struct{ raw, say string }{
		{"", "empty"},
		{"example.com/t0ken", "no scheme"},
		{"/t0ken", "must begin with https://"},
		{"//example.com/t0ken", "must begin with https://"},
		{"localhost:8080/t0ken", "must begin with https://"},
		{"ftp://example.com/t0ken", "must begin with https://"},
		{"file:///t0ken", "must begin with https://"},
		{"javascript:t0ken", "must begin with https://"},
		{"https:example.com/t0ken", "no host"},
		{"https:///t0ken", "no host"},
		{"https://:443/t0ken", "no host"},
		{"https://user:t0ken@example.com/", "user or password"},
		{"https://t0ken@example.com/", "user or password"},
		{"https://user:t0/ken@example.com/", "can't be read"},
		{"https://example.com:0/t0ken", "port"},
		{"https://example.com:65536/t0ken", "port"},
		{"https://example.com:http/t0ken", "can't be read"},
		{"https://example.com/%zzt0ken", "%25"},
		{"https://exa mple.com/t0ken", "can't be read"},
		{"https://exa$mple.com/t0ken", "character"},
		{" https://example.com/t0ken", "space"},
		{"https://example.com/t0ken\n", "space"},
		{"https://example.com/t0\nken", "control"},
		{"https://example.com/t0\x00ken", "control"},
		{"https://example.com/t0\u0085ken", "control"},
		{"https://example.com/\xfft0ken", "UTF-8"},
		{"https://e.de/" + strings.Repeat("x", 2049-13), "2049 bytes"},
		{"https://127.1/t0ken", "ends in a number"},
		{"https://2130706433/t0ken", "ends in a number"},
		{"https://0x7f000001/t0ken", "ends in a number"},
		{"https://0177.0.0.01/t0ken", "ends in a number"},
		{"https://127.0.0.1./t0ken", "ends in a number"},
		{"https://example.com../t0ken", "dots"},
		{"https://[::1/t0ken", "can't be read"},
	} {
		u, err := CheckURL(c.raw)
		bad, ok := errors.AsType[*URLError](err)
		if !ok {
			t.Errorf("%q gives %v, %v", c.raw, u, err)
			continue
		}
		if !strings.Contains(bad.Error(), c.say) || strings.Contains(bad.Error(), "t0") {
			t.Errorf("%q: %v; want %q in it", c.raw, err, c.say)
		}
		if !Permanent(err) {
			t.Errorf("%v is worth a retry", err)
		}
	}
}

func TestClientCheckURL(t *testing.T) {
	t.Parallel()
	none := newClient(t, Config{})
	local := newClient(t, Config{Allow: []netip.Prefix{loopback}})
	for _, c := range []struct {
		raw         string
		none, local string // what the error says; "" = fine
	}{
		{"https://example.com/", "", ""},
		{"http://example.com/", "plain http", ""}, // it may lead to an allowed address
		{"https://93.184.216.34/", "", ""},
		{"http://93.184.216.34/", "plain http", "plain http"},
		{"https://127.0.0.1:8443/", "127.0.0.1 is a loopback address (127.0.0.0/8)", ""},
		{"http://127.0.0.1:8080/", "loopback", ""},
		{"https://[::ffff:127.0.0.1]/", "loopback", ""},
		{"https://[64:ff9b::127.0.0.1]/", "NAT64", "NAT64"},
		{"https://[::1]/", "loopback", "loopback"},
		{"https://[fe80::1%25eth0]/", "link-local", "link-local"},
		{"https://localhost/", "localhost leads to a loopback address", ""},
		{"http://LOCALHOST.:80/", "loopback", ""},
		{"https://api.localhost/", "loopback", ""},
		{"https://169.254.169.254/latest/meta-data/", "metadata", "metadata"},
		{"gopher://127.0.0.1/", "https://", "https://"},
		{"https://93.184.216.34:25/", "is not called at port 25, where something else than a web server listens", "port 25"},
		{"https://93.184.216.34:8443/", "", ""},
		{"https://127.0.0.1:6379/", "loopback", ""},
		{"https://example.com:5432/", "port 5432", ""},
	} {
		for _, client := range []struct {
			c    *Client
			want string
		}{{none, c.none}, {local, c.local}} {
			_, err := client.c.CheckURL(c.raw)
			if client.want == "" && err != nil || client.want != "" && (err == nil || !strings.Contains(err.Error(), client.want) || !Permanent(err)) {
				t.Errorf("%s: %v, want %q", c.raw, err, client.want)
			}
		}
	}
}
