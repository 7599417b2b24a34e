package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
)

const connectionTag = "Connections and settings"

func connectionRoutes(a *API) {
	add(a, Route{
		Method: http.MethodGet, Path: "/connections", ID: "listConnections", Tag: connectionTag, Right: access.StreamRead, Errors: []int{http.StatusNotFound},
		Summary: "The services that Rowbell goes out to: whether each is set up, and how it was last",
		Description: "Mail, chat, NATS, the directory's SQL, the provider of sign-ins, and functions of the application. What worked and what failed, with what the " +
			"service said, is of your tenant's own deliveries, and takes destination.read. Where a service is, and how the directory and the provider " +
			"were last, is told to principals for all tenants. No secret is shown.",
	}, listConnections)
	add(a, Route{
		Method: http.MethodPost, Path: "/connections/{name}/verify", ID: "verifyConnection", Tag: connectionTag, Right: access.DestinationWrite,
		Errors:  []int{http.StatusConflict, http.StatusNotFound},
		Summary: "Try a service now; nothing is sent to anybody",
		Description: "It connects, and signs in where a sign-in is set up. Of chat, the services are tried that your active workflows name, under the rules of " +
			"deliveries: private addresses are refused unless an operator allows them. All others need a principal for all tenants.",
	}, verifyConnection)
	add(a, Route{
		Method: http.MethodGet, Path: "/settings", ID: "getSettings", Tag: connectionTag, Right: access.StreamRead, Errors: []int{http.StatusNotFound},
		Summary: "The limits in force, and where each is changed",
		Description: "What the installation sets for all, the workflows that say otherwise, which takes workflow.read, and what is masked of tables, which " +
			"takes catalogue.read. Hidden columns, and who is told of what concerns operators, are told to principals for all tenants.",
	}, getSettings)
	add(a, Route{
		Method: http.MethodPut, Path: "/settings/weight", ID: "setWeight", Tag: connectionTag, Right: access.PauseWrite, Errors: []int{http.StatusNotFound},
		Summary:     "Say how many turns a tenant's deliveries get while others get one",
		Description: "It counts within ten seconds. 1 is what all have that have no other. Needs a principal for all tenants.",
	}, setWeight)
}

// The connections.
const (
	ConnectionMail      = "mail"
	ConnectionChat      = "chat"
	ConnectionNATS      = "nats"
	ConnectionDirectory = "directory"
	ConnectionSignIn    = "sign-in"
	ConnectionFunctions = "functions"
)

// Connections are all there are, in the order of the list.
var Connections = []string{ConnectionMail, ConnectionChat, ConnectionNATS, ConnectionDirectory, ConnectionSignIn, ConnectionFunctions}

// ConnectionState says whether a service is set up.
type ConnectionState string

const (
	ConnectionReady   ConnectionState = "ready"   // it is set up
	ConnectionPartly  ConnectionState = "partly"  // of some of what there could be
	ConnectionMissing ConnectionState = "missing" // it is not set up
)

// ConnectionOut is a service that Rowbell goes out to.
type ConnectionOut struct {
	Name         string          `json:"name" enum:"mail,chat,nats,directory,sign-in,functions"`
	State        ConnectionState `json:"state" enum:"ready,partly,missing" doc:"Whether it is set up; that it works is another matter, which verify tries"`
	About        string          `json:"about,omitempty" doc:"Where it is and what of it is set up; without passwords"`
	Mend         string          `json:"mend,omitempty" doc:"What sets up what is missing"`
	Settings     []string        `json:"settings" doc:"The settings that it is of, for operators"`
	Verifiable   bool            `json:"verifiable" doc:"You may have it tried"`
	Destinations int             `json:"destinations" doc:"Destinations of this kind; GET /destinations lists them. 0 without destination.read"`
	Barred       int             `json:"barred" doc:"Those of them that take nothing now"`
	LastUsedAt   *time.Time      `json:"last_used_at,omitempty" doc:"When it worked last, to the minute; of directory and sign-in since the worker that answers has begun"`
	LastErrorAt  *time.Time      `json:"last_error_at,omitempty"`
	LastError    string          `json:"last_error,omitempty"`
}

// VerifiedOut is what came of trying a service.
type VerifiedOut struct {
	Name       string       `json:"name"`
	Works      bool         `json:"works" doc:"Nothing that was tried failed"`
	Findings   []FindingOut `json:"findings"`
	DurationMS int64        `json:"duration_ms"`
}

// FindingOut is one thing that was found out.
type FindingOut struct {
	Level   string   `json:"level" enum:"ok,warning,failed"`
	Message string   `json:"message"`
	Mend    []string `json:"mend" doc:"What to do about it, a line each"`
}

// shared says that a connection is the whole installation's.
func shared(name string) bool { return name != ConnectionChat }

func listConnections(ctx context.Context, q *Request, in *struct {
	TenantFilter
},
) (*PageOf[ConnectionOut], error) {
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return nil, notFound("there is no tenant %s here", in.Tenant.Value)
	}
	list, err := q.Operations.Connections(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for i := range list {
		c := &list[i]
		c.Verifiable = q.Principal.Can(access.DestinationWrite) && c.State != ConnectionMissing && (q.Principal.All || !shared(c.Name))
		directory := c.Name == ConnectionDirectory || c.Name == ConnectionSignIn // which are all tenants', and no destinations
		if !directory && !q.Principal.Can(access.DestinationRead) {
			c.Destinations, c.Barred, c.LastUsedAt, c.LastErrorAt, c.LastError = 0, 0, nil, nil, ""
		}
		if q.Principal.All {
			continue
		}
		if c.About = ""; c.Mend != "" {
			c.Mend = "ask an operator: " + c.Mend
		}
		if directory {
			c.LastUsedAt, c.LastErrorAt, c.LastError = nil, nil, ""
		}
	}
	return page(list, ""), nil
}

func verifyConnection(ctx context.Context, q *Request, in *struct {
	Name string `path:"name" maxLength:"64" doc:"As the list has it"`
},
) (*struct{ Body VerifiedOut }, error) {
	if !isConnection(in.Name) {
		return nil, notFound("there is no connection %s", in.Name)
	}
	if shared(in.Name) && !q.Principal.All {
		return nil, &Problem{Status: http.StatusForbidden, Detail: "this service is the whole installation's", Mend: "use a principal for all tenants, or ask an operator"}
	}
	tenant, _ := q.Filter(OptionalText{})
	v, err := q.Operations.VerifyConnection(ctx, in.Name, tenant, q.Actor())
	if err != nil {
		return nil, err
	}
	return &struct{ Body VerifiedOut }{v}, nil
}

func isConnection(name string) bool {
	for _, one := range Connections {
		if one == name {
			return true
		}
	}
	return false
}

// SettingsOut are the limits in force.
type SettingsOut struct {
	Limits    []LimitOut       `json:"limits"`
	Tables    []PolicyOut      `json:"tables" doc:"What is masked of captured tables; none without catalogue.read"`
	Workflows []ExceptionOut   `json:"workflows" doc:"Active workflows that say otherwise; none without workflow.read"`
	More      bool             `json:"more" doc:"There are more workflows than were looked at"`
	Alerts    []string         `json:"alerts" doc:"Who is told of what concerns operators, and of failures that have no owner: of URLs the host alone. For principals for all tenants"`
	Weights   []TenantShareOut `json:"weights" doc:"Tenants whose deliveries get more than one turn"`
}

// LimitOut is one limit.
type LimitOut struct {
	Name    string `json:"name" doc:"The setting, as in the configuration file" example:"tenant_concurrency"`
	Group   string `json:"group" enum:"sending,guard,keeping,people,installation"`
	Value   string `json:"value" doc:"As the setting is written; empty: none" example:"96"`
	Default string `json:"default,omitempty" doc:"What it is if it isn't set"`
	Setting string `json:"setting" doc:"The environment variable by which an operator changes it" example:"ROWBELL_TENANT_CONCURRENCY"`
	Text    string `json:"text" doc:"What it is, in words"`
	// Workflow is the key in a workflow's settings that counts before it.
	Workflow string `json:"workflow,omitempty" doc:"The key in a workflow's settings that counts before it" example:"storm"`
}

// PolicyOut is what is not shown of a table.
type PolicyOut struct {
	Label        string   `json:"label" doc:"What workflows call it"`
	TenantColumn string   `json:"tenant_column,omitempty"`
	Redacted     []string `json:"redacted" doc:"Columns that are masked wherever they are stored or shown"`
	Hidden       []string `json:"hidden" doc:"Columns that are never read; for principals for all tenants"`
}

// ExceptionOut is a workflow with limits of its own.
type ExceptionOut struct {
	ID               string   `json:"id"`
	Name             string   `json:"name"`
	TenantID         string   `json:"tenant_id,omitempty"`
	StormTransaction string   `json:"storm_transaction,omitempty"`
	StormMinute      string   `json:"storm_minute,omitempty"`
	MaxDepth         int32    `json:"max_depth,omitempty"`
	Critical         bool     `json:"critical,omitempty" doc:"It passes opt-outs and quiet hours"`
	Owners           []string `json:"owners" doc:"Who is told when it fails, as user:ann"`
}

// TenantShareOut is how many turns a tenant's deliveries get.
type TenantShareOut struct {
	TenantID string `json:"tenant_id"`
	Weight   int    `json:"weight"`
}

func setWeight(ctx context.Context, q *Request, in *struct {
	Body struct {
		TenantID string `json:"tenant_id" maxLength:"200" doc:"Empty: operators' workflows"`
		Weight   int    `json:"weight" minimum:"1" maximum:"100"`
	}
},
) (*struct{ Body TenantShareOut }, error) {
	if !q.Principal.All {
		return nil, &Problem{Status: http.StatusForbidden, Detail: "how many turns a tenant gets concerns all of them", Mend: "use a principal for all tenants, or ask an operator"}
	}
	if err := q.Operations.SetWeight(ctx, in.Body.TenantID, in.Body.Weight, q.Actor()); err != nil {
		return nil, err
	}
	return &struct{ Body TenantShareOut }{TenantShareOut{in.Body.TenantID, in.Body.Weight}}, nil
}

func getSettings(ctx context.Context, q *Request, in *struct {
	TenantFilter
},
) (*struct{ Body SettingsOut }, error) {
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return nil, notFound("there is no tenant %s here", in.Tenant.Value)
	}
	s, err := q.Operations.Settings(ctx, tenant, q.Principal.Can(access.WorkflowRead))
	if err != nil {
		return nil, err
	}
	if !q.Principal.Can(access.CatalogueRead) {
		s.Tables = []PolicyOut{}
	}
	if !q.Principal.All {
		s.Alerts = nil
		tables := s.Tables[:0:0]
		for _, t := range s.Tables {
			if t.TenantColumn != "" { // the others serve operators' workflows only
				t.Hidden = nil
				tables = append(tables, t)
			}
		}
		s.Tables = tables
	}
	return &struct{ Body SettingsOut }{s}, nil
}
