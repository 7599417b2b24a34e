package webhook

import "github.com/rowbell/rowbell/actions"

// appendBody makes the body of a delivery.
func appendBody(d *actions.Delivery) ([]byte, error) { return actions.Body(d) }
