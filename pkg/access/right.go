package access

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rowbell/rowbell/pkg/spelling"
)

// Right is one thing that somebody may do.
type Right string

// The rights. Each says in rightTexts what it lets one do.
const (
	WorkflowRead     Right = "workflow.read"
	WorkflowWrite    Right = "workflow.write"
	WorkflowPublish  Right = "workflow.publish"
	ExecutionRead    Right = "execution.read"
	DeliveryWrite    Right = "delivery.write"
	DestinationRead  Right = "destination.read"
	DestinationWrite Right = "destination.write"
	TemplateRead     Right = "template.read"
	TemplateWrite    Right = "template.write"
	CatalogueRead    Right = "catalogue.read"
	CatalogueWrite   Right = "catalogue.write"
	PersonRead       Right = "person.read"
	PreferenceRead   Right = "preference.read"
	PreferenceWrite  Right = "preference.write"
	InboxRead        Right = "inbox.read"
	InboxWrite       Right = "inbox.write"
	AuditRead        Right = "audit.read"
	KeyWrite         Right = "key.write"
	MemberWrite      Right = "member.write"
	StreamRead       Right = "stream.read"
	PauseWrite       Right = "pause.write"
	SecretWrite      Right = "secret.write"
	TenantRead       Right = "tenant.read"
	TenantDelete     Right = "tenant.delete"
	DataErase        Right = "data.erase"
	SecretReveal     Right = "secret.reveal"
	RedactedRead     Right = "redacted.read"
)

// rightTexts is every right in the order of the manual, with what it lets one do.
var rightTexts = []struct {
	right Right
	text  string
}{
	{WorkflowRead, "see workflows with their versions, health and statistics; validate, simulate and explain them"},
	{WorkflowWrite, "make, change, duplicate, import and delete workflows that are not active, and drafts of those that are"},
	{WorkflowPublish, "activate and deactivate workflows, and change, restore and delete active ones"},
	{ExecutionRead, "see events, executions, deliveries and attempts, and what failed"},
	{DeliveryWrite, "try deliveries again, cancel and replay them, dismiss what failed, and let go what the storm guard holds"},
	{DestinationRead, "see destinations, and how they stand"},
	{DestinationWrite, "turn destinations off and on, send them a test, try connections, and change their signing secrets"},
	{TemplateRead, "see templates, and preview them"},
	{TemplateWrite, "make, change and delete templates"},
	{CatalogueRead, "see tables, their columns and sample values, and the kinds of actions"},
	{CatalogueWrite, "capture and release tables"},
	{PersonRead, "see who recipients are, with their addresses, and who has none"},
	{PreferenceRead, "see what other people want to be told, and their quiet hours"},
	{PreferenceWrite, "change what other people want to be told"},
	{InboxRead, "see other people's inboxes"},
	{InboxWrite, "mark what is in other people's inboxes"},
	{AuditRead, "see who has done what"},
	{KeyWrite, "list, make and revoke API keys and link keys"},
	{MemberWrite, "list, add and remove members"},
	{StreamRead, "see the health of the stream and of the workers, which services are set up, pauses, and the limits in force"},
	{PauseWrite, "pause deliveries, let them go on, and say how many turns tenants get"},
	{SecretWrite, "write secrets, and see which there are"},
	{TenantRead, "list tenants"},
	{TenantDelete, "delete a tenant with all that it has"},
	{DataErase, "erase everything about one row or one person"},
	{SecretReveal, "see what a secret is"},
	{RedactedRead, "see redacted columns"},
}

// Rights are all there are, in the order of the manual.
func Rights() []Right {
	list := make([]Right, len(rightTexts))
	for i, r := range rightTexts {
		list[i] = r.right
	}
	return list
}

// Text says what the right lets one do; "" if there is no such right.
func (r Right) Text() string {
	for _, t := range rightTexts {
		if t.right == r {
			return t.text
		}
	}
	return ""
}

// ParseRight reads the name of a right.
func ParseRight(s string) (Right, error) {
	if r := Right(s); r.Text() != "" {
		return r, nil
	}
	return "", fmt.Errorf("there is no right %.60q; %s", s, mend(s, Rights(), "docs/security.md has all of them"))
}

// mend names what a misspelt word was meant to be; without such a one it is otherwise.
func mend[T ~string](misspelt string, words []T, otherwise string) string {
	known := make([]string, len(words))
	for i, w := range words {
		known[i] = string(w)
	}
	return cmp.Or(spelling.Mend(misspelt, known), otherwise)
}

// Role is a name for a set of rights.
type Role string

// The roles, each with those that it includes.
const (
	Viewer    Role = "viewer"    // looks
	Operator  Role = "operator"  // viewer, and keeps deliveries going
	Author    Role = "author"    // viewer, and writes what isn't active yet
	Publisher Role = "publisher" // author, and makes it count
	Admin     Role = "admin"     // all but what is in no role
)

// Roles are all there are, in the order of the manual.
func Roles() []Role { return []Role{Viewer, Operator, Author, Publisher, Admin} }

// inNoRole are given by name only, beside a role.
var inNoRole = []Right{SecretReveal, RedactedRead}

// roleRights says what each role may do.
var roleRights = func() map[Role][]Right {
	viewer := []Right{WorkflowRead, ExecutionRead, DestinationRead, TemplateRead, CatalogueRead, StreamRead}
	operator := []Right{DeliveryWrite, DestinationWrite, PauseWrite, PersonRead, PreferenceRead, InboxRead, AuditRead}
	author := []Right{WorkflowWrite, TemplateWrite, SecretWrite, PersonRead}
	publisher := []Right{WorkflowPublish}
	var admin []Right
	for _, r := range Rights() {
		if !slices.Contains(inNoRole, r) {
			admin = append(admin, r)
		}
	}
	return map[Role][]Right{
		Viewer:    viewer,
		Operator:  slices.Concat(viewer, operator),
		Author:    slices.Concat(viewer, author),
		Publisher: slices.Concat(viewer, author, publisher),
		Admin:     admin,
	}
}()

// Rights are what the role may do; nothing if there is no such role.
func (r Role) Rights() []Right { return slices.Clone(roleRights[r]) }

// Can says whether the role has the right.
func (r Role) Can(right Right) bool { return slices.Contains(roleRights[r], right) }

// ParseRole reads the name of a role.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles(), r) {
		return r, nil
	}
	return "", fmt.Errorf("there is no role %.60q; %s", s, mend(s, Roles(), "roles are viewer, operator, author, publisher and admin"))
}

// known keeps those of the names that are roles. A later version may have stored others,
// which give nothing here.
func known(roles, rights []string) (kr []Role, kt []Right) {
	for _, name := range roles {
		if r, err := ParseRole(name); err == nil {
			kr = append(kr, r)
		}
	}
	for _, name := range rights {
		if r, err := ParseRight(name); err == nil {
			kt = append(kt, r)
		}
	}
	return kr, kt
}
