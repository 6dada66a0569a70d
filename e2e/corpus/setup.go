package corpus

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v4"

	"scopeward/authz/token/tokentest"
)

// Audience is what good tokens are meant for.
const Audience = tokentest.Audience

// Setup writes scopeward.yaml for a mode, its secret and the case's policies
// into dir, and returns the configuration's path. The listeners are on free
// ports of 127.0.0.1.
func (c *Case) Setup(t testing.TB, dir, mode string, idp *tokentest.Provider) string {
	t.Helper()
	for path, fault := range c.Faults {
		idp.Fail(path, tokentest.Fault(fault))
	}
	provider := map[string]any{
		"name": "idp", "issuer": idp.URL, "validation": mode, "audiences": []string{Audience},
		"timeout": "500ms",
	}
	if mode == "introspection" {
		provider["introspection"] = map[string]any{"client_id": tokentest.ClientID, "client_secret": "file:secret"}
	}
	config := map[string]any{
		"listen":    map[string]any{"grpc": "127.0.0.1:0", "admin": "127.0.0.1:0"},
		"providers": []any{provider},
		"headers": map[string]any{
			"x-auth-subject": "identity.subject", "x-auth-scopes": "identity.scopes", "x-auth-email": "identity.email",
		},
		"policy": "policies",
		"log":    map[string]any{"format": "text"},
	}
	maps.Copy(config, c.Config)
	text, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "scopeward.yaml"), text)
	write(t, filepath.Join(dir, "secret"), []byte(tokentest.ClientSecret+"\n"))
	for _, f := range c.files {
		write(t, filepath.Join(dir, "policies", f.Name), f.Data)
	}
	return filepath.Join(dir, "scopeward.yaml")
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
