package egress

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxURL is how many bytes a URL may have. Many servers take no more than 2,048 to 8,192.
const maxURL = 2048

// URLError says what is wrong with a URL and how to mend it. It never quotes the URL,
// which may hold credentials.
type URLError struct{ Problem string }

func (e *URLError) Error() string { return e.Problem }

// CheckURL parses a URL of a configuration: absolute, http or https, with a host,
// without user and password, of at most 2,048 bytes. The fragment, which is never sent,
// is cut off. It looks nothing up; Client.CheckURL knows more. Returns a *URLError.
func CheckURL(raw string) (*url.URL, error) {
	switch {
	case raw == "":
		return nil, &URLError{"the URL is empty; write it as https://example.com/hook"}
	case len(raw) > maxURL:
		return nil, &URLError{"the URL has " + strconv.Itoa(len(raw)) + " bytes; at most " + strconv.Itoa(maxURL) + " are taken"}
	case strings.TrimSpace(raw) != raw:
		return nil, &URLError{"the URL begins or ends with a space; remove it"}
	case !utf8.ValidString(raw):
		return nil, &URLError{"the URL is not valid UTF-8; write the bytes as %xx"}
	case strings.ContainsFunc(raw, unicode.IsControl):
		return nil, &URLError{"the URL holds a control character, as a line break or a tab; remove it, or write it as %xx"}
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The text of the error may quote a piece of a password.
		if _, ok := errors.AsType[url.EscapeError](err); ok {
			return nil, &URLError{"the URL has a % that two hexadecimal digits don't follow; write % itself as %25"}
		}
		return nil, &URLError{"this can't be read as a URL; write it as https://example.com/hook"}
	}
	if err := checkParsed(u); err != nil {
		return nil, err
	}
	if err := checkHost(u.Hostname()); err != nil {
		return nil, err
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, &URLError{"the URL's port must be a number from 1 to 65535"}
		}
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// checkParsed is what holds for each URL that is sent to, wherever it comes from.
func checkParsed(u *url.URL) error {
	switch {
	case u == nil:
		return &URLError{"the request has no URL"}
	case u.Scheme == "" && !strings.HasPrefix(u.Path, "/") && u.Host == "":
		return &URLError{"the URL has no scheme; write https:// before it"}
	case u.Scheme != "http" && u.Scheme != "https":
		return &URLError{"the URL must begin with https:// (or http://, for addresses that an operator has allowed)"}
	case u.Opaque != "" || u.Hostname() == "":
		return &URLError{"the URL names no host; write it as " + u.Scheme + "://example.com/hook"}
	case u.User != nil:
		return &URLError{"the URL holds a user or password before the @; remove them, and send credentials in a header from a secret"}
	}
	return nil
}

// checkHost refuses names that no resolver should see: with characters that names don't
// have, and the number forms of IPv4 that some resolvers read as addresses (127.1,
// 2130706433, 0x7f000001).
func checkHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	for _, r := range host {
		if r < utf8.RuneSelf && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '.' && r != '_' {
			return &URLError{"the URL's host has a character that host names don't have; write it as example.com"}
		}
	}
	name := strings.TrimSuffix(host, ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	if last == "" {
		return &URLError{"the URL's host ends with dots; write it as example.com"}
	}
	digits := strings.Trim(last, "0123456789") == ""
	if _, err := strconv.ParseUint(last, 0, 64); digits || err == nil {
		return &URLError{"the URL's host ends in a number but is no IP address; write four numbers, as 192.0.2.7, or a name"}
	}
	return nil
}

// CheckURL checks as the function of that name does, and refuses what this client would
// refuse whatever a name resolves to: blocked addresses, localhost, and plain http and
// ports of other protocols if nothing is allowed. It looks nothing up. Returns a *URLError or a *BlockedError.
func (c *Client) CheckURL(raw string) (*url.URL, error) {
	u, err := CheckURL(raw)
	if err != nil {
		return nil, err
	}
	host, plain := u.Hostname(), u.Scheme == "http"
	port, _ := strconv.ParseUint(u.Port(), 10, 16)
	if ip, err := netip.ParseAddr(host); err == nil {
		if err := c.check(host, ip, plain); err != nil {
			return nil, err
		}
		if otherPort(uint16(port)) && !c.allows(ip) {
			return nil, blockedPort(host, ip, uint16(port))
		}
		return u, nil
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") { // RFC 6761, section 6.3
		v4, v6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
		if err := c.check(host, v4, plain); err != nil && c.check(host, v6, plain) != nil {
			return nil, err
		}
		return u, nil
	}
	if len(c.allow) > 0 {
		return u, nil // it may lead to an allowed address
	}
	if plain {
		return nil, blockedPlain(host, netip.Addr{})
	}
	if otherPort(uint16(port)) {
		return nil, blockedPort(host, netip.Addr{}, uint16(port))
	}
	return u, nil
}
