package demo

import (
	"context"
	"os/exec"
	"time"
)

// opener is the command that opens a page in somebody's browser, without the page's address;
// nil if nobody would see it: no desktop, another machine's terminal, or a test.
func opener(system string, env func(string) string, look func(string) (string, error)) []string {
	if ci := env("CI"); ci != "" && ci != "false" || env("SSH_CONNECTION") != "" || env("SSH_TTY") != "" {
		return nil
	}
	var choices [][]string
	switch system {
	case "darwin":
		choices = [][]string{{"open"}}
	case "windows":
		choices = [][]string{{"rundll32", "url.dll,FileProtocolHandler"}}
	default:
		if env("WSL_DISTRO_NAME") != "" {
			choices = append(choices, []string{"wslview"})
		}
		if env("DISPLAY") != "" || env("WAYLAND_DISPLAY") != "" {
			choices = append(choices, []string{"xdg-open"})
		}
	}
	for _, c := range choices {
		if path, err := look(c[0]); err == nil {
			return append([]string{path}, c[1:]...)
		}
	}
	return nil
}

// openWait is how long the command may take: those that there are return at once, or become
// the browser, which goes on.
const openWait = 10 * time.Second

// open shows a page in the browser. What goes wrong is nobody's loss: the address is printed.
func open(ctx context.Context, command []string, url string) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), command[0], append(command[1:], url)...) //nolint:gosec // one of opener's
	if cmd.Start() != nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // as it ends
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(openWait): // it has become the browser
	case <-ctx.Done():
	}
}
