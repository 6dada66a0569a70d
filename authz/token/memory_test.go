package token_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"scopeward/authz/token"
	"scopeward/internal/testenv/tokentest"
)

// BenchmarkIdentityMemory reports what a cached identity costs, of a token with
// the claims of an ordinary access token: B/identity is live memory.
func BenchmarkIdentityMemory(b *testing.B) {
	rules := token.Rules{Provider: "perf", Issuer: "https://issuer.example/", Audiences: []string{"perf-api"}}
	user := 0
	v := token.NewValidator(token.Options{
		Cache: token.NewCache(2_000_000), TTL: time.Hour,
		Providers: []token.Provider{{Name: "perf", Issuer: rules.Issuer, Opaque: true, Verifier: &verifier{answer: func(context.Context, string) (*token.Identity, error) {
			user++
			return rules.Identity(tokentest.Decoded(map[string]any{
				"iss": rules.Issuer, "aud": "perf-api", "sub": fmt.Sprintf("user-%08d", user), "iat": float64(time.Now().Unix()),
				"exp": float64(time.Now().Add(time.Hour).Unix()), "jti": fmt.Sprintf("%032x", user*7919+1), "client_id": "web-frontend",
				"email": fmt.Sprintf("user-%08d@example.com", user), "scope": "openid profile read:users write:orders",
			}))
		}}}},
	})
	before := live()
	for i := 0; b.Loop(); i++ {
		if _, err := v.Validate(b.Context(), fmt.Sprintf("token-%d", i), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(live()-before)/float64(b.N), "B/identity")
	runtime.KeepAlive(v)
}

func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
