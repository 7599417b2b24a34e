package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

var completionCommand = command{
	name:  "completion",
	args:  "SHELL",
	group: groupMore,
	short: "Print what makes a shell complete commands, options and ids",
	long: `What is completed besides commands and options comes from the database that
ROWBELL_SOURCE_URL names, if it answers within a second: ids of workflows, tenants, tables,
destinations, templates, deliveries, replays, storms, pauses, keys and members.

  bash        add to ~/.bashrc:  source <(rowbell completion bash)
  zsh         add to ~/.zshrc, behind compinit:  source <(rowbell completion zsh)
  fish        rowbell completion fish > ~/.config/fish/completions/rowbell.fish
  powershell  add to $PROFILE:  rowbell completion powershell | Out-String | Invoke-Expression`,
	examples:   []example{{"source <(rowbell completion bash)", "for this session of bash"}},
	values:     map[string][]string{"SHELL": shells},
	noSettings: true,
	run: func(_ context.Context, c *call) error {
		if !slices.Contains(shells, c.args[0]) {
			return usage{fmt.Sprintf("there is no completion for %q; there is for %s", c.args[0], strings.Join(shells, ", ")), "rowbell completion --help"}
		}
		return writeCompletion(c.stdout, c.args[0])
	},
}

// writeCompletion writes the script for a shell. The scripts are cobra's: they call rowbell
// with completeWord and the words so far, and get what complete writes.
func writeCompletion(w io.Writer, shell string) error {
	var b strings.Builder
	var err error
	program := &cobra.Command{Use: "rowbell"}
	switch shell {
	case "bash":
		b.WriteString(bashWords)
		err = program.GenBashCompletionV2(&b, true)
	case "zsh":
		err = program.GenZshCompletion(&b)
	case "fish":
		err = program.GenFishCompletion(&b, true)
	case "powershell":
		err = program.GenPowerShellCompletionWithDesc(&b)
	}
	if err != nil {
		return err
	}
	script := b.String()
	if shell == "fish" { // which takes --delivery=redirect: for an option there (cobra 1.10.2)
		script = strings.ReplaceAll(script, `string split --max 1 \t $`, `string split --max 1 -- \t $`)
	}
	_, err = io.WriteString(w, script)
	return err
}

// bashWords is what cobra's script for bash needs of the package bash-completion, for where
// that isn't: macOS, and many servers. Bash ends words at = and :, so --status=d are three
// of them; these are put together again.
const bashWords = `if ! declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
_get_comp_words_by_ref()
{
    local i joined=0
    words=()
    cword=0
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        local word=${COMP_WORDS[i]} last=$((${#words[@]} - 1))
        if ((i > 1)) && { [[ $word == [=:]* ]] || ((joined)); } && [[ ${words[last]} != "" ]]; then
            words[last]+=$word
        else
            words+=("$word")
        fi
        joined=0
        [[ $word == *[=:] && ${COMP_WORDS[i+1]-} != [=:]* ]] && joined=1
        ((i == COMP_CWORD)) && cword=$((${#words[@]} - 1))
    done
    cur=${words[cword]}
    prev=${words[cword - 1]}
}
fi

`
