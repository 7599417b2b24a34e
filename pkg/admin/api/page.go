package api

import (
	"encoding/base64"
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// OptionalText is a query parameter that may be there and empty, which is not the same as not
// to be there: ?tenant= asks for operators' own.
type OptionalText struct {
	Value string
	Set   bool
}

// Schema says that it is a text.
func (OptionalText) Schema(r huma.Registry) *huma.Schema {
	return huma.SchemaFromType(r, reflect.TypeFor[string]())
}

// Receiver is where the library writes the value.
func (o *OptionalText) Receiver() reflect.Value { return reflect.ValueOf(o).Elem().Field(0) }

// OnParamSet is told whether it was there, and not empty; see Request.optional.
func (o *OptionalText) OnParamSet(isSet bool, _ any) { o.Set = isSet }

// TenantFilter is the query parameter of lists that principals for all tenants may restrict.
type TenantFilter struct {
	Tenant OptionalText `query:"tenant" doc:"For principals of all tenants: only what belongs to this tenant; empty for what belongs to none"`
}

// Paging are the query parameters of lists.
type Paging struct {
	Cursor string `query:"cursor" maxLength:"2000" doc:"next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items a page has at most"`
}

// Page is one page of a list.
type Page[T any] struct {
	Items []T    `json:"items" doc:"What was found"`
	Next  string `json:"next,omitempty" doc:"What to give as cursor for the next page; not there on the last one"`
}

// PageOf is a list's answer.
type PageOf[T any] struct {
	Body Page[T]
}

func page[T any](items []T, next string) *PageOf[T] {
	if items == nil {
		items = []T{}
	}
	return &PageOf[T]{Page[T]{items, next}}
}

// encodeCursor makes a cursor of where a page ended.
func encodeCursor(at any) string {
	raw, err := json.Marshal(at)
	if err != nil { // texts, numbers and times
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// decodeCursor reads a cursor.
func decodeCursor(cursor string, at any) error {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(raw, at)
	}
	if err != nil {
		return unprocessable("query.cursor", "give back next as it came, or leave it out for the first page", "the cursor is none that this list has given")
	}
	return nil
}
