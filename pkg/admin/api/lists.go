package api

import (
	"encoding/json"
	"reflect"
)

var marshaler = reflect.TypeFor[json.Marshaler]()

// fill makes lists and maps of an answer that are nil empty ones, as the document has them:
// JSON would have null. v is an answer of its own, which nobody else reads.
func fill(v reflect.Value) {
	if v.Kind() != reflect.Pointer && (v.Type().Implements(marshaler) || reflect.PointerTo(v.Type()).Implements(marshaler)) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fill(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Tag.Get("json") != "-" && (f.IsExported() || f.Anonymous) {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		switch {
		case v.Type().Elem().Kind() == reflect.Uint8: // a text
		case v.IsNil() && v.CanSet():
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		default:
			for i := range v.Len() {
				fill(v.Index(i))
			}
		}
	case reflect.Map:
		if v.IsNil() && v.CanSet() {
			v.Set(reflect.MakeMap(v.Type()))
		}
	}
}
