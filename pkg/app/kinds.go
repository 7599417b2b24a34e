package app

import (
	"fmt"
	"slices"
	"strings"
)

// kinds are the action kinds that workflows may name. Deliveries of those that have
// no executor in this process are recorded, and stay in the queue.
var kinds = []string{"chat", "email", "function", "log", "notification", "publish", "webhook"}

// actionKinds returns nil for a known kind of action.
func actionKinds(kind string) error {
	if slices.Contains(kinds, kind) {
		return nil
	}
	return fmt.Errorf("unknown action kind %q; there are: %s", kind, strings.Join(kinds, ", "))
}
