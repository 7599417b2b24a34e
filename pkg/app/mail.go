package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rowbell/rowbell/actions/email"
	"github.com/rowbell/rowbell/pkg/egress"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// validateMail tells bad what is wrong with the settings of mail.
func (c Config) validateMail(bad func(setting, format string, args ...any)) {
	url, setting := c.SMTPURL, "smtp-url"
	if url == "" {
		if c.MailFrom == "" {
			return
		}
		url = "smtp://localhost" // for the sender alone
	}
	_, err := email.ParseServer(url, c.MailFrom)
	var list interface{ Unwrap() []error }
	if !errors.As(err, &list) {
		if err != nil {
			bad(setting, "%v", err)
		}
		return
	}
	for _, err := range list.Unwrap() {
		if sender, ok := errors.AsType[*email.SenderError](err); ok {
			bad("mail-from", "%v", sender)
		} else {
			bad(setting, "%v", err)
		}
	}
}

// newMailer makes what sends mails, and the client that it connects through; both are nil
// if there is no mail server. The server is the operator's choice, and may be anywhere.
func (c Config) newMailer() (*email.Mailer, *egress.Client, error) {
	if c.SMTPURL == "" {
		return nil, nil, nil
	}
	server, err := email.ParseServer(c.SMTPURL, c.MailFrom)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", named("smtp-url"), err)
	}
	client, err := egress.New(egress.Config{Allow: everywhere})
	if err != nil {
		return nil, nil, err
	}
	return email.NewMailer(server, client), client, nil
}

// openMail makes what e-mails go through. closePools closes it.
func (a *App) openMail() error {
	var err error
	a.mailer, a.mailEgress, err = a.cfg.newMailer()
	return err
}

// closeMail ends the connections that are idle.
func (a *App) closeMail() {
	if a.mailer != nil {
		a.mailer.Close()
		a.mailEgress.Close()
	}
}

// judgeMail says what is wrong with a workflow that sends e-mail, if this worker can't.
func (a *App) judgeMail(w *workflow.Workflow) error {
	if a.mailer != nil || a.cfg.Delivery.Redirect() != "" {
		return nil
	}
	for i, action := range w.Actions {
		if action.Type == "email" {
			return fmt.Errorf("action %d (email): this worker has no mail server; ask an operator to set ROWBELL_SMTP_URL, as smtp://user:password@mail.example.com:587, and ROWBELL_MAIL_FROM, and to start rowbell again", i+1)
		}
	}
	return nil
}

// examineMail connects to the mail server as for a mail, and sends none.
func (d *doctor) examineMail(ctx context.Context) {
	const check = "mail"
	mailer, client, err := d.cfg.newMailer()
	if mailer == nil {
		if err != nil {
			d.report.add(LevelFailed, check, err.Error())
		}
		return
	}
	defer client.Close()
	defer mailer.Close()
	c, err := mailer.Check(ctx)
	if err != nil {
		wrong, mend := email.Explain(err)
		mends := []string{"See that ROWBELL_SMTP_URL names the server, and that this machine reaches it."}
		if mend != "" {
			mends = []string{strings.ToUpper(mend[:1]) + mend[1:] + "."}
		}
		d.report.add(LevelFailed, check, wrong, mends...)
		return
	}
	as := "without authentication"
	if c.Auth != "" {
		as = "authenticated by " + c.Auth
	}
	switch {
	case c.TLS != "":
		d.report.ok(check, "%s answers, %s, %s", c.Server, c.TLS, as)
	case mailer.Local():
		d.report.ok(check, "%s answers, on this machine, %s", c.Server, as)
	default:
		d.report.add(LevelWarning, check, fmt.Sprintf("%s answers, %s, without TLS: mails go over the network in the clear", c.Server, as),
			"If the server has TLS: take tls=none out of ROWBELL_SMTP_URL, or write smtps://.")
	}
}
