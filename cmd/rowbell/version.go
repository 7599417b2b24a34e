package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the release build: -ldflags "-X main.version=1.2.3".
var version string

var versionCommand = command{
	name:  "version",
	short: "Print the version",
	group: groupMore,
	examples: []example{
		{"rowbell version", ""},
	},
	options:    []option{jsonOption},
	noSettings: true,
	run: func(_ context.Context, c *call) error {
		version, revision := buildInfo()
		if c.asData() {
			return c.writeData(struct {
				Version  string `json:"version"`
				Revision string `json:"revision"` // "" = the build doesn't know
				Go       string `json:"go_version"`
			}{version, revision, runtime.Version()})
		}
		_, err := fmt.Fprintf(c.stdout, "rowbell %s (%s, %s)\n", version, cmp.Or(revision, "unknown revision"), runtime.Version())
		return err
	},
}

// buildInfo tells version and revision, as far as the build noted them.
func buildInfo() (v, revision string) {
	v = version
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(v, "unknown"), ""
	}
	modified := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	if revision != "" && modified {
		revision += "+changes"
	}
	return cmp.Or(v, info.Main.Version, "unknown"), revision
}
