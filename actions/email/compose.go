package email

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"strings"
	"time"
	"unicode/utf8"
)

// message is a mail, ready to be written. Its texts have been checked.
type message struct {
	from, to    mailbox
	replyTo     string // an address; "" none
	subject     string
	date        time.Time
	key         string // the delivery's
	unsubscribe string // a URL; "" none
	text, html  string
	language    string // BCP 47
	domain      string // of Message-ID
}

// mailbox is an address with a name, which may be "".
type mailbox struct{ name, address string }

// digest is what stands for a delivery's key where the key itself can't: it may hold
// anything that an application takes for an id.
func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}

// messageID is the same for all attempts at a delivery (RFC 5322, section 3.6.4).
func messageID(key, domain string) string { return "<" + digest(key) + "@" + domain + ">" }

// bytes writes the message: all of it ASCII but for addresses, its lines of at most 998
// bytes. For one message it is the same each time, but for the date. (RFC 5322; RFC 2045 to
// 2047; RFC 3834 for Auto-Submitted; RFC 2369 and 8058 for List-Unsubscribe.)
//
// It is written here, and not by the library that sends: that one leaves a subject alone
// that looks encoded already, which a row's value can make it, and takes boundaries from
// chance.
func (m *message) bytes() ([]byte, error) {
	var b bytes.Buffer
	header := func(name, value string) {
		b.WriteString(name)
		b.WriteString(": ")
		b.WriteString(value)
		b.WriteString("\r\n")
	}
	header("Date", m.date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	header("From", m.from.header(len("From: ")))
	header("To", m.to.header(len("To: ")))
	if m.replyTo != "" {
		header("Reply-To", m.replyTo)
	}
	header("Subject", headerText(m.subject, len("Subject: ")))
	header("Message-ID", messageID(m.key, m.domain))
	header("Auto-Submitted", "auto-generated")
	if m.language != "" {
		header("Content-Language", m.language)
	}
	if m.unsubscribe != "" {
		header("List-Unsubscribe", "<"+m.unsubscribe+">")
		if strings.HasPrefix(m.unsubscribe, "https://") { // RFC 8058 has no other
			header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
		}
	}
	if id := plainID(m.key); id != "" {
		header("X-Rowbell-Delivery", id)
	}
	header("MIME-Version", "1.0")

	parts := multipart.NewWriter(&b)
	if err := parts.SetBoundary("=_" + digest("boundary of "+m.key)); err != nil { // quoted-printable has no =_
		return nil, err
	}
	header("Content-Type", "multipart/alternative;\r\n boundary=\""+parts.Boundary()+"\"")
	b.WriteString("\r\n")
	for _, part := range []struct{ kind, text string }{{"text/plain", m.text}, {"text/html", m.html}} {
		w, err := parts.CreatePart(textproto.MIMEHeader{
			"Content-Type":              {part.kind + "; charset=utf-8"},
			"Content-Transfer-Encoding": {"quoted-printable"},
		})
		if err != nil {
			return nil, err
		}
		q := quotedprintable.NewWriter(w)
		if _, err := q.Write([]byte(part.text)); err != nil {
			return nil, err
		}
		if err := q.Close(); err != nil {
			return nil, err
		}
	}
	if err := parts.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// plainID is a delivery's id as a header can have it; "" if it holds what one can't.
func plainID(id string) string {
	if len(id) > 900 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return ""
	}
	return id
}

// header is the mailbox as the value of a header whose name takes so many bytes of the
// first line.
func (m mailbox) header(used int) string {
	if m.name == "" {
		return m.address
	}
	name := m.name
	if plainText(name) && len(name)+used < maxLine {
		name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	} else {
		name = encodeWords(name, used)
	}
	if !strings.Contains(name, "\r\n") && used+len(name)+len(m.address)+3 <= maxLine {
		return name + " <" + m.address + ">"
	}
	return name + "\r\n <" + m.address + ">"
}

// maxLine is where lines of a header are folded (RFC 5322, section 2.1.1).
const maxLine = 76

// headerText is a text as the value of an unstructured header whose name takes so many
// bytes of the first line. What isn't plain is encoded, and so what looks encoded.
func headerText(s string, used int) string {
	if !plainText(s) {
		return encodeWords(s, used)
	}
	var b strings.Builder
	for i, word := range strings.Split(s, " ") {
		switch {
		case len(word) > 400: // no line may be longer than 998
			return encodeWords(s, used)
		case i == 0:
		case used+1+len(word) > maxLine:
			b.WriteString("\r\n ")
			used = 1
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += len(word)
	}
	return b.String()
}

// plainText says that a text can stand in a header as it is: single spaces between words
// of printable ASCII, none of which could be taken for an encoded one.
func plainText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return !strings.Contains(s, "=?") && !strings.Contains(s, "  ") && strings.TrimSpace(s) == s
}

// encodeWords is s in encoded words (RFC 2047) on lines of their own, none with a part of
// a character. Base64: a text that needs this is rarely one that can be read without.
func encodeWords(s string, used int) string {
	const before, after = "=?utf-8?b?", "?="
	var b strings.Builder
	for len(s) > 0 {
		room := (maxLine - used - len(before) - len(after)) / 4 * 3
		n := min(len(s), max(room, utf8.UTFMax))
		for n < len(s) && !utf8.RuneStart(s[n]) {
			n--
		}
		b.WriteString(before + base64.StdEncoding.EncodeToString([]byte(s[:n])) + after)
		if s = s[n:]; s != "" {
			b.WriteString("\r\n ")
			used = 1
		}
	}
	return b.String()
}
