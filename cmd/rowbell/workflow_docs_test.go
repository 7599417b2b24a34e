package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const commandsPage = "../../docs/workflow-commands.md"

// What the manual shows is what the commands print, but for times and people.
func TestWorkflowManual(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(commandsPage)
	if err != nil {
		t.Fatal(err)
	}
	db, run := shop(t)
	db.Exec(t, `truncate rowbell.workflow_definition cascade;
		insert into rowbell.workflow_health (workflow_id, version, tenant_id, verdict) values ('large-order', 1, 'acme', 'ok');
		begin;
		select rowbell.set_actor('ann');
		insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('large-order', 'acme', 'Large order', 'active'), ('stock', null, 'Low stock', 'draft');
		insert into rowbell.workflow_trigger (id, workflow_id, entity_type, operation, field_conditions)
			values ('t1', 'large-order', 'orders', 'update', '{"total": {"gte": 1000}, "status": "approved"}');
		insert into rowbell.workflow_action (id, workflow_id, action_type, action_config)
			values ('a1', 'large-order', 'notification', '{"title": "Order {{ new.id }}: {{ new.total }}"}');
		insert into rowbell.workflow_recipient (id, workflow_id, recipient_type, recipient_id) values ('r1', 'large-order', 'attribute', 'owner');
		commit`)
	path := write(t, "large.yaml", "")
	file := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shown := ""
	before := map[string]func(){
		"check": func() { file(strings.Replace(shown, "status: approved", "stauts: approved", 1)) },
		"draft": func() { file(strings.Replace(shown, "1000", "5000", 1)) },
	}
	masked := func(s string) string {
		s = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`).ReplaceAllString(s, "0000-00-00 00:00:00")
		s = strings.ReplaceAll(s, path, "large.yaml")
		return regexp.MustCompile(`(?m)ann \(\w+\) +`).ReplaceAllString(s, "ann (…) ")
	}
	commands := 0
	for _, m := range regexp.MustCompile("(?s)```(console|yaml)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		if m[1] == "yaml" {
			if shown != m[2] {
				t.Errorf("%s shows\n%sand the command gives\n%s", commandsPage, m[2], shown)
			}
			continue
		}
		for _, shot := range strings.Split(strings.TrimPrefix("\n"+m[2], "\n$ rowbell workflow "), "\n$ rowbell workflow ") {
			command, want, _ := strings.Cut(shot, "\n")
			commands++
			command, redirected, _ := strings.Cut(command, " > ")
			args := strings.Fields(command)
			if f := before[args[0]]; f != nil {
				f()
			}
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "large.yaml", path)
			}
			if args[0] == "draft" || args[0] == "activate" {
				args = append(args, "--actor", "ann")
			}
			r := run(args...)
			got := r.stdout + r.stderr
			if redirected != "" {
				shown = got
				continue
			}
			if strings.TrimSpace(masked(got)) != strings.TrimSpace(masked(want)) {
				t.Errorf("rowbell workflow %s gives\n%s\nand %s shows\n%s", command, got, commandsPage, want)
			}
		}
	}
	if commands < 8 {
		t.Errorf("%s shows %d commands", commandsPage, commands)
	}
}
