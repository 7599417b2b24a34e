package app

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
)

// secretFile is a file that holds something secret, and what.
type secretFile struct {
	path, holds string
}

// findSecretFiles are the files that settings are, or name, in which secrets stand.
func (c *Config) findSecretFiles(in places) {
	for _, s := range settings {
		if v := in.file[s.Key()]; v.text != "" && (s.Secret || s.Flag == keySetting) {
			c.secretFiles = append(c.secretFiles, secretFile{in.path, s.Env()})
			break // the first says enough
		}
	}
	if c.KeyFile != "" {
		c.secretFiles = append(c.secretFiles, secretFile{c.KeyFile, "an API key"})
	}
	if c.NATSCreds != "" {
		c.secretFiles = append(c.secretFiles, secretFile{c.NATSCreds, "credentials of NATS"})
	}
}

// othersMay are the rights of everybody to read or to change a file, in its mode.
const othersMay = 0o006

// openFile says that everybody on this machine may read a file with a secret, or change it, and
// how to mend that; "" they may not, or it isn't there, which whoever reads it tells. (On Windows
// a mode says nothing of that.)
func openFile(path, holds string) (text, mend string) {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&othersMay == 0 || !info.Mode().IsRegular() {
		return "", ""
	}
	can := "be read"
	if info.Mode().Perm()&0o004 == 0 {
		can = "be changed"
	}
	return fmt.Sprintf("%s holds %s, and can %s by everybody on this machine (its mode is %#o)", path, holds, can, info.Mode().Perm()), "chmod o-rwx " + shellWord(path)
}

// shellWord writes a path for a shell.
func shellWord(path string) string {
	if shellPlain.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

var shellPlain = regexp.MustCompile(`^[A-Za-z0-9/._-]+$`)

// OpenKeyFile says of the file that holds the key for a server that everybody may read it; "" if
// that isn't so.
func (s *Server) OpenKeyFile() string {
	if !s.keyInFile {
		return ""
	}
	text, mend := openFile(s.KeyFrom, "an API key")
	if text == "" {
		return ""
	}
	return text + ". Keep it to yourself: " + mend
}

// examineFiles looks who may read files with secrets.
func (d *doctor) examineFiles() {
	for _, f := range d.cfg.secretFiles {
		if text, mend := openFile(f.path, f.holds); text != "" {
			d.report.add(LevelWarning, "files", text, mend)
		} else if _, err := os.Stat(f.path); err == nil {
			d.report.ok("files", "%s is not everybody's to read", f.path)
		}
	}
}
