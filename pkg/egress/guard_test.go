package egress

import (
	"net/netip"
	"testing"
)

// What is refused as IPv4 is refused in every IPv6 form that leads to it, and what may
// be called as IPv4 may be called mapped and through NAT64.
func FuzzBlocked(f *testing.F) {
	for _, s := range specials {
		f.Add(s.prefix.Addr().AsSlice(), "")
	}
	f.Add([]byte{93, 184, 216, 34}, "eth0")
	f.Fuzz(func(t *testing.T, raw []byte, zone string) {
		ip, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		if ip.Is6() {
			ip = ip.WithZone(zone)
		}
		s, refused := findSpecial(ip)
		if refused && (s.name == "" || !s.prefix.Contains(plainAddr(ip))) {
			t.Fatalf("%s is refused as %q of %s", ip, s.name, s.prefix)
		}
		ip = ip.Unmap()
		if !ip.Is4() {
			return
		}
		mapped := ip.As16()
		through := nat64.Addr().As16()
		copy(through[12:], mapped[12:])
		for _, form := range []netip.Addr{netip.AddrFrom16(mapped), netip.AddrFrom16(through), netip.AddrFrom16(through).WithZone(zone)} {
			if _, also := findSpecial(form); also != refused {
				t.Errorf("%s refused %v, but %s %v", ip, refused, form, also)
			}
		}
		compatible, local, sixToFour, teredo := mapped, through, [16]byte{0x20, 0x02}, [16]byte{0x20, 0x01}
		compatible[10], compatible[11] = 0, 0
		local[5] = 1
		copy(sixToFour[2:6], mapped[12:])
		for i := range 4 {
			teredo[12+i] = ^mapped[12+i]
		}
		for _, form := range [][16]byte{compatible, local, sixToFour, teredo} {
			if _, also := findSpecial(netip.AddrFrom16(form)); !also {
				t.Errorf("%s may be called", netip.AddrFrom16(form))
			}
		}
	})
}
