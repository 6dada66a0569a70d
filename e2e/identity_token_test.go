package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// What follows up to the next comment stands in docs/identity-token.md, too.

// keysOf fetches the public keys. Do so again every few minutes, and for a kid that is new.
func keysOf(issuer string) (keys jose.JSONWebKeySet, err error) {
	res, err := http.Get(issuer + "/identity/jwks.json")
	if err != nil {
		return keys, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return keys, errors.New(res.Status)
	}
	return keys, json.NewDecoder(res.Body).Decode(&keys)
}

// caller returns who asks.
func caller(r *http.Request, keys jose.JSONWebKeySet, issuer string) (subject string, err error) {
	algorithms := []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256}
	token, err := jwt.ParseSigned(r.Header.Get("X-Identity-Token"), algorithms)
	if err != nil {
		return "", err
	}
	var claims jwt.Claims
	if err := token.Claims(keys, &claims); err != nil {
		return "", err
	}
	expected := jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{"https://users.internal.acme.dev"}}
	return claims.Subject, claims.ValidateWithLeeway(expected, 5*time.Second)
}

// TestDocumentedVerifier: the page has the code that is tested here.
func TestDocumentedVerifier(t *testing.T) {
	page, err := os.ReadFile("../docs/identity-token.md")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("identity_token_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "```go\n")
	code, _, _ := strings.Cut(after, "```")
	if code == "" || !strings.Contains(string(own), code) {
		t.Error("the Go code of docs/identity-token.md is not that of this file")
	}
}

// writeKey writes a private key as openssl does.
func writeKey(t *testing.T, file string, key crypto.Signer) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".next", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".next", file); err != nil {
		t.Fatal(err)
	}
}

// TestIdentityToken: a service that verifies the token by the keys that it fetches through
// Envoy knows who asks, also while the key is rotated, and takes nobody's own.
func TestIdentityToken(t *testing.T) {
	t.Parallel()
	var keys atomic.Pointer[jose.JSONWebKeySet]
	var issuer atomic.Pointer[string]
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		subject, err := caller(r, *keys.Load(), *issuer.Load())
		if err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
			return
		}
		fmt.Fprint(w, subject)
	}))
	t.Cleanup(service.Close)

	idp, dir := tokentest.New(t), t.TempDir()
	_, first, _ := ed25519.GenerateKey(rand.Reader)
	second, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, forger, _ := ed25519.GenerateKey(rand.Reader)
	writeKey(t, filepath.Join(dir, "a.pem"), first)
	writeKey(t, filepath.Join(dir, "b.pem"), second)
	config := corpus.Configure(t, dir, "jwks", idp, map[string]any{"identity_token": map[string]any{
		"issuer": "http://127.0.0.1:1/before", "audience": "https://users.internal.acme.dev", "key": []string{"file:a.pem"}, "publish": true,
	}}, map[string]string{"policy.yaml": usersPolicy + "  - {match: /healthz, public: true}\n"})
	s := &system{scopeward: serve(t, "--config", config)}
	url := "http://" + startEnvoy(t, service.Listener.Addr().String(), []target{{name: "public", authz: s.grpc}})["public"]
	replace(t, config, "http://127.0.0.1:1/before", url)
	issuer.Store(&url)
	fetch := func() bool {
		fetched, err := keysOf(url)
		keys.Store(&fetched)
		return err == nil
	}
	eventually(t, "the keys are published at the issuer", fetch)
	if own := s.page(t, "/identity/jwks.json"); !strings.Contains(own, keys.Load().Keys[0].KeyID) || strings.Contains(own, `"d"`) {
		t.Errorf("the admin listener answers %s", own)
	}

	raw := idp.Mint(map[string]any{"sub": "alice"}, nil)
	ask := func(path, credential, own string) (int, string) {
		t.Helper()
		request := "GET " + path + " HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n"
		if credential != "" {
			request += "Authorization: Bearer " + credential + "\r\n"
		}
		if own != "" {
			request += "X-Identity-Token: " + own + "\r\n"
		}
		res, body := exchange(t, strings.TrimPrefix(url, "http://"), []byte(request+"\r\n"))
		return res.StatusCode, string(body)
	}
	known := func(when string) {
		t.Helper()
		if status, body := ask("/users", raw, ""); status != 200 || body != "alice" {
			t.Errorf("%s: %d %s", when, status, body)
		}
	}
	known("with one key")
	forged := forge(t, forger, url)
	if status, body := ask("/users", raw, forged); status != 200 || body != "alice" {
		t.Errorf("beside a client's own: %d %s", status, body)
	}
	if status, body := ask("/healthz", "", forged); status != http.StatusTeapot {
		t.Errorf("a client's own on a public path: %d %s", status, body)
	}

	// The new key is published, then signs, and then the old one goes. The service has
	// fetched the keys between two steps, and knows each request.
	signer := keys.Load().Keys[0].KeyID
	for _, step := range []struct{ from, to string }{
		{"- file:a.pem", "- file:a.pem\n        - file:b.pem"},
		{"- file:a.pem\n        - file:b.pem", "- file:b.pem\n        - file:a.pem"},
		{"- file:b.pem\n        - file:a.pem", "- file:b.pem"},
	} {
		before := s.page(t, "/identity/jwks.json")
		replace(t, config, step.from, step.to)
		eventually(t, "the keys are others: "+step.to, func() bool {
			known("while the keys change to " + step.to)
			return s.page(t, "/identity/jwks.json") != before
		})
		known("before the service has the keys")
		fetch()
		known("after")
	}
	if now := keys.Load().Keys[0].KeyID; now == signer || len(keys.Load().Keys) != 1 {
		t.Error("the key was not rotated")
	}

	// Another key in the same file counts with the next reading.
	_, third, _ := ed25519.GenerateKey(rand.Reader)
	writeKey(t, filepath.Join(dir, "b.pem"), third)
	eventually(t, "the key of the file is another", func() bool {
		return fetch() && keys.Load().Keys[0].Algorithm == string(jose.EdDSA)
	})
	known("with another key in the file")
}

// forge makes a token as an attacker would, by a key of their own.
func forge(t *testing.T, key ed25519.PrivateKey, issuer string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: issuer, Subject: "mallory", Audience: jwt.Audience{"https://users.internal.acme.dev"}, Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
