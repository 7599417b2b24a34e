// Command rowbell-bench measures a worker against the figures that are to be reached.
// See package bench.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rowbell-bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	// The measured processes and the receiver; started by the one below.
	switch {
	case len(args) == 4 && args[0] == "drain":
		return bench.Drain(ctx, args[1], args[2], app.CoalesceMode(args[3]), os.Stdout)
	case len(args) == 1 && args[0] == "sink":
		return bench.Sink(ctx, os.Stdin, os.Stdout)
	case len(args) == 3 && args[0] == "bare":
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return bench.Bare(ctx, args[1], n, os.Stdout)
	case len(args) == 2 && args[0] == "queue":
		return bench.Queue(ctx, args[1], os.Stdout)
	case len(args) == 3 && args[0] == "deliver":
		return bench.Deliver(ctx, args[1], args[2], os.Stdin, os.Stdout)
	}
	var o bench.Options
	flags := flag.NewFlagSet("rowbell-bench", flag.ContinueOnError)
	flags.IntVar(&o.Runs, "runs", 5, "rounds of each figure")
	flags.Float64Var(&o.Scale, "scale", 1, "size of the workloads")
	flags.Uint64Var(&o.Seed, "seed", 0, "seed of the order of runs; 0: a random one")
	flags.StringVar(&o.Report, "report", "", "file to write the table to, as Markdown")
	flags.StringVar(&o.Only, "only", "", "measure only workloads whose name starts so: single, thousand, full, all, hundredth, big, queue, webhook, fair, live, drain100k, match")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.Log = os.Stdout
	return bench.Run(ctx, o)
}
