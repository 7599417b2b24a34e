package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
)

// Options that keys, link keys and members share.
var (
	reachOption   = option{"tenant", "ID", "The only tenant whose things it reaches; all, and the operators' own, if not given"}
	roleOption    = option{"role", "ROLES", "viewer, operator, author, publisher or admin; several with commas between"}
	rightOption   = option{"right", "RIGHTS", "Rights beside those of the roles, as secret.reveal,redacted.read"}
	expiresOption = option{"expires", "WHEN", "When it ends to count: 90d, 12h, 2027-01-31 or a time as in RFC 3339; not by itself if not given"}
	nameOption    = option{"name", "TEXT", "What it is for"}
	theirsOption  = option{"tenant", "ID", "Only those for this tenant; all for those for all tenants"}
)

// reach is the tenant that --tenant gives; nil is all of them.
func (c *call) reach() *string {
	if tenant, given := c.own["tenant"]; given {
		return &tenant
	}
	return nil
}

// accessFilter is what --tenant and --revoked choose.
func (c *call) accessFilter() store.AccessFilter {
	f := store.AccessFilter{Revoked: c.has("revoked")}
	if tenant, given := c.own["tenant"]; given {
		if tenant == "all" {
			tenant = ""
		}
		f.TenantID = &tenant
	}
	return f
}

// grant is what --role and --right give.
func (c *call) grant() ([]access.Role, []access.Right, error) {
	roles, rights, err := access.ParseGrant(words(c.own["role"]), words(c.own["right"]))
	if err != nil {
		return nil, nil, usage{app.Message(err), "rowbell " + c.name + " --help"}
	}
	return roles, rights, nil
}

// words takes a list with commas apart.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

var days = regexp.MustCompile(`^([0-9]{1,5})d$`)

// expires is when --expires says; nil if it isn't given.
func (c *call) expires(now time.Time) (*time.Time, error) {
	text, given := c.own["expires"]
	if !given {
		return nil, nil
	}
	var at time.Time
	if m := days.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1]) // digits
		at = now.AddDate(0, 0, n)
	} else if d, err := time.ParseDuration(text); err == nil {
		at = now.Add(d)
	} else if t, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		at = t
	} else if t, err := time.Parse(time.RFC3339, text); err == nil {
		at = t
	} else {
		return nil, usage{fmt.Sprintf("--expires %.40q is no time. Write 90d, 12h, 2027-01-31 or 2027-01-31T18:00:00Z", text), "rowbell " + c.name + " --help"}
	}
	return &at, nil
}

// invalid makes an error in what was asked for one in how rowbell was called.
func (c *call) invalid(err error) error {
	if errors.Is(err, access.ErrInvalid) {
		return usage{app.Message(err), "rowbell " + c.name + " --help"}
	}
	return err
}

// reaches names the tenant that something is for.
func reaches(tenantID *string) string {
	if tenantID == nil {
		return "all"
	}
	return *tenantID
}

func untilWhen(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return when(*t)
}

// standing says whether a key counts.
func standing(expires, revoked *time.Time) string {
	switch {
	case revoked != nil:
		return "revoked"
	case expires != nil && !time.Now().Before(*expires):
		return "expired"
	}
	return "active"
}

// given lists roles and rights.
func given(roles, rights []string) string {
	return strings.Join(append(append([]string{}, roles...), rights...), ",")
}

// keyCommand has the commands about API keys.
func keyCommand() command {
	return command{
		name:  "key",
		args:  "COMMAND",
		short: "Make, list and revoke API keys",
		long: `Programs show a key to the API: Authorization: Bearer rbk_…. What the roles may do is in
docs/security.md.`,
		group: groupAccess,
		examples: []example{
			{`rowbell key create --role admin --name "ann's laptop" --expires 90d`, ""},
			{"rowbell key list", ""},
		},
		sub: []command{createKeyCommand, listKeysCommand, revokeKeyCommand},
	}
}

// keys is what these commands need.
type keys interface {
	CreateKey(ctx context.Context, n access.NewKey, actor string) (k store.APIKey, text string, err error)
	Keys(ctx context.Context, f store.AccessFilter) ([]store.APIKey, error)
	RevokeKey(ctx context.Context, id string, tenantID *string, actor string) (store.APIKey, error)
}

// keys opens them for the length of f.
func (c *call) keys(f func(keys) error) error {
	return through(c, func(o *app.Operator) (keys, error) { return o.Access(), nil }, func(s *client.Client) keys { return s }, f)
}

var createKeyCommand = command{
	name:   "create",
	server: true,
	short:  "Make a key, and print it this once",
	long:   `Of the key only a hash is stored: who loses it makes another.`,
	examples: []example{
		{`rowbell key create --role admin --name "ann's laptop" --expires 90d`, ""},
		{"rowbell key create --tenant acme --role viewer,operator --name dashboard", ""},
		{"rowbell key create --tenant acme --role viewer --right redacted.read --name export", ""},
	},
	options: []option{reachOption, roleOption, rightOption, expiresOption, nameOption, actorOption, jsonOption},
	run: func(ctx context.Context, c *call) error {
		roles, rights, err := c.grant()
		if err != nil {
			return err
		}
		expires, err := c.expires(time.Now())
		if err != nil {
			return err
		}
		return c.keys(func(o keys) error {
			k, text, err := o.CreateKey(ctx, access.NewKey{TenantID: c.reach(), Name: c.own["name"], Roles: roles, Rights: rights, Expires: expires}, c.actor())
			if err != nil {
				return c.invalid(err)
			}
			if c.asData() {
				return c.writeData(struct {
					Key string `json:"key"`
					store.APIKey
				}{text, k})
			}
			// The key alone on stdout, for scripts.
			fmt.Fprintln(c.stdout, text)
			fmt.Fprintf(c.stderr, "It is shown this once. For tenant %s, %s; revoke it by: rowbell key revoke %s\n", reaches(k.TenantID), given(k.Roles, k.Rights), k.ID)
			return nil
		})
	},
}

var listKeysCommand = command{
	name:   "list",
	server: true,
	short:  "List keys, the newest first",
	long:   `At most 1000 are listed. LAST USED is right to a minute or so.`,
	examples: []example{
		{"rowbell key list --tenant acme", ""},
		{"rowbell key list --json | jq -r '.[] | select(.last_used_at == null) | .id'", "those that were never used"},
	},
	options: []option{
		theirsOption,
		{"revoked", "", "Those too that were revoked"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		return c.keys(func(o keys) error {
			list, err := o.Keys(ctx, c.accessFilter())
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(c.stdout, "There are no such keys. Make one: rowbell key create --role admin")
				return nil
			}
			rows := [][]string{{"ID", "TENANT", "ROLES", "STATUS", "EXPIRES", "LAST USED", "BY", "NAME"}}
			for _, k := range list {
				used := "never"
				if k.LastUsedAt != nil {
					used = when(*k.LastUsedAt)
				}
				rows = append(rows, []string{k.ID, reaches(k.TenantID), given(k.Roles, k.Rights), standing(k.ExpiresAt, k.RevokedAt), untilWhen(k.ExpiresAt), used, k.CreatedBy, dash(k.Name)})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

var revokeKeyCommand = command{
	name:   "revoke",
	server: true,
	args:   "ID…",
	short:  "Let keys count no more, for ever",
	long: `Takes ids, as rowbell key list has them, or the keys themselves. Processes that serve the API
know of it within seconds.`,
	examples: []example{
		{"rowbell key revoke 01M8ACT0GY5N3C8Q7V2T4B9D6E", ""},
	},
	options: []option{actorOption},
	run: func(ctx context.Context, c *call) error {
		return c.keys(func(o keys) error {
			return c.each(func(id string) error {
				k, err := o.RevokeKey(ctx, access.KeyID(id), nil, c.actor())
				if err != nil {
					return err
				}
				fmt.Fprintf(c.stdout, "%s is revoked.\n", strings.TrimSpace(k.ID+" "+k.Name))
				return nil
			})
		})
	},
}

// linkCommand has the commands about links by which host applications embed pages.
func linkCommand() command {
	return command{
		name:  "link",
		args:  "COMMAND",
		short: "Let an application sign links for its own people, and try one",
		long: `An application that embeds Rowbell's pages signs a link for whoever has signed in to it. It
does so with a private key of its own; Rowbell has the public one. docs/security.md says
what a link must hold.`,
		group: groupAccess,
		examples: []example{
			{"rowbell link add-key --role author --name shop > link.pem", ""},
			{"rowbell link list", ""},
		},
		sub: []command{addLinkKeyCommand, listLinkKeysCommand, revokeLinkKeyCommand, createLinkCommand},
	}
}

// linkKeys is what these commands need.
type linkKeys interface {
	AddLinkKey(ctx context.Context, n access.NewLinkKey, actor string) (api.CreatedLinkKey, error)
	LinkKeys(ctx context.Context, f store.AccessFilter) ([]store.LinkKey, error)
	RevokeLinkKey(ctx context.Context, id string, tenantID *string, actor string) (store.LinkKey, error)
}

// storedLinkKeys are those of the databases.
type storedLinkKeys struct {
	*access.Service
	instance string
}

func (s storedLinkKeys) AddLinkKey(ctx context.Context, n access.NewLinkKey, actor string) (api.CreatedLinkKey, error) {
	k, private, err := s.Service.AddLinkKey(ctx, n, actor)
	return api.CreatedLinkKey{LinkKey: k, KeyID: access.LinkKeyID(k.ID), Audience: s.instance, Private: string(private)}, err
}

// linkKeys opens them for the length of f.
func (c *call) linkKeys(f func(linkKeys) error) error {
	return through(c, func(o *app.Operator) (linkKeys, error) { return storedLinkKeys{o.Access(), o.Instance()}, nil }, func(s *client.Client) linkKeys { return s }, f)
}

var addLinkKeyCommand = command{
	name:   "add-key",
	server: true,
	args:   "[FILE]",
	short:  "Add a public key, or make a pair and print the private key this once",
	long: `FILE holds a public key in PEM, Ed25519 or ECDSA on P-256; - is standard input. Without it
a pair is made. Several keys may count at a time: to change one, add another, let the
application sign with that, and revoke the first.`,
	examples: []example{
		{"rowbell link add-key --role author --name shop > link.pem", ""},
		{`rowbell link add-key --role viewer --tenant acme --name "acme's portal" acme.pub.pem`, ""},
	},
	options: []option{
		{"tenant", "ID", "The only tenant that its links may be for; each link says which if not given"},
		{"role", "ROLES", "The roles that its links may give, with commas between"},
		expiresOption, nameOption, actorOption,
	},
	run: func(ctx context.Context, c *call) error {
		roles, _, err := c.grant()
		if err != nil {
			return err
		}
		expires, err := c.expires(time.Now())
		if err != nil {
			return err
		}
		n := access.NewLinkKey{TenantID: c.reach(), Name: c.own["name"], Roles: roles, Expires: expires}
		if file := c.arg(0); file != "" {
			if n.Public, err = readSmall(file); err != nil {
				return err
			}
		}
		return c.linkKeys(func(o linkKeys) error {
			k, err := o.AddLinkKey(ctx, n, c.actor())
			if err != nil {
				return c.invalid(err)
			}
			out := c.stdout
			if k.Private != "" {
				// The key alone on stdout, for a file.
				fmt.Fprint(c.stdout, k.Private)
				fmt.Fprintln(c.stderr, "The private key is shown this once; give it to the application.")
				out = c.stderr
			}
			fmt.Fprintf(out, "Its links must have in their header: kid %s, and in aud: %s. Revoke it by: rowbell link revoke %s\n", k.KeyID, k.Audience, k.ID)
			return nil
		})
	},
}

// mostFile is how many bytes a file with a key may have.
const mostFile = 64 << 10

// readSmall reads a file; - is standard input.
func readSmall(file string) ([]byte, error) {
	in := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // it was only read
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, mostFile+1))
	if err == nil && len(b) > mostFile {
		err = fmt.Errorf("%s is too big for a key", file)
	}
	return b, err
}

var listLinkKeysCommand = command{
	name:   "list",
	server: true,
	short:  "List link keys, the newest first",
	long:   `At most 1000 are listed.`,
	examples: []example{
		{"rowbell link list --revoked", ""},
	},
	options: []option{
		theirsOption,
		{"revoked", "", "Those too that were revoked"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		return c.linkKeys(func(o linkKeys) error {
			list, err := o.LinkKeys(ctx, c.accessFilter())
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(c.stdout, "There are no such link keys. Add one: rowbell link add-key --role viewer")
				return nil
			}
			rows := [][]string{{"ID", "TENANT", "ROLES", "STATUS", "EXPIRES", "BY", "NAME"}}
			for _, k := range list {
				rows = append(rows, []string{k.ID, reaches(k.TenantID), given(k.Roles, nil), standing(k.ExpiresAt, k.RevokedAt), untilWhen(k.ExpiresAt), k.CreatedBy, dash(k.Name)})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

var revokeLinkKeyCommand = command{
	name:   "revoke",
	server: true,
	args:   "ID…",
	short:  "Let link keys count no more, and none of their links",
	long: `Takes ids, as rowbell link list has them. Processes that serve the API know of it within
seconds.`,
	examples: []example{
		{"rowbell link revoke 01M8ACT0GY5N3C8Q7V2T4B9D6E", ""},
	},
	options: []option{actorOption},
	run: func(ctx context.Context, c *call) error {
		return c.linkKeys(func(o linkKeys) error {
			return c.each(func(id string) error {
				k, err := o.RevokeLinkKey(ctx, access.KeyID(id), nil, c.actor())
				if err != nil {
					return err
				}
				fmt.Fprintf(c.stdout, "%s is revoked.\n", strings.TrimSpace(k.ID+" "+k.Name))
				return nil
			})
		})
	},
}

var createLinkCommand = command{
	name:  "create",
	args:  "SUBJECT",
	short: "Sign a link as an application does, to try one",
	long: `SUBJECT is the person's id in the application. The link is what programs show to the API:
Authorization: Bearer …. It counts for minutes.`,
	examples: []example{
		{"rowbell link create ann --key link.pem --tenant acme --role author", ""},
	},
	options: []option{
		{"key", "FILE", "The private key, as rowbell link add-key has printed it; - is standard input"},
		{"tenant", "ID", "The tenant that it is for; that of the key if not given, and * for all of them"},
		{"role", "ROLES", "viewer, operator, author, publisher or admin; several with commas between"},
		{"name", "TEXT", "What the person is called"},
		{"lives", "DURATION", "How long it counts, 15m at most [5m]"},
	},
	run: func(ctx context.Context, c *call) error {
		help := "rowbell link create --help"
		roles, _, err := c.grant()
		if err != nil {
			return err
		}
		if len(roles) == 0 {
			return usage{"a link gives a role: --role viewer", help}
		}
		lives, err := time.ParseDuration(cmp.Or(c.own["lives"], "5m"))
		if err != nil || lives <= 0 || lives > access.MostLink {
			return usage{fmt.Sprintf("--lives %.40q is no time from 1s to 15m", c.own["lives"]), help}
		}
		file := c.own["key"]
		if file == "" {
			return usage{"give the private key: --key link.pem. rowbell link add-key makes one", help}
		}
		text, err := readSmall(file)
		if err != nil {
			return err
		}
		return c.operate(func(o *app.Operator) error {
			l := access.Link{Tenant: c.own["tenant"], Subject: c.args[0], Name: c.own["name"], Roles: roles}
			link, err := o.Access().TryLink(ctx, text, o.Instance(), l, lives)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			fmt.Fprintln(c.stdout, link)
			return nil
		})
	},
}

// memberCommand has the commands about people of the OpenID Connect provider.
func memberCommand() command {
	return command{
		name:  "member",
		args:  "COMMAND",
		short: "Say what people of the identity provider may do",
		long: `What a member may do comes to what the claims of their tokens give (ROWBELL_OIDC_ROLES_CLAIM).
A person is named by sub of their tokens.`,
		group: groupAccess,
		examples: []example{
			{"rowbell member add 248289761001 --tenant acme --role publisher", ""},
			{"rowbell member list --tenant acme", ""},
		},
		sub: []command{addMemberCommand, listMembersCommand, removeMemberCommand},
	}
}

// members is what these commands need.
type members interface {
	// AddMember takes the provider of the settings for one that doesn't name theirs.
	AddMember(ctx context.Context, n access.NewMember, actor string) (store.Member, error)
	Members(ctx context.Context, f store.AccessFilter) ([]store.Member, error)
	RemoveMember(ctx context.Context, id string, tenantID *string, actor string) (store.Member, error)
}

// storedMembers are those of the databases.
type storedMembers struct {
	*access.Service
	issuer string
}

func (s storedMembers) AddMember(ctx context.Context, n access.NewMember, actor string) (store.Member, error) {
	n.Issuer = cmp.Or(n.Issuer, s.issuer)
	return s.Service.AddMember(ctx, n, actor)
}

// members opens them for the length of f.
func (c *call) members(f func(members) error) error {
	return through(c, func(o *app.Operator) (members, error) { return storedMembers{o.Access(), o.OIDCIssuer()}, nil }, func(s *client.Client) members { return s }, f)
}

var addMemberCommand = command{
	name:   "add",
	server: true,
	args:   "SUBJECT",
	short:  "Say what somebody may do in a tenant, whatever it was before",
	examples: []example{
		{"rowbell member add 248289761001 --tenant acme --role publisher", ""},
		{`rowbell member add 248289761001 --role admin --name "Ann Archer"`, "in all tenants"},
	},
	options: []option{
		{"tenant", "ID", "The tenant in which it counts; all, and the operators' own, if not given"},
		roleOption, rightOption,
		{"name", "TEXT", "What they are called, for people who read the list"},
		{"email", "ADDR", "Their address, for people who read the list"},
		{"issuer", "URL", "The provider; ROWBELL_OIDC_ISSUER if not given"},
		actorOption, jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		roles, rights, err := c.grant()
		if err != nil {
			return err
		}
		return c.members(func(o members) error {
			m, err := o.AddMember(ctx, access.NewMember{
				TenantID: c.reach(), Issuer: c.own["issuer"], Subject: c.args[0],
				Name: c.own["name"], Email: c.own["email"], Roles: roles, Rights: rights,
			}, c.actor())
			if err != nil {
				return c.invalid(err)
			}
			if c.asData() {
				return c.writeData(m)
			}
			fmt.Fprintf(c.stdout, "%s is %s in tenant %s. Take it back by: rowbell member remove %s\n", cmp.Or(m.Name, m.Subject), given(m.Roles, m.Rights), reaches(m.TenantID), m.ID)
			return nil
		})
	},
}

var listMembersCommand = command{
	name:   "list",
	server: true,
	short:  "List members by tenant",
	long:   `At most 1000 are listed. Who has roles by claims only isn't in it.`,
	examples: []example{
		{"rowbell member list --tenant acme", ""},
	},
	options: []option{theirsOption, jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.members(func(o members) error {
			list, err := o.Members(ctx, c.accessFilter())
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(c.stdout, "There are no such members.")
				return nil
			}
			rows := [][]string{{"ID", "TENANT", "SUBJECT", "ROLES", "BY", "NAME", "EMAIL", "ISSUER"}}
			for _, m := range list {
				rows = append(rows, []string{m.ID, reaches(m.TenantID), m.Subject, given(m.Roles, m.Rights), m.CreatedBy, dash(m.Name), dash(m.Email), m.Issuer})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

var removeMemberCommand = command{
	name:   "remove",
	server: true,
	args:   "ID…",
	short:  "Take from members what was given to them",
	long:   `Takes ids, as rowbell member list has them. What claims give stays.`,
	examples: []example{
		{"rowbell member remove 01M8ACT0GY5N3C8Q7V2T4B9D6E", ""},
	},
	options: []option{actorOption},
	run: func(ctx context.Context, c *call) error {
		return c.members(func(o members) error {
			return c.each(func(id string) error {
				m, err := o.RemoveMember(ctx, id, nil, c.actor())
				if err != nil {
					return err
				}
				fmt.Fprintf(c.stdout, "%s is no member any more in tenant %s.\n", cmp.Or(m.Name, m.Subject), reaches(m.TenantID))
				return nil
			})
		})
	},
}
