package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
)

var yesOption = option{"yes", "", "Don't ask"}

// errDeclined is the answer no.
var errDeclined = errors.New("nothing was done")

// confirm asks whether something is wanted that can't be taken back: would is what it would
// do, as "delete template footer". Where nobody can be asked --yes must be given.
func (c *call) confirm(would string) error {
	if c.has(yesOption.name) {
		return nil
	}
	if !isTerminal(os.Stdin) {
		return usage{"this would " + would + ". Add --yes to do it", "rowbell " + c.name + " --help"}
	}
	return c.ask("This would " + would + ".\nGo on?")
}

// ask asks, on standard error: what is shown may go to a file. Anything but yes is no.
func (c *call) ask(question string) error {
	_, _ = fmt.Fprint(c.stderr, question+" [y/N] ")
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		_, _ = fmt.Fprintln(c.stderr) // the cursor stands behind the question
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errDeclined
}

// warned is confirm for what deployments run without a terminal, by the manual's advice: it
// asks only where somebody can be asked.
func (c *call) warned(would string) error {
	if !isTerminal(os.Stdin) {
		return nil
	}
	return c.confirm(would)
}
