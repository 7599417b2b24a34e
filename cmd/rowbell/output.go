package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/definition"
)

// outputFormat is how a command shows what it has found. "" is outputTable.
type outputFormat string

const (
	outputTable outputFormat = "table" // for people; may change at any time
	outputJSON  outputFormat = "json"
	outputYAML  outputFormat = "yaml"
)

var outputFormats = []string{string(outputTable), string(outputJSON), string(outputYAML)}

// asData says that a program wants to read what is shown, and not people.
func (c *call) asData() bool { return c.output == outputJSON || c.output == outputYAML }

// writeData writes what is shown for programs. Names of fields are those of the columns in
// SQL; they stay.
func (c *call) writeData(v any) error {
	text, err := marshal(v)
	if err == nil && c.output == outputYAML {
		text = definition.YAMLOf(text)
	}
	if err != nil {
		return fmt.Errorf("write it as %s: %w", c.output, err)
	}
	_, err = c.stdout.Write(text)
	return err
}

// writeOneOf writes one of what comes without end, so that programs can read each when it is
// there: JSON in one line, YAML as a document.
func (c *call) writeOneOf(v any) error {
	text, err := marshal(v)
	if err == nil && c.output == outputYAML {
		text = append([]byte("---\n"), definition.YAMLOf(text)...)
	} else if err == nil {
		var line bytes.Buffer
		err = json.Compact(&line, text)
		text = append(line.Bytes(), '\n')
	}
	if err != nil {
		return fmt.Errorf("write it as %s: %w", c.output, err)
	}
	_, err = c.stdout.Write(text)
	return err
}

// marshal writes JSON, with [] for lists that have nothing in them.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if value := reflect.ValueOf(v); value.IsValid() {
		v = filled(value).Interface()
	}
	err := enc.Encode(v)
	return b.Bytes(), err
}

// filled is a copy of v whose lists are there also where there was none, but for bytes and
// what writes its own JSON, and whose times are in UTC, wherever it is written. It copies
// what it changes.
func filled(v reflect.Value) reflect.Value {
	if v.Kind() == reflect.Pointer && !v.IsNil() && v.Type().Elem() == timeType {
		at := v.Elem().Interface().(time.Time).UTC()
		return reflect.ValueOf(&at)
	}
	if v.Type() == timeType {
		return reflect.ValueOf(v.Interface().(time.Time).UTC())
	}
	if v.Type().Implements(marshaler) || reflect.PointerTo(v.Type()).Implements(marshaler) {
		return v
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			to := reflect.New(v.Type().Elem())
			to.Elem().Set(filled(v.Elem()))
			return to
		}
	case reflect.Interface:
		if !v.IsNil() {
			return filled(v.Elem())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v
		}
		to := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			to.Index(i).Set(filled(v.Index(i)))
		}
		return to
	case reflect.Struct:
		to := reflect.New(v.Type()).Elem()
		to.Set(v)
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				to.Field(i).Set(filled(v.Field(i)))
			}
		}
		return to
	}
	return v
}

var (
	marshaler = reflect.TypeFor[json.Marshaler]()
	timeType  = reflect.TypeFor[time.Time]()
)

// failure is an error for programs.
type failure struct {
	Error string `json:"error"`
	Mend  string `json:"mend,omitempty"` // what to do about it, where that stands apart
}

// fail shows an error as one message and returns the exit code for it.
func fail(w io.Writer, err error, as outputFormat) int {
	switch {
	case errors.Is(err, errShown):
		return exitError
	case errors.Is(err, errDifferent):
		return exitDifferent
	}
	code, text, f := exitError, "rowbell: "+app.Message(err)+"\n", failure{}
	f.Error, f.Mend = app.Explain(err)
	if u, ok := errors.AsType[usage](err); ok {
		code, text = exitUsage, "rowbell: "+u.message+"\nSee "+u.help+"\n"
		f = failure{u.message, "See " + u.help}
	}
	if as == outputJSON || as == outputYAML {
		data, _ := marshal(f) // two texts can be written
		if as == outputYAML {
			data = definition.YAMLOf(data)
		}
		text = string(data)
	}
	_, _ = io.WriteString(w, text)
	return code
}

// wantedOutput is what a command line says of --output. It looks at words alone, for
// errors in how rowbell was called are shown by it too.
func wantedOutput(args []string) outputFormat {
	for i, word := range args {
		value, is := strings.CutPrefix(word, "--"+outputOption.name+"=")
		switch {
		case word == "--":
			return outputTable
		case word == "--"+jsonOption.name:
			return outputJSON
		case word == "--"+outputOption.name && i+1 < len(args):
			return outputFormat(args[i+1])
		case is:
			return outputFormat(value)
		}
	}
	return outputTable
}
