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
		return bench.Deliver(ctx, args[1], args[2], "", os.Stdin, os.Stdout)
	case len(args) == 4 && args[0] == "deliver":
		return bench.Deliver(ctx, args[1], args[2], args[3], os.Stdin, os.Stdout)
	case len(args) > 0 && args[0] == "fill":
		return fill(ctx, args[1:])
	}
	var o bench.Options
	flags := flag.NewFlagSet("rowbell-bench", flag.ContinueOnError)
	flags.IntVar(&o.Runs, "runs", 5, "rounds of each figure")
	flags.Float64Var(&o.Scale, "scale", 1, "size of the workloads")
	flags.Uint64Var(&o.Seed, "seed", 0, "seed of the order of runs; 0: a random one")
	flags.StringVar(&o.Report, "report", "", "file to write the table to, as Markdown")
	flags.StringVar(&o.Only, "only", "", "measure only workloads whose name starts so: single, thousand, full, all, hundredth, big, queue, webhook, fair, live, drain100k, match; or reads, which is not among all, and of which reads: executions of a tenant is a part; or api, the same over HTTP, of which api: /failures is a part; or pages, which is not either, and without -url fills a database with 10,000 executions")
	flags.IntVar(&o.Readers, "readers", 4, "reads, api: how many read at once")
	flags.IntVar(&o.Pages, "pages", 400, "reads, api: first pages of each read and round; pages: pages of each list of runs")
	flags.BoolVar(&o.Idle, "idle", false, "reads: measure only while no worker records")
	fillFlags(flags, &o.Fill)
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.Log, o.Fill.Log = os.Stdout, os.Stdout
	return bench.Run(ctx, o)
}

// fillFlags are what a database is filled with.
func fillFlags(flags *flag.FlagSet, o *bench.FillOptions) {
	flags.StringVar(&o.URL, "url", "", "an empty database to fill, of a server with wal_level = logical; for reads, api and pages one that fill has filled. Without it a server is started for it, and removed at the end")
	flags.IntVar(&o.Workflows, "workflows", 100_000, "fill, reads: workflows")
	flags.IntVar(&o.Rows, "rows", 10_000_000, "fill, reads: executions in the log")
	flags.IntVar(&o.Tenants, "tenants", 1000, "fill, reads: tenants")
	flags.IntVar(&o.Tables, "tables", 20, "fill, reads: tables that workflows are on")
	flags.IntVar(&o.Days, "days", 7, "fill, reads: days that the log goes back")
	flags.Uint64Var(&o.Seed, "fill-seed", 1, "fill, reads: seed of what is written")
}

// fill fills a database.
func fill(ctx context.Context, args []string) error {
	o := bench.FillOptions{Log: os.Stdout}
	flags := flag.NewFlagSet("rowbell-bench fill", flag.ContinueOnError)
	fillFlags(flags, &o)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.URL == "" {
		return bench.FillServer(ctx, o)
	}
	return bench.Fill(ctx, o)
}
