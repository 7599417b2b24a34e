package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Chain is how executions led to one another: an action's effect was a change, which set
// off a workflow, whose action had an effect. An application that hands on what it was
// given (rowbell.set_chain) lets it be followed, and stopped.
type Chain struct {
	// ID names the whole chain: the event that it began with.
	ID string `json:"id"`
	// Depth counts executions, from 1: a change that came of no workflow sets off
	// executions of depth 1.
	Depth int32 `json:"depth"`
	// Workflows are the ids of the workflows of those executions, the last ChainWorkflows
	// of them.
	Workflows []string `json:"workflows"`
}

// Bounds of what applications hand on.
const (
	ChainWorkflows = 10
	maxChainID     = 64
	maxChainDepth  = 1_000_000
)

// ParseChain reads a message of rowbell.set_chain. Anyone may write one.
func ParseChain(b []byte) (Chain, error) {
	const maxMessage = 4 << 10
	var c Chain
	switch {
	case len(b) > maxMessage:
		return c, fmt.Errorf("it has %d bytes, more than %d", len(b), maxMessage)
	case !utf8.Valid(b): // which Unmarshal lets pass
		return c, errors.New("it is not UTF-8")
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return Chain{}, err
	}
	ok := func(id string) bool { return id != "" && len(id) <= 4*maxChainID && !strings.ContainsRune(id, 0) }
	if !ok(c.ID) || c.Depth < 1 || c.Depth > maxChainDepth || len(c.Workflows) > ChainWorkflows ||
		slices.ContainsFunc(c.Workflows, func(id string) bool { return !ok(id) }) {
		return Chain{}, fmt.Errorf("it is not an id of at most %d characters, a depth from 1 to %d, and at most %d workflows", maxChainID, maxChainDepth, ChainWorkflows)
	}
	return c, nil
}

// Next is the chain as an execution of a workflow goes on with it, for an event: what its
// actions hand out.
func (e *Event) Next(workflowID string) Chain {
	c := Chain{ID: e.ID, Depth: 1, Workflows: []string{workflowID}}
	if e.Chain != nil {
		c.ID, c.Depth = e.Chain.ID, e.Chain.Depth+1
		list := append(slices.Clone(e.Chain.Workflows), workflowID)
		c.Workflows = list[max(0, len(list)-ChainWorkflows):]
	}
	return c
}

// Path is the workflows in words: "… → order-approved → invoice-paid".
func (c *Chain) Path() string {
	s := strings.Join(c.Workflows, " → ")
	if int(c.Depth) > len(c.Workflows) {
		s = "… → " + s
	}
	return s
}

// JSON is the chain as it is handed on and recorded.
func (c *Chain) JSON() []byte {
	if c.Workflows == nil {
		c.Workflows = []string{}
	}
	b, _ := json.Marshal(c) // nothing in it can't be written
	return b
}
