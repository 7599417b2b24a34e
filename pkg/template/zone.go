package template

import (
	"fmt"
	"time"
)

// zones are those that were asked for, by name: a zone is read from disk.
var zones = cache[string, *time.Location]{most: 1000}

// loadZone finds a zone of the IANA database.
func loadZone(name string) (*time.Location, error) {
	var z *time.Location
	if name != "" && name != "Local" && len(name) <= 64 { // Local is this machine's, which is nobody's
		z = zones.get(name, func() *time.Location {
			z, err := time.LoadLocation(name)
			if err != nil {
				return nil
			}
			return z
		})
	}
	if z == nil {
		return nil, fmt.Errorf("%q is no time zone; write one as 'Europe/Berlin' or 'UTC'", shorten(name))
	}
	return z, nil
}
