// Package deploy carries what an operator runs Rowbell with: roles and grants, a
// container, compose, systemd, alert rules. README.md says how each is used; the tests
// use them as it says.
package deploy

import _ "embed"

// Roles makes the roles of an installation with least privilege; before the first
// migration, as a superuser.
//
//go:embed roles.sql
var Roles string

// Grants gives these roles what they need; after each migration.
//
//go:embed grants.sql
var Grants string
