package workflow

import (
	"encoding/json"
	"strings"
)

// Person is a recipient as the directory knew them when their delivery was addressed.
// Fields that it doesn't know are "".
type Person struct {
	// ID is the application's. Someone without an account, whom a column of the row
	// names by an address, has that address for an id, in lower case.
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Email  string `json:"email,omitempty"`
	Phone  string `json:"phone,omitempty"`  // E.164: +4930123456
	Locale string `json:"locale,omitempty"` // BCP 47: de-AT
	Zone   string `json:"zone,omitempty"`   // IANA: Europe/Vienna
	// Stranger says that the directory doesn't know them.
	Stranger bool `json:"stranger,omitempty"`
	// Reasons are why they are a recipient: "role approver", "column account_manager".
	Reasons []string `json:"reasons,omitempty"`
}

// An Address is what a person must have for an action kind to reach them.
type Address string

const (
	NoAddress    Address = ""      // their id is enough
	EmailAddress Address = "email" // Person.Email
	PhoneAddress Address = "phone" // Person.Phone
)

// Has says whether the person can be reached by such an address.
func (p *Person) Has(a Address) bool {
	switch a {
	case EmailAddress:
		return p.Email != ""
	case PhoneAddress:
		return p.Phone != ""
	}
	return true
}

// JSON is the person as the log keeps them.
func (p *Person) JSON() []byte {
	b, _ := json.Marshal(p) // nothing in it can't be written
	return b
}

// ParsePerson reads what JSON wrote; nil for null, and for what isn't an object.
func ParsePerson(b []byte) *Person {
	p := &Person{}
	if len(b) == 0 || json.Unmarshal(b, p) != nil || p.ID == "" {
		return nil
	}
	return p
}

// LeftOut is somebody who is among an action's recipients, and doesn't get it.
type LeftOut struct {
	Person
	Why string // left_out: did it themself
}

// Outcomes of one person that are no failure of the workflow begin with one of these
// words, so that they can be found and counted.
const (
	WhyNoAddress = "no_address" // there is no address of theirs that the kind needs
	WhyLeftOut   = "left_out"   // the workflow excludes them
	WhyOptedOut  = "opted_out"  // they don't want it
	// WhyQuiet begins why a delivery waits; nothing ends by it.
	WhyQuiet = "quiet_hours"
)

// Why writes such a reason: "no_address: ann has no e-mail address".
func Why(code, sentence string) string { return code + ": " + strings.TrimSpace(sentence) }

// Exclusion says who doesn't get what an action sends, although they are a recipient.
type Exclusion struct {
	Type  string // actor, user, role, group or attribute
	Value string // as of a Recipient; "" for actor
}
