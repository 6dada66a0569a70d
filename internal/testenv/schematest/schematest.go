// Package schematest holds a JSON Schema against the parser that it describes.
// It is for tests.
package schematest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"scopeward/internal/strictyaml"
)

// Validator tells what the schema says of a YAML document, as an editor would.
type Validator struct{ schema *jsonschema.Schema }

// Compile checks the schema itself first, against that of JSON Schema 2020-12.
func Compile(t testing.TB, schema strictyaml.JSONSchema) *Validator {
	t.Helper()
	var text bytes.Buffer
	if err := schema.Write(&text); err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(&text)
	if err != nil {
		t.Fatal(err)
	}
	return NewDocument(t, doc).Compile(t, "")
}

// Document has schemas that refer to each other.
type Document struct{ compiler *jsonschema.Compiler }

// NewDocument takes what encoding/json makes of one.
func NewDocument(t testing.TB, doc any) *Document {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	return &Document{compiler}
}

// Compile compiles the schema at a JSON pointer, as in /components/schemas/Pod.
func (d *Document) Compile(t testing.TB, pointer string) *Validator {
	t.Helper()
	compiled, err := d.compiler.Compile("schema.json#" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	return &Validator{compiled}
}

// Validate gives an error for what the schema refuses, and for what is not YAML.
func (v *Validator) Validate(data []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return err
	}
	if len(doc.Content) != 1 {
		return fmt.Errorf("no document")
	}
	instance, err := value(doc.Content[0])
	if err != nil {
		return err
	}
	text, err := json.Marshal(instance)
	if err != nil {
		return err
	}
	if instance, err = jsonschema.UnmarshalJSON(bytes.NewReader(text)); err != nil {
		return err
	}
	return v.schema.Validate(instance)
}

// value reads a node as YAML 1.2 has it, where dates are text.
func value(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.AliasNode:
		return value(n.Alias)
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if _, repeated := out[key]; repeated {
				return nil, fmt.Errorf("key %q is repeated", key)
			}
			var err error
			if out[key], err = value(n.Content[i+1]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, e := range n.Content {
			var err error
			if out[i], err = value(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	switch n.Tag {
	case "!!str", "!!timestamp", "!!merge":
		return n.Value, nil
	}
	var out any
	err := n.Decode(&out)
	return out, err
}

// Committed fails the test if the published file is not the schema; refresh is
// the command that makes it so.
func Committed(t testing.TB, schema strictyaml.JSONSchema, file, refresh string) {
	t.Helper()
	var want bytes.Buffer
	if err := schema.Write(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; make it by: %s", err, refresh)
	}
	if diff := cmp.Diff(want.String(), strings.ReplaceAll(string(got), "\r\n", "\n")); diff != "" {
		t.Errorf("%s is not what the definitions give; refresh it by: %s\n-want +got:\n%s", file, refresh, diff)
	}
}

// Described fails the test for each key without a description, or with one that
// is no sentence.
func Described(t testing.TB, schema strictyaml.JSONSchema) {
	t.Helper()
	var text bytes.Buffer
	if err := schema.Write(&text); err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	described(t, "", doc)
}

func described(t testing.TB, path string, schema any) {
	s, _ := schema.(map[string]any)
	properties, _ := s["properties"].(map[string]any)
	for name, property := range properties {
		p, _ := property.(map[string]any)
		if doc, _ := p["description"].(string); !strings.HasSuffix(doc, ".") {
			t.Errorf("%s/%s has no doc tag that ends with a full stop: %q", path, name, doc)
		}
		described(t, path+"/"+name, p)
	}
	if items, ok := s["items"]; ok {
		described(t, path+"[]", items)
	}
	either, _ := s["anyOf"].([]any)
	for _, s := range either {
		described(t, path, s)
	}
}

// Mutations gives documents that differ from a YAML document in one value,
// which is of another type, empty or gone, or in one key, which is misspelt.
func Mutations(t testing.TB, data []byte) [][]byte {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	emit := func() {
		text, err := yaml.Marshal(&doc)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
	var replacements []*yaml.Node
	for _, text := range []string{"null", "[]", "{}", "{a: b}", "7", "-1", "1.5", "false", `""`, "x", "'7'", "[x, x]"} {
		var r yaml.Node
		if err := yaml.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		replacements = append(replacements, r.Content[0])
	}
	mutate(doc.Content[0], replacements, emit)
	return out
}

// mutate changes the node in place, calls emit, and changes it back.
func mutate(n *yaml.Node, replacements []*yaml.Node, emit func()) {
	original := *n
	for _, r := range replacements {
		*n = *r
		emit()
	}
	*n = original
	for i, child := range original.Content {
		isKey := n.Kind == yaml.MappingNode && i%2 == 0
		if isKey {
			name := child.Value
			child.Value += "x"
			emit()
			child.Value = name
			n.Content = append(append([]*yaml.Node{}, original.Content[:i]...), original.Content[i+2:]...)
			emit()
			n.Content = original.Content
			continue
		}
		mutate(child, replacements, emit)
	}
}
