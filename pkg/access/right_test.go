package access

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// The whole table, so that who changes what a role may do says so twice.
func TestRoles(t *testing.T) {
	t.Parallel()
	const look = "workflow.read execution.read destination.read template.read catalogue.read stream.read"
	want := map[Role]string{
		Viewer:    look,
		Operator:  look + " delivery.write destination.write pause.write person.read preference.read inbox.read audit.read",
		Author:    look + " workflow.write template.write secret.write person.read",
		Publisher: look + " workflow.write template.write secret.write person.read workflow.publish",
		Admin: look + ` workflow.write workflow.publish delivery.write destination.write template.write catalogue.write person.read preference.read
			preference.write inbox.read inbox.write audit.read key.write member.write pause.write secret.write tenant.read tenant.delete data.erase`,
	}
	if len(Roles()) != len(want) || len(roleRights) != len(want) {
		t.Errorf("there are %d roles, and %d in the table, want %d", len(Roles()), len(roleRights), len(want))
	}
	for _, role := range Roles() {
		has := strings.Fields(want[role])
		for _, r := range Rights() {
			p := &Principal{Roles: []Role{role}}
			if expected := slices.Contains(has, string(r)); role.Can(r) != expected || p.Can(r) != expected {
				t.Errorf("%s can %s: %v, want %v", role, r, role.Can(r), expected)
			}
		}
		if got := role.Rights(); len(got) != len(has) {
			t.Errorf("%s has %d rights, want %d: %v", role, len(got), len(has), got)
		}
	}
	if r := Role("owner"); r.Rights() != nil || r.Can(WorkflowRead) {
		t.Error("a role that there isn't may something")
	}
}

func TestRightsHaveTexts(t *testing.T) {
	t.Parallel()
	seen := make(map[Right]bool)
	for _, r := range Rights() {
		if seen[r] || r.Text() == "" || strings.Count(string(r), ".") != 1 {
			t.Errorf("%s is there twice, has no text or no dot", r)
		}
		seen[r] = true
	}
	for _, r := range inNoRole {
		for _, role := range Roles() {
			if role.Can(r) {
				t.Errorf("%s is in role %s", r, role)
			}
		}
		if p := (&Principal{Extra: []Right{r}}); !p.Can(r) || !slices.Equal(p.Rights(), []Right{r}) {
			t.Errorf("%s given by name counts for nothing", r)
		}
	}
}

func TestParseGrant(t *testing.T) {
	t.Parallel()
	roles, rights, err := ParseGrant([]string{"viewer", "viewer", "admin"}, []string{"secret.reveal"})
	if err != nil || !slices.Equal(roles, []Role{Viewer, Admin}) || !slices.Equal(rights, []Right{SecretReveal}) {
		t.Errorf("got %v, %v, %v", roles, rights, err)
	}
	_, _, err = ParseGrant([]string{"veiwer", "root"}, []string{"secrets.reveal"})
	if !errors.Is(err, ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{`no role "veiwer"; did you mean "viewer"?`, `no role "root"; roles are viewer,`, `no right "secrets.reveal"; did you mean "secret.reveal"?`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}

func TestPrincipalSees(t *testing.T) {
	t.Parallel()
	acme, all, nobody := &Principal{Tenant: "acme"}, &Principal{All: true}, &Principal{}
	for _, c := range []struct {
		who    *Principal
		tenant string
		want   bool
	}{
		{acme, "acme", true},
		{acme, "globex", false},
		{acme, "", false},
		{all, "acme", true},
		{all, "", true},
		{nobody, "acme", false},
		{nobody, "", false},
		{nil, "acme", false},
		{nil, "", false},
		{all.within("acme"), "acme", true},
		{all.within("acme"), "", false},
		{all.within("acme"), "globex", false},
	} {
		if got := c.who.Sees(c.tenant); got != c.want {
			t.Errorf("%+v sees %q: %v", c.who, c.tenant, got)
		}
	}
	if !all.All {
		t.Error("narrowing changed who was narrowed")
	}
	if (*Principal)(nil).Can(WorkflowRead) {
		t.Error("nobody may something")
	}
}

func TestMayGive(t *testing.T) {
	t.Parallel()
	operator := &Principal{Tenant: "acme", Roles: []Role{Operator}, Extra: []Right{KeyWrite}}
	admin := &Principal{All: true, Roles: []Role{Admin}}
	for _, c := range []struct {
		who    *Principal
		tenant string
		roles  []Role
		rights []Right
		want   string // in the error; "" none
	}{
		{operator, "acme", []Role{Viewer, Operator}, []Right{AuditRead}, ""},
		{operator, "acme", []Role{Author}, nil, "the role author: you don't have its right workflow.write"},
		{operator, "acme", nil, []Right{SecretReveal}, "the right secret.reveal"},
		{operator, "globex", []Role{Viewer}, nil, "in your own tenant only"},
		{operator, "", []Role{Viewer}, nil, "in your own tenant only"},
		{admin, "", Roles(), nil, ""},
		{admin, "acme", nil, []Right{RedactedRead}, "the right redacted.read"},
	} {
		err := c.who.MayGive(c.tenant, c.roles, c.rights)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("giving %v %v in %q: %v, want %q", c.roles, c.rights, c.tenant, err, c.want)
		}
	}
}
