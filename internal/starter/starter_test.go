package starter

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"scopeward"
	"scopeward/authz/token/provider"
)

// issuer publishes metadata that are written by a test; ISSUER stands for its URL.
func issuer(t *testing.T, metadata string) string {
	s := httptest.NewUnstartedServer(nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/openid-configuration" || metadata == "" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(strings.ReplaceAll(metadata, "ISSUER", s.URL)))
	})
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func TestMake(t *testing.T) {
	for _, test := range []struct {
		name, metadata, slash, preset string
		want                          []string // in the configuration; ISSUER stands for the URL
		note, fails                   string
	}{
		{name: "plain", metadata: `{"issuer":"ISSUER","jwks_uri":"ISSUER/keys"}`, want: []string{"name: main", `issuer: "ISSUER"`, `audiences: ["a", "b: #"]`}},
		{name: "another slash", metadata: `{"issuer":"ISSUER/","jwks_uri":"ISSUER/keys"}`, want: []string{`issuer: "ISSUER/"`}, note: "calls itself"},
		{name: "one slash too many", slash: "/", metadata: `{"issuer":"ISSUER","jwks_uri":"ISSUER/keys"}`, want: []string{`issuer: "ISSUER"`}, note: "calls itself"},
		{name: "another issuer", metadata: `{"issuer":"https://evil.example","jwks_uri":"ISSUER/keys"}`, fails: "https://evil.example"},
		{name: "a web page", metadata: `<html>`, fails: "is no metadata"},
		{name: "none", fails: "publishes no metadata"},
		{name: "none of Kinde", preset: "kinde", want: []string{"preset: kinde"}, note: "Kinde's places"},
		{name: "other algorithms", metadata: `{"issuer":"ISSUER","jwks_uri":"ISSUER/keys","id_token_signing_alg_values_supported":["none","ES256","HS256","EdDSA"]}`,
			want: []string{"algorithms: [ES256, EdDSA]"}},
		{name: "a preset without audiences", metadata: `{"issuer":"ISSUER","jwks_uri":"ISSUER/keys"}`, preset: "cognito", want: []string{"clients: ", `audiences: ["a", "b: #"]`}},
		{name: "one tenant", preset: "entra", metadata: `{"issuer":"ISSUER","jwks_uri":"ISSUER/keys"}`, want: []string{"preset: entra\n    issuer:", `audiences: ["a"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := issuer(t, test.metadata)
			made, err := Make(t.Context(), Options{
				Issuer: url + test.slash, Preset: test.preset, Audiences: []string{"a", "b: #"}, Client: provider.New(provider.Options{MayBeAbsent: true}),
			})
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("%v, want %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(string(made.Config), strings.ReplaceAll(want, "ISSUER", url)) {
					t.Errorf("no %s in\n%s", want, made.Config)
				}
			}
			if strings.Contains(string(made.Config), "tenants:") {
				t.Errorf("a single tenant's:\n%s", made.Config)
			}
			if note := strings.Join(made.Notes, "; "); !strings.Contains(note, test.note) || test.note == "" && note != "" {
				t.Errorf("it says %q, want %q", note, test.note)
			}
		})
	}
}

func TestPresetByIssuer(t *testing.T) {
	for url, want := range map[string]string{
		"https://acme.kinde.com": "kinde", "https://acme.eu.auth0.com/": "auth0", "https://acme.okta.com/oauth2/default": "okta",
		"https://sso.acme.dev/realms/acme": "keycloak", "https://login.microsoftonline.com/x/v2.0": "entra", "https://accounts.google.com": "google",
		"https://cognito-idp.eu-west-1.amazonaws.com/x": "cognito", "https://acme.zitadel.cloud": "zitadel", "https://login.acme.dev": "",
	} {
		made, _ := Make(t.Context(), Options{Issuer: url, Client: provider.New(provider.Options{Transport: offline{}})})
		if made.Preset != want {
			t.Errorf("%s: %q, want %q", url, made.Preset, want)
		}
	}
}

type offline struct{}

func (offline) RoundTrip(*http.Request) (*http.Response, error) { return nil, http.ErrHandlerTimeout }

// TestExcerpt: the excerpt is that of envoy/minimal.yaml, which other tests run.
func TestExcerpt(t *testing.T) {
	text, err := excerpt()
	if err != nil {
		t.Fatal(err)
	}
	var parts struct {
		HTTPFilters []map[string]any `yaml:"http_filters"`
		Clusters    []map[string]any `yaml:"clusters"`
	}
	if err := yaml.Unmarshal(text, &parts); err != nil {
		t.Fatal(err)
	}
	minimal, err := scopeward.Bootstraps.ReadFile("envoy/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(parts.HTTPFilters) != 3 || len(parts.Clusters) != 1 || parts.Clusters[0]["name"] != "scopeward" {
		t.Errorf("%s", text)
	}
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSpace(l)
		if !strings.HasPrefix(l, "#") && l != "" && l != "clusters:" && !strings.Contains(string(minimal), l) {
			t.Errorf("envoy/minimal.yaml has no line %s", l)
		}
	}
}
