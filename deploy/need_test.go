package deploy_test

import (
	"os"
	"os/exec"
	"testing"
)

const missing = "this test needs %s, which is not on this machine: apt-get install --no-install-recommends %s"

// need finds a program that a test can't do without. Its absence is a failure, which says
// what to install.
func need(t *testing.T, program, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf(missing, program, debianPackage)
	}
	return path
}

// needInCI is need where the whole check runs, which installs the program. Elsewhere the
// test is skipped without it, and says so.
func needInCI(t *testing.T, program, debianPackage string) string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil && os.Getenv("CI") != "true" {
		t.Skipf(missing, program, debianPackage)
	}
	return need(t, program, debianPackage)
}
