package email

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/email/mailtest"
	"github.com/rowbell/rowbell/pkg/egress"
)

// What a server's answer means depends on what it answers.
func TestAnswers(t *testing.T) {
	t.Parallel()
	s := serve(t, mailtest.Config{})
	r := runner(t, mailer(t, s.Addr, "smtp://HOST"), simple, Options{})
	for _, c := range []struct {
		at        mailtest.Step
		code      int
		text      string
		permanent bool
		busy      bool
		wait      time.Duration
		want      string
	}{
		{mailtest.From, 450, "later", false, true, 0, "MAIL FROM with 450"},
		{mailtest.From, 550, "sender not allowed", false, false, 0, "ROWBELL_MAIL_FROM"},
		{mailtest.From, 421, "closing", false, true, closingWait, "MAIL FROM with 421"},
		{mailtest.To, 450, "mailbox busy", false, false, 0, "RCPT TO with 450 4.0.0 mailbox busy"},
		{mailtest.To, 450, "Greylisted for 300 seconds", false, false, greylistWait, "Greylisted"},
		{mailtest.To, 451, "graylisting in action", false, false, greylistWait, ""},
		{mailtest.To, 451, "local error", false, true, 0, ""},
		{mailtest.To, 452, "too many recipients", false, true, 0, ""},
		{mailtest.To, 421, "too many connections", false, true, closingWait, ""},
		{mailtest.To, 550, "no such user", true, false, 0, "RCPT TO with 550 5.0.0 no such user"},
		{mailtest.To, 553, "bad address", true, false, 0, ""},
		{mailtest.To, 554, "Relay access denied", false, false, 0, "user and password in ROWBELL_SMTP_URL"},
		{mailtest.To, 530, "authenticate first", false, false, 0, "user and password"},
		{mailtest.End, 554, "looks like spam", true, false, 0, "end of DATA with 554"},
		{mailtest.End, 552, "too big", true, false, 0, ""},
		{mailtest.End, 451, "scanner is down", false, true, 0, ""},
	} {
		s.Do(func(at mailtest.Step, _ string) error {
			if at == c.at {
				return mailtest.Refuse(c.code, c.text)
			}
			return nil
		})
		n := len(s.Mails())
		res, err := r.Run(t.Context(), delivery(1))
		e := how(t, err)
		if e.Permanent != c.permanent || e.Busy != c.busy || e.RetryAfter != c.wait || !strings.Contains(e.Error(), c.want) || res.Code != c.code || !strings.Contains(res.Response, c.text) {
			t.Errorf("%s %d %s: %+v, %+v", c.at, c.code, c.text, e, res)
		}
		// The next mail goes, and over a connection that is in order.
		s.Do(nil)
		if _, err := r.Run(t.Context(), delivery(2)); err != nil || len(s.Mails()) != n+1 {
			t.Errorf("after %s %d: %v, %d mails", c.at, c.code, err, len(s.Mails())-n)
		}
	}
	if n := s.Connections(); n > 8 { // a 421 ends one
		t.Errorf("there were %d connections", n)
	}
}

// A server that is gone after it was given the mail may have taken it: it is sent again,
// and is the same.
func TestLostAfterData(t *testing.T) {
	t.Parallel()
	s := serve(t, mailtest.Config{})
	r := runner(t, mailer(t, s.Addr, "smtp://HOST"), simple, Options{})
	s.Do(func(at mailtest.Step, _ string) error {
		if at == mailtest.End {
			return mailtest.ErrDrop
		}
		return nil
	})
	res, err := r.Run(t.Context(), delivery(1))
	if e := how(t, err); e.Permanent || res.Code != 0 || !strings.Contains(e.Error(), "the mail server (end of DATA): ") {
		t.Errorf("%v, %+v", err, res)
	}
	s.Do(nil)
	again := delivery(1)
	again.Attempt = 2
	if _, err := r.Run(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	mails := s.Mails()
	if len(mails) != 2 || effect(t, string(mails[0].Raw)) != effect(t, string(mails[1].Raw)) {
		t.Errorf("%d mails arrived, %s", len(mails), mails[0].Raw)
	}
}

// An idle connection that the server closed costs a mail nothing.
func TestStaleConnection(t *testing.T) {
	t.Parallel()
	s := serve(t, mailtest.Config{})
	r := runner(t, mailer(t, s.Addr, "smtp://HOST"), simple, Options{})
	sent(t, s, r, delivery(1))
	var told atomic.Int32
	for _, what := range []error{mailtest.ErrDrop, mailtest.Refuse(421, "idle for too long")} {
		told.Store(0)
		s.Do(func(at mailtest.Step, _ string) error {
			if at == mailtest.From && told.Add(1) == 1 {
				return what
			}
			return nil
		})
		sent(t, s, r, delivery(2))
	}
	// Not so one that is new.
	s.Do(func(at mailtest.Step, _ string) error {
		if at == mailtest.From {
			return mailtest.ErrDrop
		}
		return nil
	})
	if _, err := r.Run(t.Context(), delivery(3)); how(t, err).Permanent {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	config, _ := certificate()
	start := serve(t, mailtest.Config{TLS: config})
	implicit := serve(t, mailtest.Config{TLS: config, Implicit: true})
	bare := serve(t, mailtest.Config{})
	for _, c := range []struct {
		addr, url string
		tls       bool
		want      string // of the error; "" it works
	}{
		{start.Addr, "smtp://HOST", true, ""},
		{start.Addr, "smtp://HOST?tls=require", true, ""},
		{start.Addr, "smtp://HOST?tls=none", false, ""},
		{implicit.Addr, "smtps://HOST", true, ""},
		{bare.Addr, "smtp://HOST", false, ""}, // this machine
		{bare.Addr, "smtp://HOST?tls=require", false, "(STARTTLS): it has no TLS; use its port for smtps in ROWBELL_SMTP_URL, or add tls=none"},
		{start.Addr, "smtps://HOST", false, "write smtp:// in ROWBELL_SMTP_URL"},
		{implicit.Addr, "smtp://HOST?timeout=1s", false, "no answer in time"},
	} {
		m := mailer(t, c.addr, c.url)
		said, err := m.Check(t.Context())
		if c.want == "" {
			if err != nil || strings.HasPrefix(said.TLS, "TLS 1.") != c.tls || said.Auth != "" || said.Server != m.server.String() {
				t.Errorf("%s: %+v, %v", c.url, said, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v", c.url, said, err)
		}
		_, err = runner(t, m, simple, Options{}).Run(t.Context(), delivery(1))
		if (err == nil) != (c.want == "") || err != nil && how(t, err).Permanent {
			t.Errorf("%s: %v", c.url, err)
		}
	}
	// A certificate of somebody else's.
	strict := newMailer(mailer(t, start.Addr, "smtp://HOST").server, mailer(t, start.Addr, "smtp://HOST").egress, nil)
	t.Cleanup(strict.Close)
	if _, err := strict.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "the certificate is not valid") || !strings.Contains(err.Error(), "have this machine trust") {
		t.Errorf("%v", err)
	}
	for _, mail := range start.Mails()[:2] {
		if !mail.TLS {
			t.Error("a mail went in the clear")
		}
	}
}

// scram is the server's side of SCRAM-SHA-256 (RFC 5802, 7677), for one password.
type scram struct {
	password string
	first    string
	said     string
}

func (s *scram) Next(response []byte) (challenge []byte, done bool, err error) {
	sum := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	text := string(response)
	if s.first == "" {
		if response == nil {
			return nil, false, nil
		}
		s.first = strings.SplitN(text, ",", 3)[2]
		_, nonce, _ := strings.Cut(s.first, "r=")
		s.said = "r=" + nonce + "server,s=" + base64.StdEncoding.EncodeToString([]byte("salt")) + ",i=4096"
		return []byte(s.said), false, nil
	}
	if s.said == "" {
		return nil, true, nil
	}
	without, proof, _ := strings.Cut(text, ",p=")
	salted, err := pbkdf2.Key(sha256.New, s.password, []byte("salt"), 4096, 32)
	if err != nil {
		return nil, false, err
	}
	all := s.first + "," + s.said + "," + without
	key := sum(salted, "Client Key")
	stored := sha256.Sum256(key)
	signature := sum(stored[:], all)
	for i := range key {
		key[i] ^= signature[i]
	}
	if base64.StdEncoding.EncodeToString(key) != proof {
		return nil, false, mailtest.Refuse(535, "wrong: "+s.password)
	}
	s.said = ""
	return []byte("v=" + base64.StdEncoding.EncodeToString(sum(sum(salted, "Server Key"), all))), false, nil
}

// cram is the server's side of CRAM-MD5 (RFC 2195).
type cram struct {
	password string
	asked    bool
}

func (c *cram) Next(response []byte) (challenge []byte, done bool, err error) {
	if !c.asked {
		c.asked = true
		return []byte("<1@mailtest.example>"), false, nil
	}
	h := hmac.New(md5.New, []byte(c.password))
	h.Write([]byte("<1@mailtest.example>"))
	if string(response) != "ann@a.example "+hex.EncodeToString(h.Sum(nil)) {
		return nil, false, mailtest.Refuse(535, "no: "+string(response))
	}
	return nil, true, nil
}

func TestAuth(t *testing.T) {
	t.Parallel()
	config, _ := certificate()
	const password = "hunter2 ü:@"
	knows := func(user string) (string, bool) { return password, user == "ann@a.example" }
	mechanisms := map[string]func() sasl.Server{
		"SCRAM-SHA-256": func() sasl.Server { return &scram{password: password} },
		"CRAM-MD5":      func() sasl.Server { return &cram{password: password} },
	}
	plain := serve(t, mailtest.Config{TLS: config, Password: knows})
	bare := serve(t, mailtest.Config{Password: knows})
	hashed := serve(t, mailtest.Config{TLS: config, Password: knows, Mechanisms: mechanisms})
	none := serve(t, mailtest.Config{TLS: config})
	for _, c := range []struct {
		s         *mailtest.Server
		url, want string
	}{
		{plain, "smtp://ann%40a.example:hunter2%20%C3%BC%3A%40@HOST", "PLAIN"},
		{plain, "smtp://ann%40a.example:hunter2%20%C3%BC%3A%40@HOST?auth=login", "LOGIN"},
		{bare, "smtp://ann%40a.example:hunter2%20%C3%BC%3A%40@HOST", "PLAIN"}, // this machine
		{hashed, "smtp://ann%40a.example:hunter2%20%C3%BC%3A%40@HOST", "SCRAM-SHA-256"},
		{hashed, "smtp://ann%40a.example:hunter2%20%C3%BC%3A%40@HOST?auth=cram-md5&tls=none", "CRAM-MD5"},
	} {
		m := mailer(t, c.s.Addr, c.url)
		if said, err := m.Check(t.Context()); err != nil || said.Auth != c.want {
			t.Errorf("%s: %+v, %v", c.url, said, err)
		}
		if got, _ := sent(t, c.s, runner(t, m, simple, Options{}), delivery(1)); got.User == "" {
			t.Errorf("%s: %+v", c.url, got)
		}
	}
	for _, c := range []struct {
		s         *mailtest.Server
		url, want string
		code      int
	}{
		{plain, "smtp://ann%40a.example:planted-password@HOST", "answered AUTH with 535 5.7.8 Authentication failed; see that user, password", 535},
		{plain, "smtp://ann%40a.example:planted-password@HOST?auth=login", "AUTH with 535", 535},
		{plain, "smtp://ann%40a.example:planted-password@HOST?auth=scram-sha-256", "it does not offer SCRAM-SHA-256", 0},
		{hashed, "smtp://ann%40a.example:planted-password@HOST", "AUTH with 535", 535},
		{hashed, "smtp://ann%40a.example:planted-password@HOST?auth=cram-md5", "AUTH with 535", 535},
		{hashed, "smtp://ann%40a.example:planted-password@HOST?auth=plain", "it does not offer PLAIN (it has: ", 0},
		{none, "smtp://ann%40a.example:planted-password@HOST", "it offers no way to authenticate that can be used here (it has: none)", 0},
	} {
		m := mailer(t, c.s.Addr, c.url)
		r := runner(t, m, simple, Options{})
		before := c.s.Connections()
		for range 3 {
			res, err := r.Run(t.Context(), delivery(1))
			e := how(t, err)
			if e.Permanent || !strings.Contains(e.Error(), c.want) || !strings.Contains(e.Error(), "ROWBELL_SMTP_URL") || res.Code != c.code {
				t.Errorf("%s: %v, %+v", c.url, err, res)
			}
			if text := e.Error() + res.Response; strings.Contains(text, "planted-password") || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("planted-password"))) {
				t.Errorf("%s: the password is shown: %s", c.url, text)
			}
		}
		if n := c.s.Connections() - before; c.code == 535 && n > 2 { // STARTTLS makes two sessions of one
			t.Errorf("%s: user and password were tried again at once, over %d connections", c.url, n)
		}
	}
}

// Without TLS, and not on this machine, PLAIN and LOGIN are for those who ask for it.
func TestNothingInTheClear(t *testing.T) {
	t.Parallel()
	var seen strings.Builder
	var mu sync.Mutex
	addr := script(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "220 mx ESMTP\r\n")
		lines := bufio.NewScanner(c)
		for lines.Scan() {
			mu.Lock()
			seen.WriteString(lines.Text() + "\n")
			mu.Unlock()
			if strings.HasPrefix(lines.Text(), "EHLO") {
				_, _ = io.WriteString(c, "250-mx\r\n250 AUTH PLAIN LOGIN\r\n")
			} else {
				_, _ = io.WriteString(c, "221 bye\r\n")
			}
		}
	})
	m := mailer(t, addr, "smtp://ann:planted-password@HOST?tls=opportunistic")
	m.server.Host = "localtest.example"
	client, err := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for auth, want := range map[string]string{"auto": "no way to authenticate that can be used here", "plain": "PLAIN would send the password in the clear"} {
		m.server.Auth = auth
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		b := &bounded{Conn: conn}
		done := b.during(t.Context(), maxHello)
		_, err = m.hello(t.Context(), b)
		done()
		_ = conn.Close()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", auth, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(seen.String(), "AUTH") {
		t.Errorf("it said\n%s", seen.String())
	}
}

// A server that says too much, nothing, or nonsense is hung up on.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	forever := func(c net.Conn, line string) {
		chunk := strings.Repeat(line, 1+4096/len(line))
		for {
			if _, err := io.WriteString(c, chunk); err != nil {
				return
			}
		}
	}
	// until answers the lines of a client, and then goes on by itself.
	until := func(command string, then func(c net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.WriteString(c, "220 mx ESMTP\r\n")
			lines := bufio.NewScanner(c)
			for lines.Scan() {
				line := lines.Text()
				switch {
				case strings.HasPrefix(line, command):
					then(c)
					return
				case strings.HasPrefix(line, "DATA"):
					_, _ = io.WriteString(c, "354 go\r\n")
					for lines.Scan() && lines.Text() != "." {
					}
					if command == "." {
						then(c)
						return
					}
					_, _ = io.WriteString(c, "250 ok\r\n")
				default:
					_, _ = io.WriteString(c, "250 ok\r\n")
				}
			}
		}
	}
	silence := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	for name, c := range map[string]struct {
		do   func(net.Conn)
		want string
	}{
		"greeting without end": {func(c net.Conn) { forever(c, "220-hello\r\n") }, "its answer has no end"},
		"line without end":     {func(c net.Conn) { forever(c, "2") }, "its answer has no end"},
		"EHLO without end":     {until("EHLO", func(c net.Conn) { forever(c, "250-X\r\n") }), "its answer has no end"},
		"MAIL without end":     {until("MAIL", func(c net.Conn) { forever(c, "250-ok\r\n") }), "its answer has no end"},
		"end without end":      {until(".", func(c net.Conn) { forever(c, "550-no\r\n") }), "its answer has no end"},
		"silence":              {silence, "no answer in time; timeout in ROWBELL_SMTP_URL"},
		"silence after MAIL":   {until("MAIL", silence), "no answer in time"},
		"silence at the end":   {until(".", silence), "(end of DATA): no answer in time"},
		"closed at once":       {func(net.Conn) {}, "it closed the connection"},
		"closed at RCPT":       {until("RCPT", func(net.Conn) {}), "(RCPT TO): it closed the connection"},
		"HTTP":                 {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "what it said is not SMTP; see that host and port"},
		"nonsense":             {until("RCPT", func(c net.Conn) { _, _ = io.WriteString(c, "\x00\xff\r\n") }), "what it said is not SMTP"},
		"refuses":              {func(c net.Conn) { _, _ = io.WriteString(c, "554 no \x1b[31m\u202e service\r\n") }, "answered greeting with 554 no"},
		"long refusal": {until("RCPT", func(c net.Conn) {
			_, _ = io.WriteString(c, strings.Repeat("550-"+strings.Repeat("x", 500)+"\r\n", 60)+"550 end\r\n")
		}), "RCPT TO with 550"},
		"asks for more than DATA": {until("DATA", func(c net.Conn) { _, _ = io.WriteString(c, "250 what\r\n") }), "answered DATA with 250"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mailer(t, script(t, c.do), "smtp://HOST?timeout=2s")
			start := time.Now()
			res, err := runner(t, m, simple, Options{}).Run(t.Context(), delivery(1))
			e := how(t, err)
			if !strings.Contains(e.Error(), c.want) || len(e.Error()) > 600 || len(res.Response) > maxResponse || strings.ContainsAny(e.Error()+res.Response, "\x1b\u202e\x00") {
				t.Errorf("%v, %+v", err, res)
			}
			if e.Permanent != (name == "long refusal") {
				t.Errorf("permanent is %t: %v", e.Permanent, err)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestAway(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	m := mailer(t, addr, "smtp://rowbell:planted-password@HOST")
	_, err = runner(t, m, simple, Options{}).Run(t.Context(), delivery(1))
	if e := how(t, err); e.Permanent || e.Error() != "the mail server (connect): connection refused" {
		t.Error(err)
	}
	if wrong, mend := Explain(err); wrong != err.Error() || mend != "" {
		t.Errorf("%q, %q", wrong, mend)
	}
	r, err := Kind(nil, Options{}).Parse([]byte(simple), actions.Texts{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = r.Run(t.Context(), delivery(1)); how(t, err).Permanent || !strings.Contains(err.Error(), "ROWBELL_SMTP_URL") || r.Destination() != "" {
		t.Error(err)
	}
}

// A thousand mails need no thousand handshakes, and no more connections than may be.
func TestManyMails(t *testing.T) {
	t.Parallel()
	config, _ := certificate()
	s := serve(t, mailtest.Config{TLS: config, Password: func(string) (string, bool) { return "pw-pw", true }})
	r := runner(t, mailer(t, s.Addr, "smtp://rowbell:pw-pw@HOST?connections=4"), simple, Options{})
	const mails, at = 1000, 16
	var wg sync.WaitGroup
	var next atomic.Int32
	start := time.Now()
	for range at {
		wg.Go(func() {
			for n := next.Add(1); n <= mails; n = next.Add(1) {
				if _, err := r.Run(t.Context(), delivery(int(n))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	keys := map[string]bool{}
	for _, mail := range s.Mails() {
		keys[effect(t, string(mail.Raw)).Key] = true
	}
	sessions := s.Connections() / 2 // STARTTLS begins another one
	t.Logf("%d mails in %s, over %d connections: %.2f ms each", mails, took.Round(time.Millisecond), sessions, float64(took.Milliseconds())/mails)
	if len(keys) != mails || sessions > mails/mostMails+8 {
		t.Errorf("%d mails arrived, over %d connections", len(keys), sessions)
	}
}

// An attempt waits for a connection, but not for long; and when its context ends, not at
// all.
func TestBusy(t *testing.T) {
	t.Parallel()
	s := serve(t, mailtest.Config{})
	m := mailer(t, s.Addr, "smtp://HOST?connections=1")
	r := runner(t, m, simple, Options{})
	m.tokens <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Run(ctx, delivery(1)); !errors.Is(err, context.DeadlineExceeded) || how(t, err).Permanent {
		t.Error(err)
	}
	if _, err := r.Run(t.Context(), delivery(1)); !how(t, err).Busy || !strings.Contains(err.Error(), "all 1 connections are busy; connections in ROWBELL_SMTP_URL") {
		t.Error(err)
	}
	<-m.tokens
	sent(t, s, r, delivery(1))
}

// What is idle is closed, after a while and when the mailer is.
func TestIdle(t *testing.T) {
	t.Parallel()
	s := serve(t, mailtest.Config{})
	m := mailer(t, s.Addr, "smtp://HOST")
	r := runner(t, m, simple, Options{})
	sent(t, s, r, delivery(1))
	sent(t, s, r, delivery(2))
	if n := s.Connections(); n != 1 || len(m.idle) != 1 {
		t.Errorf("there were %d connections", n)
	}
	m.mu.Lock()
	m.idle[0].idle = time.Now().Add(-keepIdle)
	m.mu.Unlock()
	if c := m.takeIdle(); c != nil {
		t.Error("one that was idle for too long is used again")
	}
	m.closeIdle()
	if len(m.idle) != 0 {
		t.Error("it is still there")
	}
	sent(t, s, r, delivery(3))
	m.Close()
	sent(t, s, r, delivery(4))
	if n := s.Connections(); n != 3 || len(m.idle) != 0 {
		t.Errorf("there were %d connections, and %d are idle after the end", n, len(m.idle))
	}
}

func BenchmarkMail(b *testing.B) {
	config, _ := certificate()
	s := serve(b, mailtest.Config{TLS: config, Password: func(string) (string, bool) { return "pw-pw", true }, Keep: 10})
	for _, kept := range []bool{true, false} {
		b.Run(fmt.Sprintf("kept=%t", kept), func(b *testing.B) {
			m := mailer(b, s.Addr, "smtp://rowbell:pw-pw@HOST")
			r := runner(b, m, simple, Options{})
			for i := 0; b.Loop(); i++ {
				if _, err := r.Run(b.Context(), delivery(i)); err != nil {
					b.Fatal(err)
				}
				if !kept {
					m.mu.Lock()
					idle := m.idle
					m.idle = nil
					m.mu.Unlock()
					quitAll(idle)
				}
			}
		})
	}
	b.Run("compose", func(b *testing.B) {
		l := runner(b, mailer(b, s.Addr, "smtp://HOST"), simple, Options{}).(*letter)
		for b.Loop() {
			m, _, err := l.compose(delivery(1))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := m.bytes(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
