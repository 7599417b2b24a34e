package demo

import (
	"fmt"
	"net/smtp"
	"strings"
	"testing"
)

func TestCatcher(t *testing.T) {
	t.Parallel()
	c, err := startCatcher(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}()
	send := func(message string) error {
		return smtp.SendMail(c.listener.Addr().String(), nil, "shop@acme.example", []string{"ann@acme.example"}, []byte(strings.ReplaceAll(message, "\n", "\r\n")))
	}
	const head = "From: Shop <shop@acme.example>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nMessage-ID: <1@acme.example>\nList-Unsubscribe: <https://x.example/u>\nMIME-Version: 1.0\n"
	for _, message := range []string{
		head + "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nH=C3=A4ndler\n--b\nContent-Type: text/html\n\n<p>no</p>\n--b--\n",
		head + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nSMOkbmRsZXI=\n",
	} {
		if err := send(message); err != nil {
			t.Fatal(err)
		}
	}
	if err := send("no mail"); err == nil || !strings.Contains(err.Error(), "this is no mail") {
		t.Errorf("what is no mail: %v", err)
	}
	mails, total := c.all()
	if total != 2 || len(mails) != 2 {
		t.Fatalf("%d mails, %d in all", len(mails), total)
	}
	for _, m := range mails {
		m.Text = strings.TrimSpace(m.Text)
		want := caught{"Shop <shop@acme.example>", "ann@acme.example", "Grüße", "<1@acme.example>", "<https://x.example/u>", "Händler"}
		if m != want {
			t.Errorf("got %s", fmt.Sprintf("%+v", m))
		}
	}
}
