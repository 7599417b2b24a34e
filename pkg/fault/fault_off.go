//go:build !faults

package fault

// On says that the named mistake is to be made: never, in this build.
func On(string) bool { return false }
