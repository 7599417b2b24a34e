package definition

import (
	"context"

	"github.com/rowbell/rowbell/pkg/store"
)

type expectKey struct{}

type expectation struct {
	id    string
	check func(d *store.Definition) error
}

// Expect gives a context in which a workflow that is read to be edited is judged first, each
// time. The edit is then made of just that state, or conflicts: so that what its caller has
// seen, and may do, is so when it is made.
func Expect(ctx context.Context, id string, check func(d *store.Definition) error) context.Context {
	return context.WithValue(ctx, expectKey{}, expectation{id, check})
}

// current reads a workflow, as Expect has it.
func (s *Service) current(ctx context.Context, id string) (store.Definition, error) {
	d, err := s.Source.Definition(ctx, id)
	if e, ok := ctx.Value(expectKey{}).(expectation); ok && err == nil && e.id == id {
		err = e.check(&d)
	}
	return d, err
}
