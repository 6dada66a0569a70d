package corpus

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.yaml.in/yaml/v4"

	"scopeward/internal/testenv/tokentest"
)

// Setup writes the configuration of the case for a mode, with its policies,
// into dir, and returns the configuration's path.
func (c *Case) Setup(t testing.TB, dir, mode string, idp *tokentest.Provider) string {
	t.Helper()
	for path, fault := range c.Faults {
		idp.Fail(path, tokentest.Fault(fault))
	}
	policies := map[string]string{}
	for _, f := range c.files {
		if slices.Contains(besides(), f.Name) {
			write(t, filepath.Join(dir, f.Name), f.Data)
			continue
		}
		policies[f.Name] = string(f.Data)
	}
	for _, token := range c.Tokens {
		if mode == "profile" && token.Opaque != nil {
			mode = OpaqueProfile
		}
	}
	return Configure(t, dir, mode, idp, c.Config, policies)
}

// OpaqueProfile is the mode profile for tokens that are no JWT, which has no audiences:
// profiles tell none.
const OpaqueProfile = "profile, opaque"

// Configure writes scopeward.yaml for a mode, its secret and policies into dir,
// and returns the configuration's path. The keys of changes replace those of
// the usual configuration. The listeners are on free ports of 127.0.0.1. In the mode
// profile, tokens are JWTs; see [OpaqueProfile].
func Configure(t testing.TB, dir, mode string, idp *tokentest.Provider, changes map[string]any, policies map[string]string) string {
	t.Helper()
	provider := map[string]any{
		"name": "idp", "issuer": idp.URL, "validation": mode, "audiences": []string{tokentest.Audience}, "timeout": "1s",
	}
	switch {
	case mode == OpaqueProfile:
		provider["validation"] = "profile"
		delete(provider, "audiences")
	case mode == "profile":
		provider["opaque"] = false
	case mode == "introspection" || mode == "jwks+introspection":
		provider["introspection"] = map[string]any{"client_id": tokentest.ClientID, "client_secret": "file:secret"}
	}
	if mode == "lookup" {
		claims := map[string]any{}
		for _, name := range []string{"sub", "aud", "exp", "nbf", "iat", "scope", "scp", "email", "email_verified", "azp", "client_id", "token_use", "cnf", "acr", "auth_time"} {
			claims[name] = "body.claims.?" + name
		}
		provider["tokens"] = "any"
		provider["lookup"] = map[string]any{
			"url": idp.URL + tokentest.LookupPath, "json": map[string]any{"credential": "{token}"},
			"auth": "client_secret_basic", "client_id": tokentest.ClientID, "client_secret": "file:secret",
			"valid": "status == 200 && body.good", "claims": claims,
		}
	}
	config := map[string]any{
		"listen":    map[string]any{"grpc": "127.0.0.1:0", "admin": "127.0.0.1:0", "start_patience": "0s"}, // also while the provider is down
		"providers": []any{provider},
		"headers": map[string]any{
			"x-auth-subject": "identity.subject", "x-auth-scopes": "identity.scopes", "x-auth-email": "identity.email",
		},
		"policy": "policies",
		"log":    map[string]any{"format": "text"},
	}
	maps.Copy(config, changes)
	if server := os.Getenv("SCOPEWARD_TEST_SERVER"); server != "" { // make test-transport
		listen, _ := config["listen"].(map[string]any)
		listen = maps.Clone(listen)
		listen["server"] = server
		config["listen"] = listen
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "scopeward.yaml"), bytes.ReplaceAll(text, []byte("$IDP"), []byte(idp.URL)))
	write(t, filepath.Join(dir, "secret"), []byte(tokentest.ClientSecret+"\n"))
	for name, text := range policies {
		write(t, filepath.Join(dir, "policies", name), []byte(text))
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
