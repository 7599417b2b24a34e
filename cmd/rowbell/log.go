package main

import (
	"log/slog"
	"os"

	"github.com/rowbell/rowbell/pkg/app"
)

// newLogger writes to w: text on a terminal and JSON elsewhere, unless told otherwise.
func newLogger(w *os.File, cfg app.Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	asText := cfg.LogFormat == app.LogText
	if isTerminal(w) && cfg.LogFormat == app.LogAuto {
		asText = true
		options.ReplaceAttr = shortTime
	}
	if asText {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// shortTime leaves the date out: whoever watches a terminal knows it.
func shortTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.String(slog.TimeKey, a.Value.Time().Format("15:04:05.000"))
	}
	return a
}
