package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/errgroup"
)

const (
	issuer   = "https://issuer.example"
	audience = "https://api.example"
)

// workload is what all servers are measured with.
type workload struct {
	dir    string
	jwks   string // the file with the key
	tokens []string
}

// prepare makes a key, tokens and the files of Scopeward.
func prepare(dir string, tokens int) (*workload, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	jwks, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "kid": "bench", "use": "sig", "alg": "RS256", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes()),
	}}})
	if err != nil {
		return nil, err
	}
	w := &workload{dir: dir, jwks: filepath.Join(dir, "jwks.json"), tokens: make([]string, max(tokens, 1))}
	files := map[string]string{
		"jwks.json":   string(jwks),
		"policy.yaml": policyText,
		"scopeward.yaml": fmt.Sprintf(`providers:
  - {name: bench, issuer: %s, audiences: [%s], jwks: {file: jwks.json}}
cache: {ttl: 1h, max_entries: 200000}
rate_limit: {max: 100000000}
headers: {x-auth-subject: identity.subject, x-auth-scopes: identity.scopes}
policy: [policy.yaml]
`, issuer, audience),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(os.Stderr, "bench: signing %d tokens ...\n", len(w.tokens))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range w.tokens {
		group.Go(func() (err error) {
			w.tokens[i], err = claims(i, jwt.SigningMethodRS256).SignedString(key)
			return err
		})
	}
	return w, group.Wait()
}

// policyText is the policy that all are measured with.
const policyText = "version: 1\nrules:\n  - match: GET /users\n    scopes: [read:users]\n"

// claims is a token as large as a provider's usually is, not yet signed.
func claims(i int, method jwt.SigningMethod) *jwt.Token {
	now := time.Now()
	t := jwt.NewWithClaims(method, jwt.MapClaims{
		"iss": issuer, "aud": []string{audience}, "sub": fmt.Sprintf("user-%08d", i), "azp": "0123456789abcdef0123456789abcdef",
		"scope": "openid profile read:users write:orders", "org_code": "org_0123456789a", "jti": fmt.Sprintf("%036d", i),
		"iat": now.Unix(), "exp": now.Add(4 * time.Hour).Unix(),
	})
	t.Header["kid"] = "bench"
	return t
}
