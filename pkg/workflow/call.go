package workflow

// FunctionCall is a call of a function that an operator has registered in
// rowbell.function.
type FunctionCall struct {
	Function string // its name there
	TenantID string // of the workflow that calls; "" = an operators' one
	Key      string // the idempotency key, its first argument
	Payload  []byte // a JSON object, its second argument
	Chain    []byte // what its changes come of, as Chain.JSON; nil for none
}

// CallError says why a call has failed, and everything that it did is undone.
type CallError struct {
	Permanent bool // another try would fail as well
	Err       error
}

func (e *CallError) Error() string { return e.Err.Error() }
func (e *CallError) Unwrap() error { return e.Err }
