package app

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/publish"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/secret"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Config is every setting of a worker. The zero value of a field means its default,
// which WithDefaults fills in; Load reads flags, environment and file.
type Config struct {
	// SourceURL reaches the application's database: a URL or a keyword/value string,
	// as libpq has them. The worker opens a replication connection with it, so it
	// must be the server itself and not a pooler. Required.
	SourceURL string
	// StateURL reaches the database with log, queue and checkpoint. Defaults to SourceURL.
	StateURL string
	// Server is a Rowbell server's URL, by whose API commands work in place of the databases;
	// Key is shown to it, or what KeyFile holds. PlainHTTP lets the key go there by http. A
	// worker needs none of them: see LoadServer. They default to none.
	Server    string
	Key       Secret
	KeyFile   string
	PlainHTTP bool
	// Slot is the replication slot's name. Defaults to "rowbell".
	Slot string
	// Publication is the name of the publication for all operations; the one for
	// inserts only is called the same with "_insert". Defaults to "rowbell".
	Publication string
	// Instance names the installation that state belongs to. Defaults to "rowbell".
	Instance string
	// Environment is what the pages call this installation in their header, with a colour if
	// one is wanted: "staging", "production:red"; see ParseEnvironment. Defaults to Instance,
	// unless that is "rowbell".
	Environment string
	// Capture says whether the worker captures the tables that workflows name.
	// Defaults to CaptureAuto.
	Capture CaptureMode
	// Listen is where API and pages are served; ListenOff: nowhere. Defaults to 127.0.0.1:8080.
	Listen string
	// OpsListen is where metrics, health and profiles are served. Defaults to 127.0.0.1:8081.
	OpsListen string
	// EgressAllow are the ranges that actions may reach although they are private,
	// by plain http too. Defaults to none.
	EgressAllow []netip.Prefix
	// TenantColumn is what a table's tenant column is called where capture wasn't told
	// otherwise. Defaults to "tenant_id".
	TenantColumn string
	// Delivery says what becomes of recorded deliveries. Defaults to DeliveryOn.
	Delivery DeliveryMode
	// DeliveryConcurrency is how many attempts run at once; DestinationConcurrency and
	// TenantConcurrency how many of them to one destination of a tenant, and of one
	// tenant. They default to 128, 16 and 96.
	DeliveryConcurrency, DestinationConcurrency, TenantConcurrency int
	// DeliveryLease is how long a delivery stays with a process that isn't heard of any
	// more. Defaults to 30 s.
	DeliveryLease time.Duration
	// DestinationRate is how many attempts to one destination of a tenant there may be, all
	// workers together, as "10/s"; a webhook may have a lower one. Defaults to none: as many
	// as come.
	DestinationRate string
	// DisableAfter is after how long of nothing but failures a destination is disabled.
	// Defaults to five days.
	DisableAfter time.Duration
	// MaxDepth is how many executions may lead to one another, of workflows that don't say
	// otherwise. Defaults to 3.
	MaxDepth int
	// StormTransaction and StormMinute are how many matches of one workflow, of those that
	// don't say otherwise, in one transaction and in one minute are delivered without being
	// held for an operator; StormOff: all. They default to 1000 and 10000.
	StormTransaction, StormMinute int
	// DirectoryRoles is SQL that returns the roles of an actor: see directory.Config.
	// Defaults to none: workflows that ask for roles by directory are broken.
	DirectoryRoles string
	// DirectoryUsers, DirectoryRoleMembers and DirectoryGroupMembers are SQL that returns
	// people: see directory.Config. They default to none: of users only the ids are known,
	// and workflows with recipients by role or group are broken.
	DirectoryUsers, DirectoryRoleMembers, DirectoryGroupMembers string
	// TimeZone is whose clock counts for people whose zone nobody knows. Defaults to UTC.
	TimeZone string
	// Critical says whose workflows may pass people's preferences. Defaults to CriticalAll.
	Critical CriticalMode
	apiTest  struct {
		noRowSecurity, noCode bool // for tests: one of the API's two walls is not there
		rate                  int  // requests a second
	}

	// PublicURL is where people reach Listen, for the links that they get; https. Defaults
	// to none: there is no unsubscribe page.
	PublicURL string
	// Alerts is who is told of what concerns operators, and of failures that have no owner:
	// mailto:, https: and http: URLs, and user:<id>. Defaults to none.
	Alerts []string
	// AlertWindow is how often an owner is told of one workflow's failures, after the first.
	// Defaults to 1 h.
	AlertWindow time.Duration
	// InboxDays is how long notifications stay in the inbox. Defaults to 365.
	InboxDays int
	// AuditDays is how long the audit log is kept. Defaults to 0: for ever.
	AuditDays int
	// SMTPURL is the mail server: see email.ParseServer. Defaults to none: workflows that send
	// e-mail are broken.
	SMTPURL string
	// MailFrom is the sender of e-mails: Shop <shop@example.com>. Defaults to what SMTPURL
	// says: its from, or a user that is an address.
	MailFrom string
	// NATSURL is a NATS server, or several with commas between. Defaults to none: workflows
	// that publish are broken.
	NATSURL string
	// NATSCreds is a file of credentials for it. Defaults to none.
	NATSCreds string
	// NATSPrefix is what the subjects of a tenant's workflows begin with, {tenant} standing
	// for its id. Defaults to publish.DefaultPrefix.
	NATSPrefix string
	// SecretKey seals secrets: 32 bytes, and behind them those of older keys, which only open.
	// Defaults to none: workflows with secrets are broken.
	SecretKey Secret
	// OIDCIssuer is the OpenID Connect provider whose tokens the API takes; https. Defaults to
	// none.
	OIDCIssuer string
	// OIDCAudience is what must be in aud of its tokens. Required with OIDCIssuer.
	OIDCAudience string
	// OIDCTenantClaim, OIDCRolesClaim and OIDCRoles say what the claims give: see access.OIDC.
	// They default to none: nothing but what rowbell.member gives.
	OIDCTenantClaim, OIDCRolesClaim string
	OIDCRoles                       map[string]access.Role
	// OIDCClientSecret is that of OIDCAudience as a client of the provider, where people sign in
	// to the pages. Defaults to none: a public client.
	OIDCClientSecret Secret
	// FrameOrigins are the origins whose pages may show Rowbell's in a frame, as
	// https://shop.example.com. They default to none.
	FrameOrigins []string
	// TrustedProxies are whose X-Forwarded-For says where requests come from. Nil defaults to
	// this machine; empty is nobody.
	TrustedProxies []netip.Prefix
	// ReadCoalescing says whether a backlog is read in fewer, bigger reads.
	// Defaults to CoalesceAuto.
	ReadCoalescing CoalesceMode
	// HeartbeatInterval is how often a message is sent round through the slot.
	// Defaults to 10 s.
	HeartbeatInterval time.Duration
	// DrainTimeout is how long an orderly stop may take before what still runs is
	// cut off. Defaults to 20 s.
	DrainTimeout time.Duration
	// RetentionDays is how long log and events are kept. Defaults to 30.
	RetentionDays int
	// KeptDays is how long failed and cancelled executions are kept. Defaults to 90.
	KeptDays int
	// NoMigrate leaves the schema as it is when the worker starts.
	NoMigrate bool
	// LogLevel is the least level that is logged. Defaults to slog.LevelInfo.
	LogLevel slog.Level
	// LogFormat says how log lines look. Defaults to LogAuto.
	LogFormat LogFormat

	secretFiles []secretFile // of Load: where secrets stand
}

// StormOff is a limit that holds nothing.
const StormOff = -1

// CaptureMode says who captures the tables that workflows name.
type CaptureMode string

const (
	CaptureAuto   CaptureMode = "auto"   // the worker, when it reaches a version that names the table
	CaptureManual CaptureMode = "manual" // an operator, with rowbell capture
)

// CriticalMode says whose workflows may be critical: pass people's opt-outs and quiet hours.
type CriticalMode string

const (
	CriticalAll       CriticalMode = "all"
	CriticalOperators CriticalMode = "operators" // a tenant's own that says so is broken
)

// CoalesceMode says whether reads of a backlog are coalesced.
type CoalesceMode string

const (
	CoalesceAuto CoalesceMode = "auto" // when the source is on this machine
	CoalesceOn   CoalesceMode = "on"
	CoalesceOff  CoalesceMode = "off"
)

// LogFormat says how log lines look.
type LogFormat string

const (
	LogAuto LogFormat = "auto" // text on a terminal, JSON elsewhere
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// DeliveryMode says what becomes of recorded deliveries: "on" sends them, "hold"
// keeps them, "redirect:<url>" sends all of them to one receiver.
type DeliveryMode string

const (
	DeliveryOn   DeliveryMode = "on"
	DeliveryHold DeliveryMode = "hold"
)

// Redirect returns the receiver of a redirect, or "".
func (d DeliveryMode) Redirect() string {
	if to, ok := strings.CutPrefix(string(d), "redirect:"); ok {
		return to
	}
	return ""
}

// Secret is a value that is never printed: every way of formatting it gives dots.
type Secret []byte

func (s Secret) String() string {
	if len(s) == 0 {
		return ""
	}
	return "•••"
}

// GoString is String, so that %#v doesn't show the value either.
func (s Secret) GoString() string { return s.String() }

// Format is String for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText is String, for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SecretKeys are the keys of SecretKey one by one; the first one seals and signs.
func (c Config) SecretKeys() [][]byte {
	var keys [][]byte
	for key := range slices.Chunk(c.SecretKey, secret.KeySize) {
		keys = append(keys, key)
	}
	return keys
}

// WithDefaults returns the configuration with a default in each field that had none.
func (c Config) WithDefaults() Config {
	c.StateURL = cmp.Or(c.StateURL, c.SourceURL)
	c.Slot = cmp.Or(c.Slot, "rowbell")
	c.Publication = cmp.Or(c.Publication, "rowbell")
	c.Instance = cmp.Or(c.Instance, "rowbell")
	if c.Instance != "rowbell" {
		c.Environment = cmp.Or(c.Environment, c.Instance)
	}
	c.Capture = cmp.Or(c.Capture, CaptureAuto)
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:8080")
	c.OpsListen = cmp.Or(c.OpsListen, "127.0.0.1:8081")
	c.TenantColumn = cmp.Or(c.TenantColumn, "tenant_id")
	c.Delivery = cmp.Or(c.Delivery, DeliveryOn)
	c.DeliveryConcurrency = cmp.Or(c.DeliveryConcurrency, 128)
	c.DestinationConcurrency = cmp.Or(c.DestinationConcurrency, min(16, c.DeliveryConcurrency))
	c.TenantConcurrency = cmp.Or(c.TenantConcurrency, min(96, c.DeliveryConcurrency))
	c.DeliveryLease = cmp.Or(c.DeliveryLease, 30*time.Second)
	c.NATSPrefix = cmp.Or(c.NATSPrefix, publish.DefaultPrefix)
	c.TimeZone = cmp.Or(c.TimeZone, "UTC")
	c.Critical = cmp.Or(c.Critical, CriticalAll)
	c.AlertWindow = cmp.Or(c.AlertWindow, time.Hour)
	c.InboxDays = cmp.Or(c.InboxDays, 365)
	c.DisableAfter = cmp.Or(c.DisableAfter, 5*24*time.Hour)
	c.MaxDepth = cmp.Or(c.MaxDepth, 3)
	c.StormTransaction = cmp.Or(c.StormTransaction, 1000)
	c.StormMinute = cmp.Or(c.StormMinute, 10000)
	if c.TrustedProxies == nil {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	c.ReadCoalescing = cmp.Or(c.ReadCoalescing, CoalesceAuto)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, 10*time.Second)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 20*time.Second)
	c.RetentionDays = cmp.Or(c.RetentionDays, 30)
	c.KeptDays = cmp.Or(c.KeptDays, 90)
	c.LogFormat = cmp.Or(c.LogFormat, LogAuto)
	return c
}

// maxDrainTimeout bounds a stop: a supervisor has lost patience long before.
const maxDrainTimeout = 10 * time.Minute

var (
	slotName     = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)
	instanceName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,24}$`)
)

// Validate joins every problem of a configuration that has its defaults. Each names
// the setting, what is wrong with it, and the mend.
func (c Config) Validate() error {
	var problems []error
	bad := func(setting, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: %s", named(setting), fmt.Sprintf(format, args...)))
	}

	if c.SourceURL == "" {
		bad("source-url", "not set. Give the URL of the application's database, as postgres://rowbell:password@db.example.com:5432/shop")
	} else if err := checkURL(c.SourceURL); err != nil {
		bad("source-url", "%v", err)
	}
	if c.StateURL != "" && c.StateURL != c.SourceURL {
		if err := checkURL(c.StateURL); err != nil {
			bad("state-url", "%v", err)
		}
	}
	if !slotName.MatchString(c.Slot) {
		bad("slot", "%q can't be a slot's name. Use 1 to 63 lower-case letters, digits and underscores", c.Slot)
	}
	// PostgreSQL cuts names at 63 bytes, and the second publication adds "_insert".
	if c.Publication == "" || len(c.Publication)+len("_insert") > 63 || strings.ContainsRune(c.Publication, 0) {
		bad("publication", "%q can't be a publication's name. Use 1 to 56 bytes: a second one adds _insert to it", c.Publication)
	}
	if !instanceName.MatchString(c.Instance) {
		bad("instance", "%q can't be an instance's name. Use 1 to 24 letters, digits, dots, dashes and underscores: it stands in application_name, between slashes", c.Instance)
	}
	if c.Capture != CaptureAuto && c.Capture != CaptureManual {
		bad("capture", "%q is not a mode. Use auto or manual", c.Capture)
	}
	if err := checkListen(c.Listen); err != nil && c.Listen != ListenOff {
		bad("listen", "%v, or off", err)
	}
	if err := checkListen(c.OpsListen); err != nil {
		bad("ops-listen", "%v", err)
	} else if c.OpsListen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
		bad("ops-listen", "%s is taken by %s. Give each a port of its own", c.OpsListen, named("listen"))
	}
	if c.TenantColumn == "" || len(c.TenantColumn) > 63 {
		bad("tenant-column", "%q can't be a column's name. Use 1 to 63 bytes", c.TenantColumn)
	}
	switch to := c.Delivery.Redirect(); {
	case c.Delivery == DeliveryOn || c.Delivery == DeliveryHold:
	case to != "":
		if u, err := url.Parse(to); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			bad("delivery", "the receiver of redirect: is not an http or https URL. Write redirect:https://sink.example.com/rowbell")
		}
	default:
		bad("delivery", "%q is not a mode. Use on, hold, or redirect:<url>", Redact(string(c.Delivery)))
	}
	if c.DeliveryConcurrency < 1 || c.DeliveryConcurrency > 10000 {
		bad("delivery-concurrency", "%d is out of range. Use 1 to 10000", c.DeliveryConcurrency)
	}
	for setting, n := range map[string]int{"destination-concurrency": c.DestinationConcurrency, "tenant-concurrency": c.TenantConcurrency} {
		if n < 1 || n > c.DeliveryConcurrency {
			bad(setting, "%d is out of range. Use 1 to the %d of %s", n, c.DeliveryConcurrency, named("delivery-concurrency"))
		}
	}
	if c.DeliveryLease < 5*time.Second || c.DeliveryLease > 10*time.Minute {
		bad("delivery-lease", "%v is out of range. Use 5s to 10m", c.DeliveryLease)
	}
	if c.DestinationRate != "" {
		if _, err := actions.ParseRate(c.DestinationRate); err != nil {
			bad("destination-rate", "%v", err)
		}
	}
	if c.MaxDepth < 1 || c.MaxDepth > workflow.MaxDepthLimit {
		bad("max-depth", "%d is out of range. Use 1 to %d", c.MaxDepth, workflow.MaxDepthLimit)
	}
	for setting, n := range map[string]int{"storm-transaction": c.StormTransaction, "storm-minute": c.StormMinute} {
		if n != StormOff && (n < 1 || n > workflow.MaxStorm) {
			bad(setting, "%d is out of range. Use 1 to %d, or off", n, workflow.MaxStorm)
		}
	}
	if c.DisableAfter < time.Hour || c.DisableAfter > 365*24*time.Hour {
		bad("disable-after", "%v is out of range. Use 1h to 8760h (a year)", c.DisableAfter)
	}
	c.validateMail(bad)
	if err := c.nats().Check(); err != nil {
		bad("nats-url", "%v", err)
	}
	if err := publish.CheckPrefix(c.NATSPrefix); err != nil {
		bad("nats-prefix", "%v", err)
	}
	switch n := len(c.SecretKey); {
	case n%secret.KeySize != 0:
		bad("secret-key", "%d bytes, not 32. Make one with: openssl rand -base64 32", n)
	case n > secret.MostKeys*secret.KeySize:
		bad("secret-key", "%d keys, more than %d. Take away those that nothing is sealed with any more: rowbell secret status", n/secret.KeySize, secret.MostKeys)
	}
	switch c.ReadCoalescing {
	case CoalesceAuto, CoalesceOn, CoalesceOff:
	default:
		bad("read-coalescing", "%q is not a mode. Use auto, on or off", c.ReadCoalescing)
	}
	if c.HeartbeatInterval < time.Second || c.HeartbeatInterval > 10*time.Minute {
		bad("heartbeat-interval", "%v is out of range. Use 1s to 10m", c.HeartbeatInterval)
	}
	if c.DrainTimeout < time.Second || c.DrainTimeout > maxDrainTimeout {
		bad("drain-timeout", "%v is out of range. Use 1s to 10m, and less than what your supervisor waits before it kills", c.DrainTimeout)
	}
	c.validateOIDC(bad)
	c.validateFrames(bad)
	if _, err := ParseEnvironment(c.Environment); err != nil {
		bad("environment", "%v", err)
	}
	c.validatePeople(bad)
	if c.RetentionDays < 1 {
		bad("retention-days", "%d is too few. Keep at least 1 day", c.RetentionDays)
	}
	if c.KeptDays < c.RetentionDays {
		bad("kept-days", "%d is less than the %d of %s. Failures are kept at least as long as the rest", c.KeptDays, c.RetentionDays, named("retention-days"))
	}
	switch c.LogFormat {
	case LogAuto, LogText, LogJSON:
	default:
		bad("log-format", "%q is not a format. Use auto, text or json", c.LogFormat)
	}
	return errors.Join(problems...)
}

func checkURL(s string) error {
	if _, err := pgconn.ParseConfig(s); err != nil {
		return fmt.Errorf("not a PostgreSQL URL (%s). Write postgres://user:password@host:5432/database; percent-encode odd characters in the password", parseReason(err))
	}
	return nil
}

// parseReason is why pgconn refused a connection string, without the string.
func parseReason(err error) string {
	if inner := errors.Unwrap(err); inner != nil {
		var bad *url.Error
		if errors.As(inner, &bad) {
			return Redact(bad.Err.Error())
		}
		return Redact(inner.Error())
	}
	return "its shape isn't known"
}

// ListenOff is Config.Listen where neither API nor pages are served.
const ListenOff = "off"

func checkListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not an address. Write host:port, as 127.0.0.1:8081, or :8081 for all addresses", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port. Use 1 to 65535, or 0 for any free one", port)
	}
	return nil
}

// InsertPublication is the publication of the tables that are published for inserts only.
func (c Config) InsertPublication() string { return c.Publication + "_insert" }

// Target says in words what a connection string reaches, without its password:
// "database shop at db.example.com:5432 as rowbell".
func Target(connection string) string {
	pc, err := pgconn.ParseConfig(connection)
	if err != nil {
		return Redact(connection)
	}
	at := net.JoinHostPort(pc.Host, fmt.Sprint(pc.Port))
	if strings.HasPrefix(pc.Host, "/") {
		at = fmt.Sprintf("socket %s, port %d", pc.Host, pc.Port)
	}
	return fmt.Sprintf("database %s at %s as %s", cmp.Or(pc.Database, pc.User), at, pc.User)
}

var (
	userinfo  = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@?#]*):[^\s@]*@`)
	keyValues = regexp.MustCompile(`(?i)\b((?:ssl)?password|passwd|secret|token|key)(\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&;]+)`)
)

// Redact takes passwords out of a text that may hold connection strings: user:•••@
// in URLs, password=••• in keyword/value strings and query parameters.
func Redact(s string) string {
	s = userinfo.ReplaceAllStringFunc(s, func(found string) string {
		if strings.HasSuffix(found, ":password@") {
			return found // an example
		}
		return userinfo.ReplaceAllString(found, "$1:•••@")
	})
	return keyValues.ReplaceAllString(s, "$1$2•••")
}
