package app

import "github.com/rowbell/rowbell/actions"

// UnsubscribeURL is the link that a kind puts into what it sends.
func (a *App) UnsubscribeURL(kind string) func(*actions.Delivery) string {
	return a.unsubscribeURL(kind)
}
