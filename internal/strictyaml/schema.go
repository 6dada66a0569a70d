package strictyaml

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// JSONSchema is a JSON Schema 2020-12, or a part of one, by its keywords.
type JSONSchema map[string]any

// SchemaAmender is a type that says of its own schema what reflection can't
// tell. Its method is called on a zero value, once for each place of the type.
type SchemaAmender interface {
	AmendSchema(schema JSONSchema)
}

// durationPattern is the syntax of time.ParseDuration.
const durationPattern = `^[-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`

// Schema describes the documents that Decode reads into the struct v, or into
// what the pointer v points to. Besides the tags of Decode it reads
//
//	doc:"What it is."           the description
//	default:"30s"               what counts if the key is absent, as YAML
//	examples:"[a, b]"           a YAML list
//
// and lets each SchemaAmender have the last word. An error means that the type
// is none that Decode could read, or that a tag is not YAML.
//
// Decode is stricter where a schema has no words: it tells 1 from 1.0, and
// knows repeated keys, merge keys and tags.
func Schema(v any) (JSONSchema, error) {
	t := reflect.TypeOf(v)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("there is no schema of %T: it is no struct", v)
	}
	schema, err := (&describer{}).describe(t, nil)
	if err != nil {
		return nil, err
	}
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	return schema, nil
}

// Property gives the schema of a key, to be amended.
func (s JSONSchema) Property(name string) JSONSchema {
	return s["properties"].(*properties).schemas[name]
}

// Items gives the schema of the elements of a list; of OneOrMore, that of each
// element and of the only one at once.
func (s JSONSchema) Items() JSONSchema {
	if either, ok := s["anyOf"].([]JSONSchema); ok {
		return either[0]
	}
	return s["items"].(JSONSchema)
}

// List gives the schema of a list itself; of OneOrMore, that of the list form.
func (s JSONSchema) List() JSONSchema {
	if either, ok := s["anyOf"].([]JSONSchema); ok {
		return either[1]
	}
	return s
}

// Values gives the schema of the values of a mapping.
func (s JSONSchema) Values() JSONSchema { return s["additionalProperties"].(JSONSchema) }

// Write writes the schema as indented JSON.
func (s JSONSchema) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(s)
}

// properties are the keys of a struct in the order of its fields.
type properties struct {
	names   []string
	schemas map[string]JSONSchema
}

func (p *properties) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	out.WriteByte('{')
	for i, name := range p.names {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := enc.Encode(name); err != nil {
			return nil, err
		}
		out.WriteByte(':')
		if err := enc.Encode(p.schemas[name]); err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// describer makes schemas of types; within are the structs that it is in.
type describer struct{ within []reflect.Type }

var (
	anyType      = reflect.TypeFor[any]()
	textType     = reflect.TypeFor[Text]()
	durationType = reflect.TypeFor[time.Duration]()
)

// describe follows decoder.value. enum holds for the text within, as there.
func (d *describer) describe(t reflect.Type, enum []string) (schema JSONSchema, err error) {
	zero := reflect.New(t).Interface()
	_, located := zero.(locator)
	_, oneOrMore := zero.(listOrElement)
	_, hasShort := zero.(textOrMapping)
	_, readsText := zero.(encoding.TextUnmarshaler)
	switch {
	case t == anyType:
		return JSONSchema{}, nil
	case located:
		value, _ := t.FieldByName("Value")
		return d.describe(value.Type, enum)
	case t.Kind() == reflect.Pointer:
		return d.describe(t.Elem(), enum)
	case t == durationType: // Go's "0" needs no unit, and is a number in YAML
		schema = JSONSchema{"type": []string{"string", "integer"}, "pattern": durationPattern, "minimum": 0, "maximum": 0}
	case t == textType, readsText, t.Kind() == reflect.String:
		schema = JSONSchema{"type": "string"}
		if enum != nil {
			schema["enum"] = enum
		}
	case oneOrMore:
		var element JSONSchema
		if element, err = d.describe(t.Elem(), enum); err == nil {
			schema = JSONSchema{"anyOf": []JSONSchema{element, {"type": "array", "items": element}}}
		}
	case hasShort:
		var mapping JSONSchema
		if mapping, err = d.kind(t, enum); err == nil {
			schema = JSONSchema{"anyOf": []JSONSchema{{"type": "string"}, mapping}}
		}
	default:
		schema, err = d.kind(t, enum)
	}
	if amender, ok := zero.(SchemaAmender); ok && err == nil {
		amender.AmendSchema(schema)
	}
	return schema, err
}

// kind follows decoder.kind.
func (d *describer) kind(t reflect.Type, enum []string) (JSONSchema, error) {
	switch t.Kind() {
	case reflect.Struct:
		return d.structure(t)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			break
		}
		value, err := d.describe(t.Elem(), enum)
		return JSONSchema{"type": "object", "additionalProperties": value}, err
	case reflect.Slice:
		element, err := d.describe(t.Elem(), enum)
		return JSONSchema{"type": "array", "items": element}, err
	case reflect.Bool:
		return JSONSchema{"type": "boolean"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return JSONSchema{"type": "integer"}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return JSONSchema{"type": "integer", "minimum": 0}, nil
	case reflect.Float32, reflect.Float64:
		return JSONSchema{"type": "number"}, nil
	}
	return nil, fmt.Errorf("there is no schema of Go type %s", t)
}

func (d *describer) structure(t reflect.Type) (JSONSchema, error) {
	if slices.Contains(d.within, t) {
		return nil, fmt.Errorf("there is no schema of Go type %s: it holds itself", t)
	}
	d.within = append(d.within, t)
	defer func() { d.within = d.within[:len(d.within)-1] }()

	info := newStructInfo(t)
	keys := &properties{names: info.names, schemas: map[string]JSONSchema{}}
	schema := JSONSchema{"type": "object", "additionalProperties": false, "properties": keys}
	var required []string
	for _, name := range info.names {
		field := info.fields[name]
		if field.required {
			required = append(required, name)
		}
		property, err := d.property(t.FieldByIndex(field.index), field.enum)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		keys.schemas[name] = property
	}
	if required != nil {
		schema["required"] = required
	}
	return schema, nil
}

func (d *describer) property(f reflect.StructField, enum []string) (JSONSchema, error) {
	schema, err := d.describe(f.Type, enum)
	if err != nil {
		return nil, err
	}
	if doc := f.Tag.Get("doc"); doc != "" {
		schema["description"] = doc
	}
	for _, keyword := range []string{"default", "examples"} {
		text, ok := f.Tag.Lookup(keyword)
		if !ok {
			continue
		}
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return nil, fmt.Errorf("the tag %s is not YAML: %s", keyword, strings.TrimSpace(err.Error()))
		}
		schema[keyword] = value
	}
	return schema, nil
}
