package log_test

import (
	"testing"

	"github.com/rowbell/rowbell/actions/actiontest"
	"github.com/rowbell/rowbell/actions/log"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	actiontest.Run(t, actiontest.Subject{
		Kind:  log.Kind(),
		Valid: []string{`{}`},
		Invalid: map[string][]string{
			`{"level": "info"}`: {"level", "there is no such key"},
			`[]`:                {"not a JSON object"},
		},
	})
}
