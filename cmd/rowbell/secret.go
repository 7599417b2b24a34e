package main

import (
	"context"
	"fmt"

	"github.com/rowbell/rowbell/pkg/app"
)

// secretCommand has the commands about the keys that seal secrets. None shows a secret.
func secretCommand() command {
	return command{
		name:  "secret",
		args:  "COMMAND",
		short: "Say which keys secrets are sealed with, and seal them with the present one",
		long: `ROWBELL_SECRET_KEY may hold several keys with commas between: the first one seals, and all
open. A key is named by its id, which tells nothing of it.`,
		group: groupOperate,
		examples: []example{
			{"rowbell secret status", ""},
		},
		sub: []command{secretStatusCommand, secretRotateCommand},
	}
}

var secretStatusCommand = command{
	name:  "status",
	short: "Count the secrets by the key that they are sealed with",
	examples: []example{
		{"rowbell secret status", ""},
	},
	options: []option{jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.operate(func(o *app.Operator) error {
			k, err := o.SecretStatus(ctx)
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(k)
			}
			return c.showKeys(&k)
		})
	},
}

func (c *call) showKeys(k *app.KeyStatus) error {
	if len(k.Keys) > 0 {
		rows := [][]string{{"KEY", "USE", "SECRETS"}}
		for _, one := range k.Keys {
			rows = append(rows, []string{one.ID, one.Use, fmt.Sprint(one.Secrets)})
		}
		writeTable(c.stdout, rows)
	}
	var err error
	switch older := k.Older(); {
	case k.Present == "":
		_, err = fmt.Fprintln(c.stdout, "There is no ROWBELL_SECRET_KEY here.")
	case older > 0:
		_, err = fmt.Fprintf(c.stdout, "%s sealed with other keys than the present one: keep those keys.\n", several(older, "secret"))
	default:
		_, err = fmt.Fprintln(c.stdout, "Nothing is sealed with another key than the present one: others can be taken away.")
	}
	if k.Plain > 0 && err == nil {
		_, err = fmt.Fprintf(c.stdout, "%s not sealed yet.\n", several(k.Plain, "secret"))
	}
	return err
}

var secretRotateCommand = command{
	name:  "rotate",
	short: "Seal with the first key what the others have sealed",
	long: `Workers do so by themselves within seconds; this does it at once, and says what is left.
Give it the keys as the workers have them.`,
	options: []option{actorOption},
	examples: []example{
		{"rowbell secret rotate", ""},
	},
	run: func(ctx context.Context, c *call) error {
		return c.operate(func(o *app.Operator) error {
			k, err := o.SecretStatus(ctx)
			if err != nil {
				return err
			}
			p := c.progress("Sealing anew", k.Older())
			n, err := o.RotateSecrets(ctx, p.set)
			p.end()
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(c.stdout, "%s sealed anew.\n", several(n, "secret"))
			if k, err = o.SecretStatus(ctx); err != nil {
				return err
			}
			return c.showKeys(&k)
		})
	},
}
