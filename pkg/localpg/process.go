package localpg

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// process is a running postmaster.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and was waited for
	err  error         // how it ended; read after done
}

// startProcess starts cmd from an OS thread that lives until the process has ended: the
// parent-death signal comes when the thread dies, not when the process does.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	if p.err == nil {
		p.err = errors.New("exit status 0")
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// waitFor waits until the process ends, at most d.
func (p *process) waitFor(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
	}
}

// watchdog is the shell that cleans up after us, however we end.
type watchdog struct {
	cmd  *exec.Cmd
	pipe *os.File // only we hold it open: its closing is the sign
}

// watchdogScript waits for the end of its standard input, then ends the postmaster of
// the data directory $2 and removes $1. postmaster.pid is gone once a server has ended
// in order; Kill removes it after the other ends.
const watchdogScript = `trap '' HUP INT QUIT TERM
read -r _
pid=$(sed -n 1p "$2/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
	kill -QUIT "$pid" 2>/dev/null
	n=0
	while kill -0 "$pid" 2>/dev/null && [ -e "$2/postmaster.pid" ] && [ $n -lt 150 ]; do sleep 0.1; n=$((n+1)); done
	[ $n -lt 150 ] || kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
`

func watch(dir, dataDir string) (*watchdog, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "watchdog", dir, dataDir) //nolint:noctx // it must outlive every context
	cmd.Stdin = r
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/local/bin:" + os.Getenv("PATH")} // whatever PATH a test sets
	cmd.SysProcAttr = ownSession()
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the watchdog: %w", err), r.Close(), w.Close())
	}
	return &watchdog{cmd: cmd, pipe: w}, r.Close()
}

// release lets the watchdog do its work, and waits for it.
func (w *watchdog) release() error {
	err := w.pipe.Close()
	return errors.Join(err, w.cmd.Wait())
}
