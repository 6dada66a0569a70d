//go:build providers

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// real is an identity provider that nobody here wrote, as a program describes it.
type real struct {
	Issuer, Audience, Introspection, Userinfo string
	Clients                                   map[string]struct{ Secret string }
}

// realMode is one way to validate a provider's tokens.
type realMode struct {
	name      string
	providers func(real) []map[string]any // of scopeward.yaml
	want      map[string]int              // the status of GET /users, by the kind of the token
}

// realProviders are the programs, and what each mode answers to their tokens. A kind is
// what the program's command token takes, with --print for other tokens than access tokens.
func realProviders() map[string][]realMode {
	one := func(p func(real) map[string]any) func(real) []map[string]any {
		return func(r real) []map[string]any { return []map[string]any{p(r)} }
	}
	plain := func(more map[string]any) func(real) map[string]any {
		return func(r real) map[string]any {
			p := map[string]any{"name": "real", "issuer": r.Issuer, "audiences": []string{r.Audience}, "timeout": "5s"}
			for key, value := range more {
				p[key] = value
			}
			return p
		}
	}
	introspected := func(client string, more map[string]any) func(real) map[string]any {
		return func(r real) map[string]any {
			p := plain(more)(r)
			p["validation"] = "introspection"
			p["introspection"] = map[string]any{"client_id": client, "client_secret": r.Clients[client].Secret}
			return p
		}
	}
	lookedUp := func(client string) func(real) map[string]any {
		return func(r real) map[string]any {
			claims := map[string]any{}
			for _, name := range []string{"sub", "aud", "scope", "exp", "client_id", "token_type", "token_use"} {
				claims[name] = "body.?" + name
			}
			l := map[string]any{
				"url": r.Introspection, "form": map[string]any{"token": "{token}"}, "valid": "status == 200 && body.active", "claims": claims,
			}
			if client != "" {
				l["auth"], l["client_id"], l["client_secret"] = "client_secret_basic", client, r.Clients[client].Secret
			}
			return plain(map[string]any{"validation": "lookup", "tokens": "any", "lookup": l})(r)
		}
	}
	asked := func(more map[string]int) map[string]int {
		all := map[string]int{"user": 200, "service": 200, "wrong-audience": 401, "no-audience": 401, "user --print refresh_token": 401, "user --print id_token": 401}
		for kind, status := range more {
			all[kind] = status
		}
		return all
	}
	const api = "https://api.acme.dev" // the client that may introspect at Keycloak
	keycloak := map[string]any{"preset": "keycloak"}
	jwts := map[string]int{
		"user": 200, "service": 200, "es256": 401, "ps256": 401, "short": 200, "wrong-audience": 401, "user --print refresh_token": 401, "user --print id_token": 401, "opaque": 401,
	}
	return map[string][]realMode{
		"keycloak": {
			{"jwks", one(plain(keycloak)), asked(map[string]int{"es256": 200, "ps256": 200, "eddsa": 200, "big": 200, "no-openid": 200, "lightweight": 401})},
			{"profile", one(plain(map[string]any{"preset": "keycloak", "validation": "profile", "tokens": "jwt"})),
				map[string]int{"user": 200, "big": 200, "no-openid": 401, "service": 401, "wrong-audience": 401, "user --print refresh_token": 401}},
			{"jwks+profile", one(plain(map[string]any{"preset": "keycloak", "validation": "jwks+profile"})),
				map[string]int{"user": 200, "es256": 200, "no-openid": 401, "wrong-audience": 401, "user --print refresh_token": 401}},
			{"introspection", one(introspected(api, keycloak)), asked(map[string]int{"big": 200, "lightweight": 200})},
			{"lookup", one(lookedUp(api)), asked(map[string]int{"big": 200})},
		},
		"oidc-provider": {
			{"jwks", one(plain(nil)), jwts},
			{"introspection", one(introspected("introspector", nil)),
				map[string]int{"opaque": 200, "service-opaque": 200, "wrong-audience-opaque": 401, "user": 401, "opaque --print refresh_token": 401}},
			{"profile", one(func(r real) map[string]any {
				p := plain(map[string]any{"validation": "profile"})(r)
				delete(p, "audiences") // a profile tells none
				return p
			}), map[string]int{"userinfo": 403, "opaque": 401}}, // a good token, whose profile has no scopes
			{"lookup", one(lookedUp("introspector")), map[string]int{"opaque": 200, "wrong-audience-opaque": 401, "user": 401}},
			{"jwks and introspection", func(r real) []map[string]any {
				opaque := introspected("introspector", map[string]any{"name": "opaque", "tokens": "opaque"})(r)
				return []map[string]any{plain(nil)(r), opaque}
			}, map[string]int{"user": 200, "opaque": 200, "wrong-audience": 401, "wrong-audience-opaque": 401}},
		},
		"hydra": {
			{"introspection", one(func(r real) map[string]any {
				return plain(map[string]any{"preset": "hydra", "introspection": map[string]any{"url": r.Introspection}})(r)
			}), map[string]int{"user": 200, "service": 200, "wrong-audience": 401, "no-audience": 401, "user --print refresh_token": 401, "jwt": 200}},
			{"jwks", one(plain(map[string]any{"preset": "hydra", "validation": "jwks"})),
				map[string]int{"jwt": 200, "service-jwt": 200, "wrong-audience-jwt": 401, "no-audience-jwt": 401, "user": 401, "user --print id_token": 401}},
			{"lookup", one(lookedUp("")), map[string]int{"user": 200, "service": 200, "wrong-audience": 401, "user --print refresh_token": 401}},
		},
	}
}

// TestRealProviders runs the product through a real Envoy against the identity providers of
// the folder that SCOPEWARD_PROVIDERS names, in each mode that fits: a program for each,
// with the commands up, info, token KIND and down. One that is up is used, and left up.
func TestRealProviders(t *testing.T) {
	folder := os.Getenv("SCOPEWARD_PROVIDERS")
	if folder == "" {
		t.Fatal("SCOPEWARD_PROVIDERS is not set: it names the folder with the programs keycloak, oidc-provider and hydra, each of which starts that " +
			"identity provider (up), describes it as JSON (info: issuer, audience, introspection, userinfo, clients), prints its tokens (token KIND) and ends it (down)")
	}
	for name, modes := range realProviders() {
		t.Run(name, func(t *testing.T) {
			tool := filepath.Join(folder, name)
			if _, err := os.Stat(tool); err != nil {
				t.Fatalf("the program %s is missing: it starts the identity provider %s; put one there, or a script that does so", tool, name)
			}
			testReal(t, tool, modes)
		})
	}
}

func testReal(t *testing.T, tool string, modes []realMode) {
	command := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), tool, args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("%s %s: %w\n%s", tool, strings.Join(args, " "), err, stderr.String())
		}
		return strings.TrimSpace(string(out)), err
	}
	text, err := command("info")
	if err != nil {
		if text, err = command("up"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = exec.Command(tool, "down").Run() })
	}
	var r real
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%s info is no JSON: %v", tool, err)
	}
	up, idp := newUpstream(t), tokentest.New(t)
	var targets []target
	services := map[string]*scopeward{}
	for _, mode := range modes {
		config := corpus.Configure(t, t.TempDir(), "jwks", idp, map[string]any{
			"providers": mode.providers(r), "rate_limit": map[string]any{"count": "off"},
		}, map[string]string{"policy.yaml": usersPolicy})
		if out := run(t, "check", "--config", config, "--online"); !strings.Contains(out, "All is well") || strings.Contains(out, "FAILED") {
			t.Errorf("%s: check --online says %s", mode.name, out)
			continue
		}
		services[mode.name] = serve(t, "--config", config)
		targets = append(targets, target{name: strings.ReplaceAll(mode.name, " ", "-"), authz: services[mode.name].grpc})
	}
	addresses := startEnvoy(t, up.Listener.Addr().String(), targets)
	tokens := map[string]string{} // one of each kind is enough for all modes, but for those that end soon
	for _, mode := range modes {
		if services[mode.name] == nil {
			continue
		}
		t.Run(mode.name, func(t *testing.T) {
			s := &system{url: "http://" + addresses[strings.ReplaceAll(mode.name, " ", "-")], scopeward: services[mode.name]}
			for kind, want := range mode.want {
				if tokens[kind] == "" || kind == "short" {
					if tokens[kind], err = command(append([]string{"token"}, strings.Fields(kind)...)...); err != nil {
						t.Error(err)
						continue
					}
				}
				for range 2 { // the second answer is a cached one
					if got, header := s.status(t, "/users", tokens[kind]); got != want {
						t.Errorf("a token of the kind %s gets %d, want %d (%q)", kind, got, want, header.Get("WWW-Authenticate"))
					}
				}
			}
			if strings.Contains(s.stderr.String(), "level=ERROR") {
				t.Error("errors are logged")
			}
		})
	}
}
