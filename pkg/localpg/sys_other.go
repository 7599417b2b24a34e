//go:build !unix

package localpg

import (
	"errors"
	"os"
	"syscall"
)

// account is the unprivileged user that root runs servers as; there is none here.
type account struct{ uid, gid uint32 }

var errSystem = errors.New("localpg runs servers on Linux and macOS only; give the URL of a running server instead")

func isRoot() bool { return false }

func serverAccount() (*account, error) { return nil, errSystem }

func sysProcAttr(*account, syscall.Signal) *syscall.SysProcAttr { return nil }

func ownSession() *syscall.SysProcAttr { return nil }

func stopSignal(Mode) syscall.Signal { return syscall.SIGKILL }

func tryLock(*os.File) (bool, error) { return false, errSystem }

func ownedByUs(string) error { return nil }

func (p *process) killTree() error { return p.cmd.Process.Kill() }
