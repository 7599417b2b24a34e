// Package email is the action kind email: it sends each recipient a mail over the
// operator's mail server, as text and as HTML, both made of one source in Markdown.
//
// # What is whose
//
// Server, account and the sender's address are the operator's (ROWBELL_SMTP_URL,
// ROWBELL_MAIL_FROM), who may have them in a private network. A workflow has the words, the
// sender's name and the address for answers; nothing in it leads to another server.
//
// # One mail
//
// All attempts at a delivery make the same mail but for its date, with one Message-ID,
// which comes from the delivery's key. That is what is left to mail programs and servers
// for seeing two as one: SMTP can't tell whether a server that was asked to take a mail
// and then is gone has taken it (RFC 5321, section 4.5.5, leaves it to the client to send
// it again; and so does this package).
//
// # What a refusal means
//
// What the server says against the recipient or the mail (5xx to RCPT TO, to DATA, or to
// its end) is for good. What it says against us (to the greeting, STARTTLS, AUTH, MAIL
// FROM), and that it doesn't relay, is a matter of its or our settings: it is tried again,
// so that somebody can mend it meanwhile. 4xx are tried again; 421, 451 and 452, and 450
// but to RCPT TO, say that the server is busy, and the tenant's other mails wait a moment
// too. (A 450 to RCPT TO is about one mailbox.)
//
// # Values
//
// What stands in a row is text: templates escape it for Markdown, the parser knows no
// HTML, and what comes out of it goes through a policy. In headers there is no line break
// and nothing that looks encoded which we didn't encode.
//
// # Libraries
//
// 2026-11-26: github.com/wneessen/go-mail v0.8.1 speaks SMTP, by its package smtp, with
// STARTTLS, SCRAM and LOGIN, which net/smtp lacks. Its Client is not used: it tells the
// steps of a failure apart by text alone, says RSET after each mail, reports a failing one
// as a mail not sent, and asks for SMTPUTF8 whenever the server has it, which a
// server further on may not; and its Msg leaves alone what looks like an encoded word.
// What a server says is bounded here, where the connection is read: the library has no
// limit.
//
// 2026-11-26: github.com/vanng822/go-premailer v1.25.0 puts layout.html's styles where
// they are for, once for a process: they are the same for all mails. What it learnt is put
// into each mail by a pass over its tags, which takes microseconds.
//
// 2026-11-26: github.com/yuin/goldmark v1.8.7 takes time by the square for some sources
// (links in links: 1.1 s for 64 KiB) and space for others (a table of 200 columns and
// 30,000 empty rows: 18 MB). Hence maxBody, maxDepth, maxColumns and maxLinks; a test has the
// worst known ones.
package email
