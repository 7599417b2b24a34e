// Command rowbell-bench measures a worker against the figures that are to be reached.
// See package bench.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
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
	if len(args) == 4 && args[0] == "drain" { // the measured process; started by the one below
		return bench.Drain(ctx, args[1], args[2], app.CoalesceMode(args[3]), os.Stdout)
	}
	var o bench.Options
	flags := flag.NewFlagSet("rowbell-bench", flag.ContinueOnError)
	flags.IntVar(&o.Runs, "runs", 5, "rounds of each figure")
	flags.Float64Var(&o.Scale, "scale", 1, "size of the workloads")
	flags.Uint64Var(&o.Seed, "seed", 0, "seed of the order of runs; 0: a random one")
	flags.StringVar(&o.Report, "report", "", "file to write the table to, as Markdown")
	flags.StringVar(&o.Only, "only", "", "measure only workloads whose name starts so: single, thousand, full, all, hundredth, big, match")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.Log = os.Stdout
	return bench.Run(ctx, o)
}
