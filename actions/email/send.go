package email

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wneessen/go-mail/smtp"

	"github.com/rowbell/rowbell/actions"
)

const (
	maxResponse = 1 << 10 // bytes of an answer that are kept
	maxQuote    = 200     // bytes of an answer in an error's text

	// greylistWait is what servers that put off a sender whom they see for the first time
	// want at least, mostly (RFC 6647, section 5).
	greylistWait = time.Minute
	closingWait  = 30 * time.Second // for a 421
)

// send hands a message to the server, and returns its last word. Its errors are
// *failure. When it returns one with stepEnd and no code, the server may have taken the
// mail nevertheless.
func (m *Mailer) send(ctx context.Context, to address, message []byte) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.server.Timeout)
	defer cancel()
	c, err := m.acquire(ctx)
	if err != nil {
		return "", err
	}
	again := c.mails > 0
	answer, f := m.transact(ctx, c, to, message)
	if f != nil && again && f.step == stepSender && (f.code == 0 || f.code == 421) && ctx.Err() == nil {
		// The server hung up while the connection was idle. Nothing of this mail was said.
		c.drop(false)
		if c, err = m.fresh(ctx); err != nil {
			<-m.tokens
			return "", err
		}
		answer, f = m.transact(ctx, c, to, message)
	}
	good := f == nil
	if f != nil && f.code != 0 && f.code != 421 {
		good = f.step == stepEnd || c.reset(ctx)
	}
	m.release(c, good)
	if f != nil {
		f.answer = m.hide(f.answer)
		return "", f
	}
	return m.hide(answer), nil
}

// reset ends a mail that the server has refused, so that the next one can begin.
func (c *connection) reset(ctx context.Context) bool {
	defer c.during(ctx, maxAnswer)()
	return c.Reset() == nil
}

// transact sends one message over a connection. (RFC 5321, section 3.3; RFC 6531 for
// SMTPUTF8, which is asked for only where an address needs it: a server further on may not
// have it.)
func (m *Mailer) transact(ctx context.Context, c *connection, to address, message []byte) (answer string, f *failure) {
	defer c.during(ctx, maxAnswer)()
	c.mails++
	if to.utf8 {
		if has, _ := c.Extension("SMTPUTF8"); !has {
			return "", &failure{step: stepTo, code: 553, answer: "(not asked: it has no SMTPUTF8, which an address with letters that are not ASCII before the @ needs)"}
		}
	}
	c.SkipSMTPUTF8(!to.utf8)
	if err := c.Mail("<" + m.server.From.Address + ">"); err != nil {
		f := failed(ctx, stepSender, err)
		if f.code >= 500 {
			f.mend = "it takes no mail from this sender: see ROWBELL_MAIL_FROM, and user and password in ROWBELL_SMTP_URL"
		}
		return "", f
	}
	if err := c.Rcpt("<" + to.text + ">"); err != nil {
		return "", failed(ctx, stepTo, err)
	}
	w, err := c.Data()
	if err != nil {
		return "", failed(ctx, stepData, err)
	}
	if _, err := w.Write(message); err != nil {
		return "", failed(ctx, stepData, err) // without the final dot nothing counts
	}
	if err := w.Close(); err != nil {
		return "", failed(ctx, stepEnd, err)
	}
	if closed, ok := w.(*smtp.DataCloser); ok {
		answer = closed.ServerResponse()
	}
	return answer, nil
}

// outcome is what a failure means for the delivery: what concerns this recipient or this
// mail is for good if the server says 5xx; what concerns the server, the sender or the
// connection can be mended, and is tried again.
func (f *failure) outcome() (actions.Result, error) {
	result := actions.Result{Code: f.code, Response: printable(f.answer, maxResponse)}
	e := &actions.Error{Err: f}
	said := strings.ToLower(f.answer)
	switch {
	case f.code == 421:
		e.Busy, e.RetryAfter = true, closingWait
	case f.code >= 400 && f.code < 500 && (strings.Contains(said, "greylist") || strings.Contains(said, "graylist")):
		e.RetryAfter = greylistWait
	case f.code == 450 && f.step == stepTo: // this mailbox, for now
	case f.code == 450, f.code == 451, f.code == 452:
		e.Busy = true
	case f.step == stepWait:
		e.Busy = true
	case f.step == stepAuth && f.code >= 500:
		e.Busy, e.RetryAfter = true, authPause
	case f.code >= 500 && (f.step == stepTo || f.step == stepData || f.step == stepEnd):
		if f.step == stepTo && (f.code == 530 || f.code == 535 || f.code == 538 || strings.Contains(said, "relay")) {
			f.mend = "it wants to know who sends before it passes mail on: see user and password in ROWBELL_SMTP_URL"
			break
		}
		e.Permanent = true
	}
	// What is wrong with the server, or with how it is spoken to, and not with this mail.
	e.Down = f.step != stepWait && (f.code == 0 || f.code == 421 || f.step == stepGreet || f.step == stepTLS || f.step == stepAuth || f.step == stepSender)
	return result, e
}

// failureOf is the failure in an error of this package.
func failureOf(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	return &failure{step: stepConnect, message: "it failed", err: err}
}

// Explain parts an error of Check into what is wrong and what can be done.
func Explain(err error) (wrong, mend string) {
	f := *failureOf(err)
	mend, f.mend = f.mend, ""
	return f.Error(), mend
}

// printable returns the start of an answer as a text that can be shown and stored: valid
// UTF-8 of at most limit bytes, without control characters but line breaks, and without
// those that turn the direction of a line.
func printable(s string, limit int) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s[:min(len(s), 2*limit)], "\uFFFD") {
		if r == '\r' {
			continue
		}
		if r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			r = unicode.ReplacementChar
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
