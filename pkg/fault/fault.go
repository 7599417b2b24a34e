//go:build faults

package fault

import "os"

var chosen = os.Getenv("ROWBELL_FAULT")

// On says that the named mistake is to be made.
func On(name string) bool { return name == chosen }
