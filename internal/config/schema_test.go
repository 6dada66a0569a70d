package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"
	"golang.org/x/tools/txtar"

	"scopeward/authz"
	"scopeward/authz/redis"
	"scopeward/internal/strictyaml"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/schematest"
	"scopeward/internal/testenv/tokentest"
)

func compileSchema(t *testing.T) (strictyaml.JSONSchema, *schematest.Validator) {
	t.Helper()
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	return schema, schematest.Compile(t, schema)
}

func TestCommittedSchema(t *testing.T) {
	schema, _ := compileSchema(t)
	schematest.Committed(t, schema, "../../cmd/scopeward/scopeward.schema.json", "go run ./cmd/scopeward schema config > cmd/scopeward/scopeward.schema.json")
	schematest.Described(t, schema)
}

// loadText is the parser's verdict on a configuration, without its policies.
func loadText(t *testing.T, data []byte) (*Config, error) {
	t.Helper()
	return loadFile(t, filepath.Join(t.TempDir(), "scopeward.yaml"), data)
}

func loadFile(t *testing.T, file string, data []byte) (*Config, error) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return Read(Options{File: file, Secrets: NoSecrets})
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// section gives a file of a script.
func section(t *testing.T, script, name string) []byte {
	t.Helper()
	for _, f := range txtar.Parse(readFile(t, "../../cmd/scopeward/testdata/script/"+script)).Files {
		if f.Name == name {
			return f.Data
		}
	}
	t.Fatalf("%s has no %s", script, name)
	return nil
}

// goodConfigurations are all of the repository that are meant to be good.
func goodConfigurations(t *testing.T) map[string][]byte {
	t.Helper()
	good := map[string][]byte{}
	for _, name := range []string{"scopeward.yaml", "minimal.yaml", "full.yaml"} {
		good[name] = section(t, "check_good.txtar", name)
	}
	block := regexp.MustCompile("(?s)```yaml\n(# scopeward.yaml.*?)```")
	for _, page := range []string{"README.md", "docs/configuration.md"} {
		match := block.FindSubmatch(readFile(t, "../../"+page))
		if match == nil {
			t.Fatalf("%s has no configuration", page)
		}
		good[page] = match[1]
	}
	var demo bytes.Buffer
	if err := template.Must(template.ParseFiles("../../cmd/demo/scopeward.yaml.tmpl")).Execute(&demo, map[string]string{
		"GRPC": "127.0.0.1:1", "Admin": "127.0.0.1:2", "Provider": "http://127.0.0.1:3", "Audience": "api", "ClientID": "demo",
	}); err != nil {
		t.Fatal(err)
	}
	good["demo"] = demo.Bytes()
	idp := tokentest.New(t)
	for _, c := range corpus.Load(t, os.DirFS("../../e2e/testdata/corpus")) {
		for _, mode := range c.Modes {
			good["e2e "+c.Name+" "+mode] = readFile(t, c.Setup(t, t.TempDir(), mode, idp))
		}
	}
	return good
}

func TestSchemaTakesGoodConfigurations(t *testing.T) {
	t.Setenv("CLIENT_SECRET", "from-the-environment")
	_, validator := compileSchema(t)
	for name, data := range goodConfigurations(t) {
		if _, err := loadText(t, data); err != nil {
			t.Errorf("%s: the parser: %v", name, err)
		}
		if err := validator.Validate(data); err != nil {
			t.Errorf("%s: the schema: %v", name, err)
		}
	}
}

func TestSchemaOnBadConfigurations(t *testing.T) {
	_, validator := compileSchema(t)
	for name, refuses := range map[string]bool{"form": true, "meaning": false} {
		for _, f := range txtar.Parse(readFile(t, "testdata/schema/"+name+".txtar")).Files {
			t.Run(name+"/"+f.Name, func(t *testing.T) {
				if _, err := loadText(t, f.Data); err == nil {
					t.Error("the parser takes it")
				}
				if err := validator.Validate(f.Data); (err != nil) != refuses {
					t.Errorf("the schema says %v", err)
				}
			})
		}
	}
}

// TestSchemaAgreesWithLoad changes a configuration in each place, in many ways:
// the schema never refuses what the parser takes, and refuses what the parser
// says is wrong in form.
func TestSchemaAgreesWithLoad(t *testing.T) {
	t.Setenv("CLIENT_SECRET", "from-the-environment")
	_, validator := compileSchema(t)
	file, taken, refused := filepath.Join(t.TempDir(), "scopeward.yaml"), 0, 0
	for _, data := range schematest.Mutations(t, section(t, "check_good.txtar", "full.yaml")) {
		verdict := validator.Validate(data)
		if _, err := loadFile(t, file, data); err == nil {
			taken++
			if verdict != nil {
				t.Errorf("the parser takes what the schema refuses: %v\n%s", verdict, data)
			}
			continue
		}
		refused++
		if problems := strictyaml.Decode("c.yaml", data, new(document)); verdict == nil && len(problems) > 0 {
			t.Errorf("the schema takes what has another form: %v\n%s", problems, data)
		}
	}
	if taken < 100 || refused < 500 {
		t.Errorf("%d configurations were taken, %d refused: too few to compare", taken, refused)
	}
}

// TestDocumentedDefaults writes each default of the schema into a file, which
// then must mean the same as without.
func TestDocumentedDefaults(t *testing.T) {
	schema, _ := compileSchema(t)
	var text bytes.Buffer
	if err := schema.Write(&text); err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text.Bytes(), &root); err != nil {
		t.Fatal(err)
	}
	short := section(t, "check_good.txtar", "scopeward.yaml")
	var doc map[string]any
	if err := yaml.Unmarshal(short, &doc); err != nil {
		t.Fatal(err)
	}
	if n := writeDefaults(doc, root); n < 15 {
		t.Fatalf("the schema has %d defaults only", n)
	}
	for _, p := range doc["providers"].([]any) { // these would have no effect with validation: jwks
		delete(p.(map[string]any), "introspection")
		delete(p.(map[string]any), "lookup")
	}
	delete(doc, "identity_token") // which needs more than its defaults
	long, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	want, err := loadText(t, short)
	if err != nil {
		t.Fatal(err)
	}
	got, err := loadText(t, long)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got,
		cmpopts.IgnoreUnexported(Config{}, authz.Header{}, authz.Document{}, redis.URL{}), cmpopts.IgnoreFields(Provider{}, "ID"),
	); diff != "" {
		t.Errorf("-without +with defaults:\n%s\n%s", diff, long)
	}
}

// writeDefaults adds the defaults of the schema to a document, and counts them.
func writeDefaults(doc, schema map[string]any) int {
	n := 0
	properties, _ := schema["properties"].(map[string]any)
	for name, property := range properties {
		p := property.(map[string]any)
		if value, ok := p["default"]; ok {
			if doc[name] == nil {
				doc[name] = value
			}
			n++
		}
		if list, ok := doc[name].([]any); ok {
			for _, element := range list {
				if e, ok := element.(map[string]any); ok {
					n += writeDefaults(e, p["items"].(map[string]any))
				}
			}
			continue
		}
		inner, _ := doc[name].(map[string]any)
		if inner == nil {
			inner = map[string]any{}
		}
		if added := writeDefaults(inner, p); added > 0 {
			doc[name] = inner
			n += added
		}
	}
	return n
}
