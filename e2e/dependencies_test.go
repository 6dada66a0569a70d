package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies holds the borders between the packages.
func TestDependencies(t *testing.T) {
	for _, border := range []struct {
		name, of  string
		forbidden []string
	}{
		{"policy knows no tokens and no Envoy", "scopeward/policy/...", []string{"scopeward/authz", "scopeward/internal/envoyrun", "github.com/envoyproxy", "github.com/golang-jwt", "google.golang.org/grpc"}},
		{"token knows no policy and no Envoy", "scopeward/authz/token/...", []string{"scopeward/policy", "scopeward/internal/envoyrun", "github.com/envoyproxy", "google.golang.org/grpc", "cel.dev/cel-go"}},
		{"who shares knows Redis, token itself does not", "scopeward/authz/token", []string{"scopeward/authz/redis", "github.com/redis"}},
		{"production links no demo or test code", "scopeward/cmd/scopeward", []string{"scopeward/cmd/demo", "scopeward/internal/envoyrun", "scopeward/internal/testenv", "scopeward/e2e", "github.com/zitadel", "testing"}},
		{"doctor knows no policy, no tokens and no types of Envoy's", "scopeward/internal/doctor", []string{"scopeward/policy", "scopeward/authz", "scopeward/internal/envoyrun", "github.com/envoyproxy", "google.golang.org"}},
	} {
		t.Run(border.name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", border.of).Output()
			if err != nil {
				t.Fatal(err)
			}
			for dep := range strings.FieldsSeq(string(out)) {
				for _, f := range border.forbidden {
					if dep == f || strings.HasPrefix(dep, f+"/") {
						t.Errorf("%s depends on %s", border.of, dep)
					}
				}
			}
		})
	}
}
