package authz

import (
	"testing"
	"testing/synctest"
	"time"

	"scopeward/authz/token"
	"scopeward/internal/testenv/tokentest"
	"scopeward/policy"
)

// TestStepUp: a login grows old while the identity is cached, and the answer is that of
// RFC 9470 section 3.
func TestStepUp(t *testing.T) {
	set, err := policy.Parse(policy.File{Name: "p.yaml", Data: []byte("version: 1\nrules:\n" +
		"  - {match: /a, scopes: [read], acr: [urn:hw, urn:mfa], max_age: 5m}\n  - {match: /b, max_age: 1h}\n  - {match: /c, acr: urn:hw}\n  - {match: /d, max_age: 1s, mode: audit}\n")})
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"error":"Insufficient user authentication","code":"insufficient_user_authentication","message":"Please sign in again, as the challenge says"}`
	synctest.Test(t, func(t *testing.T) {
		verified := 0
		verify := verifierFunc(func(string) (*token.Identity, error) {
			verified++
			return token.Rules{Provider: "test", Issuer: "https://issuer.example", AnyAudience: true}.Identity(tokentest.Decoded(map[string]any{
				"iss": "https://issuer.example", "sub": "alice", "exp": float64(time.Now().Add(3 * time.Hour).Unix()), "scope": "read",
				"acr": "urn:mfa", "auth_time": float64(time.Now().Unix()),
			}))
		})
		s, written, _ := testServer(t, nil, func(s *Snapshot) {
			s.Policy, s.Shadow = set, set
			s.Validator = token.NewValidator(token.Options{
				Providers: []token.Provider{{Name: "test", Issuer: "https://issuer.example", Tokens: token.Any, Verifier: verify}}, TTL: 2 * time.Hour,
			})
		})
		for _, c := range []struct {
			after     time.Duration
			path      string
			status    int
			challenge string
		}{
			{0, "/a", 200, ""},
			{0, "/b", 200, ""},
			{0, "/c", 401, `Bearer realm="api", error="insufficient_user_authentication", acr_values="urn:hw"`},
			{5 * time.Minute, "/a", 200, ""},
			{time.Second, "/a", 401, `Bearer realm="api", error="insufficient_user_authentication", scope="read", acr_values="urn:hw urn:mfa", max_age="300"`},
			{0, "/b", 200, ""},
			{0, "/d", 200, ""}, // audit mode
			{time.Hour, "/b", 401, `Bearer realm="api", error="insufficient_user_authentication", max_age="3600"`},
		} {
			time.Sleep(c.after)
			got := check(t, s, get(c.path, "Bearer t"))
			if c.status == 200 {
				if got.GetOkResponse() == nil {
					t.Errorf("%+v: %v", c, got)
				}
				continue
			}
			denied := got.GetDeniedResponse()
			header := ""
			for _, h := range denied.GetHeaders() {
				if h.Header.Key == "www-authenticate" {
					header = h.Header.Value
				}
			}
			if got.GetStatus().GetCode() != 16 || int(denied.GetStatus().GetCode()) != c.status || header != c.challenge || denied.GetBody() != body {
				t.Errorf("%+v: %v", c, got)
			}
		}
		if verified != 1 {
			t.Errorf("verified %d times: the identity was not cached", verified)
		}
		var codes, would []string
		for _, e := range eventsOf(t, s, written) {
			codes, would = append(codes, e.Code), append(would, e.WouldBe)
			if e.Shadow != "" {
				t.Errorf("the shadow policy, which is the same, says %s", e.Shadow)
			}
		}
		const short = "insufficient_user_authentication"
		if len(codes) != 8 || codes[2] != short || codes[4] != short || codes[7] != short || codes[6] != "allow" || would[6] != short {
			t.Errorf("%q, %q", codes, would)
		}
	})
}
