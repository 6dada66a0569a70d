package serve

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/golang-jwt/jwt/v5"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// TestNoCrossTalk: many requests at a time, whose memory is used again and again,
// each get their own answer: good tokens with their own subject, bad ones none.
func TestNoCrossTalk(t *testing.T) {
	idp := tokentest.New(t)
	encryption := tokentest.RSAKey(t)
	b64 := base64.RawURLEncoding.EncodeToString
	jwk, err := json.Marshal(map[string]string{
		"kty": "RSA", "kid": "enc", "use": "enc", "n": b64(encryption.N.Bytes()), "e": b64(big.NewInt(int64(encryption.E)).Bytes()),
	})
	if err != nil {
		t.Fatal(err)
	}
	idp.Publish(idp.JWKS(string(jwk)))
	forEncryption := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(idp.Claims(nil)))
	forEncryption.Header["kid"] = "enc"
	byWrongKey, err := forEncryption.SignedString(encryption)
	if err != nil {
		t.Fatal(err)
	}

	config := corpus.Configure(t, t.TempDir(), "jwks", idp, map[string]any{
		"rate_limit": map[string]any{"count": "off"}, "cache": map[string]any{"max_entries": 64, "negative_ttl": "1ms", "ttl": "1ms"},
	}, map[string]string{"policy.yaml": "version: 1\nrules:\n  - match: GET /users/{id}\n    scopes: [read:users]\n    when: path.id == identity.subject\n"})
	s, _ := startService(t, config)
	client := connect(t, s.newFront(grpcOptions{}, newHealthService()))

	tokens := map[string]string{}
	for i := range 8 {
		sub := fmt.Sprintf("user%d", i)
		tokens[sub] = idp.Mint(map[string]any{"sub": sub}, nil)
	}
	ask := func(path, raw string) *authv3.CheckResponse {
		request := corpus.Request{Method: "GET", Target: path, Host: "api.example.com", Headers: map[string]string{"authorization": "Bearer " + raw}}
		response, err := client.Check(t.Context(), checkRequest(request, ""))
		if err != nil {
			t.Error(err)
		}
		return response
	}
	var all sync.WaitGroup
	end := time.Now().Add(3 * time.Second)
	for sub, raw := range tokens {
		all.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				ok := ask("/users/"+sub, raw).GetOkResponse()
				seen := ""
				for _, h := range ok.GetHeaders() {
					if h.GetHeader().GetKey() == "x-auth-subject" {
						seen = h.GetHeader().GetValue()
					}
				}
				if ok == nil || seen != sub {
					t.Errorf("%s was answered as %q", sub, seen)
				}
				if ask("/users/alice", byWrongKey).GetDeniedResponse() == nil {
					t.Error("a key for encryption verified a token")
				}
				if ask("/users/other", raw).GetDeniedResponse() == nil {
					t.Errorf("%s got in as another", sub)
				}
			}
		})
	}
	all.Wait()
}
