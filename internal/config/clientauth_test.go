package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestIntrospectionAuth: each way to authenticate has the settings that it needs, and none
// that would have no effect.
func TestIntrospectionAuth(t *testing.T) {
	for settings, want := range map[string]string{
		"client_id: a, client_secret: b":                           "",
		"auth: client_secret_post, client_id: a, client_secret: b": "",
		"auth: private_key_jwt, client_id: a, key: 'file:key.pem'": "",
		"auth: bearer, token: a":                                   "",
		"auth: none":                                               "",
		"auth: client_credentials, client_id: a, client_secret: b, token_url: 'https://a.example/token', audience: c, scope: d": "",
		"client_id: a": "introspection needs client_id and client_secret with auth: client_secret_basic, and has no client_secret",
		"auth: client_credentials, client_id: a, client_secret: b":                                      "and has no token_url",
		"auth: client_credentials, client_id: a, client_secret: b, token_url: 'http://a.example/token'": "introspection.token_url: http:// sends tokens readable",
		"auth: bearer, token: a, client_id: b":                                                          "introspection.client_id has no effect with auth: bearer",
		"auth: magic":                                                                                   `introspection.auth is "magic"; it must be one of client_secret_basic, client_secret_post, private_key_jwt, bearer, client_credentials, none`,
	} {
		_, err := loadText(t, []byte("providers: [{name: a, issuer: 'https://a.example', validation: introspection, introspection: {"+settings+"}}]\npolicy: p.yaml\n"))
		if said := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(said, want) && want != "" || want != "" && !strings.Contains(said, "scopeward.yaml:1:") {
			t.Errorf("%s: %v, want %q", settings, err, want)
		}
	}
}
