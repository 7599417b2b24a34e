package demo

import (
	"os/exec"
	"strings"
	"testing"
)

// A browser is opened where somebody would see it, and nowhere else.
func TestOpener(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, system, env, there, want string }{
		{"a desktop", "linux", "DISPLAY=:0", "xdg-open", "/bin/xdg-open"},
		{"another desktop", "linux", "WAYLAND_DISPLAY=wayland-0", "xdg-open", "/bin/xdg-open"},
		{"a desktop without the command", "linux", "DISPLAY=:0", "", ""},
		{"no desktop", "linux", "TERM=xterm", "xdg-open", ""},
		{"Linux on Windows", "linux", "WSL_DISTRO_NAME=Debian", "wslview xdg-open", "/bin/wslview"},
		{"a Mac", "darwin", "", "open", "/bin/open"},
		{"Windows", "windows", "", "rundll32", "/bin/rundll32 url.dll,FileProtocolHandler"},
		{"another machine's terminal", "linux", "DISPLAY=localhost:10.0 SSH_CONNECTION=10.0.0.1", "xdg-open", ""},
		{"a test", "linux", "DISPLAY=:0 CI=true", "xdg-open", ""},
		{"no test", "linux", "DISPLAY=:0 CI=false", "xdg-open", "/bin/xdg-open"},
	} {
		env := func(name string) string {
			for one := range strings.FieldsSeq(c.env) {
				if value, ok := strings.CutPrefix(one, name+"="); ok {
					return value
				}
			}
			return ""
		}
		look := func(name string) (string, error) {
			for one := range strings.FieldsSeq(c.there) {
				if one == name {
					return "/bin/" + name, nil
				}
			}
			return "", exec.ErrNotFound
		}
		if got := strings.Join(opener(c.system, env, look), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
