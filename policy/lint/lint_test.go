package lint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

// TestFindings holds the findings of each file in testdata against the comments
// `# want NAME...` at the end of its lines.
func TestFindings(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	shown := map[string]bool{}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for i, line := range strings.Split(string(data), "\n") {
				_, names, _ := strings.Cut(line, "# want ")
				for _, name := range strings.Fields(names) {
					want = append(want, fmt.Sprintf("%d %s", i+1, name))
				}
			}
			// A block scalar's `# want` would be part of it.
			data = bytes.ReplaceAll(data, []byte("in identity.scopes # want never-satisfied\n  - match: /9"), []byte("in identity.scopes\n  - match: /9"))
			findings, err := Lint(policy.File{Name: file, Data: data})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range findings {
				got = append(got, fmt.Sprintf("%d %s", f.Line, f.Check))
				shown[f.Check] = true
				t.Log(f)
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s", diff)
			}
		})
	}
	for _, c := range Checks() {
		if !shown[c.Name] {
			t.Errorf("no file shows %s", c.Name)
		}
	}
}

func lintText(t *testing.T, text string) []string {
	t.Helper()
	findings, err := Lint(policy.File{Name: "p.yaml", Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range findings {
		got = append(got, f.String())
	}
	return got
}

func TestFindingText(t *testing.T) {
	got := lintText(t, `version: 1
rules:
  - match: [/, "/healthz"]
    public: true
  - match: GET /users
    scopes: [read:users]
  - match: /login
    when: |
      identity.email != "" &&
        request.headers["X-A"] == "b"
tests:
  - {request: GET /users, scopes: [raed:users], expect: insufficient_scope}
`)
	want := []string{
		`p.yaml:3:13: public-catch-all: every path that no other rule takes is public, also those that are added later; name the paths that are public: what no rule matches is denied`,
		`p.yaml:3:13: public-shadow: PUT /users is public by this pattern, right beside the protected "GET /users" at line 5 (and 1 more); name only what is public, or let the protected rule cover that request too`,
		`p.yaml:10:25: header-case: header "X-A" is never there: conditions see the names in lower case; write "x-a"`,
		`p.yaml:12:36: scope-typo: scope raed:users is written nowhere else, and is nearly read:users; write read:users if that is meant`,
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("findings differ (-want +got):\n%s", diff)
	}
}

const ignorePolicy = `version: 1
rules:
  - match: /a
    any_scopes: [use:a]%s
tests:
  - {request: GET /a, expect: missing_token}
`

func TestIgnore(t *testing.T) {
	finding := "p.yaml:4:17: single-any-scope: any_scopes has one scope, use:a: it says the same as scopes; write scopes, or add the scopes that will do as well"
	silences := "the comment silences nothing: "
	how := "; write # lint:ignore NAME reason"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"none", fmt.Sprintf(ignorePolicy, ""), []string{finding}},
		{"end of line", fmt.Sprintf(ignorePolicy, " # lint:ignore single-any-scope more to come"), nil},
		{"line before", strings.Replace(fmt.Sprintf(ignorePolicy, ""), "    any_scopes", "    # lint:ignore single-any-scope more to come\n    any_scopes", 1), nil},
		{"before the rule", strings.Replace(fmt.Sprintf(ignorePolicy, ""), "  - match", "  # lint:ignore single-any-scope more to come\n  # and more\n  - match", 1), nil},
		{"CR LF", strings.ReplaceAll(fmt.Sprintf(ignorePolicy, " # lint:ignore single-any-scope more to come"), "\n", "\r\n"), nil},
		{"BOM", "\uFEFF" + fmt.Sprintf(ignorePolicy, " # lint:ignore single-any-scope more to come"), nil},
		{"not a neighbour", strings.Replace(fmt.Sprintf(ignorePolicy, ""), "  - match", "  # lint:ignore single-any-scope more to come\n\n  - match", 1),
			[]string{"p.yaml:3:3: unused-ignore: " + silences + "single-any-scope finds nothing here; remove it", strings.Replace(finding, ":4:", ":6:", 1)}},
		{"no reason", fmt.Sprintf(ignorePolicy, " # lint:ignore single-any-scope"),
			[]string{finding, "p.yaml:4:25: bad-ignore: " + silences + "it gives no reason" + how}},
		{"no name", fmt.Sprintf(ignorePolicy, " # lint:ignore"),
			[]string{finding, "p.yaml:4:25: bad-ignore: " + silences + "it names no check" + how}},
		{"unknown", fmt.Sprintf(ignorePolicy, " # lint:ignore single-any-scop because"),
			[]string{finding, "p.yaml:4:25: bad-ignore: " + silences + `there is no check "single-any-scop"; did you mean single-any-scope?` + how}},
		{"other check", fmt.Sprintf(ignorePolicy, " # lint:ignore scope-typo because"),
			[]string{finding, "p.yaml:4:25: unused-ignore: " + silences + "scope-typo finds nothing here; remove it"}},
		{"itself can't be silenced", strings.Replace(fmt.Sprintf(ignorePolicy, ""), "any_scopes", "# lint:ignore unused-ignore because\n    # lint:ignore single-any-scope because\n    any_scopes", 1),
			[]string{"p.yaml:4:5: bad-ignore: " + silences + `there is no check "unused-ignore"` + how}},
		{"in quotes", strings.Replace(fmt.Sprintf(ignorePolicy, ""), "  - match: /a\n", "  - match: /a\n    name: \"x # lint:ignore single-any-scope because\"\n", 1),
			[]string{strings.Replace(finding, ":4:", ":5:", 1)}},
		{"in a text of several lines", strings.Replace(fmt.Sprintf(ignorePolicy, ""), "  - match: /a\n", "  - match: /a\n    when: 'identity.email != \"\n      # lint:ignore single-any-scope because\n      \"'\n", 1),
			[]string{strings.Replace(finding, ":4:", ":7:", 1)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := gocmp.Diff(test.want, lintText(t, test.text)); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s", diff)
			}
		})
	}
}

// Comments in and around scalars, as YAML sees them.
func TestComments(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []int // the lines with comments
	}{
		{"plain", "a: b#c\nb: c #d\n#e\n  #f\n", []int{2, 3, 4}},
		{"quoted", "a: \"x # y\" # z\nb: 'it''s # x'\n\"k # l\": 'a' # b\n", []int{1, 3}},
		{"escaped", `a: "x \" # y" # z`, []int{1}},
		{"lines", "a: \"x\n  # y\n  z\" # c\n", []int{3}},
		{"block", "a: | # head\n  x # y\n\n  # z\n # outside\nb: c # d\n", []int{1, 5, 6}},
		{"folded in a list", "a:\n  - >-\n    # no\n    x\n    # no\n  # yes\n  - b # yes\n", []int{6, 7}},
		{"in a mapping of a list", "a:\n  - b: |\n      # no\n    # yes\n    c: d # yes\n", []int{4, 5}},
		{"with an indicator", "a: |2\n    # no\n  # no\n # yes\nb: c\n", []int{4}},
		{"anchor", "a: &x \"# no\"\nb: *x # yes\n", []int{2}},
		{"flow", "a: [x, \"# no\", 'y'] # yes\nb: {c: \"# no\"} # yes\n", []int{1, 2}},
		{"characters", "a: \"äöü # no\" # yes\nb: [äöü, \"# no\"]\n", []int{1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := scan([]byte(test.text))
			var got []int
			for i := range x.lines {
				if x.comment(i) >= 0 {
					got = append(got, i+1)
				}
			}
			if diff := gocmp.Diff(test.want, got); diff != "" {
				t.Errorf("lines with comments differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSeveralFiles(t *testing.T) {
	public := policy.File{Name: "a.yaml", Data: []byte("version: 1\nrules:\n  - {match: \"/a/{path...}\", public: true}\ntests: [{request: GET /a/, expect: allow}]\n")}
	guarded := "version: 1\nrules:\n  - {match: GET /a/b, scopes: [read:a]}\ntests: [{request: GET /a/b, expect: missing_token}]\n"
	for _, test := range []struct {
		name string
		file string
		want int
	}{
		{"one policy", guarded, 1},
		{"two policies", "name: other\n" + guarded, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			findings, err := Lint(public, policy.File{Name: "b.yaml", Data: []byte(test.file)})
			if err != nil || len(findings) != test.want {
				t.Fatal(findings, err)
			}
			for _, f := range findings {
				if f.File != "a.yaml" || !strings.Contains(f.Reason, "b.yaml:3:") {
					t.Error(f)
				}
			}
		})
	}
}

func TestMistakesAreErrors(t *testing.T) {
	var problems strictyaml.Problems
	if findings, err := Lint(policy.File{Name: "p.yaml", Data: []byte("version: 1\n")}); findings != nil || !errors.As(err, &problems) {
		t.Error(findings, err)
	}
	if findings, err := Load("testdata/nowhere.yaml"); findings != nil || !errors.As(err, &problems) {
		t.Error(findings, err)
	}
}

func TestDocumentation(t *testing.T) {
	all := Documentation()
	if !slices.IsSortedFunc(all, func(a, b Check) int { return cmp.Compare(a.Name, b.Name) }) || len(all) != len(Checks())+2 {
		t.Error("not all, or not sorted")
	}
	for _, c := range all {
		if c.Name == "" || c.Doc == "" || strings.Trim(c.Name, "abcdefghijklmnopqrstuvwxyz-") != "" {
			t.Errorf("%+v", c)
		}
	}
}

func TestExamplesAreSilent(t *testing.T) {
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 7 {
		t.Fatal(files, err)
	}
	for _, paths := range append([][]string{{"../examples"}, {"../../cmd/demo/policy.yaml"}}, each(files)...) {
		findings, err := Load(paths...)
		if err != nil {
			t.Error(err)
		}
		for _, f := range findings {
			if f.Check != "no-tests" || !strings.Contains(f.File, "demo") {
				t.Error(f)
			}
		}
	}
}

func each(files []string) [][]string {
	var all [][]string
	for _, f := range files {
		all = append(all, []string{f})
	}
	return all
}

func FuzzLint(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("version: 1\nrules: [{match: [\"/\"], when: \"\\\"# lint:ignore\\\" == 'x' # lint:ignore\"}]\n# lint:ignore no-tests x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		findings, err := Lint(policy.File{Name: "p.yaml", Data: data})
		if _, loads := policy.Parse(policy.File{Name: "p.yaml", Data: data}); (err == nil) != (loads == nil) {
			t.Fatalf("Lint: %v, Parse: %v", err, loads)
		}
		for _, found := range findings {
			if found.Line == 0 || found.Reason == "" || found.Advice == "" {
				t.Errorf("%+v", found)
			}
		}
	})
}

func BenchmarkLint(b *testing.B) {
	var text strings.Builder
	text.WriteString("version: 1\nrules:\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "  - match: %s /api/v1/resource%d/{id}/part\n    scopes: [read:resource%d]\n    when: path.id == identity.subject\n", []string{"GET", "POST", "PUT", "DELETE"}[i%4], i/4, i/4)
	}
	for b.Loop() {
		if _, err := Lint(policy.File{Name: "p.yaml", Data: []byte(text.String())}); err != nil {
			b.Fatal(err)
		}
	}
}
