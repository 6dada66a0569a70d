package serve

import (
	"os"
	"path/filepath"
	"testing"

	"scopeward/authz"
	"scopeward/internal/config"
)

// TestPublishedResource: the issuers are those of the providers, the scopes those of the
// policy; challenges lead to the document.
func TestPublishedResource(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("policy.yaml", "version: 1\nrules:\n  - {match: GET /a, scopes: [b, a]}\n  - {match: POST /a, scopes: [a], any_scopes: [c, b]}\n  - {match: /public, public: true}\n")
	f, err := config.Load(config.Options{File: write("scopeward.yaml", `providers:
  - {name: one, issuer: "https://one.example.com", audiences: [api]}
  - {name: two, issuer: "https://two.example.com/", audiences: [api]}
resource: {identifier: "https://api.example.com/", name: An API, documentation: "https://docs.example.com"}
policy: policy.yaml
`)})
	if err != nil {
		t.Fatal(err)
	}
	want, err := authz.NewMetadata(authz.Resource{
		Identifier: "https://api.example.com/", AuthorizationServers: []string{"https://one.example.com", "https://two.example.com/"},
		Scopes: []string{"a", "b", "c"}, BearerMethods: []string{"header"}, Name: "An API", Documentation: "https://docs.example.com",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Config.Snapshot(f.Policy).Resources; len(got) != 1 || got[0] != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got := f.Config.ResourceMetadata; got != "https://api.example.com/.well-known/oauth-protected-resource" {
		t.Errorf("challenges lead to %s", got)
	}
	for _, rule := range f.Policy.Rules() {
		if rule.Patterns[0].String() == "GET /a" && (len(rule.Scopes) != 2 || rule.Scopes[0] != "b") {
			t.Errorf("the rule asks for %v now", rule.Scopes)
		}
	}
}
