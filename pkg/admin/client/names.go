package client

import (
	"context"
	"net/url"
	"strings"

	"github.com/rowbell/rowbell/pkg/store"
)

// mostNames is how many are looked at: more can't be chosen from.
const mostNames = 100

// Names lists names that start with begun, for somebody who is writing one, as app.Operator's
// method of this name does: of is one of app.NamesOf. Of what the server has no list there
// are none.
func (c *Client) Names(ctx context.Context, of, begun string) ([]store.Named, error) {
	var list []store.Named
	add := func(name, says string) bool {
		if strings.HasPrefix(name, begun) {
			list = append(list, store.Named{Name: name, Says: says})
		}
		return len(list) < mostNames
	}
	switch of {
	case "workflows":
		for w, err := range each[store.ListedWorkflow](ctx, c, "/workflows", url.Values{"sort": {"updated"}}) {
			if err != nil || !add(w.ID, w.Name) {
				return list, err
			}
		}
	case "templates":
		all, err := whole[struct{ Name, Description string }](ctx, c, "/templates", nil)
		if err != nil {
			return nil, err
		}
		for i, t := range all {
			if i == 0 || t.Name != all[i-1].Name {
				add(t.Name, t.Description)
			}
		}
	case "tables":
		all, err := whole[struct{ Label string }](ctx, c, "/tables", nil)
		if err != nil {
			return nil, err
		}
		for _, t := range all {
			add(t.Label, "")
		}
	}
	return list, nil
}
