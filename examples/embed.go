// Package examples carries the example workflows, and the shop that they are about,
// as the SQL that an administrator would run. The demo runs these files, with a receiver
// and a secret of its own in the place of ReceiverURL and Secret.
package examples

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Shop is the schema of the shop, with its first customers.
//
//go:embed shop.sql
var Shop string

//go:embed [0-9]*.sql
var files embed.FS

//go:embed workflows/*.yaml
var documents embed.FS

// Document is an example as a document in YAML: a workflow, or a template.
type Document struct {
	Name string // large-order
	YAML []byte
}

// Documents returns those of workflows/, in the order of their names.
func Documents() []Document {
	names, err := fs.Glob(documents, "workflows/*.yaml")
	if err != nil {
		panic(fmt.Sprintf("examples: %v", err)) // the pattern is a constant
	}
	list := make([]Document, 0, len(names))
	for _, name := range names {
		text, err := documents.ReadFile(name)
		if err != nil {
			panic(fmt.Sprintf("examples: %v", err)) // Glob has just found it
		}
		list = append(list, Document{strings.TrimSuffix(path.Base(name), ".yaml"), text})
	}
	return list
}

// Where the webhooks of the files go, and what signs them: a receiver of
// examples/receivers that was started as docs/receiving-webhooks.md says.
const (
	ReceiverURL = "http://127.0.0.1:8000/webhook"
	Secret      = "whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE="
)

// The queries by which Rowbell looks the shop's people up: ROWBELL_DIRECTORY_USERS and
// ROWBELL_DIRECTORY_ROLE_MEMBERS. An operators' workflow, whose $2 is null, sees all
// tenants' staff.
const (
	Users       = "select id, name, email, locale, time_zone as zone from staff where id = any ($1) and tenant_id = coalesce($2, tenant_id)"
	RoleMembers = "select id, name, email, locale, time_zone as zone from staff join staff_roles on staff_id = id where role = $1 and tenant_id = coalesce($2, tenant_id)"
)

// Workflow is one example: a file that a psql session can run.
type Workflow struct {
	File  string // 01-order-approved.sql
	Title string // the first sentence of its comment
	SQL   string
}

// Workflows returns the examples, in the order of their files.
func Workflows() []Workflow {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		panic(fmt.Sprintf("examples: %v", err)) // the pattern is a constant
	}
	list := make([]Workflow, 0, len(names))
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			panic(fmt.Sprintf("examples: %v", err)) // Glob has just found it
		}
		first, _, _ := strings.Cut(string(text), "\n")
		list = append(list, Workflow{
			File:  path.Base(name),
			Title: strings.TrimSuffix(strings.TrimPrefix(first, "-- "), "."),
			SQL:   string(text),
		})
	}
	return list
}

// For returns the SQL with another receiver, and another secret that signs what it gets.
func (w Workflow) For(receiverURL, secret string) string {
	return strings.NewReplacer(ReceiverURL, receiverURL, Secret, secret).Replace(w.SQL)
}
