package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scopeward/policy"
	"scopeward/policy/policytest"
)

// TestExamples runs the tests of the example policies: each file by itself, and
// all of them as the policy of one folder. They show each rule allow and deny.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) < 7 {
		t.Fatal(files, err)
	}
	options := policytest.Options{RequireTests: true, Coverage: true, FailUnder: 100}
	for _, path := range append(files, "examples") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			set, err := policy.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			if report := policytest.Run(set, nil); !report.OK(options) {
				var text strings.Builder
				if err := report.Write(&text, policytest.Text, options); err != nil {
					t.Fatal(err)
				}
				t.Error(text.String())
			}
		})
	}
}

func TestExamplesNameTheirSchema(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(string(data), "\n"); first != "# yaml-language-server: $schema=../policy.schema.json" {
			t.Errorf("%s starts with %q", file, first)
		}
	}
	if _, err := os.Stat("policy.schema.json"); err != nil {
		t.Error(err)
	}
}
