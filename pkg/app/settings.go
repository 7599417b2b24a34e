package app

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/secret"
	"github.com/rowbell/rowbell/pkg/spelling"
)

// Setting describes one setting: how it is called in each place, and what it does.
type Setting struct {
	Flag        string // without dashes: source-url
	Placeholder string // of the flag's value; "" for a switch, which may stand alone
	Default     string // as people write it; "" = none
	Help        string // one sentence, without a full stop
	Secret      bool   // its value is never printed
}

// keySetting is no option: a command line is seen by everyone on the machine.
const keySetting = "key"

// IsOption says that the setting may stand on a command line.
func (s Setting) IsOption() bool { return s.Flag != keySetting }

// Env is the environment variable: ROWBELL_SOURCE_URL.
func (s Setting) Env() string { return "ROWBELL_" + strings.ToUpper(s.Key()) }

// Key is the key in the YAML file: source_url.
func (s Setting) Key() string { return strings.ReplaceAll(s.Flag, "-", "_") }

// Values are the words that a setting may be, or begin with, where those are few: for
// completion. They are judged by Config.Validate.
func (s Setting) Values() []string {
	switch s.Flag {
	case "capture":
		return []string{string(CaptureAuto), string(CaptureManual)}
	case "delivery":
		return []string{string(DeliveryOn), string(DeliveryHold), "redirect:"}
	case "critical-workflows":
		return []string{string(CriticalAll), string(CriticalOperators)}
	case "read-coalescing":
		return []string{string(CoalesceAuto), string(CoalesceOn), string(CoalesceOff)}
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	case "log-format":
		return []string{string(LogAuto), string(LogText), string(LogJSON)}
	case "no-migrate", "plain-http":
		return []string{"true", "false"}
	}
	return nil
}

// settings is every setting, in the order of the help text. set reads a text into
// the configuration; ranges and relations are judged by Config.Validate.
var settings = []struct {
	Setting
	set func(*Config, string) error
}{
	{Setting{"source-url", "URL", "", "Database of the application; the server itself, not a pooler (required)", true}, text(func(c *Config) *string { return &c.SourceURL })},
	{Setting{"state-url", "URL", "", "Database of log, queue and checkpoint; the source if not given", true}, text(func(c *Config) *string { return &c.StateURL })},
	{Setting{"server", "URL", "", "Rowbell server by whose API commands work, in place of the databases: https://bell.example.com", false}, text(func(c *Config) *string { return &c.Server })},
	{Setting{keySetting, "KEY", "", "API key that is shown to it", true}, setKey},
	{Setting{"key-file", "FILE", "", "File that holds the API key", false}, text(func(c *Config) *string { return &c.KeyFile })},
	{Setting{"plain-http", "", "false", "Let the API key go to another machine by http, where everyone in between can read it", false}, boolean(func(c *Config) *bool { return &c.PlainHTTP })},
	{Setting{"slot", "NAME", "rowbell", "Replication slot", false}, text(func(c *Config) *string { return &c.Slot })},
	{Setting{"publication", "NAME", "rowbell", "Publication; a second one is called the same with _insert", false}, text(func(c *Config) *string { return &c.Publication })},
	{Setting{"instance", "NAME", "rowbell", "Name of this installation; a copy of the database needs rowbell adopt", false}, text(func(c *Config) *string { return &c.Instance })},
	{Setting{"environment", "NAME[:COLOUR]", "", "What the pages call this installation in their header, with a colour: production:red; the instance if not given, unless that is rowbell", false}, text(func(c *Config) *string { return &c.Environment })},
	{Setting{"capture", "MODE", "auto", "auto: capture the tables that workflows name; manual: wait for rowbell capture", false}, text(func(c *Config) *CaptureMode { return &c.Capture })},
	{Setting{"tenant-column", "NAME", "tenant_id", "Tenant column of tables that were captured without naming one", false}, text(func(c *Config) *string { return &c.TenantColumn })},
	{Setting{"listen", "ADDR", "127.0.0.1:8080", "Address of the API and of the web pages, and of the page on which people unsubscribe if there is a public-url; off: none", false}, text(func(c *Config) *string { return &c.Listen })},
	{Setting{"ops-listen", "ADDR", "127.0.0.1:8081", "Address of /metrics, /healthz, /readyz and profiles", false}, text(func(c *Config) *string { return &c.OpsListen })},
	{Setting{"delivery", "MODE", "on", "on, hold (record, send nothing) or redirect:<url>", false}, text(func(c *Config) *DeliveryMode { return &c.Delivery })},
	{Setting{"delivery-concurrency", "N", "128", "How many attempts run at once", false}, number(func(c *Config) *int { return &c.DeliveryConcurrency })},
	{Setting{"destination-concurrency", "N", "16", "How many of them to one destination of a tenant", false}, number(func(c *Config) *int { return &c.DestinationConcurrency })},
	{Setting{"tenant-concurrency", "N", "96", "How many of them of one tenant", false}, number(func(c *Config) *int { return &c.TenantConcurrency })},
	{Setting{"delivery-lease", "DURATION", "30s", "How long a delivery stays with a process that is not heard of any more", false}, duration(func(c *Config) *time.Duration { return &c.DeliveryLease })},
	{Setting{"destination-rate", "RATE", "", "How many attempts to one destination of a tenant there may be, all workers together: 10/s, 600/m, 1000/h", false}, text(func(c *Config) *string { return &c.DestinationRate })},
	{Setting{"disable-after", "DURATION", "120h", "After how long of nothing but failures a destination is disabled", false}, duration(func(c *Config) *time.Duration { return &c.DisableAfter })},
	{Setting{"egress-allow", "CIDRS", "", "Private ranges that actions may reach, comma-separated; http is allowed there", false}, prefixes(func(c *Config) *[]netip.Prefix { return &c.EgressAllow })},
	{Setting{"max-depth", "N", "3", "How many executions may lead to one another (rowbell.set_chain) before a workflow is stopped", false}, number(func(c *Config) *int { return &c.MaxDepth })},
	{Setting{"storm-transaction", "N", "1000", "How many matches of a workflow in one transaction are delivered before the rest is held, or off", false}, numberOrOff(func(c *Config) *int { return &c.StormTransaction })},
	{Setting{"storm-minute", "N", "10000", "How many in one minute, or off", false}, numberOrOff(func(c *Config) *int { return &c.StormMinute })},
	{Setting{"directory-roles", "SQL", "", "Query that returns the roles of an actor, $1, in a tenant, $2, as one column of text", false}, text(func(c *Config) *string { return &c.DirectoryRoles })},
	{Setting{"directory-users", "SQL", "", "Query that returns the users with the ids $1, a text[], in a tenant, $2: columns id, and any of name, email, phone, locale, zone", false}, text(func(c *Config) *string { return &c.DirectoryUsers })},
	{Setting{"directory-role-members", "SQL", "", "Query that returns who has the role $1 in a tenant, $2: column id, or those of directory-users", false}, text(func(c *Config) *string { return &c.DirectoryRoleMembers })},
	{Setting{"directory-group-members", "SQL", "", "Query that returns who is in the group $1 of a tenant, $2: columns as directory-role-members", false}, text(func(c *Config) *string { return &c.DirectoryGroupMembers })},
	{Setting{"time-zone", "ZONE", "UTC", "Zone of people whose zone nobody knows, for their quiet hours: Europe/Vienna", false}, text(func(c *Config) *string { return &c.TimeZone })},
	{Setting{"critical-workflows", "WHOSE", "all", "all: every workflow may say that it is critical, and pass opt-outs and quiet hours; operators: only operators' workflows", false}, text(func(c *Config) *CriticalMode { return &c.Critical })},
	{Setting{"public-url", "URL", "", "Where people reach --listen, for links in mails: https://bell.example.com; without it there is no unsubscribe page", false}, text(func(c *Config) *string { return &c.PublicURL })},
	{Setting{"alerts", "LIST", "", "Who is told of failures that have no owner, comma-separated: mailto:ops@example.com, https://hooks.example.com/…, user:ann", true}, setAlerts},
	{Setting{"alert-window", "DURATION", "1h", "How often owners are told of one workflow's failures, after the first", false}, duration(func(c *Config) *time.Duration { return &c.AlertWindow })},
	{Setting{"inbox-days", "DAYS", "365", "How long notifications stay in the inbox", false}, number(func(c *Config) *int { return &c.InboxDays })},
	{Setting{"smtp-url", "URL", "", "Mail server: smtp://user:password@host:587", true}, text(func(c *Config) *string { return &c.SMTPURL })},
	{Setting{"mail-from", "ADDR", "", "Sender of e-mails: Shop <shop@example.com>", false}, text(func(c *Config) *string { return &c.MailFrom })},
	{Setting{"nats-url", "URL", "", "NATS server with JetStream, for actions of kind publish: nats://user:password@host:4222", true}, text(func(c *Config) *string { return &c.NATSURL })},
	{Setting{"nats-creds", "FILE", "", "Credentials of a NATS account's user, as nsc writes them", false}, text(func(c *Config) *string { return &c.NATSCreds })},
	{Setting{"nats-prefix", "SUBJECT", "rowbell.{tenant}", "What the subjects of a tenant's workflows begin with", false}, text(func(c *Config) *string { return &c.NATSPrefix })},
	{Setting{"secret-key", "BASE64", "", "Key that seals secrets, 32 bytes; older ones, which only open, behind commas; without a key workflows with secrets are broken", true}, setSecretKey},
	{Setting{"oidc-issuer", "URL", "", "OpenID Connect provider whose tokens the API takes: https://login.example.com/realms/shop", false}, text(func(c *Config) *string { return &c.OIDCIssuer })},
	{Setting{"oidc-audience", "NAME", "", "What must be in aud of its tokens", false}, text(func(c *Config) *string { return &c.OIDCAudience })},
	{Setting{"oidc-tenant-claim", "CLAIM", "", "Claim with the tenant of a person, or several; without it their roles count for all tenants", false}, text(func(c *Config) *string { return &c.OIDCTenantClaim })},
	{Setting{"oidc-roles-claim", "CLAIM", "", "Claim with what oidc-roles makes roles of: groups, realm_access.roles", false}, text(func(c *Config) *string { return &c.OIDCRolesClaim })},
	{Setting{"oidc-roles", "LIST", "", "Role for each value of that claim, comma-separated: bell-admins=admin,support=operator", false}, setOIDCRoles},
	{Setting{"oidc-client-secret", "SECRET", "", "Secret with which the provider knows this program as a client, where people sign in to the pages; without it the client is a public one", true}, setClientSecret},
	{Setting{"frame-origins", "LIST", "", "Origins whose pages may show Rowbell's in a frame, comma-separated: https://shop.example.com", false}, setFrameOrigins},
	{Setting{"trusted-proxies", "CIDRS", "127.0.0.0/8,::1/128", "Proxies whose X-Forwarded-For says where requests come from, comma-separated", false}, prefixes(func(c *Config) *[]netip.Prefix { return &c.TrustedProxies })},
	{Setting{"read-coalescing", "MODE", "auto", "Fewer, bigger reads of a backlog: auto (when the source is on this machine), on, off", false}, text(func(c *Config) *CoalesceMode { return &c.ReadCoalescing })},
	{Setting{"heartbeat-interval", "DURATION", "10s", "How often a message goes round through the slot", false}, duration(func(c *Config) *time.Duration { return &c.HeartbeatInterval })},
	{Setting{"drain-timeout", "DURATION", "20s", "How long an orderly stop may take", false}, duration(func(c *Config) *time.Duration { return &c.DrainTimeout })},
	{Setting{"retention-days", "DAYS", "30", "How long log and events are kept", false}, number(func(c *Config) *int { return &c.RetentionDays })},
	{Setting{"kept-days", "DAYS", "90", "How long failed and cancelled executions are kept", false}, number(func(c *Config) *int { return &c.KeptDays })},
	{Setting{"audit-retention", "DAYS", "forever", "How long the audit log is kept, 30 days at least, or forever", false}, setAuditRetention},
	{Setting{"no-migrate", "", "false", "Leave the schema as it is when the worker starts", false}, boolean(func(c *Config) *bool { return &c.NoMigrate })},
	{Setting{"log-level", "LEVEL", "info", "debug, info, warn or error", false}, setLogLevel},
	{Setting{"log-format", "FORMAT", "auto", "auto (text on a terminal, JSON elsewhere), text, json", false}, text(func(c *Config) *LogFormat { return &c.LogFormat })},
}

// configFile is the setting that names the file; it can't stand in the file.
var configFile = Setting{Flag: "config", Placeholder: "FILE", Help: "YAML file with settings, keys as source_url"}

// Settings lists every setting, in the order of the help text; the one that names
// the file comes last.
func Settings() []Setting {
	list := make([]Setting, 0, len(settings)+1)
	for _, s := range settings {
		list = append(list, s.Setting)
	}
	return append(list, configFile)
}

// named is how messages call a setting: "ROWBELL_SLOT (--slot)".
func named(flag string) string {
	s := Setting{Flag: flag}
	return s.Env() + " (--" + flag + ")"
}

// Load reads the configuration: flags (by name, as given on the command line), then
// the environment, then the file that --config or ROWBELL_CONFIG names; the first
// that has a setting counts. What none has gets its default. All problems are
// joined; each names the place, what is wrong, and the mend.
func Load(flags map[string]string, env func(string) (string, bool)) (Config, error) {
	var problems []error
	var c Config
	in, err := findSettings(flags, env)
	if err != nil {
		return c, err
	}
	for _, s := range settings {
		v, found := in.value(s.Setting)
		if !found {
			continue
		}
		if err := s.set(&c, v.text); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", v.where, err))
		}
	}
	c.findSecretFiles(in)
	c = c.WithDefaults()
	if len(problems) > 0 {
		return c, errors.Join(problems...)
	}
	return c, c.Validate()
}

// rank orders the places of settings: the highest that has one counts.
type rank int

const (
	nowhere rank = iota
	inFile
	inEnvironment
	onCommandLine
)

// placed is a setting's value, and where it stands.
type placed struct {
	text, where string
	rank        rank
}

// places are where settings stand.
type places struct {
	flags map[string]string
	env   func(string) (string, bool)
	path  string // of the file; "" there is none
	file  map[string]fileValue
}

// findSettings reads the file, if one is named.
func findSettings(flags map[string]string, env func(string) (string, bool)) (places, error) {
	in := places{flags: flags, env: env, path: flags[configFile.Flag]}
	if in.path == "" {
		in.path, _ = env(configFile.Env())
	}
	var err error
	if in.path != "" {
		in.file, err = readFile(in.path)
	}
	return in, err
}

// value finds a setting in the first place that has it.
func (in places) value(s Setting) (placed, bool) {
	if value, ok := in.flags[s.Flag]; ok {
		return placed{value, "--" + s.Flag, onCommandLine}, true
	}
	// An empty variable is what a deployment leaves that has no value for it.
	if value, ok := in.env(s.Env()); ok && value != "" {
		return placed{value, s.Env(), inEnvironment}, true
	}
	if v, ok := in.file[s.Key()]; ok {
		return placed{v.text, fmt.Sprintf("%s line %d, %s", in.path, v.line, s.Key()), inFile}, true
	}
	return placed{}, false
}

// HasSource says whether the settings name a database, for what can do without one. The
// error is that of a file of settings that can't be read.
func HasSource(flags map[string]string, env func(string) (string, bool)) (bool, error) {
	in, err := findSettings(flags, env)
	source, _ := in.value(Setting{Flag: "source-url"})
	if source.text != "" {
		return true, nil // what else is wrong is told when they are used
	}
	return false, err
}

type fileValue struct {
	text string
	line int
}

// readFile reads a YAML file of settings: one mapping of scalars, lists of scalars
// for what is comma-separated elsewhere. A key that is no setting is a problem.
func readFile(path string) (map[string]fileValue, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("%s: can't read %s: %w. Give the path of a YAML file that this user may read", named("config"), path, err)
	}
	doc, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, fmt.Errorf("%s is not YAML: %s", path, strings.TrimSpace(Redact(yaml.FormatError(err, false, false))))
	}
	known := make(map[string]bool, len(settings))
	for _, s := range settings {
		known[s.Key()] = true
	}
	values := make(map[string]fileValue)
	var problems []error
	bad := func(line int, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s line %d: %s", path, line, fmt.Sprintf(format, args...)))
	}
	for _, d := range doc.Docs {
		if d.Body == nil {
			continue
		}
		mapping, ok := d.Body.(*ast.MappingNode)
		if !ok {
			if d.Body.Type() == ast.NullType || d.Body.Type() == ast.CommentType {
				continue
			}
			bad(d.Body.GetToken().Position.Line, "not a list of settings. Write one a line, as slot: rowbell")
			continue
		}
		for _, entry := range mapping.Values {
			key, line := entry.Key.GetToken().Value, entry.Key.GetToken().Position.Line
			if !known[key] {
				mend := "See rowbell --help for the settings"
				if near := Nearest(key, slices.Collect(maps.Keys(known))); near != "" {
					mend = "Did you mean " + near + "?"
				}
				bad(line, "%s is not a setting. %s", key, mend)
				continue
			}
			value, ok := scalar(entry.Value)
			if !ok {
				bad(line, "%s wants one value", key)
				continue
			}
			if value != "" {
				values[key] = fileValue{value, line}
			}
		}
	}
	return values, errors.Join(problems...)
}

// scalar is a node's text as it was written, so that 0123 stays 0123; a list of
// scalars is joined with commas.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.NullNode:
		return "", true
	case *ast.LiteralNode:
		return strings.TrimRight(n.Value.Value, "\n"), true
	case *ast.SequenceNode:
		parts := make([]string, 0, len(n.Values))
		for _, v := range n.Values {
			s, ok := scalar(v)
			if !ok {
				return "", false
			}
			parts = append(parts, s)
		}
		return strings.Join(parts, ","), true
	case ast.ScalarNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// Nearest returns the word that differs from a misspelt one in at most a third of its
// letters, the nearest first, or "".
func Nearest(misspelt string, words []string) string {
	best, least := "", 0
	for _, w := range words {
		d := spelling.Distance(strings.ToLower(misspelt), w)
		if d <= (len(w)+2)/3 && (best == "" || d < least || d == least && w < best) {
			best, least = w, d
		}
	}
	return best
}

func text[T ~string](field func(*Config) *T) func(*Config, string) error {
	return func(c *Config, s string) error {
		*field(c) = T(strings.TrimSpace(s))
		return nil
	}
}

func duration(field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, s string) error {
		d, err := time.ParseDuration(strings.TrimSpace(s))
		if err != nil || d == 0 {
			return fmt.Errorf("%q is not a duration. Write a number with its unit, as 10s or 2m", s)
		}
		*field(c) = d
		return nil
	}
}

func number(field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, s string) error {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n <= 0 {
			return fmt.Errorf("%q is not a whole number above zero", s)
		}
		*field(c) = n
		return nil
	}
}

// numberOrOff is number, or off for StormOff.
func numberOrOff(field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, s string) error {
		if strings.EqualFold(strings.TrimSpace(s), "off") {
			*field(c) = StormOff
			return nil
		}
		if err := number(field)(c, s); err != nil {
			return fmt.Errorf("%w, nor off", err)
		}
		return nil
	}
}

// leastAudit is how many days the audit log is kept at least; rowbell.trim_audit sees to it too.
const leastAudit = 30

func setAuditRetention(c *Config, s string) error {
	if strings.EqualFold(strings.TrimSpace(s), "forever") {
		c.AuditDays = 0
		return nil
	}
	if err := number(func(c *Config) *int { return &c.AuditDays })(c, s); err != nil {
		return fmt.Errorf("%w, nor forever", err)
	}
	if c.AuditDays < leastAudit {
		return fmt.Errorf("%d days are too few for the audit log. Use %d or more, or forever", c.AuditDays, leastAudit)
	}
	return nil
}

func boolean(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, s string) error {
		switch strings.ToLower(strings.TrimSpace(s)) {
		case "true", "yes", "on", "1":
			*field(c) = true
		case "false", "no", "off", "0":
			*field(c) = false
		default:
			return fmt.Errorf("%q is neither true nor false", s)
		}
		return nil
	}
}

func prefixes(field func(*Config) *[]netip.Prefix) func(*Config, string) error {
	return func(c *Config, s string) error {
		list := []netip.Prefix{}
		for part := range strings.SplitSeq(s, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			p, err := netip.ParsePrefix(part)
			if err != nil {
				ip, ipErr := netip.ParseAddr(part)
				if ipErr != nil {
					return fmt.Errorf("%q is not an address range. Write ranges as 10.0.0.0/8,192.168.1.7/32", part)
				}
				p = netip.PrefixFrom(ip, ip.BitLen())
			}
			list = append(list, p.Masked())
		}
		*field(c) = list
		return nil
	}
}

// setOIDCRoles reads what each value of a claim gives: bell-admins=admin,support=operator.
func setOIDCRoles(c *Config, s string) error {
	c.OIDCRoles = make(map[string]access.Role)
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		i := strings.LastIndexByte(part, '=')
		if i < 1 {
			return fmt.Errorf("%q gives no role. Write what the claim has, =, and the role, as bell-admins=admin,support=operator", part)
		}
		value := strings.TrimSpace(part[:i])
		role, err := access.ParseRole(strings.TrimSpace(part[i+1:]))
		if err != nil {
			return err
		}
		if was, twice := c.OIDCRoles[value]; twice && was != role {
			return fmt.Errorf("%q is given the roles %s and %s. Write it once", value, was, role)
		}
		c.OIDCRoles[value] = role
	}
	return nil
}

func setSecretKey(c *Config, s string) error {
	c.SecretKey = nil
	for i, part := range strings.Split(s, ",") {
		part = strings.TrimSpace(part)
		key, err := base64.StdEncoding.DecodeString(part)
		if err != nil {
			key, err = base64.RawStdEncoding.DecodeString(part)
		}
		switch {
		case err != nil && i == 0:
			return errors.New("not base64. Make a key with: openssl rand -base64 32")
		case err != nil:
			return fmt.Errorf("key %d, behind a comma, is not base64. Make a key with: openssl rand -base64 32", i+1)
		case len(key) != secret.KeySize && strings.Contains(s, ","):
			return fmt.Errorf("key %d has %d bytes, not %d. Make a key with: openssl rand -base64 32", i+1, len(key), secret.KeySize)
		}
		c.SecretKey = append(c.SecretKey, key...)
	}
	return nil
}

func setLogLevel(c *Config, s string) error {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "debug":
		c.LogLevel = slog.LevelDebug
	case "info":
		c.LogLevel = slog.LevelInfo
	case "warn", "warning":
		c.LogLevel = slog.LevelWarn
	case "error":
		c.LogLevel = slog.LevelError
	default:
		return fmt.Errorf("%q is not a level. Use debug, info, warn or error", s)
	}
	return nil
}
