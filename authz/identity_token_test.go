package authz

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"scopeward/authz/identitytoken"
	"scopeward/authz/token"
)

func identityToken(t testing.TB) IdentityToken {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := identitytoken.New(identitytoken.Options{Issuer: "https://gateway", Audiences: []string{"users"}, Keys: []crypto.Signer{key}, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	it, err := NewIdentityToken("X-Identity-Token", signer)
	if err != nil {
		t.Fatal(err)
	}
	return it
}

func withClaims(t testing.TB, id *token.Identity) *token.Identity {
	t.Helper()
	claims, err := token.NewClaims(map[string]any{"org": "acme"})
	if err != nil {
		t.Fatal(err)
	}
	id.SetClaims(claims)
	return id
}

// TestIdentityToken: whoever is known goes upstream with a token, signed once; nobody else
// does, whatever they send.
func TestIdentityToken(t *testing.T) {
	s, out, registry := testServer(t, func(raw string) (*token.Identity, error) {
		if raw == "unknown" {
			return nil, token.Invalidf("unknown")
		}
		return withClaims(t, &token.Identity{Subject: raw, Scopes: []string{"read:users"}}), nil
	}, func(s *Snapshot) { s.IdentityToken = identityToken(t) })
	upstream := func(path, authorization string) (set string, removed []string) {
		t.Helper()
		in := get(path, authorization)
		for _, name := range []string{"x-identity-token", "x_identity_token", "x-identity_token"} {
			in.Attributes.Request.Http.Headers[name] = "forged"
		}
		ok := check(t, s, in).GetOkResponse()
		for _, h := range ok.GetHeaders() {
			if h.GetHeader().GetKey() == "x-identity-token" {
				set = h.GetHeader().GetValue() + string(h.GetHeader().GetRawValue())
			}
		}
		return set, ok.GetHeadersToRemove()
	}
	first, removed := upstream("/users", "Bearer alice")
	if strings.Count(first, ".") != 2 || strings.Contains(strings.Join(removed, " "), "x-identity-token") ||
		!strings.Contains(strings.Join(removed, " "), "x_identity_token") || !strings.Contains(strings.Join(removed, " "), "x-identity_token") {
		t.Errorf("set %q, removed %q", first, removed)
	}
	if again, _ := upstream("/users", "Bearer alice"); again != first {
		t.Error("a known identity is signed again")
	}
	if other, _ := upstream("/users", "Bearer bob"); other == first || other == "" {
		t.Error("another identity has the same token, or none")
	}
	for _, nobody := range []string{"", "Bearer alice", "Bearer unknown"} {
		if set, removed := upstream("/public", nobody); set != "" || !strings.Contains(" "+strings.Join(removed, " "), " x-identity-token") {
			t.Errorf("a public rule, %q: set %q, removed %q", nobody, set, removed)
		}
	}
	if set, _ := upstream("/admin", "Bearer alice"); set != "" {
		t.Error("a denial has a token")
	}
	if n := testutil.ToFloat64(s.metrics.vouched.WithLabelValues("signed")); n != 2 {
		t.Errorf("%v tokens were signed, want 2", n)
	}
	if n, err := testutil.GatherAndCount(registry, "scopeward_identity_tokens_total"); n != 2 || err != nil {
		t.Errorf("the metric has %d series: %v", n, err)
	}
	s.audit.Close(time.Second)
	if written := out.String(); strings.Count(written, `"identityToken":"`) != 3 || strings.Contains(written, first) {
		t.Errorf("the audit should have the ids of the tokens that went upstream, and none of the tokens:\n%s", written)
	}
}

// TestIdentityTokenFails: without the token that the service expects, nobody passes.
func TestIdentityTokenFails(t *testing.T) {
	s, _, _ := testServer(t, func(raw string) (*token.Identity, error) {
		return withClaims(t, &token.Identity{Subject: strings.Repeat("long", 5000), Scopes: []string{"read:users"}}), nil
	}, func(s *Snapshot) { s.IdentityToken = identityToken(t) })
	if status := statusOf(check(t, s, get("/users", "Bearer alice"))); status != 500 {
		t.Errorf("answered %d", status)
	}
	if n := testutil.ToFloat64(s.metrics.vouched.WithLabelValues("failed")); n != 1 {
		t.Errorf("%v failures are counted", n)
	}
}

// TestIdentityTokenIsCounted: the memory of tokens counts as the cache's.
func TestIdentityTokenIsCounted(t *testing.T) {
	cache := token.NewCache(100, 1<<20)
	s, _, _ := testServer(t, nil, func(s *Snapshot) {
		s.IdentityToken = identityToken(t)
		s.Validator = token.NewValidator(token.Options{Cache: cache, Providers: []token.Provider{{Name: "test", Tokens: token.Any, Verifier: verifierFunc(
			func(string) (*token.Identity, error) {
				return withClaims(t, &token.Identity{Subject: "alice", Scopes: []string{"read:users"}}), nil
			})}}})
	})
	if _, err := s.Snapshot().Validator.Validate(t.Context(), "alice", nil); err != nil {
		t.Fatal(err)
	}
	before, _ := cache.Bytes()
	check(t, s, get("/users", "Bearer alice"))
	if after, _ := cache.Bytes(); after < before+200 {
		t.Errorf("%d bytes before, %d after", before, after)
	}
}

// BenchmarkIdentityToken is a check of a known token without and with an identity token,
// which must cost no signature.
func BenchmarkIdentityToken(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprintf("with=%v", with), func(b *testing.B) {
			s, _, _ := testServer(b, func(string) (*token.Identity, error) {
				return withClaims(b, &token.Identity{Provider: "test", Subject: "user-00000001", Scopes: []string{"openid", "profile", "read:users", "write:orders"}}), nil
			}, func(s *Snapshot) {
				if with {
					s.IdentityToken = identityToken(b)
				}
			})
			s.audit = NewLineWriter(io.Discard, nil)
			b.Cleanup(func() { s.audit.Close(0) })
			message, err := proto.Marshal(browserRequest(fmt.Sprintf("%0700d", 7)))
			if err != nil {
				b.Fatal(err)
			}
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				call, answered, err := s.Begin(b.Context(), message, "")
				if err != nil {
					b.Fatal(err)
				}
				if !answered {
					call.Wait(b.Context())
				}
				out = call.Append(out[:0])
			}
		})
	}
}
