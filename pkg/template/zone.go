package template

import (
	"fmt"
	"sync"
	"time"
)

// zones are those that were asked for, by name: a zone is read from disk. There are some
// 600.
var zones sync.Map

// loadZone finds a zone of the IANA database. A name that is none is not kept.
func loadZone(name string) (*time.Location, error) {
	if z, ok := zones.Load(name); ok {
		return z.(*time.Location), nil
	}
	// Local is this machine's zone, which is nobody's.
	z, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, fmt.Errorf("%q is no time zone; write one as Europe/Berlin or UTC", shorten(name))
	}
	zones.Store(name, z)
	return z, nil
}
