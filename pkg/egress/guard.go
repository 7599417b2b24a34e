package egress

import (
	"net/netip"
	"slices"
)

// special is a range that is refused unless an operator allows it.
type special struct {
	prefix netip.Prefix
	name   string // as in "10.0.0.5 is a private address"
	// mend says that there can be a reason to allow it, so that the error says how.
	mend bool
}

// specials lists the ranges; the first that holds an address names it. Sources: IANA
// IPv4 and IPv6 Special-Purpose Address Registries (compared with the lists that
// code.dny.dev/ssrf v0.3.0 generated of them in 2026-07), RFC 1112, RFC 4291, RFC 5771,
// and the clouds' manuals.
var specials = []special{
	// Metadata services hand out credentials to whoever asks from the machine.
	{netip.MustParsePrefix("169.254.169.254/32"), "the metadata service of a cloud", false},
	{netip.MustParsePrefix("169.254.170.0/24"), "the metadata service of a cloud", false},   // AWS ECS .2, EKS .23
	{netip.MustParsePrefix("169.254.42.42/32"), "the metadata service of a cloud", false},   // Scaleway
	{netip.MustParsePrefix("100.100.100.200/32"), "the metadata service of a cloud", false}, // Alibaba
	{netip.MustParsePrefix("192.0.0.192/32"), "the metadata service of a cloud", false},     // Oracle
	{netip.MustParsePrefix("168.63.129.16/32"), "the metadata service of a cloud", false},   // Azure WireServer: public by its number
	{netip.MustParsePrefix("fd00:ec2::/32"), "the metadata service of a cloud", false},      // AWS ::254, ::23, ::253
	{netip.MustParsePrefix("fd20:ce::254/128"), "the metadata service of a cloud", false},   // Google

	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address", true},                            // RFC 1122
	{netip.MustParsePrefix("10.0.0.0/8"), "a private address", true},                              // RFC 1918
	{netip.MustParsePrefix("172.16.0.0/12"), "a private address", true},                           // RFC 1918
	{netip.MustParsePrefix("192.168.0.0/16"), "a private address", true},                          // RFC 1918
	{netip.MustParsePrefix("100.64.0.0/10"), "a shared address behind a carrier's NAT", true},     // RFC 6598
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address", true},                       // RFC 3927
	{netip.MustParsePrefix("0.0.0.0/32"), "the unspecified address", false},                       // RFC 1122
	{netip.MustParsePrefix("0.0.0.0/8"), "an address of \"this network\"", false},                 // RFC 791
	{netip.MustParsePrefix("192.0.0.0/24"), "an address of IETF protocols", false},                // RFC 6890
	{netip.MustParsePrefix("192.0.2.0/24"), "a documentation address", false},                     // RFC 5737, TEST-NET-1
	{netip.MustParsePrefix("198.51.100.0/24"), "a documentation address", false},                  // RFC 5737, TEST-NET-2
	{netip.MustParsePrefix("203.0.113.0/24"), "a documentation address", false},                   // RFC 5737, TEST-NET-3
	{netip.MustParsePrefix("192.31.196.0/24"), "an address of the AS112 service", false},          // RFC 7535
	{netip.MustParsePrefix("192.175.48.0/24"), "an address of the AS112 service", false},          // RFC 7534
	{netip.MustParsePrefix("192.52.193.0/24"), "an address of multicast tunnelling (AMT)", false}, // RFC 7450
	{netip.MustParsePrefix("192.88.99.0/24"), "an address of 6to4 relays", false},                 // RFC 7526
	{netip.MustParsePrefix("198.18.0.0/15"), "a benchmark address", true},                         // RFC 2544
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address", false},                          // RFC 5771
	{netip.MustParsePrefix("255.255.255.255/32"), "the broadcast address", false},                 // RFC 919
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address", false},                           // RFC 1112

	{netip.MustParsePrefix("::/128"), "the unspecified address", false},                    // RFC 4291
	{netip.MustParsePrefix("::1/128"), "a loopback address", true},                         // RFC 4291
	{netip.MustParsePrefix("::/96"), "an IPv4-compatible address", false},                  // RFC 4291, deprecated
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "an IPv4-translated address", false},        // RFC 2765
	{netip.MustParsePrefix("64:ff9b:1::/48"), "an address of a local NAT64", true},         // RFC 8215
	{netip.MustParsePrefix("100::/64"), "a discard address", false},                        // RFC 6666
	{netip.MustParsePrefix("100:0:0:1::/64"), "a dummy address", false},                    // RFC 9780
	{netip.MustParsePrefix("2001::/32"), "a Teredo address", false},                        // RFC 4380
	{netip.MustParsePrefix("2001:2::/48"), "a benchmark address", true},                    // RFC 5180
	{netip.MustParsePrefix("2001::/23"), "an address of IETF protocols", false},            // RFC 2928: ORCHID, DRIP, AMT …
	{netip.MustParsePrefix("2001:db8::/32"), "a documentation address", false},             // RFC 3849
	{netip.MustParsePrefix("3fff::/20"), "a documentation address", false},                 // RFC 9637
	{netip.MustParsePrefix("2002::/16"), "a 6to4 address", false},                          // RFC 3056
	{netip.MustParsePrefix("2620:4f:8000::/48"), "an address of the AS112 service", false}, // RFC 7534
	{netip.MustParsePrefix("5f00::/16"), "an address of segment routing (SRv6)", false},    // RFC 9602
	{netip.MustParsePrefix("fc00::/7"), "a private address (unique local)", true},          // RFC 4193
	{netip.MustParsePrefix("fe80::/10"), "a link-local address", true},                     // RFC 4291
	{netip.MustParsePrefix("fec0::/10"), "a private address (site-local)", true},           // RFC 3879
	{netip.MustParsePrefix("ff00::/8"), "a multicast address", false},                      // RFC 4291
}

// otherPorts are ports at which something other than a web server listens, and may take
// the lines of a request for commands. The WHATWG Fetch standard, section "Port blocking",
// has them; databases, caches and brokers were added.
var otherPorts = []uint16{
	1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123,
	135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995,
	1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
	1433, 1521, 3306, 3389, 4222, 5432, 5672, 6379, 9042, 11211, 27017,
}

var (
	globalV6 = netip.MustParsePrefix("2000::/3")
	nat64    = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052, well-known
)

// otherPort says that a port is no web server's.
func otherPort(port uint16) bool { return slices.Contains(otherPorts, port) }

// plainAddr is an address as the lists have it: without zone, which netip.Prefix never
// matches, and IPv4 as IPv4.
func plainAddr(ip netip.Addr) netip.Addr { return ip.WithZone("").Unmap() }

// findSpecial returns the refused range that holds an address, and whether there is one.
func findSpecial(ip netip.Addr) (special, bool) {
	ip = plainAddr(ip)
	if !ip.IsValid() {
		return special{name: "no address"}, true
	}
	if nat64.Contains(ip) {
		bytes := ip.As16()
		inside, refused := findSpecial(netip.AddrFrom4([4]byte(bytes[12:])))
		if !refused {
			return special{}, false
		}
		outside := nat64.Addr().As16()
		v4 := inside.prefix.Addr().As4()
		copy(outside[12:], v4[:])
		inside.prefix = netip.PrefixFrom(netip.AddrFrom16(outside), 96+inside.prefix.Bits())
		inside.name += " behind NAT64"
		return inside, true
	}
	for _, s := range specials {
		if s.prefix.Contains(ip) {
			return s, true
		}
	}
	if ip.Is6() && !globalV6.Contains(ip) {
		return special{prefix: netip.PrefixFrom(ip, 128), name: "no global address of IPv6"}, true
	}
	return special{}, false
}
