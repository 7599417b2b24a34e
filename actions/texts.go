package actions

import "github.com/rowbell/rowbell/pkg/workflow"

// Texts is what the texts of an action can rely on beside the event: of its workflow's
// version, and so the same for ever.
type Texts struct {
	// Templates are the stored templates that the version's texts render.
	Templates *workflow.Library
	Locale    string // of the workflow's settings, for readers without one; "" if not set
	Zone      string // likewise: of the IANA database
}

func textsOf(w *workflow.Workflow) (Texts, error) {
	locale, zone, err := w.Language()
	return Texts{Templates: workflow.NewLibrary(w.Templates), Locale: locale, Zone: zone}, err
}

// Previewer is a Runner that can show what it would send.
type Previewer interface {
	// Preview makes the texts of a delivery, and sends nothing. The error says which
	// text can't be made, and why; what could be made comes beside it.
	Preview(d *Delivery) ([]PreviewText, error)
}

// PreviewText is one text as a recipient gets it.
type PreviewText struct {
	Name string `json:"name"` // title, body, html
	Text string `json:"text"`
}
