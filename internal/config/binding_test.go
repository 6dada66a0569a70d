package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBindingSettings: what can't take effect is an error where it stands.
func TestBindingSettings(t *testing.T) {
	const jwks = "providers:\n  - {name: a, issuer: 'https://a.example', audiences: [api]%s}\npolicy: [p.yaml]\n"
	const profile = "providers:\n  - {name: a, issuer: 'https://a.example', validation: profile%s}\npolicy: [p.yaml]\n"
	for name, c := range map[string]struct{ base, provider, rest, want string }{
		"required":                    {jwks, ", binding: required", "", ""},
		"optional":                    {jwks, ", binding: optional", "", ""},
		"another word":                {jwks, ", binding: always", "", ":2:71: binding is \"always\""},
		"required by profile":         {profile, ", binding: required", "", ":2:74: provider \"a\": binding: required would refuse every token"},
		"dpop":                        {jwks, "", "dpop: {max_age: 30s, nonce: false}\n", ""},
		"dpop by profile":             {profile, "", "dpop: {}\n", ":4:7: dpop has no effect"},
		"dpop without bearer":         {jwks, "", "credentials: [{cookie: t}]\ndpop: {}\n", ":5:7: dpop has no effect: credentials does not name bearer"},
		"a short time":                {jwks, "", "dpop: {max_age: 1s}\n", ":4:17: dpop.max_age must lie between"},
		"a long time":                 {jwks, "", "dpop: {max_age: 1h}\n", ":4:17: dpop.max_age must lie between"},
		"an unknown key":              {jwks, "", "dpop: {age: 1m}\n", ":4:8: "},
		"a header by profile":         {profile, "", "listen: {trust_xfcc: true}\n", ":4:22: listen.trust_xfcc has no effect"},
		"a header":                    {jwks, "", "listen: {trust_xfcc: true}\n", ""},
		"a key for nonces":            {jwks, "", "dpop: {nonce: true}\ncache: {key: 0123456789abcdef0123456789abcdef}\n", ""},
		"a key for nothing":           {jwks, "", "dpop: {nonce: false}\ncache: {key: 0123456789abcdef0123456789abcdef}\n", ":5:14: cache.key has no effect"},
		"an identity in the proof's":  {jwks, "", "headers: {dpop: identity.subject}\n", "header dpop belongs to the request itself"},
		"a credential in the proof's": {jwks, "", "credentials: [{header: dpop}]\n", "the header dpop belongs to the request itself"},
	} {
		dir := t.TempDir()
		for file, text := range map[string]string{"scopeward.yaml": strings.Replace(c.base, "%s", c.provider, 1) + c.rest, "p.yaml": "version: 1\nrules: [{match: /, public: true}]\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Load(Options{File: filepath.Join(dir, "scopeward.yaml")})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestPublishedBinding: metadata (RFC 9728) claim what the configuration says.
func TestPublishedBinding(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		provider, rest string
		want           [3]bool
	}{
		{"", "", [3]bool{false, false, false}},
		{"", "dpop: {nonce: true}", [3]bool{true, false, false}},
		{", binding: required", "", [3]bool{true, true, true}},
		{"", "listen: {trust_xfcc: true}", [3]bool{false, false, true}},
	} {
		text := "providers:\n  - {name: a, issuer: 'https://a.example', audiences: [api]" + c.provider + "}\npolicy: [p.yaml]\nresource: {identifier: 'https://api.example'}\n" + c.rest
		for file, text := range map[string]string{"scopeward.yaml": text, "p.yaml": "version: 1\nrules: [{match: /, public: true}]\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f, err := Load(Options{File: filepath.Join(dir, "scopeward.yaml")})
		if err != nil {
			t.Fatal(err)
		}
		if reads := strings.Join(f.Config.LooksAt(), " "); !strings.Contains(reads, "dpop") || strings.Contains(reads, "x-forwarded-client-cert") != (c.rest == "listen: {trust_xfcc: true}") {
			t.Errorf("%+v: the doctor looks for %s", c, reads)
		}
		body := f.Config.published(f.Policy)[0].Body()
		for i, member := range []string{`"dpop_signing_alg_values_supported":["ES256",`, `"dpop_bound_access_tokens_required":true`, `"tls_client_certificate_bound_access_tokens":true`} {
			if strings.Contains(body, member) != c.want[i] {
				t.Errorf("%+v: %s", c, body)
			}
		}
	}
}
