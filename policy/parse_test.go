package policy

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"scopeward/internal/strictyaml"
)

// eachArchive runs a test for each txtar file that matches a glob: its policy
// files, and the one section that is none.
func eachArchive(t *testing.T, glob, section string, test func(t *testing.T, files []File, text string)) {
	t.Helper()
	names, err := filepath.Glob(glob)
	if err != nil || len(names) == 0 {
		t.Fatalf("no test in %s: %v", glob, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var files []File
			text, found := "", false
			for _, f := range archive.Files {
				if f.Name == section {
					text, found = string(f.Data), true
					continue
				}
				files = append(files, File{f.Name, f.Data})
			}
			if !found {
				t.Fatalf("%s has no section %s", name, section)
			}
			test(t, files, text)
		})
	}
}

func TestParse(t *testing.T) {
	eachArchive(t, "testdata/parse/*.txtar", "problems", func(t *testing.T, files []File, want string) {
		set, err := Parse(files...)
		got := ""
		if err != nil {
			var problems strictyaml.Problems
			if !errors.As(err, &problems) || set != nil {
				t.Fatalf("got set %v and %T", set, err)
			}
			got = err.Error() + "\n"
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestParseWithoutFiles(t *testing.T) {
	if set, err := Parse(); err == nil || set != nil {
		t.Errorf("got %v and %v", set, err)
	}
}

func TestVersion(t *testing.T) {
	version := func(files ...File) string {
		set, err := Parse(files...)
		if err != nil {
			t.Fatal(err)
		}
		return set.Version()
	}
	a := File{"a.yaml", []byte("version: 1\nrules: [{match: /a}]")}
	b := File{"b.yaml", []byte("version: 1\nrules: [{match: /b}]")}
	elsewhere := File{"/etc/a.yaml", a.Data}
	if got := version(a); len(got) != 12 || got != version(a) || got != version(elsewhere) {
		t.Errorf("got %q, then %q and %q", got, version(a), version(elsewhere))
	}
	for _, other := range [][]File{{b}, {a, b}, {b, a}, {{"c.yaml", a.Data}}} {
		if version(other...) == version(a) {
			t.Errorf("%v has the version of a.yaml", other)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("b.yaml", "version: 1\nrules: [{match: /b}]")
	write("a.yml", "version: 1\nrules: [{match: /a}]")
	write(".hidden.yaml", "no policy")
	write("README.md", "no policy")
	set, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rule := range set.Rules() {
		got = append(got, rule.Patterns[0].Text+" "+filepath.Base(rule.Pos.String()))
	}
	if diff := cmp.Diff([]string{"/a a.yml:2:9", "/b b.yaml:2:9"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	bad := write("bad.yaml", "version: 1\nrules: [{match: x}]")
	empty := t.TempDir()
	missing := filepath.Join(dir, "missing.yaml")
	_, err = Load(missing, bad, empty)
	want := []string{
		missing + ": cannot be read: no such file or directory",
		bad + `:2:17: pattern "x" has no path: it needs a /`,
		empty + ": the folder has no *.yaml or *.yml file",
	}
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("got\n%v\nwithout\n%s", err, w)
		}
	}
	if set, err := Load(missing); err == nil || set != nil || strings.Contains(err.Error(), "no policy file") {
		t.Errorf("got %v and %v", set, err)
	}
	if set, err := Load(missing, filepath.Join(dir, "a.yml")); err == nil || set != nil {
		t.Errorf("one good file of two: got %v and %v", set, err)
	}
}

// TestLoadLeavesNothingOutInSilence: a file in a folder of policies counts, or is a mistake.
func TestLoadLeavesNothingOutInSilence(t *testing.T) {
	const text = "version: 1\nrules: [{match: /NAME}]"
	for name, test := range map[string]struct {
		files, also []string
		link        [2]string
		rules       int
		problem     string
	}{
		"upper case":                   {[]string{"a.yaml", "ADMIN.YAML", "B.Yml"}, nil, [2]string{}, 3, ""},
		"a folder below":               {[]string{"a.yaml", "team/b.yaml"}, nil, [2]string{}, 0, "team/b.yaml: does not count"},
		"deeper":                       {[]string{"a.yaml", "x/y/B.YML"}, nil, [2]string{}, 0, "x/y/B.YML: does not count"},
		"nothing but a folder below":   {[]string{"team/b.yaml"}, nil, [2]string{}, 0, "team/b.yaml: does not count"},
		"a folder below that is given": {[]string{"a.yaml", "team/b.yaml"}, []string{"team"}, [2]string{}, 2, ""},
		"a file below that is given":   {[]string{"a.yaml", "team/b.yaml"}, []string{"team/b.yaml"}, [2]string{}, 2, ""},
		"a folder of others":           {[]string{"a.yaml", "docs/README.md"}, nil, [2]string{}, 1, ""},
		"a linked folder":              {[]string{"a.yaml", ".data/b.yaml"}, nil, [2]string{".data", "team"}, 0, "team/b.yaml: does not count"},
		"hidden, as in Kubernetes":     {[]string{"a.yaml", "..2026/a.yaml", ".git/x.yaml", ".b.yaml"}, nil, [2]string{"..2026", "..data"}, 1, ""},
		"backups of editors":           {[]string{"a.yaml", "a.yaml~", "#a.yaml#", ".a.yaml.swp"}, nil, [2]string{}, 1, ""},
		"a backup":                     {[]string{"a.yaml", "policy.yml.bak"}, nil, [2]string{}, 0, "policy.yml.bak: does not count"},
		"two endings":                  {[]string{"a.yaml", "b.YAML.txt"}, nil, [2]string{}, 0, "b.YAML.txt: does not count"},
		"switched off":                 {[]string{"a.yaml", "b.yaml.disabled"}, nil, [2]string{}, 0, "b.yaml.disabled: does not count"},
		"other files":                  {[]string{"a.yaml", "README.md", "policy.schema.json"}, nil, [2]string{}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for i, file := range test.files {
				path := filepath.Join(dir, file)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(strings.ReplaceAll(text, "NAME", strconv.Itoa(i))), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			if test.link[0] != "" {
				if err := os.Symlink(test.link[0], filepath.Join(dir, test.link[1])); err != nil {
					t.Fatal(err)
				}
			}
			paths := []string{dir}
			for _, also := range test.also {
				paths = append(paths, filepath.Join(dir, also))
			}
			set, err := Load(paths...)
			switch {
			case test.problem != "":
				if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, test.problem[:strings.Index(test.problem, ":")])+test.problem[strings.Index(test.problem, ":"):]) {
					t.Errorf("got %v", err)
				}
			case err != nil:
				t.Error(err)
			case len(set.Rules()) != test.rules:
				t.Errorf("got %d rules", len(set.Rules()))
			}
		})
	}
}

// FuzzParse checks that no file makes the parser panic or hang, that problems
// have places, and that what is accepted decides without a panic.
func FuzzParse(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range append(seeds, "examples/policy.yaml") {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(archive.Files) == 0 {
			f.Add(archive.Comment)
		}
		for _, file := range archive.Files {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := Parse(File{"p.yaml", data})
		if err != nil {
			var problems strictyaml.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("error %T has no problems", err)
			}
			for _, p := range problems {
				if p.File != "p.yaml" || strings.ContainsAny(p.Message, "\r\n") || p.Message == "" || p.Line < 1 || p.Column < 1 {
					t.Errorf("problem without a good place or message: %q", p)
				}
			}
			return
		}
		for _, target := range []string{"/", "/users/42", "/a%2Fb", "/public/a/b?c=d&e=%zz"} {
			r, err := NewRequest("GET", "example.com", target)
			if err != nil {
				t.Fatal(err)
			}
			m, err := set.Match("", &r)
			if err != nil {
				continue
			}
			if m.Rule() == nil != (m.Action() == "") {
				t.Errorf("action %q of rule %v", m.Action(), m.Rule())
			}
			if d := m.Decide(nil); d.Code == Allowed && m.Access() != AccessPublic {
				t.Errorf("%s is allowed without a token", target)
			}
			if d := m.Decide(&Identity{Subject: "42", Scopes: []string{"a"}}); d.Code == Allowed && m.Access() == AccessDeny {
				t.Errorf("%s is allowed by a rule that denies", target)
			}
		}
	})
}
