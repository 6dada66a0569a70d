package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"scopeward/internal/strictyaml"
)

// TestPresetTable: the table is sound, and every preset is a good provider with a few
// lines beside it.
func TestPresetTable(t *testing.T) {
	var table presets
	if problems := strictyaml.Decode("presets.yaml", presetsFile, &table); len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []string{
		"auth0", "cognito", "dex", "entra", "github", "github-actions", "gitlab-ci", "google", "google-opaque", "hydra", "keycloak", "kinde", "kinde-api-keys",
		"kubernetes", "okta", "spiffe", "zitadel",
	}
	if diff := cmp.Diff(want, Presets()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	issuer := func(text string) string { return "issuer: https://" + text + ", audiences: [api]" }
	client := "lookup: {client_id: c, client_secret: s}"
	for name, lines := range map[string]string{
		"auth0": issuer("acme.eu.auth0.com/"), "dex": issuer("dex.acme.dev"), "keycloak": issuer("sso.acme.dev/realms/a"), "kinde": issuer("acme.kinde.com"),
		"okta": issuer("acme.okta.com/oauth2/default"), "zitadel": issuer("acme.zitadel.cloud"), "entra": "tenants: any, audiences: [api]",
		"cognito":        "issuer: https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc, clients: [c]",
		"github":         "clients: [c], " + client,
		"kinde-api-keys": "issuer: https://acme.kinde.com, " + client,
		"google":         "audiences: [c]", "google-opaque": "audiences: [c]",
		"gitlab-ci": "audiences: [api], subject_prefix: 'project_path:a/b:'", "github-actions": "audiences: [api], subject_prefix: 'repo:a/'",
		"hydra":      "issuer: https://hydra.acme.dev/, introspection: {url: 'https://admin.acme.dev/admin/oauth2/introspect'}",
		"kubernetes": "audiences: [api]",
		"spiffe":     "audiences: [api], subject_prefix: 'spiffe://acme.dev/', jwks: {url: 'https://spire.acme.dev/'}",
	} {
		if _, err := loadText(t, fmt.Appendf(nil, "providers: [{name: p, preset: %s, %s}]\npolicy: p.yaml\n", name, lines)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// Without them, there is a mistake that can be found.
		if _, err := loadText(t, fmt.Appendf(nil, "providers: [{name: p, preset: %s}]\npolicy: p.yaml\n", name)); err == nil || !strings.Contains(err.Error(), "scopeward.yaml:1:") {
			t.Errorf("%s alone: %v", name, err)
		}
	}
}

// TestPresets: what is written counts before what the preset knows, key by key; what
// neither says is the default.
func TestPresets(t *testing.T) {
	provider := func(lines string) Provider {
		t.Helper()
		c, err := loadText(t, []byte("providers: [{name: p, "+lines+"}]\npolicy: p.yaml\n"))
		if err != nil {
			t.Fatalf("%s: %v", lines, err)
		}
		return c.Providers[0]
	}
	entra := provider("preset: entra, tenants: any, audiences: [a]")
	if entra.JWKS.URLs[0] != "https://login.microsoftonline.com/common/discovery/v2.0/keys" || entra.Issuer != "https://login.microsoftonline.com/{tid}/v2.0" {
		t.Errorf("%+v", entra)
	}
	if own := provider("preset: entra, issuer: 'https://a.example', audiences: [a], scope_claims: [x], jwks: {refresh: 1m}"); own.Issuer != "https://a.example" ||
		own.JWKS.URLs[0] != entra.JWKS.URLs[0] || own.JWKS.Refresh.Minutes() != 1 || own.JWKS.MaxStale != entra.JWKS.MaxStale {
		t.Errorf("%+v", own)
	}
	keys := provider("preset: kinde-api-keys, issuer: 'https://acme.kinde.com/', lookup: {client_id: c, client_secret: s, audience: other}")
	if keys.Lookup.Request.URL != "https://acme.kinde.com/api/v1/api_keys/verify" || keys.Tokens != "opaque" || keys.Validation != ValidateLookup {
		t.Errorf("%+v", keys)
	}
	github := provider("preset: github, clients: [Iv1.a], lookup: {client_id: Iv1.a, client_secret: s}")
	if github.Lookup.Request.URL != "https://api.github.com/applications/Iv1.a/token" || github.Lookup.Request.JSON["access_token"] != "{token}" {
		t.Errorf("%+v", github.Lookup.Request)
	}
	if any := provider("preset: github, clients: [Iv1.a], opaque: true, lookup: {client_id: Iv1.a, client_secret: s}"); any.Tokens != "any" {
		t.Errorf("opaque: true gives tokens: %s", any.Tokens)
	}
	if plain := provider("preset: keycloak, issuer: 'https://a.example', audiences: [a], validation: introspection, introspection: {client_id: c, client_secret: s}"); plain.Validation != ValidateIntrospection {
		t.Errorf("%+v", plain)
	}
}

func TestPresetMistakes(t *testing.T) {
	for lines, want := range map[string]string{
		"preset: keyclok, issuer: 'https://a.example', audiences: [a]": `1:31: preset is "keyclok"; it must be one of auth0, cognito, dex, entra,`,
		"preset: '', issuer: 'https://a.example', audiences: [a]":      `1:31: preset is ""`,
		"preset: github, lookup: {client_id: a, client_secret: b}":     "1:31: provider \"p\": preset github needs audiences or clients: GitHub gives tokens of this form to every application",
		"preset: google-opaque":                                                              "preset google-opaque needs audiences or clients",
		"preset: github-actions, audiences: [a]":                                             "1:31: provider \"p\": preset github-actions needs subject_prefix: a workflow chooses its audience",
		"preset: gitlab-ci, audiences: [a]":                                                  "preset gitlab-ci needs subject_prefix",
		"preset: spiffe, issuer: 'https://a.example', audiences: [a]":                        "preset spiffe needs subject_prefix",
		"preset: entra, audiences: [a]":                                                      "the issuer has a placeholder: write tenants",
		"preset: kinde-api-keys, issuer: 'https://acme.kinde.com'":                           "lookup needs client_id and client_secret and token_url with auth: client_credentials, and has no client_id",
		"preset: kinde-api-keys, lookup: {client_id: c, client_secret: s}":                   `has no issuer`,
		"preset: kinde, issuer: 'http://acme.kinde.com', audiences: [a], validation: lookup": "lookup.url",
		"preset: google, audiences: [a], lookup: {valid: 'true'}":                            "lookup has no effect with validation: jwks",
		"preset: google-opaque, audiences: [a], lookup: {valid: status}":                     "lookup.valid: gives int, not bool",
		"preset: hydra, issuer: 'https://a.example', introspection: {client_secret: a}":      "introspection.client_secret has no effect with auth: none",
		"preset: github-actions, audiences: [a], subject_prefix: 'repo:a', purpose: access":  "subject_prefix must end in / or :",
	} {
		_, err := loadText(t, []byte("providers: [{name: p, "+lines+"}]\npolicy: p.yaml\n"))
		if said := fmt.Sprint(err); !strings.Contains(said, want) || !strings.Contains(said, "scopeward.yaml:1:") {
			t.Errorf("%s:\n%v\nwant %q", lines, err, want)
		}
	}
}
