package actions

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rowbell/rowbell/pkg/spelling"
)

// Registry holds the kinds that workflows may name.
type Registry struct {
	kinds   []*Kind // in the order of NewRegistry
	byName  map[string]*Kind
	schemas map[*Kind]*schema
}

// NewRegistry makes a registry of these kinds. It returns an error if two have one name,
// or if the Schema of one is not a schema of an object without further properties.
func NewRegistry(kinds ...*Kind) (*Registry, error) {
	r := &Registry{byName: make(map[string]*Kind), schemas: make(map[*Kind]*schema)}
	for _, k := range kinds {
		if r.byName[k.Name] != nil {
			return nil, fmt.Errorf("there are two action kinds called %q", k.Name)
		}
		s, err := compileSchema(k)
		if err != nil {
			return nil, fmt.Errorf("action kind %s: schema: %w", k.Name, err)
		}
		r.kinds, r.byName[k.Name], r.schemas[k] = append(r.kinds, k), k, s
	}
	return r, nil
}

// Kinds lists them in the order that they were given.
func (r *Registry) Kinds() []*Kind { return r.kinds }

// Kind returns a kind by its name. The error lists the names there are.
func (r *Registry) Kind(name string) (*Kind, error) {
	if k := r.byName[name]; k != nil {
		return k, nil
	}
	names := r.names()
	mend := spelling.Mend(name, names)
	if mend == "" {
		mend = "there are: " + strings.Join(names, ", ")
	}
	return nil, fmt.Errorf("unknown action kind %q; %s", shorten(name), mend)
}

func (r *Registry) names() []string {
	names := make([]string, len(r.kinds))
	for i, k := range r.kinds {
		names[i] = k.Name
	}
	return names
}

// Schema is the JSON Schema of a kind's whole action_config, CommonKeys included, for
// forms and documentation; nil if there is no such kind.
func (r *Registry) Schema(name string) json.RawMessage {
	k := r.byName[name]
	if k == nil {
		return nil
	}
	return r.schemas[k].whole
}

// validate judges an action_config, without CommonKeys, by its kind's schema. The error
// has a line for each problem. It quotes keys and never values, which may be secrets.
func (r *Registry) validate(kind *Kind, config json.RawMessage) error {
	return r.schemas[kind].validate(config)
}
