package app

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/rowbell/rowbell/pkg/admin/ui"
)

func setClientSecret(c *Config, s string) error {
	c.OIDCClientSecret = Secret(strings.TrimSpace(s))
	return nil
}

// setFrameOrigins reads a list of origins.
func setFrameOrigins(c *Config, s string) error {
	c.FrameOrigins = nil
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if err := checkOrigin(part); err != nil {
			return err
		}
		c.FrameOrigins = append(c.FrameOrigins, strings.TrimRight(part, "/"))
	}
	return nil
}

// checkOrigin judges what may stand in frame-ancestors: not whatever that would take.
func checkOrigin(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.ContainsAny(s, "; '\"*"):
		return fmt.Errorf("%q is no origin. Write it as https://shop.example.com", s)
	case strings.TrimRight(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return fmt.Errorf("%q has more than an origin. Write https://shop.example.com, without a path", s)
	case u.Scheme == "http" && !onThisMachine(u.Hostname()):
		return errors.New("an origin must be https: who can change its pages could show these")
	}
	return nil
}

// validateFrames judges origins that did not come as a text.
func (c Config) validateFrames(bad func(setting, format string, args ...any)) {
	for _, origin := range c.FrameOrigins {
		if err := checkOrigin(origin); err != nil {
			bad("frame-origins", "%s", err)
		}
	}
}

// signInProvider is where people sign in to the pages: the provider whose tokens the API
// takes, if it can send them back.
func (a *App) signInProvider() *ui.Provider {
	if a.cfg.OIDCIssuer == "" || a.cfg.PublicURL == "" {
		return nil
	}
	return &ui.Provider{
		Issuer: a.cfg.OIDCIssuer, ClientID: a.cfg.OIDCAudience, Secret: string(a.cfg.OIDCClientSecret),
		Redirect: strings.TrimRight(a.cfg.PublicURL, "/") + "/signin/back",
	}
}
