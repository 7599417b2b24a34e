// Package admin is Rowbell's HTTP side. Ops is the listener for who runs it:
// metrics, health and profiles.
package admin
