package workflow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Roles is the condition_config of a role_based condition: who the change was made by.
// All that is given must hold.
//
//	{"roles": ["approver", "admin"]}                    has one of them
//	{"all_roles": ["staff", "finance"]}                 has each of them
//	{"not_roles": ["robot"]}                            has none of them; holds without an actor, too
//	{"actors": ["ann"]}, {"not_actors": ["robot-7"]}    is one of them, or none
//	{"attributes": {"level": {"gte": 3}}}               field conditions on what rowbell.set_actor got
//	{"roles": ["approver"], "by": "directory"}          asks the directory, after the match was recorded
type Roles struct {
	Any        []string        `json:"roles,omitempty"`
	All        []string        `json:"all_roles,omitempty"`
	None       []string        `json:"not_roles,omitempty"`
	Actors     []string        `json:"actors,omitempty"`
	NotActors  []string        `json:"not_actors,omitempty"`
	Attributes json.RawMessage `json:"attributes,omitempty"`
	By         string          `json:"by,omitempty"` // "context", the default, or "directory"
}

const (
	ByContext   = "context"
	ByDirectory = "directory"
)

var rolesKeys = []string{"roles", "all_roles", "not_roles", "actors", "not_actors", "attributes", "by"}

// RolesKeys are the keys that a role_based condition_config may have.
func RolesKeys() []string { return slices.Clone(rolesKeys) }

// ParseRoles reads a role_based condition_config. The error names the key that is wrong.
func ParseRoles(config json.RawMessage) (Roles, error) {
	var r Roles
	var keys map[string]json.RawMessage
	err := json.Unmarshal(config, &keys)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(rolesKeys, key) { // json would take Roles for roles
			err = cmp.Or(err, fmt.Errorf("unknown field %q", key))
		}
	}
	if err == nil {
		err = json.Unmarshal(config, &r)
	}
	if err != nil {
		return r, fmt.Errorf("%w; there are roles, all_roles, not_roles, actors and not_actors (lists of texts), attributes (field conditions) and by", err)
	}
	given := len(r.Attributes) > 0
	for _, l := range []struct {
		key  string
		list []string
	}{{"roles", r.Any}, {"all_roles", r.All}, {"not_roles", r.None}, {"actors", r.Actors}, {"not_actors", r.NotActors}} {
		given = given || len(l.list) > 0
		if l.list != nil && len(l.list) == 0 {
			return r, fmt.Errorf("%s is an empty list; leave it out", l.key)
		}
		if slices.Contains(l.list, "") {
			return r, fmt.Errorf("%s holds an empty text", l.key)
		}
	}
	switch {
	case !given:
		return r, fmt.Errorf(`it asks for nothing; write {"roles": ["approver"]}`)
	case r.By != "" && r.By != ByContext && r.By != ByDirectory:
		return r, fmt.Errorf("by is %q; it is %q (what rowbell.set_actor was given) or %q (the directory's SQL)", r.By, ByContext, ByDirectory)
	case r.By == ByDirectory && len(r.Attributes) > 0:
		return r, fmt.Errorf("the directory knows no attributes; write them in a role_based condition of their own, by context")
	}
	return r, nil
}
