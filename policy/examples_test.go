package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scopeward/policy"
)

// TestExamples runs the tests of the example policies: each file by itself, and
// all of them as the policy of one folder.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) < 7 {
		t.Fatal(files, err)
	}
	for _, path := range append(files, "examples") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			set, err := policy.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			met := map[*policy.Rule]bool{}
			for _, test := range set.Tests() {
				got, m := answer(set, test)
				if got != test.Expect {
					t.Errorf("%s: %s gives %s, not %s", test.Pos, test.Request, got, test.Expect)
				}
				if r := m.Rule(); test.Rule != "" && (r == nil || m.Action() != test.Rule) {
					t.Errorf("%s: %s meets the rule %q, not %q", test.Pos, test.Request, m.Action(), test.Rule)
				}
				met[m.Rule()] = true
			}
			for _, r := range set.Rules() {
				if !met[r] {
					t.Errorf("%s: no test meets the rule", r.Pos)
				}
			}
		})
	}
}

// answer decides a test as the server would: the path, then the rule, then the token.
func answer(set *policy.Set, test *policy.Test) (string, policy.Match) {
	host := test.Host
	if host == "" {
		host = "api.example.com"
	}
	request, err := policy.NewRequest(test.Method, host, test.Target)
	if err != nil {
		return "invalid_path", policy.Match{}
	}
	request.Headers = test.Headers
	m, err := set.Match(test.Policy, &request)
	if err != nil {
		return "invalid_path", m
	}
	if m.Access() == policy.AccessToken {
		switch test.Token {
		case policy.TokenNone:
			return "missing_token", m
		case policy.TokenInvalid, policy.TokenExpired:
			return "invalid_token", m
		}
	}
	return map[policy.Code]string{policy.Allowed: "allow", policy.InsufficientScope: "insufficient_scope", policy.AccessDenied: "access_denied"}[m.Decide(test.Identity).Code], m
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
}
