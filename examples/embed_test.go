package examples_test

import (
	"os"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/examples"
)

// What For replaces is all that the files have of URLs and secrets, and what the manual
// of the receivers starts them with.
func TestFor(t *testing.T) {
	manual, err := os.ReadFile("../docs/receiving-webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{examples.ReceiverURL, examples.Secret} {
		if !strings.Contains(string(manual), want) {
			t.Errorf("%s is not in docs/receiving-webhooks.md", want)
		}
	}
	webhooks := 0
	for _, w := range examples.Workflows() {
		webhooks += strings.Count(w.SQL, "'webhook'")
		sql := strings.ReplaceAll(w.For("<receiver>", "<secret>"), `"url": "<receiver>"`, "")
		sql = strings.ReplaceAll(sql, `"secret": "<secret>"`, "")
		for _, left := range []string{"http:", "https:", "whsec_", "<receiver>", "<secret>"} {
			if strings.Contains(sql, left) {
				t.Errorf("%s: there is more of %s than the demo would replace", w.File, left)
			}
		}
	}
	if webhooks == 0 {
		t.Error("no example has a webhook")
	}
}
