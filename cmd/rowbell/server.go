package main

import (
	"fmt"
	"os"

	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
)

// through gives f what a command works on: the databases, or a server where the settings
// name one. S has what the commands of a group need; both can do it.
func through[S any](c *call, database func(*app.Operator) (S, error), server func(*client.Client) S, f func(S) error) error {
	s, err := c.server()
	if err != nil {
		return err
	}
	if s == nil {
		return c.operate(func(o *app.Operator) error {
			of, err := database(o)
			if err != nil {
				return err
			}
			return f(of)
		})
	}
	if c.acts && c.has(actorOption.name) {
		return usage{"--actor goes with the databases: by a server it is done in the name of the key", "rowbell " + c.name + " --help"}
	}
	defer s.Close()
	return f(server(s))
}

// server is the one that the settings name; nil if the command is to work on the databases.
func (c *call) server() (*client.Client, error) {
	s, err := app.LoadServer(c.settings, os.LookupEnv)
	if err != nil {
		return nil, usage{app.Message(err), "rowbell help settings"}
	}
	if s != nil {
		if warning := s.OpenKeyFile(); warning != "" {
			fmt.Fprintf(c.stderr, "rowbell: %s\n", warning)
		}
	}
	return clientOf(s), nil
}

func clientOf(s *app.Server) *client.Client {
	if s == nil {
		return nil
	}
	version, _ := buildInfo()
	return client.New(client.Config{URL: s.URL, Key: string(s.Key), KeyFrom: s.KeyFrom, Version: version})
}

// onDatabase refuses a server for a command that works on the databases alone: one that its
// line names, or one in whose company no database is named.
func (c *call) onDatabase() error {
	named, given := c.settings["server"]
	has, err := app.HasSource(c.settings, os.LookupEnv)
	if err != nil {
		return nil // which is told when the settings are read
	}
	if given && named != "" {
		return usage{fmt.Sprintf("rowbell %s works on the database itself, and not by a server: leave --server out, and name the database by ROWBELL_SOURCE_URL or --source-url", c.name), "rowbell " + c.name + " --help"}
	}
	if !has && app.HasServer(c.settings, os.LookupEnv) {
		return usage{fmt.Sprintf("rowbell %s works on the database itself, and not by a server: name the database by ROWBELL_SOURCE_URL or --source-url", c.name), "rowbell " + c.name + " --help"}
	}
	return nil
}
