package email

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// The limits of an address (RFC 5321, section 4.5.3.1), in bytes.
const (
	maxLocal   = 64
	maxAddress = 254
)

// address is one that can stand in an envelope and in a header as it is.
type address struct {
	text string // local@domain, the domain in ASCII
	utf8 bool   // what stands before the @ is not ASCII: the server must have SMTPUTF8
}

// parseAddress takes an address alone, without a name or brackets: a dot-atom, an @ and a
// domain. Quoted local parts and address literals are refused, because what takes them
// for a different address than we do can be anybody; nobody's address is one.
func parseAddress(s string) (address, error) {
	if s == "" {
		return address{}, errors.New("there is no address")
	}
	bad := func(why string) (address, error) {
		return address{}, fmt.Errorf("%s is no e-mail address: %s", quote(s, 80), why)
	}
	if !utf8.ValidString(s) {
		return bad("it is not UTF-8")
	}
	for _, r := range s {
		switch {
		case unicode.IsControl(r):
			return bad("it holds a line break or another control character")
		case unicode.IsSpace(r):
			return bad("it holds a space")
		case r == ',' || r == ';':
			return bad("it holds more than one, and one person has one")
		case !unicode.IsGraphic(r):
			return bad("it holds a character that can't be seen")
		}
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return bad("there is no @ in it")
	}
	local, domain := s[:at], s[at+1:]
	switch {
	case local == "":
		return bad("nothing stands before the @")
	case len(local) > maxLocal:
		return bad(fmt.Sprintf("more than %d bytes stand before the @", maxLocal))
	case local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, ".."):
		return bad("a dot stands where none can be")
	}
	a := address{}
	for _, r := range local {
		switch {
		case r >= utf8.RuneSelf:
			a.utf8 = true
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", r):
		default:
			return bad(fmt.Sprintf("%q can't stand before the @", r))
		}
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil || !isDomain(ascii) || !strings.Contains(ascii, ".") && !strings.EqualFold(ascii, "localhost") {
		return bad("what stands after the @ is no domain")
	}
	if a.text = local + "@" + ascii; len(a.text) > maxAddress {
		return bad(fmt.Sprintf("it has more than %d bytes", maxAddress))
	}
	return a, nil
}

// maxName bounds a person's or a sender's name, in bytes.
const maxName = 200

// checkName refuses what can't be a name in a header. Encoding would carry it; what a
// reader's program makes of it then is another matter.
func checkName(s string) error {
	switch {
	case len(s) > maxName:
		return fmt.Errorf("it has more than %d bytes", maxName)
	case !utf8.ValidString(s):
		return errors.New("it is not UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("it holds a line break or another control character; write it in one line")
	}
	return nil
}

// checkSender refuses what would pass for another sender: many programs show the name
// alone, and so an address in it stands where that of the sender should.
func checkSender(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	for _, r := range name {
		switch {
		case r == '@', r == '＠', r == '﹫':
			return errors.New("it holds an address, or what looks like one, and that is the operator's; write a name without an @. Answers go to reply_to")
		case unicode.Is(unicode.Bidi_Control, r), unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d':
			return errors.New("it holds a character that can't be seen; write it anew without")
		}
	}
	return nil
}

// oneLine puts a space for each run of white space, control characters, and those that
// turn the direction of a line.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "\uFFFD"), func(c rune) bool {
		return unicode.IsSpace(c) || unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c)
	}), " ")
}

// shorten cuts s to so many characters, and says so by an ellipsis.
func shorten(s string, most int) string {
	n := 0
	end := 0
	for i := range s {
		if n++; n == most {
			end = i
		}
	}
	if n <= most {
		return s
	}
	return strings.TrimSpace(s[:end]) + "…"
}

// quote is for messages.
func quote(s string, most int) string { return fmt.Sprintf("%q", shorten(s, most)) }
