package definition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/template"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// schema is a JSON Schema, or a part of one.
type schema = map[string]any

// Schema is the JSON Schema (2020-12) of the documents that ReadBundle reads: a workflow, or
// a stored template. It is made of what the code itself goes by: action_config of each
// kind's schema, conditions of package condition's, keys and words of the reader's. It
// refuses what the reader refuses for its shape, and configurations that no worker would
// run.
func Schema(kinds *actions.Registry) ([]byte, error) {
	defs := schema{}
	for name, def := range condition.Schemas() {
		defs[name] = def
	}
	if err := addKinds(defs, kinds); err != nil {
		return nil, err
	}
	defs["id"] = schema{"description": "Up to 64 characters, without a dot. A part without one gets one.", "type": "string", "maxLength": 64, "pattern": `^[^.]*$`}
	defs["condition"] = conditionSchema()
	defs["settings"] = settingsSchema(kinds)
	defs["test"] = testSchema()
	defs["workflow"] = workflowSchema(kinds)
	defs["template"] = templateSchema()
	root := schema{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "Rowbell workflow",
		"description": "A workflow, or a stored template that workflows render. See docs/workflows-as-code.md.",
		"type":        "object",
		"if":          schema{"required": []string{templateKey}},
		"then":        ref("template"),
		"else":        ref("workflow"),
		"$defs":       defs,
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func ref(name string) schema { return schema{"$ref": "#/$defs/" + name} }

func saying(of schema, what string) schema {
	of = maps.Clone(of)
	of["description"] = what
	return of
}

// aText is what the reader takes for a text: numbers and words that YAML has another name
// for are texts too, and nothing is the empty one.
func aText(what string) schema {
	return schema{"description": what, "type": []string{"string", "number", "boolean", "null"}}
}

// aNeededText is a text that must not be empty.
func aNeededText(what string) schema {
	return schema{"description": what, "type": []string{"string", "number", "boolean"}, "minLength": 1}
}

// aWord is one of a few; nothing and the empty text are none.
func aWord(what string, words []string) schema {
	return schema{"description": what, "enum": append(anys(words), nil, "")}
}

func anys(words []string) []any {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	return list
}

func aNumber(what string, usual int) schema {
	return schema{"description": what, "type": []string{"integer", "null"}, "minimum": -1 << 31, "maximum": 1<<31 - 1, "default": usual}
}

func orNothing(of schema) schema { return schema{"anyOf": []any{of, schema{"type": "null"}}} }

func listOf(what string, item schema) schema {
	return schema{"description": what, "type": []string{"array", "null"}, "items": item}
}

func workflowSchema(kinds *actions.Registry) schema {
	properties := schema{
		"name":        aText("What people call it."),
		"description": aText("What it is for."),
		"status":      aWord("draft: never runs; active: runs; inactive: is turned off.", statusWords),
		"tenant_id":   aText("The tenant whose rows it sees; without one it is the operators', and sees all."),
		"id":          saying(orNothing(ref("id")), "Its name for commands and URLs: up to 64 characters, without a dot. It can't be changed."),
		"settings":    saying(orNothing(ref("settings")), "Options."),
		"triggers": listOf("What sets it off: any one of these.", schema{
			"type": "object", "required": []string{"entity_type", "operation"}, "additionalProperties": false,
			"properties": schema{
				"entity_type":      schema{"description": "The table (orders, or sales.orders outside schema public), or domain:NAME for events of rowbell.emit.", "type": "string", "minLength": 1, "examples": []string{"orders", "domain:payment.failed"}},
				"operation":        schema{"description": "What happens to the row.", "enum": operationWords},
				"field_conditions": saying(orNothing(ref(condition.SchemaFields)), "What the row must be like: {\"status\": \"approved\", \"total\": {\"gte\": 1000}}. Every row if it is left out."),
				"priority":         aNumber("Executions of one event run in this order, lower first.", 100),
				"id":               orNothing(ref("id")),
			},
		}),
		"conditions": listOf("What must hold besides: all of these.", ref("condition")),
		"actions":    listOf("What it does.", actionSchema(kinds)),
		"recipients": listOf("Who gets what the actions send.", schema{
			"type": "object", "required": []string{"recipient_type", "recipient_id"}, "additionalProperties": false,
			"properties": schema{
				"recipient_type": schema{"description": "What recipient_id names; attribute: a column of the row, which holds the recipient.", "enum": recipientTypes},
				"recipient_id":   aNeededText("The user, role or group, or the name of the column."),
				"action_id":      saying(orNothing(ref("id")), "The action that it is for; all if it is left out."),
				"id":             orNothing(ref("id")),
			},
		}),
		"tests": listOf("Changes, and what the workflow is to say of them. rowbell workflow test runs them, and activating does.", ref("test")),
	}
	for key, limit := range mostParts {
		properties[key].(schema)["maxItems"] = limit.most
	}
	return schema{
		"title": "A workflow", "type": "object", "properties": properties, "additionalProperties": false,
		// Tests stand in one place.
		"not": schema{"required": []string{"tests", "settings"}, "properties": schema{
			"tests": schema{"type": "array"}, "settings": schema{"type": "object", "required": []string{"tests"}},
		}},
	}
}

func conditionSchema() schema {
	var byType []any
	for _, kind := range condition.Types() {
		then := schema{"properties": schema{"condition_config": ref(condition.ConfigSchemas[kind])}, "required": []string{"condition_config"}}
		byType = append(byType, schema{"if": schema{"properties": schema{"condition_type": schema{"const": kind}}, "required": []string{"condition_type"}}, "then": then})
	}
	return schema{
		"type": "object", "required": []string{"condition_type"}, "additionalProperties": false,
		"properties": schema{
			"condition_type":   schema{"description": "field_value: what stands in the row; time_based: when; role_based: who; expression: anything.", "enum": condition.Types()},
			"condition_config": schema{"description": "What it asks; its keys follow condition_type.", "type": "object"},
			"id":               orNothing(ref("id")),
		},
		"allOf": byType,
	}
}

func actionSchema(kinds *actions.Registry) schema {
	var names, whens []string
	var byKind []any
	for _, k := range kinds.Kinds() {
		names = append(names, k.Name)
		whens = append(whens, k.Name+": "+strings.TrimSuffix(k.Title, "."))
		then := schema{"properties": schema{"action_config": ref(kindDef(k.Name))}}
		if required, _ := parsedSchema(kinds, k.Name)["required"].([]any); len(required) > 0 {
			then["required"] = []string{"action_config"}
		}
		byKind = append(byKind, schema{"if": schema{"properties": schema{"action_type": schema{"const": k.Name}}, "required": []string{"action_type"}}, "then": then})
	}
	return schema{
		"type": "object", "required": []string{"action_type"}, "additionalProperties": false,
		"properties": schema{
			"action_type":   schema{"description": "The kind. " + strings.Join(whens, "; ") + ".", "enum": names},
			"action_config": schema{"description": "What it sends, and where; its keys follow action_type.", "type": "object"},
			"order":         aNumber("Equal ones run side by side, a higher one when all lower ones are settled.", 0),
			"id":            orNothing(ref("id")),
		},
		"allOf": byKind,
	}
}

func kindDef(kind string) string { return "action_" + kind }

func parsedSchema(kinds *actions.Registry, kind string) schema {
	var of schema
	_ = json.Unmarshal(kinds.Schema(kind), &of) // the registry has compiled it
	return of
}

// addKinds adds each kind's schema; what it defines itself gets names of its own.
func addKinds(defs schema, kinds *actions.Registry) error {
	for _, k := range kinds.Kinds() {
		of := parsedSchema(kinds, k.Name)
		if of == nil {
			return fmt.Errorf("action kind %s has no schema", k.Name)
		}
		delete(of, "$schema")
		inner, _ := of["$defs"].(schema)
		delete(of, "$defs")
		rename := func(name string) string { return kindDef(k.Name) + "_" + name }
		defs[kindDef(k.Name)] = renamed(of, rename)
		for name, def := range inner {
			defs[rename(name)] = renamed(def, rename)
		}
		properties, _ := defs[kindDef(k.Name)].(schema)["properties"].(schema)
		if own, ok := properties[workflow.OnlyIfKey].(schema); ok {
			own["items"] = ref("condition") // as a workflow's, each by its type
		}
	}
	return nil
}

// renamed is a schema whose $refs name other $defs.
func renamed(v any, rename func(string) string) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(schema, len(v))
		for key, value := range v {
			if name, ok := value.(string); ok && key == "$ref" {
				if name, ok := strings.CutPrefix(name, "#/$defs/"); ok {
					out[key] = "#/$defs/" + rename(name)
					continue
				}
			}
			out[key] = renamed(value, rename)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = renamed(e, rename)
		}
		return out
	}
	return v
}

// settingsSchema describes the settings that there are. Others are let pass, as the reader
// lets them pass.
func settingsSchema(kinds *actions.Registry) schema {
	common := schema{}
	if list := kinds.Kinds(); len(list) > 0 {
		common, _ = parsedSchema(kinds, list[0].Name)["properties"].(schema)
	}
	retry, _ := common["retry"].(schema)
	byKind := schema{}
	for _, k := range kinds.Kinds() {
		byKind[k.Name] = retry
	}
	limit := schema{"anyOf": []any{schema{"type": "integer", "minimum": 1, "maximum": workflow.MaxStorm}, schema{"const": "off"}}}
	properties := schema{
		"firing": schema{
			"description": "every: each change that matches; becomes_true: only changes by which a row begins to match; once_per_row: the first match of each row.",
			"enum":        []any{string(workflow.Every), string(workflow.BecomesTrue), string(workflow.OncePerRow), nil}, "default": string(workflow.Every),
		},
		"locale":     schema{"description": "The language of readers of whom none is known.", "type": "string", "pattern": `^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3})?$`, "examples": []string{"de", "de-AT"}},
		"zone":       schema{"description": "The time zone of readers of whom none is known.", "type": "string", "examples": []string{"Europe/Berlin"}},
		"owners":     schema{"description": "Who is told when it fails.", "type": []string{"array", "null"}, "maxItems": 20, "items": schema{"type": "string", "pattern": "^(user|role|group):."}, "examples": []any{[]string{"user:ann", "role:support"}}},
		"critical":   schema{"description": "true: it reaches people whatever they have opted out of, and in quiet hours too.", "type": []string{"boolean", "null"}},
		"max_depth":  schema{"description": "How many executions may lead to one another.", "type": []string{"integer", "null"}, "minimum": 1, "maximum": workflow.MaxDepthLimit},
		"on_failure": schema{"description": "What becomes of actions with a higher order when one fails for good.", "enum": []any{"stop", "continue", nil}},
		"retry":      schema{"description": "Waits between attempts, for all actions, or by kind.", "anyOf": []any{retry, schema{"type": "object", "properties": byKind, "additionalProperties": false}, schema{"type": "null"}}},
		"storm": schema{"description": "How many matches, in one transaction and in one minute, are delivered without being held.", "anyOf": []any{
			limit,
			schema{"type": "null"},
			schema{"type": "object", "properties": schema{"transaction": orNothing(limit), "minute": orNothing(limit)}, "additionalProperties": false},
		}},
		"tests": listOf("Saved tests: in a file they stand in the document itself.", ref("test")),
	}
	if exclude, ok := common["exclude"].(schema); ok {
		properties["exclude"] = orNothing(exclude)
	}
	return schema{"type": "object", "properties": properties}
}

func testSchema() schema {
	moment := func(what string) schema {
		return schema{"description": what, "type": "string", "pattern": `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`, "examples": []string{"2026-01-31T10:00:00Z"}}
	}
	row := func(what string) schema { return schema{"description": what, "type": []string{"object", "null"}} }
	change := schema{
		"description": "A change that somebody made up. Columns that aren't given are NULL; the tenant's is the workflow's.",
		"type":        []string{"object", "null"}, "additionalProperties": false,
		"properties": schema{
			"entity_type": schema{"description": "The table; may be left out if the workflow is about one.", "type": []string{"string", "null"}},
			"operation":   schema{"description": "What happens to the row; may be left out if the workflow is about one.", "type": []string{"string", "null"}, "enum": append(anys(operationWords), "", nil)},
			"tenant_id":   schema{"description": "Whose domain event it is; the workflow's tenant if not given.", "type": []string{"string", "null"}},
			"new":         row("The row after the change, or the payload of a domain event."),
			"old":         row("Of an update: the columns that were different before. Of a delete: the row."),
			"actor":       row("Who makes the change, as rowbell.set_actor would say."),
			"at":          orNothing(moment("When it commits; " + workflow.TestTime.Format("2006-01-02T15:04:05Z") + " if not given.")),
		},
	}
	event := schema{
		"description": "An event as it was recorded: rowbell workflow test --record writes it.",
		"type":        []string{"object", "null"}, "additionalProperties": false, "required": []string{"entity_type", "operation", "data"},
		"properties": schema{
			"id": schema{"type": "string"}, "entity_type": schema{"type": "string", "minLength": 1}, "operation": schema{"type": "string", "minLength": 1},
			"tenant_id": schema{"type": []string{"string", "null"}}, "row_key": schema{"type": []string{"string", "null"}}, "committed_at": moment("When it committed."),
			"data": schema{"type": "object"},
		},
	}
	recipient := func(kind string, more schema) schema {
		properties := schema{kind: schema{"type": "string", "minLength": 1}}
		maps.Copy(properties, more)
		return schema{"type": "object", "required": []string{kind}, "properties": properties, "additionalProperties": false}
	}
	expect := schema{
		"description": "What the workflow is to say of it.",
		"type":        "object", "required": []string{"fires"}, "additionalProperties": false,
		"properties": schema{
			"fires":      schema{"description": "Whether it fires.", "type": "boolean"},
			"stopped_by": schema{"description": "What stops it: a part of the reason that simulate gives.", "type": []string{"string", "null"}, "examples": []string{"total gte 1000"}},
			"recipients": schema{"description": "Who is told, by all actions together, in any order.", "type": []string{"array", "null"}, "items": schema{"oneOf": []any{
				recipient("user", nil), recipient("role", nil), recipient("group", nil),
				recipient("attribute", schema{"value": schema{"description": "What the column holds.", "type": []string{"string", "null"}}}),
			}}},
			"texts": schema{"description": "What texts of an action say: all of one, or a part.", "type": []string{"array", "null"}, "items": schema{
				"type": "object", "minProperties": 1,
				"properties": schema{"action": schema{"description": "The id of the action; any if it is left out.", "type": "string", "minLength": 1}},
				"additionalProperties": schema{"anyOf": []any{
					schema{"type": "string"},
					schema{"type": "object", "required": []string{"contains"}, "properties": schema{"contains": schema{"type": "string"}}, "additionalProperties": false},
					schema{"type": "object", "required": []string{"equals"}, "properties": schema{"equals": schema{"type": "string"}}, "additionalProperties": false},
				}},
				"if": schema{"required": []string{"action"}}, "then": schema{"minProperties": 2},
			}},
			"left_out": schema{"description": "The ids of all actions that are left out by their only_if, in any order.", "type": []string{"array", "null"}, "items": schema{"type": "string", "minLength": 1}},
		},
		"if":   schema{"properties": schema{"fires": schema{"const": true}}},
		"then": schema{"properties": schema{"stopped_by": schema{"enum": []any{"", nil}}}},
		"else": schema{"properties": schema{"recipients": schema{"type": "null"}, "texts": schema{"type": "null"}, "left_out": schema{"type": "null"}}},
	}
	given := func(key string) schema {
		return schema{"required": []string{key}, "properties": schema{key: schema{"type": "object"}}}
	}
	return schema{
		"type": "object", "required": []string{"name", "expect"}, "additionalProperties": false,
		"properties": schema{
			"name":         schema{"description": "What it is called; no two have one name.", "type": "string", "minLength": 1},
			"change":       change,
			"event":        event,
			"fired_before": schema{"description": "For firing mode once_per_row: it has fired for this row.", "type": []string{"boolean", "null"}},
			"expect":       expect,
		},
		"oneOf": []any{given("change"), given("event")},
	}
}

func templateSchema() schema {
	source := schema{"type": []string{"string", "number", "boolean"}, "maxLength": template.MaxSource}
	named := func(key string) schema {
		return schema{"required": []string{key}, "properties": schema{key: schema{"not": schema{"type": "null"}}}}
	}
	return schema{
		"title": "A stored template", "type": "object", "additionalProperties": false, "required": []string{templateKey},
		"properties": schema{
			templateKey:   schema{"description": "Its name: {% render 'footer' %} renders the one called footer.", "type": []string{"string", "number", "boolean"}, "minLength": 1, "maxLength": 64},
			"description": aText("What it is for."),
			"tenant_id":   aText("Whose it is; without one it is the operators', for all tenants that have none of this name."),
			"source":      orNothing(saying(source, "The text for everybody, in Liquid.")),
			"locales": schema{
				"description": "Texts by language: de, or de-AT.", "type": []string{"object", "null"}, "minProperties": 1,
				"propertyNames": schema{"pattern": `^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$`}, "additionalProperties": source,
			},
		},
		"anyOf": []any{named("source"), named("locales")},
	}
}
