package workflow

import "sync"

// Library holds the stored templates that the texts of a workflow may render, and what has
// been made of them, which all those texts share. Sources are not to be changed.
type Library struct {
	Sources map[string]map[string]string // name → locale ("" = for everybody) → source
	// Made is package template's, by name.
	Made sync.Map
}

// NewLibrary makes a library of these sources; nil stands for none.
func NewLibrary(sources map[string]map[string]string) *Library {
	return &Library{Sources: sources}
}
