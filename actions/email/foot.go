package email

import (
	"fmt"
	"strings"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// footLine is a line of the foot: a sentence, and where it leads.
type footLine struct {
	text      string
	link, url string // "" where it leads nowhere
}

// words are what the foot says in a language.
type words struct {
	because   string            // to a list of reasons, in a workflow
	among     string            // without reasons
	of        string            // the same with a tenant in the end
	owner     string            // of an alert, to an owner of a workflow
	operator  string            // of an alert, to who is named by the setting alerts
	stop      string            // link
	ask       string            // without a link
	reasons   map[string]string // first words of reasons that the directory gives
	quotation [2]string
}

// speaks are the languages of the foot. Others get English.
var speaks = map[string]*words{
	"en": {
		because:  "You get this e-mail because of %s in the workflow %s%s.",
		among:    "You get this e-mail as a recipient of the workflow %s%s.",
		of:       " of %s",
		owner:    "You get this e-mail as an owner of the workflow %s.",
		operator: "You get this e-mail because ROWBELL_ALERTS has your address.",
		stop:     "Stop e-mails like this one",
		ask:      "To stop e-mails like this one, ask an administrator of the workflow.",
		reasons: map[string]string{
			"user": "your account", "role": "your role", "group": "your group", "column": "the field", "attribute": "the field",
		},
		quotation: [2]string{"“", "”"},
	},
	"de": {
		because:  "Diese E-Mail kommt wegen %s im Workflow %s%s.",
		among:    "Diese E-Mail geht an die Empfänger des Workflows %s%s.",
		of:       " von %s",
		owner:    "Diese E-Mail geht an Sie als Verantwortliche des Workflows %s.",
		operator: "Diese E-Mail kommt, weil ROWBELL_ALERTS Ihre Adresse hat.",
		stop:     "Solche E-Mails abbestellen",
		ask:      "Um solche E-Mails abzubestellen, wenden Sie sich an die Verwaltung des Workflows.",
		reasons: map[string]string{
			"user": "Ihres Kontos", "role": "Ihrer Rolle", "group": "Ihrer Gruppe", "column": "des Feldes", "attribute": "des Feldes",
		},
		quotation: [2]string{"„", "“"},
	},
	"fr": {
		because:  "Vous recevez cet e-mail en raison de %s, dans le workflow %s%s.",
		among:    "Vous recevez cet e-mail en tant que destinataire du workflow %s%s.",
		of:       " de %s",
		owner:    "Vous recevez cet e-mail en tant que responsable du workflow %s.",
		operator: "Vous recevez cet e-mail parce que ROWBELL_ALERTS contient votre adresse.",
		stop:     "Ne plus recevoir ces e-mails",
		ask:      "Pour ne plus recevoir ces e-mails, adressez-vous à un administrateur du workflow.",
		reasons: map[string]string{
			"user": "votre compte", "role": "votre rôle", "group": "votre groupe", "column": "la valeur du champ", "attribute": "la valeur du champ",
		},
		quotation: [2]string{"«\u00a0", "\u00a0»"},
	},
	"es": {
		because:  "Recibe este correo por %s, en el flujo de trabajo %s%s.",
		among:    "Recibe este correo como destinatario del flujo de trabajo %s%s.",
		of:       " de %s",
		owner:    "Recibe este correo como responsable del flujo de trabajo %s.",
		operator: "Recibe este correo porque ROWBELL_ALERTS contiene su dirección.",
		stop:     "Dejar de recibir estos correos",
		ask:      "Para dejar de recibir estos correos, diríjase a un administrador del flujo de trabajo.",
		reasons: map[string]string{
			"user": "su cuenta", "role": "su rol", "group": "su grupo", "column": "el campo", "attribute": "el campo",
		},
		quotation: [2]string{"«", "»"},
	},
}

// maxReasons is how many are named: somebody may be in an action's audience many times.
const maxReasons = 4

// language is the one of speaks for the first locale that has one: de for de-AT.
func language(locales ...string) string {
	for _, l := range locales {
		l, _, _ = strings.Cut(strings.ToLower(l), "-")
		l, _, _ = strings.Cut(l, "_")
		if _, ok := speaks[l]; ok {
			return l
		}
	}
	return "en"
}

// footOf says why somebody gets a mail, and how they stop it.
func footOf(d *actions.Delivery, language, unsubscribe string) []footLine {
	w := speaks[language]
	of := ""
	if d.Workflow.TenantID != "" {
		of = fmt.Sprintf(w.of, oneLine(shorten(d.Workflow.TenantID, 80)))
	}
	name := d.Workflow.Name
	if name = oneLine(shorten(name, 120)); name == "" {
		name = oneLine(d.Workflow.ID)
	}
	name = w.quotation[0] + name + w.quotation[1]
	var reasons []string
	if d.Person != nil {
		for i, r := range d.Person.Reasons {
			if i == maxReasons {
				reasons = append(reasons, "…")
				break
			}
			reasons = append(reasons, w.reason(oneLine(shorten(r, 100))))
		}
	}
	why := fmt.Sprintf(w.among, name, of)
	if len(reasons) > 0 {
		why = fmt.Sprintf(w.because, strings.Join(reasons, ", "), name, of)
	}
	if d.Person != nil && len(d.Person.Reasons) == 1 { // of an alert
		switch reason, id, _ := strings.Cut(d.Person.Reasons[0], " "); reason {
		case workflow.ReasonOwner:
			why = fmt.Sprintf(w.owner, w.quotation[0]+oneLine(shorten(id, 120))+w.quotation[1])
		case workflow.ReasonOperator:
			return []footLine{{text: w.operator}}
		}
	}
	if unsubscribe == "" {
		return []footLine{{text: why}, {text: w.ask}}
	}
	return []footLine{{text: why}, {link: w.stop, url: unsubscribe}}
}

// reason says one of the directory's in the language: "role approver" is Ihrer Rolle
// approver. What isn't known stands as it is.
func (w *words) reason(r string) string {
	first, rest, ok := strings.Cut(r, " ")
	said, known := w.reasons[first]
	switch {
	case !known:
		return r
	case !ok || first == "user":
		return said
	}
	return said + " " + rest
}

// footText is the foot below a mail in plain text. (RFC 3676, section 4.3, for the line
// that parts it from the rest.)
func footText(lines []footLine) string {
	var b strings.Builder
	b.WriteString("-- \n")
	for _, l := range lines {
		b.WriteString(l.text)
		if l.url != "" {
			if l.text != "" {
				b.WriteByte(' ')
			}
			b.WriteString(l.link + ": " + l.url)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
