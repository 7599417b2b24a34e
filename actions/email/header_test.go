package email

import (
	"bytes"
	"fmt"
	"net/mail"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/email/mailtest"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]address{
		"ann@example.com":                {text: "ann@example.com"},
		"Ann.Lee+x@mail.Example.COM":     {text: "Ann.Lee+x@mail.example.com"},
		"o'brien/x=y@a-b.example":        {text: "o'brien/x=y@a-b.example"},
		"ann@münchen.example":            {text: "ann@xn--mnchen-3ya.example"},
		"ann@例え.テスト":                     {text: "ann@xn--r8jz45g.xn--zckzah"},
		"jürgen@example.com":             {text: "jürgen@example.com", utf8: true},
		"root@localhost":                 {text: "root@localhost"},
		strings.Repeat("a", 64) + "@b.c": {text: strings.Repeat("a", 64) + "@b.c"},
	} {
		got, err := parseAddress(s)
		if err != nil || got != want {
			t.Errorf("%q is %+v, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{
		"":                 "there is no address",
		"ann":              "there is no @",
		"@example.com":     "nothing stands before",
		"ann@":             "no domain",
		"ann@example":      "no domain",
		"ann@-a.example":   "no domain",
		"ann@a..example":   "no domain",
		"ann@[127.0.0.1]":  "no domain",
		"ann@exa_mple.com": "no domain",
		"ann@" + strings.Repeat("a", 64) + ".com":        "no domain",
		"ann@a.example\r\nRCPT TO:<eve@evil.example>":    "line break",
		"ann@a.example\nBcc: eve@evil.example":           "line break",
		"ann@a.example\x00":                              "line break",
		"ann @a.example":                                 "a space",
		"ann\u00a0@a.example":                            "a space",
		"ann@a.example,eve@evil.example":                 "more than one",
		"ann@a.example;eve@evil.example":                 "more than one",
		"Ann <ann@a.example>":                            "a space",
		"<ann@a.example>":                                `'<' can't stand`,
		"ann@a.example>":                                 "no domain",
		"\"ann\"@a.example":                              `'"' can't stand`,
		"eve@evil.example@a.example":                     `'@' can't stand`,
		"ann(x)@a.example":                               `'(' can't stand`,
		".ann@a.example":                                 "a dot",
		"ann.@a.example":                                 "a dot",
		"a..n@a.example":                                 "a dot",
		"ann\\@a.example":                                "can't stand",
		"a\u202enn@a.example":                            "can't be seen",
		"a\u200bnn@a.example":                            "can't be seen",
		"ann@a.example\xff":                              "not UTF-8",
		strings.Repeat("a", 65) + "@b.example":           "more than 64 bytes",
		"a@" + strings.Repeat("b234567890.", 30) + "com": "no domain",
		strings.Repeat("a", 64) + "@" + strings.Repeat("b234567.", 25) + "com": "more than 254",
	} {
		if got, err := parseAddress(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %+v, %v; want %s", s, got, err, want)
		}
	}
}

// Whatever is taken for an address goes round through the standard library's reader, in a
// header and alone.
func TestAddressesGoRound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(
			rapid.StringMatching(`[a-zA-Z0-9.+'äö]{1,10}@[a-zü0-9.-]{1,12}\.(com|example)`),
			rapid.StringMatching(`[\x00-\x7f]{0,12}@[\x00-\x7f]{0,12}`), rapid.String(),
		).Draw(t, "address")
		a, err := parseAddress(s)
		if err != nil {
			return
		}
		name := oneLine(rapid.String().Draw(t, "name"))
		list, err := mail.ParseAddressList(strings.ReplaceAll(mailbox{name, a.text}.header(6), "\r\n", ""))
		if err != nil || len(list) != 1 || list[0].Address != a.text || strings.Join(strings.Fields(list[0].Name), " ") != name {
			t.Fatalf("%q and %q are read as %v, %v", s, name, list, err)
		}
	})
}

// Any subject arrives as it is, in lines that mail servers take.
func TestSubjects(t *testing.T) {
	t.Parallel()
	check := func(t interface{ Fatalf(string, ...any) }, subject string) {
		subject = shorten(oneLine(subject), maxSubject)
		m := &message{from: mailbox{"", "a@b.example"}, to: mailbox{"", "c@d.example"}, subject: subject, key: "k", domain: "b.example", text: "x", html: "<p>x"}
		raw, err := m.bytes()
		if err != nil {
			t.Fatalf("%v", err)
		}
		for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
			if len(line) > 400+maxLine || bytes.ContainsAny(line, "\r\n") || !isASCII(line) {
				t.Fatalf("%q makes the line %q", subject, line)
			}
		}
		read, err := (&mailtest.Mail{Raw: raw}).Read()
		if err != nil || read.Subject != subject {
			t.Fatalf("%q is read as %q, %v", subject, read.Subject, err)
		}
	}
	for _, s := range []string{
		"Order 42", "Größe: 12 €", "a\r\nBcc: eve@evil.example", "=?utf-8?q?=0D=0ABcc:_eve?=", strings.Repeat("long ", 60), strings.Repeat("ü", 300),
		strings.Repeat("x", 198), strings.Repeat("👩‍👩‍👧 ", 40), "  a   b ", "\u2028a\u202eb", "\xff\xfe", "", "日本語の件名", "a=?b", strings.Repeat("é ", 99),
	} {
		check(t, s)
	}
	rapid.Check(t, func(t *rapid.T) { check(t, rapid.String().Draw(t, "subject")) })
}

func isASCII(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r >= utf8.RuneSelf })
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	s := serve(t, mailtest.Config{})
	m := mailer(t, s.Addr, "smtp://HOST")
	d := delivery(1)
	d.Person.Name, d.Person.Email = "Ännchen \"Lee\", <x>", " ann@münchen.example "
	url := "https://rowbell.example/unsubscribe/" + strings.Repeat("t", 200)
	r := runner(t, m, `{"subject": "Order {{ new.id }}", "body": "x", "from_name": "Acme, \"Orders\"", "reply_to": " {{ 'ann' }}@acme.example "}`,
		Options{Unsubscribe: func(*actions.Delivery) string { return url }})
	got, read := sent(t, s, r, d)
	if got.From != "rowbell@shop.example" || got.To != "ann@xn--mnchen-3ya.example" || got.UTF8 {
		t.Errorf("the envelope is %+v", got)
	}
	for name, want := range map[string]string{
		"Subject": "Order 42", "Message-Id": "<" + digest(d.ID) + "@shop.example>", "Auto-Submitted": "auto-generated", "Reply-To": "ann@acme.example",
		"List-Unsubscribe": "<" + url + ">", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click", "X-Rowbell-Delivery": d.ID, "Mime-Version": "1.0",
	} {
		if h := read.Header[name]; len(h) != 1 || h[0] != want {
			t.Errorf("%s is %q, not %q", name, h, want)
		}
	}
	if from, err := read.Header.AddressList("From"); err != nil || len(from) != 1 || from[0].Name != `Acme, "Orders"` || from[0].Address != "rowbell@shop.example" {
		t.Errorf("From is %v, %v", from, err)
	}
	if to, err := read.Header.AddressList("To"); err != nil || len(to) != 1 || to[0].Name != `Ännchen "Lee", <x>` || to[0].Address != "ann@xn--mnchen-3ya.example" {
		t.Errorf("To is %v, %v", to, err)
	}
	if date, err := read.Header.Date(); err != nil || date.IsZero() {
		t.Errorf("Date is %v, %v", date, err)
	}
	if !strings.Contains(read.Text, url) || !strings.Contains(read.HTML, `href="`+url+`"`) {
		t.Errorf("the foot is\n%s", read.Text)
	}

	// Without a name of its own it is the operator's; http has no one-click; and a URL that
	// can't stand in a header is left out, with a person's name that can't.
	url = "http://127.0.0.1:8080/unsubscribe/t"
	d.Person.Name = "x\r\nBcc: eve@evil.example"
	_, read = sent(t, s, runner(t, m, simple, Options{Unsubscribe: func(*actions.Delivery) string { return url }}), d)
	if from, err := read.Header.AddressList("From"); err != nil || from[0].Name != "Rowbell Größe" {
		t.Errorf("From is %v, %v", from, err)
	}
	if read.Header.Get("List-Unsubscribe") != "<"+url+">" || read.Header.Get("List-Unsubscribe-Post") != "" || read.Header.Get("Reply-To") != "" || read.Header.Get("Bcc") != "" {
		t.Errorf("the headers are %v", read.Header)
	}
	if to, err := read.Header.AddressList("To"); err != nil || to[0].Name != "" {
		t.Errorf("To is %v, %v", to, err)
	}
	for _, bad := range []string{"", "https://a.example/\r\nBcc: x", "https://a.example/>", "https://a.example/ü", "javascript:x", "https://a.example/" + strings.Repeat("t", 1000)} {
		url = bad
		_, read = sent(t, s, runner(t, m, simple, Options{Unsubscribe: func(*actions.Delivery) string { return url }}), delivery(2))
		if read.Header.Get("List-Unsubscribe") != "" || !strings.Contains(read.Text, "ask an administrator") {
			t.Errorf("with %q the headers are %v", bad, read.Header)
		}
	}
}

func TestBadPeople(t *testing.T) {
	t.Parallel()
	s := serve(t, mailtest.Config{})
	m := mailer(t, s.Addr, "smtp://HOST")
	for name, c := range map[string]struct {
		change func(*actions.Delivery)
		config string
		want   string
	}{
		"nobody":      {func(d *actions.Delivery) { d.Person = nil }, simple, "no recipient"},
		"injection":   {func(d *actions.Delivery) { d.Person.Email = "a@b.example>\r\nRCPT TO:<eve@evil.example" }, simple, "is no e-mail address: it holds a line break"},
		"no SMTPUTF8": {func(d *actions.Delivery) { d.Person.Email = "jürgen@example.com" }, simple, "no SMTPUTF8"},
		"reply_to":    {func(*actions.Delivery) {}, `{"subject": "a", "body": "b", "reply_to": "{{ new.customer }}"}`, "reply_to: \"Müller & Söhne\" is no e-mail address"},
		"button":      {func(*actions.Delivery) {}, `{"subject": "a", "body": "b", "button": {"text": "x", "url": "javascript:{{ new.id }}"}}`, "button.url: it is no page"},
		"path":        {func(*actions.Delivery) {}, `{"subject": "a", "body": "b", "button": {"text": "x", "url": "/orders/{{ new.id }}"}}`, "write an https or http URL with its host"},
		"no subject":  {func(*actions.Delivery) {}, `{"subject": "{{ new.none }}", "body": "b"}`, "subject: the template gives nothing"},
		"no text":     {func(*actions.Delivery) {}, `{"subject": "a", "body": "b", "button": {"text": "{{ new.none }}", "url": "https://a.example"}}`, "button.text: the template gives nothing"},
		"data":        {func(d *actions.Delivery) { d.Event.Data = []byte("{") }, simple, "recorded data"},
		"fails":       {func(*actions.Delivery) {}, `{"subject": "{{ 1 | divided_by: 0 }}", "body": "b"}`, "subject: line 1"},
	} {
		d := delivery(1)
		c.change(d)
		_, err := runner(t, m, c.config, Options{}).Run(t.Context(), d)
		if e := how(t, err); !e.Permanent || !strings.Contains(e.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(s.Mails()); n != 0 {
		t.Errorf("%d mails arrived", n)
	}
	// The connection is still of use.
	sent(t, s, runner(t, m, simple, Options{}), delivery(2))
	if n := s.Connections(); n != 1 {
		t.Errorf("there were %d connections", n)
	}
}

// SMTPUTF8 is asked for only where an address needs it.
func TestSMTPUTF8(t *testing.T) {
	t.Parallel()
	s := serve(t, mailtest.Config{UTF8: true})
	r := runner(t, mailer(t, s.Addr, "smtp://HOST"), simple, Options{})
	d := delivery(1)
	d.Person.Email = "jürgen@example.com"
	if got, read := sent(t, s, r, d); !got.UTF8 || got.To != "jürgen@example.com" || !strings.Contains(read.Header.Get("To"), "jürgen@example.com") {
		t.Errorf("%+v", got)
	}
	if got, _ := sent(t, s, r, delivery(2)); got.UTF8 || !isASCII(got.Raw) {
		t.Errorf("%+v", got)
	}
}

// The foot says who gets it and why, in the reader's language.
func TestFoot(t *testing.T) {
	t.Parallel()
	for locale, want := range map[string]string{
		"":      "You get this e-mail because of your role approver, the field account_manager, odd in the workflow “Order approved” of acme.\nStop e-mails like this one: https://u.example\n",
		"pl":    "You get this e-mail because of ",
		"de-AT": "Diese E-Mail kommt wegen Ihrer Rolle approver, des Feldes account_manager, odd im Workflow „Order approved“ von acme.\nSolche E-Mails abbestellen: https://u.example\n",
		"fr_FR": "Vous recevez cet e-mail en raison de votre rôle approver, la valeur du champ account_manager, odd, dans le workflow «\u00a0Order approved\u00a0» de acme.\nNe plus recevoir ces e-mails: https://u.example\n",
		"ES":    "Recibe este correo por su rol approver, el campo account_manager, odd, en el flujo de trabajo «Order approved» de acme.\nDejar de recibir estos correos: https://u.example\n",
	} {
		d := delivery(1)
		d.Person.Reasons = []string{"role approver", "column account_manager", "odd"}
		if got := footText(footOf(d, language(locale), "https://u.example")); !strings.HasPrefix(got, "-- \n"+want) {
			t.Errorf("%s: %q", locale, got)
		}
	}
	d := delivery(1)
	d.Workflow.TenantID, d.Workflow.Name, d.Person.Reasons = "", "a\r\nb\u202e", nil
	if got := footText(footOf(d, language("", "de"), "")); got != "-- \nDiese E-Mail geht an die Empfänger des Workflows „a b“.\nUm solche E-Mails abzubestellen, wenden Sie sich an die Verwaltung des Workflows.\n" {
		t.Errorf("%q", got)
	}
	for i := range 10 {
		d.Person.Reasons = append(d.Person.Reasons, fmt.Sprintf("group g%d", i))
	}
	if got := footText(footOf(d, "en", "")); strings.Contains(got, "g4") || !strings.Contains(got, "your group g3, … in") {
		t.Errorf("%q", got)
	}
	// An alert is no mail of a workflow's to its recipients.
	d.Person.Reasons = []string{"owner large-order"}
	if got := footText(footOf(d, "en", "")); got != "-- \nYou get this e-mail as an owner of the workflow “large-order”.\nTo stop e-mails like this one, ask an administrator of the workflow.\n" {
		t.Errorf("%q", got)
	}
	d.Person.Reasons = []string{"operator"}
	if got := footText(footOf(d, "de", "")); got != "-- \nDiese E-Mail kommt, weil ROWBELL_ALERTS Ihre Adresse hat.\n" {
		t.Errorf("%q", got)
	}
	for name, w := range speaks {
		for _, text := range []string{w.because, w.among, w.of, w.stop, w.ask, w.owner, w.operator} {
			if text == "" {
				t.Errorf("%s lacks a sentence", name)
			}
		}
		if len(w.reasons) != len(speaks["en"].reasons) || strings.Count(w.because, "%s") != 3 || strings.Count(w.among, "%s") != 2 || strings.Count(w.of, "%s") != 1 {
			t.Errorf("%s: %+v", name, w)
		}
	}
}
