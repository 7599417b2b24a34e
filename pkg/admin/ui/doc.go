// Package ui is the web pages: HTML made on the server, for people who administer workflows.
//
// A page does nothing by itself. What it shows and what it changes it asks of the API, in the
// same process and with what its visitor has shown (see call.go): so rights, tenants, limits
// and the audit log are the API's, and there is nothing that a page may and a program may not.
//
// Each page is a file here and one below templates. A handler gets a visit, asks the API, and
// returns a page: the name of a template and its data. Where htmx asks for a part of a page,
// the template of that name is sent alone.
//
// Everything that a browser needs is embedded. Nothing is fetched from elsewhere, and no
// script or style stands in a page: the Content-Security-Policy allows none.
package ui
