package pagestest

import (
	"bufio"
	"context"
	"io"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/demo"
)

// The address that the demo prints opens its dashboard, signed in, and the dashboard moves.
func TestDemoDashboard(t *testing.T) {
	t.Parallel()
	read, write := io.Pipe()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() {
		err := demo.Run(ctx, demo.Options{Out: write, Pause: 60 * time.Millisecond, Version: "test"})
		_ = write.Close()
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the demo ended with %v", err)
		}
	})
	address := make(chan string, 1)
	go func() { // reads all, so that the demo goes on
		defer close(address)
		found := false
		for lines := bufio.NewScanner(read); lines.Scan(); {
			if m := regexp.MustCompile(`http://[0-9.:]+/[A-Z2-7]{26}$`).FindString(lines.Text()); m != "" && !found {
				found = true
				address <- m
			}
		}
	}()
	at, ok := <-address
	if !ok {
		t.Fatal("the demo prints no address")
	}
	w := &world{t: t, base: regexp.MustCompile(`^http://[^/]+`).FindString(at)}
	b := w.open(t, widths[0])
	b.visit(at)
	b.sees("Latest runs")
	w.base = eval[string](b, `location.origin`)
	b.sees("DEMO")
	b.sees("8\nworkflows on")
	figure := func() string { return eval[string](b, `document.querySelectorAll("#figures .tile b")[1].textContent`) }
	eval[bool](b, `window.same = true`)
	for range 3 {
		before := figure()
		b.until("the figures to move", func() bool { return figure() != before })
	}
	if !eval[bool](b, `window.same === true`) {
		t.Error("the page was loaded again")
	}
	b.until("the strip to fill", func() bool {
		return eval[int](b, `[...document.querySelectorAll(".strip .bar.done")].filter((r) => Number(r.getAttribute("height")) > 0).length`) > 5
	})
	b.accessible()
	if os.Getenv("ROWBELL_SHOTS") != "" {
		time.Sleep(40 * time.Second) // a picture of a demo that has run for a while
	}
	b.shot("demo-home-1280")
}
