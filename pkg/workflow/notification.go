package workflow

// Notification is one entry of a person's inbox.
type Notification struct {
	DeliveryID  string // there is at most one for each
	TenantID    string // "" = of an operators' workflow
	RecipientID string // whose inbox
	Title       string // one line
	Body        string
	Link        string // where it leads; "" nowhere
}
