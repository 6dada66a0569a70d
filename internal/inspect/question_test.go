package inspect

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"scopeward/authz/token"
	"scopeward/internal/config"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
	"scopeward/policy"
	"scopeward/policy/explain"
)

// TestExplainAgreesWithCorpus: what explain says that clients get is what the
// corpus shows that they get, as far as it depends on the policy and on what a
// token says of itself.
func TestExplainAgreesWithCorpus(t *testing.T) {
	explained := map[string]int{}
	for _, c := range corpus.Load(t, os.DirFS("../../e2e/testdata/corpus")) {
		if !readable(c.Config) || c.Faults != nil || !slices.Contains(c.Modes, "jwks") {
			continue
		}
		dir, idp := t.TempDir(), tokentest.New(t)
		f, err := config.LoadRules(config.Options{File: c.Setup(t, dir, "jwks", idp), Secrets: config.NoSecrets})
		if err != nil {
			t.Fatal(err)
		}
		tokens := c.Mint(t, idp)
		for _, step := range c.Steps {
			r := corpus.Read(t, c.Wire(t, step, tokens))
			authorization := r.Headers["authorization"]
			delete(r.Headers, "authorization")
			if !strings.HasPrefix(r.Target, "/") || strings.Contains(authorization, ",") || step.Answer.Status == 500 {
				continue // no command line can say it, or it is a fault
			}
			o := Question{Policy: c.Policy, ClientIP: "127.0.0.1"}
			if raw, ok := strings.CutPrefix(authorization, "Bearer "); ok && !token.Parse(raw).Opaque() {
				o.Token = raw
			} else if authorization != "" {
				continue
			}
			for name, value := range r.Headers {
				o.Headers = append(o.Headers, name+"="+value)
			}
			if r.Headers["x-forwarded-proto"] == "" { // which nobody says of https
				o.Headers = append(o.Headers, "x-forwarded-proto=http")
			}
			host := r.Host
			if _, _, ok := policy.SplitURL("http://" + host + r.Target); !ok {
				host = "h"
			}
			q, presented, _, err := o.Read(r.Method, "http://"+host+r.Target, nil, f.Config)
			if authorization != "" && (presented.Raw != "" || presented.Fault != nil) {
				continue // explain knows one credential
			}
			if err != nil {
				t.Errorf("%s: %v", step.Name, err)
				continue
			}
			q.Host = r.Host
			e, _ := presented.Explain(f.Policy, q, f.Config)
			if (step.Answer.Body["code"] == "invalid_token" || step.Answer.Audit["code"] == "invalid_token") && e.Code != explain.InvalidToken {
				continue // only who verifies can tell
			}
			got := e.Response
			if want := step.Answer.Headers["Location"]; want != got.Location {
				t.Errorf("%s: explained a redirect to %q, shown to %q", step.Name, got.Location, want)
			}
			if step.Answer.Text != nil && *step.Answer.Text != got.Body {
				t.Errorf("%s: explained the body %q, shown %q", step.Name, got.Body, *step.Answer.Text)
			}
			if got.Status != step.Answer.Status || step.Answer.Headers["WWW-Authenticate"] != "*" && step.Answer.Headers["WWW-Authenticate"] != got.Challenge {
				t.Errorf("%s: explained %+v, shown %+v", step.Name, got, step.Answer)
			}
			var body map[string]any
			if got.Body != "" && step.Answer.Body != nil {
				if err := json.Unmarshal([]byte(got.Body), &body); err != nil {
					t.Fatal(err)
				}
				for name, want := range step.Answer.Body {
					if want == "*" {
						body[name] = want
					}
				}
				if diff := cmp.Diff(step.Answer.Body, body); diff != "" {
					t.Errorf("%s: body (-shown +explained):\n%s", step.Name, diff)
				}
			}
			explained[e.Code]++
		}
	}
	for _, code := range []string{explain.Allow, explain.MissingToken, explain.InvalidToken, explain.InsufficientScope, explain.AccessDenied, explain.InvalidPath} {
		if explained[code] == 0 {
			t.Errorf("no step with %s was explained", code)
		}
	}
}

// readable reports whether a configuration has only what explain reads.
func readable(changes map[string]any) bool {
	for key := range changes {
		if !slices.Contains([]string{"credentials", "forward_credential", "answers", "realm"}, key) {
			return false
		}
	}
	return true
}

// TestIdentitiesAgree: tests and explanations take from claims what the server
// takes from the claims of a token.
func TestIdentitiesAgree(t *testing.T) {
	for name, claims := range map[string]map[string]any{
		"user":          {"sub": "u1", "email": "u1@example.com", "azp": "app", "scp": []any{"a", "b"}, "org_code": "o1"},
		"machine":       {"client_id": "c1", "azp": "c2", "scope": "a b  c", "scp": []any{"d"}},
		"unverified":    {"sub": "u1", "email": "x@example.com", "email_verified": false},
		"verified":      {"sub": "u1", "email": "x@example.com", "email_verified": "true"},
		"null scope":    {"sub": "u1", "scope": nil, "scp": []any{"a"}},
		"null email":    {"sub": "u1", "email": nil},
		"empty":         {},
		"number as sub": {"sub": 42.},
		"null sub":      {"sub": nil},
		"empty sub":     {"sub": ""},
		"bad scope":     {"scope": `a"b`},
		"mixed scp":     {"scp": []any{"a", 1.5, "b c", ""}},
		"spaces":        {"sub": " a"},
		"no names":      {"sub": "a", "email": []any{"a@b.test"}, "client_id": 7.5, "azp": "a\u00a0"},
		"null scopes":   {"scope": nil},
		"null issuer":   {"sub": "a", "email": "a@b.test", "email_verified": nil},
		"numbers":       {"big": int64(1234567890123456789), "huge": uint64(18446744073709551615)},
		"repeated":      {"scope": "a b a"},
		"control":       {"sub": "a\nb"},
	} {
		claims["iss"] = "https://id.example.com"
		server, serverErr := token.Rules{Issuer: "https://id.example.com", AnyAudience: true, Optional: true}.Identity(tokentest.Decoded(claims))
		tool, toolErr := policy.NewIdentity(nil, claims)
		if (serverErr == nil) != (toolErr == nil) {
			t.Errorf("%s: the server says %v, tools say %v", name, serverErr, toolErr)
			continue
		}
		if serverErr != nil {
			continue
		}
		want := &policy.Identity{Subject: server.Subject, Email: server.Email, ClientID: server.ClientID, Issuer: server.Issuer, Scopes: server.Scopes, Claims: server.Claims()}
		if diff := cmp.Diff(want, tool, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-server +tools):\n%s", name, diff)
		}
	}
}
