package token_test

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"strings"
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
		Cache: token.NewCache(2_000_000, 0), TTL: time.Hour,
		Providers: []token.Provider{{Name: "perf", Issuer: rules.Issuer, Tokens: token.Any, Verifier: &verifier{answer: func(context.Context, string) (*token.Identity, error) {
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

// TestCacheBytes: the cache tells what it takes, within a tenth of what it takes indeed,
// whatever the tokens are like, and stays within its bound.
func TestCacheBytes(t *testing.T) {
	rules := token.Rules{Provider: "perf", Issuer: "https://issuer.example/", Audiences: []string{"perf-api"}}
	claims := func(i int, more map[string]any) map[string]any {
		c := map[string]any{
			"iss": rules.Issuer, "aud": "perf-api", "sub": fmt.Sprintf("user-%08d", i), "exp": float64(time.Now().Add(time.Hour).Unix()),
			"jti": fmt.Sprintf("%032x", i), "scope": "openid profile read:users",
		}
		maps.Copy(c, more)
		return c
	}
	large := strings.Repeat("x", 2500)
	for name, more := range map[string]func(i int) map[string]any{
		"small":         func(int) map[string]any { return nil },
		"large":         func(int) map[string]any { return map[string]any{"groups": large} },
		"scopes apart":  func(i int) map[string]any { return map[string]any{"scope": fmt.Sprintf("a%d b%d c%d", i, i, i)} },
		"long subjects": func(i int) map[string]any { return map[string]any{"sub": fmt.Sprintf("%0900d", i)} },
		"refused":       func(int) map[string]any { return map[string]any{"aud": "another"} },
	} {
		t.Run(name, func(t *testing.T) {
			const bound, tokens = 4 << 20, 15_000
			cache := token.NewCache(tokens, bound)
			n := 0
			v := token.NewValidator(token.Options{
				Cache: cache, TTL: time.Hour, NegativeTTL: time.Hour,
				Providers: []token.Provider{{Name: "perf", Issuer: rules.Issuer, Tokens: token.Any, Verifier: &verifier{answer: func(context.Context, string) (*token.Identity, error) {
					n++
					return rules.Identity(tokentest.Decoded(claims(n, more(n))))
				}}}},
			})
			before := live()
			for i := range tokens {
				result, _ := v.Validate(t.Context(), fmt.Sprintf("token-%d", i), nil)
				if result.Identity != nil {
					_, _ = result.Identity.ClaimText("jti")
				}
			}
			grown := int64(live() - before)
			valid, invalid := cache.Bytes()
			runtime.KeepAlive(v)
			held, refusals := cache.Len()
			t.Logf("%d identities, %d refusals: %d KiB said, %d KiB taken, %d and %d bytes each", held, refusals, (valid+invalid)>>10, grown>>10,
				(valid+invalid)/int64(held+refusals), grown/int64(held+refusals))
			if valid+invalid > bound || grown > (valid+invalid)*11/10 {
				t.Errorf("it says %d KiB, and takes %d KiB, of %d", (valid+invalid)>>10, grown>>10, bound>>10)
			}
		})
	}
}
