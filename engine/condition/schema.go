package condition

import (
	"github.com/rowbell/rowbell/pkg/workflow"
)

// schema is a JSON Schema, or a part of one, that is written as JSON.
type schema = map[string]any

// Names of what Schemas returns; they refer to one another as #/$defs/NAME.
const (
	SchemaFields     = "field_conditions"       // of a trigger
	SchemaFieldValue = "field_value_config"     // condition_config of each type
	SchemaTimeBased  = "time_based_config"      //
	SchemaRoleBased  = "role_based_config"      //
	SchemaExpression = "expression_config"      //
	schemaCondition  = "field_conditions_group" // a form, or a list of them
	schemaOperators  = "operators"
	schemaValue      = "value"
)

// ConfigSchemas are the names of the schemas of condition_config, by condition_type.
var ConfigSchemas = map[string]string{
	"field_value": SchemaFieldValue, "time_based": SchemaTimeBased, "role_based": SchemaRoleBased, "expression": SchemaExpression,
}

// Types are the kinds of conditions, in the order in which people are told of them.
func Types() []string { return append([]string(nil), conditionTypes...) }

// takes says what the operators of a form take, and what they ask. Each of operators has
// one: a test holds them together.
var takes = map[string]schema{
	"eq":           {"description": "Equals; null asks for NULL.", "$ref": "#/$defs/" + schemaValue},
	"ne":           {"description": "Doesn't equal; NULL doesn't.", "$ref": "#/$defs/" + schemaValue},
	"gt":           one("Is greater than."),
	"gte":          one("Is at least."),
	"lt":           one("Is less than."),
	"lte":          one("Is at most."),
	"in":           listOfValues("Is one of these."),
	"not_in":       listOfValues("Is none of these; NULL is none of them."),
	"contains":     one("A text holds this part, or a list this element."),
	"starts_with":  {"description": "A text starts with this.", "type": "string"},
	"matches":      {"description": "A text matches this regular expression (RE2).", "type": "string", "maxLength": maxPattern},
	"is_null":      {"description": "true: is NULL; false: is not.", "type": "boolean"},
	"not_null":     {"description": "true: is not NULL; false: is.", "type": "boolean"},
	"between":      {"description": "Is between two values, both included.", "type": "array", "items": scalar(), "minItems": 2, "maxItems": 2, "examples": []any{[]any{100, 200}}},
	"changed":      {"description": "true: the update changed it; false: it didn't. Needs the old row in the WAL.", "type": "boolean"},
	"changed_from": oneOrSeveral("The update changed it, from this value or one of these. Needs the old row in the WAL."),
	"changed_to":   oneOrSeveral("The update changed it, to this value or one of these. Needs the old row in the WAL."),
}

func scalar() schema { return schema{"type": []string{"string", "number", "boolean"}} }

func one(what string) schema {
	s := scalar()
	s["description"] = what
	return s
}

func listOfValues(what string) schema {
	return schema{"description": what, "type": "array", "minItems": 1, "items": schema{"not": schema{"type": "null"}}}
}

func oneOrSeveral(what string) schema {
	return schema{"description": what, "if": schema{"type": "array"}, "then": schema{"minItems": 1, "items": schema{"not": schema{"type": "null"}}}}
}

// texts is a list of texts, none of which is empty.
func texts(what string) schema {
	return schema{"description": what, "type": "array", "minItems": 1, "items": schema{"type": "string", "minLength": 1}}
}

// oneOrMore is an object, or a list of such.
func oneOrMore(what string, of schema) schema {
	return schema{"description": what, "oneOf": []any{of, schema{"type": "array", "minItems": 1, "items": of}}}
}

// Schemas are JSON Schemas (2020-12) of what Parse reads, by name. They refuse what Parse
// would refuse for its shape, but for what a schema can't say: depth, length, and days that
// no calendar has.
func Schemas() map[string]any {
	ops := schema{}
	for _, op := range operators {
		ops[op] = takes[op]
	}
	columns := func(group string) schema {
		return schema{
			"type":          "object",
			"propertyNames": schema{"minLength": 1},
			"properties": schema{
				"any":      schema{"description": "At least one of these holds.", "type": "array", "minItems": 1, "items": schema{"$ref": "#/$defs/" + group}},
				"all":      schema{"description": "All of these hold.", "type": "array", "minItems": 1, "items": schema{"$ref": "#/$defs/" + group}},
				"not":      schema{"description": "This doesn't hold.", "$ref": "#/$defs/" + group},
				anyChanged: schema{"description": "The update changed at least one of these columns. Needs the old row in the WAL.", "type": "array", "minItems": 1, "items": schema{"type": "string", "minLength": 1}},
			},
			"additionalProperties": schema{
				"description": "A column: the value that it equals, or operators.",
				"anyOf": []any{
					schema{"$ref": "#/$defs/" + schemaOperators},
					schema{"type": []string{"string", "number", "boolean", "null", "array"}},
				},
			},
		}
	}
	spelledOut := schema{
		"type":                 "object",
		"required":             []string{"field", "operator"},
		"properties":           schema{"field": true, "operator": true, "value": true},
		"additionalProperties": false,
	}
	var byOperator []any
	for _, op := range operators {
		then := schema{"properties": schema{"value": takes[op]}}
		if op != "is_null" && op != "not_null" && op != "changed" {
			then["required"] = []string{"value"}
		}
		byOperator = append(byOperator, schema{"if": schema{"properties": schema{"operator": schema{"const": op}}}, "then": then})
	}
	form := func(group string) schema {
		return schema{
			"description": "Columns and what they are to be like; all of them must hold. {\"status\": \"approved\", \"total\": {\"gte\": 1000}}",
			"if":          spelledOut,
			"then": schema{
				"description": "One comparison, spelled out.",
				"properties": schema{
					"field":    schema{"description": "The column.", "type": "string", "minLength": 1},
					"operator": schema{"description": "What it is asked.", "enum": operators},
				},
				"allOf": byOperator,
			},
			"else": columns(group),
		}
	}
	fields := form(schemaCondition)
	fields["type"] = "object"
	fieldValue := form(schemaCondition)
	fieldValue["type"] = "object"
	fieldValue["minProperties"] = 1
	return map[string]any{
		SchemaFields:     fields,
		SchemaFieldValue: fieldValue,
		schemaCondition: schema{"anyOf": []any{
			schema{"$ref": "#/$defs/" + SchemaFields},
			schema{"type": "array", "minItems": 1, "items": schema{"$ref": "#/$defs/" + schemaCondition}},
		}},
		schemaOperators: schema{"type": "object", "minProperties": 1, "properties": ops, "additionalProperties": false},
		schemaValue:     schema{"type": []string{"string", "number", "boolean", "null", "array", "object"}},
		SchemaExpression: schema{
			"type": "object", "required": []string{"expression"}, "additionalProperties": false,
			"properties": schema{"expression": schema{
				"description": "An expression of expr-lang: new, old, changed(\"column\"), op, event, actor, tenant, now().", "type": "string", "pattern": `\S`,
				"examples": []string{"new.total > 10"},
			}},
		},
		SchemaTimeBased: timedSchema(),
		SchemaRoleBased: rolesSchema(),
	}
}

func timedSchema() schema {
	const hour = `^([01][0-9]|2[0-3]):[0-5][0-9]$`
	const date = `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`
	const duration = `^([0-9]{1,5}[dw]|\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`
	length := func(what string) schema {
		return schema{"description": what, "type": "string", "pattern": duration, "examples": []string{"3d", "2w", "36h", "90m"}}
	}
	properties := schema{
		"zone":  schema{"description": "Time zone of the IANA database; UTC if not given.", "type": "string", "examples": []string{"Europe/Berlin"}},
		"days":  schema{"description": "The change is made on one of these days.", "type": "array", "minItems": 1, "items": schema{"enum": weekdays}, "examples": []any{[]string{"mon", "tue"}}},
		"hours": oneOrMore("It is made from … until before …; over midnight if from is later.", schema{"type": "object", "required": []string{"from", "to"}, "additionalProperties": false, "properties": schema{"from": schema{"type": "string", "pattern": hour, "examples": []string{"09:00"}}, "to": schema{"type": "string", "pattern": hourOfDay.String(), "examples": []string{"17:30"}}}}),
		"dates": oneOrMore("It is made on or between these days.", schema{"type": "object", "minProperties": 1, "additionalProperties": false, "properties": schema{"from": schema{"type": "string", "pattern": date}, "to": schema{"type": "string", "pattern": date}}}),
		"holidays": schema{
			"description": "Days on which it doesn't hold: a date, or a day of every year.", "type": "array", "minItems": 1,
			"items": schema{"type": "string", "pattern": `^([0-9]{4}-)?[0-9]{2}-[0-9]{2}$`}, "examples": []any{[]string{"2026-04-03", "12-25"}},
		},
		"on_holidays":  schema{"description": "true: it holds on the holidays only.", "type": "boolean", "default": false},
		"column":       schema{"description": "A date or time of the row, for within and the like.", "type": "string", "minLength": 1},
		"within":       length("The column is from now until so far ahead."),
		"within_last":  length("The column is from so far back until now."),
		"older_than":   length("The column is farther back than this."),
		"further_than": length("The column is farther ahead than this."),
	}
	// What goes with a column, and the other way round.
	dependent := schema{"on_holidays": []string{"holidays"}}
	var apart []any
	for _, key := range distances {
		dependent[key] = []string{"column"}
		apart = append(apart, schema{"required": []string{key}})
	}
	var asks []any
	for _, key := range timedKeys {
		if key != "zone" && key != "on_holidays" && key != "column" {
			asks = append(asks, schema{"required": []string{key}})
		}
	}
	return schema{
		"description": "When the change is made, or how far away a date of the row is. All keys must hold.",
		"type":        "object", "properties": properties, "additionalProperties": false, "dependentRequired": dependent, "anyOf": asks,
		"if": schema{"required": []string{"column"}}, "then": schema{"anyOf": apart},
	}
}

func rolesSchema() schema {
	lists := schema{
		"roles":      texts("Who makes the change has one of these roles."),
		"all_roles":  texts("Has each of these roles."),
		"not_roles":  texts("Has none of these roles; nobody has none."),
		"actors":     texts("Is one of these."),
		"not_actors": texts("Is none of these."),
	}
	var asks []any
	properties := schema{
		"attributes": schema{"description": "Field conditions on the attributes that rowbell.set_actor was given.", "$ref": "#/$defs/" + schemaCondition},
		"by":         schema{"description": "Who knows the roles: the application's rowbell.set_actor (context, the default), or the directory, which is asked after the match was recorded.", "enum": []string{workflow.ByContext, workflow.ByDirectory}, "default": workflow.ByContext},
	}
	for key, list := range lists {
		properties[key] = list
	}
	for _, key := range workflow.RolesKeys() {
		if key != "by" {
			asks = append(asks, schema{"required": []string{key}})
		}
	}
	return schema{
		"description": "Who makes the change. All keys must hold.",
		"type":        "object", "properties": properties, "additionalProperties": false, "anyOf": asks,
		"not": schema{"required": []string{"attributes", "by"}, "properties": schema{"by": schema{"const": workflow.ByDirectory}}},
	}
}
