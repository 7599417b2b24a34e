//go:build unix

package localpg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

// account is the unprivileged user that root runs servers as.
type account struct{ uid, gid uint32 }

func isRoot() bool { return os.Geteuid() == 0 }

// serverAccount returns whom to run servers as; nil is ourselves.
func serverAccount() (*account, error) {
	if !isRoot() {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &account{uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as; run this as another user, or: useradd --system postgres")
}

// sysProcAttr sets the user, a process group of its own (a Ctrl-C at the terminal is for
// us to handle) and, where the system has it, the signal at our death (0: none).
func sysProcAttr(as *account, atOurDeath syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if as != nil {
		attr.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid, Groups: []uint32{as.gid}}
	}
	setDeathSignal(attr, atOurDeath)
	return attr
}

func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func stopSignal(m Mode) syscall.Signal {
	switch m {
	case Smart:
		return syscall.SIGTERM
	case Fast:
		return syscall.SIGINT
	}
	return syscall.SIGQUIT
}

// tryLock takes an exclusive lock on an open file; false if another process has it.
func tryLock(f *os.File) (bool, error) {
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case err == nil:
		return true, nil
	case errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, syscall.EINTR):
		return false, nil
	default:
		return false, err
	}
}

// ownedByUs checks that nobody else can put files into dir.
func ownedByUs(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("%s belongs to another user, or others may write there", dir)
	}
	return nil
}

// killTree ends the postmaster and its children by SIGKILL and waits for them. The
// postmaster is halted first, so that it starts no more children meanwhile.
func (p *process) killTree() error {
	if !p.running() {
		return nil
	}
	if err := p.signal(syscall.SIGSTOP); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	kids, err := children(p.pid())
	if err2 := p.signal(syscall.SIGKILL); err2 != nil && !errors.Is(err2, os.ErrProcessDone) {
		return errors.Join(err, err2)
	}
	for _, pid := range kids {
		if err2 := syscall.Kill(pid, syscall.SIGKILL); err2 != nil && !errors.Is(err2, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("kill %d: %w", pid, err2))
		}
	}
	<-p.done
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for _, pid := range kids {
		for alive(pid) {
			if time.Now().After(deadline) {
				return errors.Join(err, fmt.Errorf("process %d is still there 10 s after SIGKILL", pid))
			}
			<-tick.C
		}
	}
	return err
}
