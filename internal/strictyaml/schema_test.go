package strictyaml_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "scopeward/internal/strictyaml"
	"scopeward/internal/testenv/schematest"
)

// upper is text that reads itself.
type upper string

func (u *upper) UnmarshalText(b []byte) error { *u = upper(strings.ToUpper(string(b))); return nil }

// inner says of its own schema what reflection can't tell.
type inner struct {
	Text  Text           `yaml:"text"`
	Upper *upper         `yaml:"upper" examples:"[a, b]"`
	Wait  *time.Duration `yaml:"wait" default:"30s"`
}

func (inner) AmendSchema(s JSONSchema) { s.Property("text")["minLength"] = 1 }

type document struct {
	Name    string                       `yaml:"name,required" doc:"What it is called: <name> & more."`
	Kind    Located[string]              `yaml:"kind" enum:"a|b" default:"a"`
	Kinds   []string                     `yaml:"kinds" enum:"a|b" default:"[a]"`
	Some    OneOrMore[Located[int]]      `yaml:"some" default:"1"`
	Number  float64                      `yaml:"number"`
	Count   uint8                        `yaml:"count"`
	Yes     bool                         `yaml:"yes" default:"false"`
	Inner   *inner                       `yaml:"inner"`
	Inners  Located[[]Located[inner]]    `yaml:"inners"`
	Any     any                          `yaml:"any"`
	ByName  map[string]OneOrMore[string] `yaml:"by_name"`
	Ignored chan int
}

const documentSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "additionalProperties": false,
  "properties": {
    "name": {"description": "What it is called: <name> & more.", "type": "string"},
    "kind": {"default": "a", "enum": ["a", "b"], "type": "string"},
    "kinds": {"default": ["a"], "items": {"enum": ["a", "b"], "type": "string"}, "type": "array"},
    "some": {"anyOf": [{"type": "integer"}, {"items": {"type": "integer"}, "type": "array"}], "default": 1},
    "number": {"type": "number"},
    "count": {"minimum": 0, "type": "integer"},
    "yes": {"default": false, "type": "boolean"},
    "inner": INNER,
    "inners": {"items": INNER, "type": "array"},
    "any": {},
    "by_name": {"additionalProperties": {"anyOf": [{"type": "string"}, {"items": {"type": "string"}, "type": "array"}]}, "type": "object"}
  },
  "required": ["name"],
  "type": "object"
}`

const innerSchema = `{"additionalProperties": false, "properties": {
  "text": {"minLength": 1, "type": "string"},
  "upper": {"examples": ["a", "b"], "type": "string"},
  "wait": {"default": "30s", "maximum": 0, "minimum": 0, "pattern": DURATION, "type": ["string", "integer"]}
}, "type": "object"}`

func TestSchema(t *testing.T) {
	schema, err := Schema(&document{})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := schema.Write(&got); err != nil {
		t.Fatal(err)
	}
	duration := `"^[-+]?(0|(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$"`
	want := strings.NewReplacer("INNER", strings.ReplaceAll(innerSchema, "DURATION", duration)).Replace(documentSchema)
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
	if diff := cmp.Diff(squeeze(want), squeeze(got.String())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestSchemaAgreesWithDecode changes a good document in each place, in many ways.
func TestSchemaAgreesWithDecode(t *testing.T) {
	schema, err := Schema(document{})
	if err != nil {
		t.Fatal(err)
	}
	validator := schematest.Compile(t, schema)
	good := []byte(`
name: n
kind: b
kinds: [a, b]
some: [1, 2]
number: 1.5
count: 3
yes: true
inner: {text: t, upper: u, wait: 1h2.5m}
inners: [{wait: 0}, {wait: "-.5µs"}]
any: {a: [1, null]}
by_name: {a: x, b: [x, y]}
`)
	refused := 0
	documents := append(schematest.Mutations(t, good), good)
	for _, text := range documents {
		var d document
		problems, err := Decode("f", text, &d), validator.Validate(text)
		if len(problems) > 0 {
			refused++
		}
		stricter := bytes.Contains(text, []byte(`text: ""`)) // by its AmendSchema
		if (len(problems) > 0 || stricter) != (err != nil) {
			t.Errorf("Decode says %v, the schema %v of\n%s", problems, err, text)
		}
	}
	if refused < 100 || len(documents)-refused < 20 {
		t.Errorf("%d of %d documents are refused: too few to compare", refused, len(documents))
	}
}

func TestDurationPattern(t *testing.T) {
	schema, err := Schema(struct {
		D time.Duration `yaml:"d"`
	}{})
	if err != nil {
		t.Fatal(err)
	}
	validator := schematest.Compile(t, schema)
	for _, text := range []string{"0", "+0", "-0s", "1s", "1.s", ".1s", "1.5h30m", "1us", "1µs", "1μs", "1ms", "2ns", "", ".", "s", ".s", "1", "1.5", "1 s", "1S", "1d", "--1s", "1s ", "1h30", "00", "0h"} {
		_, parse := time.ParseDuration(text)
		if err := validator.Validate([]byte("d: '" + text + "'")); (err == nil) != (parse == nil) {
			t.Errorf("%q: ParseDuration says %v, the schema %v", text, parse, err)
		}
	}
}

func TestSchemaRefusesTypes(t *testing.T) {
	type itself struct {
		Children []*struct {
			More []any `yaml:"more"`
		} `yaml:"children"`
	}
	type tree struct {
		Children []tree `yaml:"children"`
	}
	for name, test := range map[string]struct {
		v    any
		want string
	}{
		"nil":       {nil, "no struct"},
		"no struct": {1, "no struct"},
		"a channel": {struct {
			C chan int `yaml:"c"`
		}{}, "c: there is no schema of Go type chan int"},
		"int keys": {struct {
			M map[int]int `yaml:"m"`
		}{}, "m: there is no schema of Go type map[int]int"},
		"recursion": {tree{}, "holds itself"},
		"default": {struct {
			S string `yaml:"s" default:"["`
		}{}, "s: the tag default is not YAML"},
		"no problem": {itself{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Schema(test.v)
			if test.want == "" && err == nil {
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
