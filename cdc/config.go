package cdc

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"
)

// Config says which slot is read, and how.
type Config struct {
	// SourceURL reaches the database of the application: the server itself, since a
	// pooler can't pass replication on. The role needs the REPLICATION attribute.
	SourceURL string
	// Slot is the replication slot's name.
	Slot string
	// Publication is the name of the publication for all operations; the one for
	// inserts only is called the same with "_insert". Both are read.
	Publication string
	// Instance and WorkerID make the application_name, rowbell/<instance>/<id>, by
	// which workers know their own.
	Instance string
	WorkerID string

	// Coalesce says whether a backlog is read in fewer, bigger reads.
	// Defaults to CoalesceAuto.
	Coalesce Coalesce
	// StatusInterval is how often the server is told where we are. It must be well
	// below SenderTimeout. Defaults to 1 s.
	StatusInterval time.Duration
	// SenderTimeout is the connection's own wal_sender_timeout: after it the server
	// gives the slot free when it hears nothing, and we give the connection up.
	// Defaults to 6 s.
	SenderTimeout time.Duration
	// ConnectTimeout bounds each attempt to connect. Defaults to 5 s.
	ConnectTimeout time.Duration
	// HeartbeatInterval is how often a heartbeat is sent. Defaults to 10 s.
	HeartbeatInterval time.Duration

	// Logger is where waiting and odd notices are told. Defaults to none.
	Logger *slog.Logger
	// Metrics outlives the connections that count in it. Defaults to none.
	Metrics *Metrics
}

// Coalesce says whether reads of a backlog are coalesced, in steps of milliseconds and
// with a small receive buffer: the server sends each message by itself, and every eager
// read makes its next send a wake-up, so whoever reads less often is served faster.
type Coalesce string

const (
	CoalesceAuto Coalesce = "auto" // on loopback, where it was measured to pay
	CoalesceOn   Coalesce = "on"
	CoalesceOff  Coalesce = "off"
)

// maxInstance keeps rowbell/<instance>/<id> within the 63 bytes that PostgreSQL
// leaves of an application_name.
const maxInstance = 24

var instanceName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,24}$`)

func (c Config) withDefaults() Config {
	c.Coalesce = cmp.Or(c.Coalesce, CoalesceAuto)
	c.StatusInterval = cmp.Or(c.StatusInterval, time.Second)
	c.SenderTimeout = cmp.Or(c.SenderTimeout, 6*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 5*time.Second)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, 10*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return c
}

func (c Config) validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.SourceURL == "" {
		bad("SourceURL is not set")
	}
	if c.Slot == "" {
		bad("Slot is not set")
	}
	if c.Publication == "" {
		bad("Publication is not set")
	}
	if !instanceName.MatchString(c.Instance) {
		bad("Instance %q is not 1 to %d letters, digits, dots, dashes and underscores", c.Instance, maxInstance)
	}
	switch c.Coalesce {
	case CoalesceAuto, CoalesceOn, CoalesceOff:
	default:
		bad("Coalesce %q is not auto, on or off", c.Coalesce)
	}
	if c.StatusInterval > c.SenderTimeout/2 {
		bad("StatusInterval %v is more than half of SenderTimeout %v: the server would give the slot free between two", c.StatusInterval, c.SenderTimeout)
	}
	if len(problems) > 0 {
		return fmt.Errorf("cdc: %w", errors.Join(problems...))
	}
	return nil
}

// applicationName is what the server shows of this worker's connections.
func (c Config) applicationName() string { return c.ownPrefix() + c.WorkerID }

// ownPrefix begins the application_name of every worker of the instance.
func (c Config) ownPrefix() string { return "rowbell/" + c.Instance + "/" }

func (c Config) publications() []string {
	return []string{c.Publication, c.Publication + "_insert"}
}
