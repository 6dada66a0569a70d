package policy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"scopeward/internal/strictyaml"
	"scopeward/internal/testenv/schematest"
)

func compileSchema(t testing.TB) (strictyaml.JSONSchema, *schematest.Validator) {
	t.Helper()
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	return schema, schematest.Compile(t, schema)
}

func TestCommittedSchema(t *testing.T) {
	schema, _ := compileSchema(t)
	schematest.Committed(t, schema, "policy.schema.json", "go run ./cmd/scopeward schema policy > policy/policy.schema.json")
	schematest.Described(t, schema)
}

// goodPolicies are all policies of the repository that are meant to be good.
func goodPolicies(t testing.TB) []File {
	t.Helper()
	var files []File
	add := func(name string, data []byte) { files = append(files, File{name, data}) }
	for _, glob := range []string{"examples/*.yaml", "../cmd/demo/policy.yaml"} {
		for _, name := range matching(t, glob) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			add(name, data)
		}
	}
	for _, glob := range []string{"testdata/match/*.txtar", "testdata/parse/good.txtar", "../e2e/testdata/corpus/*.txtar"} {
		for _, name := range matching(t, glob) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range archive.Files {
				if strings.HasSuffix(f.Name, ".yaml") && f.Name != "case.yaml" && f.Name != "keys.yaml" && f.Name != "revoked.yaml" {
					add(name+"/"+f.Name, f.Data)
				}
			}
		}
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(# policy.yaml\n.*?)```")
	for _, match := range block.FindAllSubmatch(readme, -1) {
		add("README.md", match[1])
	}
	if files[len(files)-1].Name != "README.md" {
		t.Error("the README has no policy")
	}
	return files
}

func matching(t testing.TB, glob string) []string {
	t.Helper()
	names, err := filepath.Glob(glob)
	if err != nil || len(names) == 0 {
		t.Fatalf("nothing is like %s: %v", glob, err)
	}
	return names
}

func TestSchemaTakesGoodPolicies(t *testing.T) {
	_, validator := compileSchema(t)
	for _, f := range goodPolicies(t) {
		if _, err := Parse(f); err != nil {
			t.Errorf("Parse: %v", err)
		}
		if err := validator.Validate(f.Data); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

// TestSchemaTakesWhatParseTakes looks at every policy that is written anywhere in
// the repository, also where tests of other packages use it.
func TestSchemaTakesWhatParseTakes(t *testing.T) {
	_, validator := compileSchema(t)
	taken := 0
	compare := func(name string, data []byte) {
		if _, err := Parse(File{name, data}); err != nil {
			return
		}
		taken++
		if err := validator.Validate(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := filepath.WalkDir("..", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if entry != nil && entry.Name() == ".git" {
				return filepath.SkipDir
			}
			return err
		}
		switch filepath.Ext(path) {
		case ".yaml", ".yml":
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			compare(path, data)
		case ".txtar":
			archive, err := txtar.ParseFile(path)
			if err != nil {
				return err
			}
			for _, f := range archive.Files {
				if strings.HasSuffix(f.Name, ".yaml") {
					compare(path+"/"+f.Name, f.Data)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if taken < 30 {
		t.Errorf("%d policies were compared: where are the others?", taken)
	}
}

func TestSchemaOnBadPolicies(t *testing.T) {
	_, validator := compileSchema(t)
	for name, refuses := range map[string]bool{"form": true, "meaning": false} {
		archive, err := txtar.ParseFile("testdata/schema/" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			t.Run(name+"/"+f.Name, func(t *testing.T) {
				if _, err := Parse(File{f.Name, f.Data}); err == nil {
					t.Error("the parser takes it")
				}
				if err := validator.Validate(f.Data); (err != nil) != refuses {
					t.Errorf("the schema says %v", err)
				}
			})
		}
	}
}

// FuzzSchema looks for policies that the parser takes and the schema refuses.
func FuzzSchema(f *testing.F) {
	_, validator := compileSchema(f)
	for _, file := range goodPolicies(f) {
		f.Add(file.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Parse(File{"p.yaml", data}); err != nil {
			return
		}
		if err := validator.Validate(data); err != nil {
			t.Error(err)
		}
	})
}

// TestSchemaAgreesWithParse changes a good policy in each place, in many ways:
// the schema never refuses what the parser takes, and refuses what the parser
// says is wrong in form.
func TestSchemaAgreesWithParse(t *testing.T) {
	_, validator := compileSchema(t)
	taken, refused := 0, 0
	for _, data := range schematest.Mutations(t, []byte(everyKey)) {
		verdict, problems := validator.Validate(data), strictyaml.Decode("p.yaml", data, new(fileYAML))
		switch {
		case verdict == nil && len(problems) > 0:
			t.Errorf("the schema takes what has another form: %v\n%s", problems, data)
		case verdict == nil:
			taken++
		default:
			refused++
		}
		if verdict == nil || len(problems) > 0 {
			continue // what Parse says too does not matter, and takes it long
		}
		if _, err := Parse(File{"p.yaml", data}); err == nil {
			t.Errorf("the parser takes what the schema refuses: %v\n%s", verdict, data)
		}
	}
	if taken < 50 || refused < 300 {
		t.Errorf("the schema takes %d policies and refuses %d: too few to compare", taken, refused)
	}
}

// everyKey is a policy with each key.
const everyKey = `
version: 1
name: n
paths: {allow: [encoded_slash]}
rules:
  - {match: [/a], public: true}
  - {match: /b, deny: true}
  - {match: "GET h.example/{x}", name: N, scopes: [s], any_scopes: [a, b], when: path.x == "a", mode: audit}
tests:
  - {request: GET /a, scopes: [s], claims: {sub: x}, headers: {x-a: b}, expect: allow, rule: N}
  - {request: GET /a, token: none, expect: missing_token}
`
