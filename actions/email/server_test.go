package email

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParseServer(t *testing.T) {
	t.Parallel()
	const from = "Shop <rowbell@shop.example>"
	for url, check := range map[string]func(*Server) bool{
		"smtp://mail.example.com": func(s *Server) bool {
			return s.Address() == "mail.example.com:587" && s.TLS == TLSRequire && !s.Implicit && s.User == ""
		},
		"smtps://mail.example.com":                             func(s *Server) bool { return s.Address() == "mail.example.com:465" && s.Implicit },
		"smtp://127.0.0.1:25":                                  func(s *Server) bool { return s.Port == 25 && s.TLS == TLSOpportunistic },
		"smtp://[::1]:25":                                      func(s *Server) bool { return s.Address() == "[::1]:25" && s.TLS == TLSOpportunistic },
		"smtp://localhost":                                     func(s *Server) bool { return s.TLS == TLSOpportunistic },
		"smtp://localhost?tls=require":                         func(s *Server) bool { return s.TLS == TLSRequire },
		"smtp://10.0.0.1?tls=none":                             func(s *Server) bool { return s.TLS == TLSNone },
		"smtp://ann%40a.example:p%3Aw%40@m.example?auth=login": func(s *Server) bool { return s.User == "ann@a.example" && s.Password == "p:w@" && s.Auth == "login" },
		"smtp://ann@a.example:pw@m.example":                    func(s *Server) bool { return s.User == "ann@a.example" && s.Password == "pw" && s.Auth == "auto" },
		"smtp://m.example?timeout=30s&name=app.example.com&connections=3": func(s *Server) bool {
			return s.Timeout == 30*time.Second && s.Name == "app.example.com" && s.Connections == 3
		},
		"smtp://m.example/?timeout=": func(s *Server) bool { return s.Timeout == defaultTimeout && s.Connections == defaultConnections },
	} {
		s, err := ParseServer(url, from)
		if err != nil || !check(s) || s.From.Address != "rowbell@shop.example" || s.From.Name != "Shop" {
			t.Errorf("%s is %+v, %v", url, s, err)
			continue
		}
		for _, text := range []string{s.String(), fmt.Sprintf("%v %+v %#v", s, s, s)} {
			if s.Password != "" && strings.Contains(text, s.Password) {
				t.Errorf("%s shows the password: %s", url, text)
			}
		}
	}
	for url, want := range map[string][]string{
		"mail.example.com":                     {"not the URL of a mail server", "smtp://"},
		"http://mail.example.com":              {"not the URL"},
		"smtp:mail.example.com":                {"not the URL"},
		"smtp://":                              {"not the URL"},
		"smtp://u:hunter2@m.example:99999":     {`"99999" is not a port`, "587"},
		"smtp://u:hunter2@m.example:0":         {"is not a port"},
		"smtp://hunter2@m.example":             {"without a password"},
		"smtp://:hunter2@m.example":            {"without a password"},
		"smtp://u:hunter2%0d%0a@m.example":     {"line break"},
		"smtp://u:hunter2@m.example/inbox":     {"a path"},
		"smtp://u:hunter2@m.example#x":         {"a path"},
		"smtp://m.example?tls=yes":             {`tls is "yes"`, "require, opportunistic or none"},
		"smtps://m.example?tls=none":           {"smtps is TLS from the start"},
		"smtp://u:hunter2@m.example?auth=ntlm": {`auth is "ntlm"`, "scram-sha-256"},
		"smtp://m.example?auth=plain":          {"there is no user"},
		"smtp://m.example?timeout=1h":          {`timeout is "1h"`, "1s to 55s"},
		"smtp://m.example?timeout=x":           {`timeout is "x"`},
		"smtp://m.example?connections=0":       {`connections is "0"`, "1 to 256"},
		"smtp://m.example?name=a%20b":          {`name is "a b"`, "EHLO"},
		"smtp://m.example?tsl=none":            {`"tsl" is no parameter`, "tls"},
		"smtp://m.example?tls=none&tls=none":   {"tls is there 2 times"},
		"smtp://m.example?a;b":                 {"can't be read"},
		"smtp://u:hunter2@m.example:hunter2":   {"not the URL"},
		"smtp://u:hunter2%zz@m.example":        {"not the URL"},
	} {
		_, err := ParseServer(url, from)
		if err == nil {
			t.Errorf("%s is taken", url)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v; it should have %q", url, err, w)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", url, err)
		}
	}
}

func TestSender(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, from, want string }{
		{"smtp://m.example", "a@b.example", "<a@b.example>"},
		{"smtp://m.example?from=Shop%20%3Ca@b.example%3E", "", `"Shop" <a@b.example>`},
		{"smtp://m.example?from=c@d.example", "a@b.example", "<a@b.example>"},
		{"smtp://a%40b.example:pw@m.example", "", "<a@b.example>"},
		{"smtp://m.example", "Grüße <a@grün.example>", "=?utf-8?q?Gr=C3=BC=C3=9Fe?= <a@xn--grn-ioa.example>"},
	} {
		s, err := ParseServer(c.url, c.from)
		if err != nil || s.From.String() != c.want {
			t.Errorf("%+v: %v, %v", c, s.From.String(), err)
		}
	}
	for from, want := range map[string]string{
		"":                                "the sender: there is none",
		"Shop":                            "the sender: it is no address",
		"a@b.example, c@d.example":        "the sender: it is no address",
		"a@localdomain":                   "the sender: ",
		"jürgen@b.example":                "not ASCII",
		"\"a b\"@b.example":               "the sender: ",
		"a@b.example\r\nBcc: c@d.example": "the sender: it is no address",
	} {
		if s, err := ParseServer("smtp://rowbell:pw@m.example", from); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "write Shop <shop@example.com>") || !errors.As(err, new(*SenderError)) {
			t.Errorf("%q: %v, %v", from, s, err)
		}
	}
}
