package policytest_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/google/go-cmp/cmp"

	"scopeward/policy"
	"scopeward/policy/policytest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestReports holds the reports on policy files against golden files; -update
// writes them.
func TestReports(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no test: %v", err)
	}
	options := policytest.Options{Verbose: true, Coverage: true, RequireTests: true, FailUnder: 80}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var files []policy.File
			for _, f := range archive.Files {
				if strings.HasSuffix(f.Name, ".yaml") {
					files = append(files, policy.File{Name: f.Name, Data: f.Data})
				}
			}
			set, err := policy.Parse(files...)
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range archive.Files {
				if strings.HasSuffix(f.Name, ".yaml") {
					continue
				}
				var b strings.Builder
				if err := policytest.Run(set, nil).Write(&b, policytest.Format(f.Name), options); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(f.Data), b.String()); diff != "" && !*update {
					t.Errorf("%s (-want +got):\n%s", f.Name, diff)
				}
				archive.Files[i].Data = []byte(b.String())
			}
			if *update {
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestOK: what makes a report a failure, one thing at a time.
func TestOK(t *testing.T) {
	const rules = "version: 1\nrules:\n  - {match: /a, scopes: [s]}\n  - {match: /b, public: true}\n"
	for _, c := range []struct {
		name, tests string
		options     policytest.Options
		want        bool
		percent     float64
	}{
		{"no tests", "", policytest.Options{}, true, 0},
		{"no tests, some required", "", policytest.Options{RequireTests: true}, false, 0},
		{"empty list, some required", "tests: []\n", policytest.Options{RequireTests: true}, false, 0},
		{"passes", "tests: [{request: GET /b, expect: allow}]\n", policytest.Options{RequireTests: true}, true, 100. / 3},
		{"fails", "tests: [{request: GET /b, expect: access_denied}]\n", policytest.Options{}, false, 100. / 3},
		{"wrong rule", "tests: [{request: GET /b, expect: allow, rule: /a}]\n", policytest.Options{}, false, 100. / 3},
		{"no rule", "tests: [{request: GET /c, expect: access_denied, rule: /a}]\n", policytest.Options{}, false, 0},
		{"right rule", "tests: [{request: GET /b, expect: allow, rule: /b}]\n", policytest.Options{}, true, 100. / 3},
		{"enough", "tests: [{request: GET /b, expect: allow}]\n", policytest.Options{FailUnder: 33.3}, true, 100. / 3},
		{"not enough", "tests: [{request: GET /b, expect: allow}]\n", policytest.Options{FailUnder: 33.4}, false, 100. / 3},
		{"all", "tests: [{request: GET /b, expect: allow}, {request: GET /a, scopes: [s], expect: allow}, {request: GET /a, scopes: [], expect: insufficient_scope}]\n", policytest.Options{FailUnder: 100}, true, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := policy.Parse(policy.File{Name: "policy.yaml", Data: []byte(rules + c.tests)})
			if err != nil {
				t.Fatal(err)
			}
			report := policytest.Run(set, nil)
			if got := report.OK(c.options); got != c.want {
				t.Errorf("got %t, want %t: %+v %v", got, c.want, report.Results, report.Faults(c.options))
			}
			if got := report.Coverage.Percent(); got != c.percent {
				t.Errorf("covers %v%%, want %v%%", got, c.percent)
			}
		})
	}
}
