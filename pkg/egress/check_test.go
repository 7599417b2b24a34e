package egress

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestBlockedAddresses(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{})
	for _, a := range []struct{ addr, name string }{ // "" = may be called
		{"93.184.216.34", ""},
		{"1.1.1.1", ""},
		{"9.255.255.255", ""},
		{"11.0.0.0", ""},
		{"100.63.255.255", ""},
		{"100.128.0.0", ""},
		{"172.15.255.255", ""},
		{"172.32.0.0", ""},
		{"192.0.1.0", ""},
		{"198.17.255.255", ""},
		{"198.20.0.0", ""},
		{"223.255.255.255", ""},
		{"::ffff:93.184.216.34", ""},
		{"64:ff9b::93.184.216.34", ""},
		{"2606:4700:4700::1111", ""},
		{"2001:200::1", ""},
		{"2a00:1450:4001::1%eth0", ""},

		{"127.0.0.1", "loopback"},
		{"127.255.255.255", "loopback"},
		{"0.0.0.0", "unspecified"},
		{"0.1.2.3", "this network"},
		{"10.0.0.0", "private"},
		{"10.255.255.255", "private"},
		{"172.16.0.0", "private"},
		{"172.31.255.255", "private"},
		{"192.168.0.1", "private"},
		{"100.64.0.1", "shared"},
		{"100.127.255.255", "shared"},
		{"169.254.0.1", "link-local"},
		{"169.254.169.254", "metadata"},
		{"169.254.170.2", "metadata"},
		{"100.100.100.200", "metadata"},
		{"168.63.129.16", "metadata"},
		{"192.0.0.192", "metadata"},
		{"192.0.0.9", "IETF"},
		{"192.0.2.1", "documentation"},
		{"198.51.100.1", "documentation"},
		{"203.0.113.1", "documentation"},
		{"192.31.196.1", "AS112"},
		{"192.175.48.1", "AS112"},
		{"192.52.193.1", "AMT"},
		{"192.88.99.1", "6to4"},
		{"198.18.0.1", "benchmark"},
		{"198.19.255.255", "benchmark"},
		{"224.0.0.1", "multicast"},
		{"239.255.255.255", "multicast"},
		{"240.0.0.1", "reserved"},
		{"255.255.255.255", "broadcast"},

		{"::", "unspecified"},
		{"::1", "loopback"},
		{"::1%lo", "loopback"},
		{"::127.0.0.1", "IPv4-compatible"},
		{"::10.0.0.1", "IPv4-compatible"},
		{"::ffff:127.0.0.1", "loopback"},
		{"::ffff:10.1.2.3", "private"},
		{"::ffff:169.254.169.254", "metadata"},
		{"::ffff:0:127.0.0.1", "IPv4-translated"},
		{"64:ff9b::7f00:1", "loopback address behind NAT64"},
		{"64:ff9b::10.0.0.1", "private address behind NAT64"},
		{"64:ff9b::169.254.169.254", "metadata"},
		{"64:ff9b::10.0.0.1%eth0", "private address behind NAT64"},
		{"64:ff9b::1:a00:1", "no global"}, // beside the /96
		{"64:ff9b:1::10.0.0.1", "local NAT64"},
		{"64:ff9b:1::93.184.216.34", "local NAT64"},
		{"64:ff9b:2::1", "no global"},
		{"2002:7f00:1::", "6to4"},
		{"2002:a00:1::1", "6to4"},
		{"2002:5db8:d822::1", "6to4"},
		{"2001:0:5ef5:79fd:0:0:80ff:fffe", "Teredo"}, // of 127.0.0.1
		{"2001::1", "Teredo"},
		{"2001:2::1", "benchmark"},
		{"2001:10::1", "IETF"},
		{"2001:20::1", "IETF"},
		{"2001:30::1", "IETF"},
		{"2001:db8::1", "documentation"},
		{"2001:db8::1%eth0", "documentation"},
		{"3fff:1::1", "documentation"},
		{"2620:4f:8000::1", "AS112"},
		{"5f00::1", "SRv6"},
		{"100::1", "discard"},
		{"100:0:0:1::1", "dummy"},
		{"4000::1", "no global"},
		{"fc00::1", "unique local"},
		{"fd12:3456::1", "unique local"},
		{"fd00:ec2::254", "metadata"},
		{"fd20:ce::254", "metadata"},
		{"fe80::1", "link-local"},
		{"fe80::1%eth0", "link-local"},
		{"fec0::1", "site-local"},
		{"ff02::1", "multicast"},
	} {
		err := c.check("hooks.example", netip.MustParseAddr(a.addr), false)
		if a.name == "" {
			if err != nil {
				t.Errorf("%s: %v", a.addr, err)
			}
			continue
		}
		blocked, ok := errors.AsType[*BlockedError](err)
		if !ok {
			t.Errorf("%s may be called", a.addr)
			continue
		}
		if !strings.Contains(blocked.Reason, a.name) {
			t.Errorf("%s: %q doesn't say %q", a.addr, blocked, a.name)
		}
		if strings.Contains(blocked.Error(), a.addr) && !strings.Contains(blocked.Error(), a.addr+"/") {
			t.Errorf("%q says the address of a name", blocked)
		}
		if mend, ok := strings.CutPrefix(blocked.Mend, "an operator can allow it by ROWBELL_EGRESS_ALLOW="); ok {
			allowing := newClient(t, Config{Allow: []netip.Prefix{netip.MustParsePrefix(mend)}})
			if err := allowing.check("hooks.example", blocked.Addr, true); err != nil {
				t.Errorf("%s: what its error proposes doesn't allow it: %v", a.addr, err)
			}
		} else if blocked.Mend != "" {
			t.Errorf("%s: %q", a.addr, blocked.Mend)
		}
	}
	if err := c.check("hooks.example", netip.Addr{}, false); err == nil {
		t.Error("no address may be called")
	}
}

func TestAllow(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{Allow: []netip.Prefix{
		netip.MustParsePrefix("10.1.2.3/16"), // as people write it
		netip.MustParsePrefix("::ffff:192.168.7.0/120"),
		netip.MustParsePrefix("fd00:7::/64"),
		netip.MustParsePrefix("93.184.216.34/32"),
	}})
	for addr, want := range map[string]bool{ // by plain http
		"10.1.255.1":          true,
		"::ffff:10.1.255.1":   true,
		"10.2.0.1":            false,
		"::ffff:10.2.0.1":     false,
		"64:ff9b::10.1.255.1": false, // another network, behind a gateway
		"2002:a01:1::1":       false,
		"::10.1.0.1":          false,
		"192.168.7.9":         true,
		"::ffff:192.168.7.9":  true,
		"192.168.8.1":         false,
		"fd00:7::1":           true,
		"fd00:7::1%eth0":      true,
		"fd00:8::1":           false,
		"93.184.216.34":       true,
		"93.184.216.35":       false,
	} {
		if err := c.check(addr, netip.MustParseAddr(addr), true); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", addr, err, want)
		}
	}
}

func TestPlainHTTPNeedsAllow(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{Allow: []netip.Prefix{loopback}})
	err := c.check("example.com", netip.MustParseAddr("93.184.216.34"), true)
	if want := "example.com is not called by plain http; write https://, or an operator can allow its range by ROWBELL_EGRESS_ALLOW"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	err = c.check("10.0.0.7", netip.MustParseAddr("10.0.0.7"), true)
	if want := "10.0.0.7 is a private address (10.0.0.0/8), which is not called; an operator can allow it by ROWBELL_EGRESS_ALLOW=10.0.0.0/8"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Allow: []netip.Prefix{loopback, {}}, Timeout: -1, BodyLimit: -1})
	if err == nil {
		t.Fatal("made a client")
	}
	for _, want := range []string{"number 2 of the allowed ranges", "Timeout is negative", "BodyLimit is negative"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v doesn't say %q", err, want)
		}
	}
}
