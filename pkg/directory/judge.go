package directory

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Judge says why an actor with these roles is not who a role condition asks for; "" if
// they are. Without an actor, "", there are no roles.
func Judge(r workflow.Roles, actor string, has []string) string {
	in := func(list []string) func(string) bool {
		return func(s string) bool { return slices.Contains(list, s) }
	}
	who, roles := actor+" has", "the roles "+names(has)
	switch {
	case actor == "":
		who, roles = "there is no actor (rowbell.set_actor), and so", "no roles"
	case len(has) == 0:
		roles = "no roles"
	case len(has) == 1:
		roles = "the role " + has[0]
	}
	is := who + " " + roles
	switch {
	case len(r.Any) > 0 && !slices.ContainsFunc(r.Any, in(has)):
		return fmt.Sprintf("%s, and not %s", is, one(r.Any))
	case slices.ContainsFunc(r.All, func(s string) bool { return !slices.Contains(has, s) }):
		missing := slices.DeleteFunc(slices.Clone(r.All), in(has))
		return fmt.Sprintf("%s, and not %s", is, names(missing))
	case slices.ContainsFunc(r.None, in(has)):
		found := slices.DeleteFunc(slices.Clone(r.None), func(s string) bool { return !slices.Contains(has, s) })
		return fmt.Sprintf("%s, and may not have %s", is, names(found))
	case len(r.Actors) > 0 && (actor == "" || !slices.Contains(r.Actors, actor)):
		if actor == "" {
			return "there is no actor (rowbell.set_actor), and it is to be " + one(r.Actors)
		}
		return fmt.Sprintf("the actor is %s, and not %s", actor, one(r.Actors))
	case actor != "" && slices.Contains(r.NotActors, actor):
		return fmt.Sprintf("the actor is %s, which may not be", actor)
	}
	return ""
}

// Asks says that a role condition needs to know roles, not only who it is.
func Asks(r workflow.Roles) bool { return len(r.Any)+len(r.All)+len(r.None) > 0 }

func one(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return "one of " + names(list)
}

// names joins names for a sentence, at most ten of them.
func names(list []string) string {
	if len(list) > 10 {
		return strings.Join(list[:10], ", ") + fmt.Sprintf(" and %d more", len(list)-10)
	}
	return strings.Join(list, ", ")
}
