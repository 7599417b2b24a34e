// Container starts a PostgreSQL server in a container for the tests (package pgtest),
// prints its URL and removes it when its standard input ends. With -probe it only asks
// whether a container engine answers.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

func main() {
	probe := flag.Bool("probe", false, "ask whether an engine answers, and exit")
	version := flag.String("version", "", "major version of PostgreSQL (default 17)")
	flag.Parse()
	var err error
	if *probe {
		err = ask(context.Background())
	} else {
		err = serve(context.Background(), cmp.Or(*version, "17"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask(ctx context.Context) error {
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		return err
	}
	return errors.Join(provider.Health(ctx), provider.Close())
}

func serve(ctx context.Context, version string) (err error) {
	c, err := testcontainers.Run(ctx, "docker.io/library/postgres:"+version,
		testcontainers.WithEnv(map[string]string{"POSTGRES_PASSWORD": "postgres"}),
		testcontainers.WithCmd("postgres",
			"-c", "wal_level=logical", "-c", "fsync=off", "-c", "timezone=UTC", "-c", "max_connections=200",
			"-c", "max_wal_senders=64", "-c", "max_replication_slots=64", "-c", "max_prepared_transactions=20"),
		testcontainers.WithExposedPorts("5432/tcp"),
		// The image starts the server twice: the first time to prepare the cluster.
		testcontainers.WithWaitStrategyAndDeadline(2*time.Minute, wait.ForLog("ready to accept connections").WithOccurrence(2), wait.ForListeningPort("5432/tcp")),
	)
	defer func() {
		if c != nil {
			err = errors.Join(err, c.Terminate(context.WithoutCancel(ctx)))
		}
	}()
	if err != nil {
		return err
	}
	endpoint, err := c.PortEndpoint(ctx, "5432/tcp", "")
	if err != nil {
		return err
	}
	fmt.Printf("postgres://postgres:postgres@%s/postgres?sslmode=disable\n", endpoint)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
