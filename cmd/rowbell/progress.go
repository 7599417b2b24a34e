package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// plainEach is how often progress is told where there is no terminal.
const plainEach = 10 * time.Second

// progress tells on standard error how far long work has come: as a bar on a terminal,
// which is gone when the work is done, and as a line now and then elsewhere, but not beside
// data: a program reads errors there.
type progress struct {
	stdout, stderr io.Writer
	what           string
	bar            *progressbar.ProgressBar // nil where there is no terminal
	total          int                      // 0: nobody knows
	told           time.Time
}

// progress begins to tell of what, which has total steps; 0 if nobody knows how many.
func (c *call) progress(what string, total int) *progress {
	p := &progress{stdout: c.stdout, stderr: c.stderr, what: what, total: total, told: time.Now()}
	if c.asData() {
		p.stderr = io.Discard
	}
	if isTerminal(os.Stderr) && os.Getenv("TERM") != "dumb" {
		most := total
		if total == 0 {
			most = -1 // a spinner
		}
		p.bar = progressbar.NewOptions(most,
			progressbar.OptionSetWriter(os.Stderr),
			progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(),
			progressbar.OptionSetElapsedTime(true),
			progressbar.OptionSetPredictTime(total > 0),
			progressbar.OptionThrottle(50*time.Millisecond),
			progressbar.OptionUseANSICodes(true),
			progressbar.OptionFullWidth(),
			progressbar.OptionClearOnFinish(),
		)
		_ = p.bar.RenderBlank() // a bar that can't be shown is no reason to stop
	}
	return p
}

// set says how far it has come.
func (p *progress) set(done int) {
	switch {
	case p.bar != nil:
		_ = p.bar.Set(done)
	case time.Since(p.told) >= plainEach:
		p.told = time.Now()
		if p.total > 0 {
			_, _ = fmt.Fprintf(p.stderr, "%s: %d of %d\n", p.what, done, p.total)
		} else {
			_, _ = fmt.Fprintf(p.stderr, "%s: %d\n", p.what, done)
		}
	}
}

// step says what is being done now.
func (p *progress) step(what string) {
	p.what = what
	if p.bar != nil {
		p.bar.Describe(what)
		return
	}
	_, _ = fmt.Fprintln(p.stderr, what+" …")
}

// line writes a line of what the command has to say while the bar is there.
func (p *progress) line(format string, args ...any) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	_, _ = fmt.Fprintf(p.stdout, format, args...)
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
		p.bar = nil
	}
}
