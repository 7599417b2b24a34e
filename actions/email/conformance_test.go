package email

import (
	"regexp"
	"sync"
	"testing"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/actiontest"
	"github.com/rowbell/rowbell/actions/email/mailtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	config, _ := certificate()
	s := serve(t, mailtest.Config{TLS: config, Password: func(user string) (string, bool) { return "hunter2hunter2", user == "rowbell" }})
	m := mailer(t, s.Addr, "smtp://rowbell:hunter2hunter2@HOST")

	var mu sync.Mutex
	var seen []actiontest.Effect
	var refuse error
	var hang, reached chan struct{}
	s.Do(func(at mailtest.Step, value string) error {
		mu.Lock()
		defer mu.Unlock()
		switch at {
		case mailtest.To:
			return refuse
		case mailtest.End:
			seen = append(seen, effect(t, value))
			if hang != nil {
				wait := hang
				close(reached)
				hang = nil
				mu.Unlock()
				<-wait
				mu.Lock()
			}
		}
		return nil
	})
	set := func(err error) func() {
		return func() {
			mu.Lock()
			defer mu.Unlock()
			refuse = err
		}
	}
	actiontest.Run(t, actiontest.Subject{
		Kind: Kind(m, Options{Unsubscribe: func(d *actions.Delivery) string { return "https://rowbell.example/unsubscribe/" + digest(d.ID) }}),
		Valid: []string{
			`{"subject": "Order {{ new.id }}", "body": "It is **{{ new.status }}**.", "from_name": "Acme", "reply_to": "orders@acme.example",
			  "button": {"text": "Open", "url": "https://acme.example/orders/{{ new.id }}"}}`,
			simple,
			`{"subject": {"en": "Order", "de": "Auftrag"}, "body": {"en": "Paid.", "de": "Bezahlt."}}`,
		},
		Invalid: map[string][]string{
			`{}`:                            {"subject", "body"},
			`{"subject": "a", "body": " "}`: {"body", "empty"},
			`{"subject": "a", "body": "b", "reply_to": "x@y@z"}`:                                 {"reply_to", "no e-mail address"},
			`{"subject": "a", "body": "b", "from_name": "a\nBcc: c@d.example"}`:                  {"from_name", "one line"},
			`{"subject": "a", "body": "b", "from_name": "ceo@bank.example"}`:                     {"from_name", "without an @"},
			`{"subject": "a", "body": "b", "from_name": "ceo＠bank.example"}`:                     {"from_name", "without an @"},
			`{"subject": "a", "body": "b", "from_name": "\u202eknaB"}`:                           {"from_name", "can't be seen"},
			`{"subject": "{{ a", "body": "b"}`:                                                   {"subject", "line 1"},
			`{"subject": "a", "body": "b", "button": {"text": "x"}}`:                             {"button", "url"},
			`{"subject": "a", "body": "b", "to": "x@y.example"}`:                                 {"to"},
			`{"subject": "a", "body": "b", "button": {"text": " ", "url": "https://a.example"}}`: {"button"},
		},
		Planted:      []string{"hunter2hunter2"},
		Recipient:    "ann. ü\n",
		OK:           set(nil),
		Refuse:       set(mailtest.Refuse(550, "no such user; your password is hunter2hunter2")),
		RefuseForNow: set(mailtest.Refuse(450, "greylisted")),
		Away:         set(mailtest.ErrDrop),
		Hang: func() (<-chan struct{}, func()) {
			mu.Lock()
			defer mu.Unlock()
			wait := make(chan struct{})
			hang, reached = wait, make(chan struct{})
			return reached, func() { close(wait) }
		},
		Effects: func() []actiontest.Effect {
			mu.Lock()
			defer mu.Unlock()
			return append([]actiontest.Effect(nil), seen...)
		},
	})
}

var (
	keyHeader  = regexp.MustCompile(`(?m)^Message-ID: (.*)\r$`)
	dateHeader = regexp.MustCompile(`(?m)^Date: .*\r\n`)
)

// effect is a mail without its date.
func effect(t *testing.T, raw string) actiontest.Effect {
	key := keyHeader.FindStringSubmatch(raw)
	if key == nil {
		t.Errorf("there is no Message-ID in\n%s", raw)
		return actiontest.Effect{}
	}
	return actiontest.Effect{Key: key[1], Content: dateHeader.ReplaceAllString(raw, "")}
}
