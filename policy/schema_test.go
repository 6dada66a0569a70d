package policy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"scopeward/policy/strictyaml"
	"scopeward/policy/strictyaml/schematest"
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
				if strings.HasSuffix(f.Name, ".yaml") && f.Name != "case.yaml" {
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

// TestExamplesNameTheSchema lets editors check the examples where they are.
func TestExamplesNameTheSchema(t *testing.T) {
	const line = "# yaml-language-server: $schema="
	for _, name := range matching(t, "examples/*.yaml") {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(data), "\n")
		path, ok := strings.CutPrefix(first, line)
		if !ok || filepath.Join("examples", path) != "policy.schema.json" {
			t.Errorf("%s starts with %q, not with %s../policy.schema.json", name, first, line)
		}
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

// TestSchemaAgreesWithParse changes good policies in each place, in many ways:
// the schema never refuses what the parser takes, and refuses what the parser
// says is wrong in form.
func TestSchemaAgreesWithParse(t *testing.T) {
	_, validator := compileSchema(t)
	taken, refused := 0, 0
	for _, f := range goodPolicies(t) {
		if f.Name != "examples/policy.yaml" && !strings.HasSuffix(f.Name, "good.txtar/policy.yaml") {
			continue
		}
		for _, data := range schematest.Mutations(t, f.Data) {
			verdict := validator.Validate(data)
			if _, err := Parse(File{f.Name, data}); err == nil {
				taken++
				if verdict != nil {
					t.Errorf("the parser takes what the schema refuses: %v\n%s", verdict, data)
				}
				continue
			}
			refused++
			if problems := strictyaml.Decode(f.Name, data, new(fileYAML)); verdict == nil && len(problems) > 0 {
				t.Errorf("the schema takes what has another form: %v\n%s", problems, data)
			}
		}
		if t.Failed() {
			return // one document's differences are enough to read
		}
	}
	if taken < 30 || refused < 500 {
		t.Errorf("%d policies were taken, %d refused: too few to compare", taken, refused)
	}
}
