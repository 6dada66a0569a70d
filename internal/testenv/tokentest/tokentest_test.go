package tokentest_test

import (
	"crypto/rsa"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/go-json-experiment/json"

	"scopeward/internal/testenv/tokentest"
)

func get(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func request(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// A second library reads the keys and verifies the tokens.
func TestTokensVerifyWithThePublishedKeys(t *testing.T) {
	p := tokentest.New(t)
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"} {
		p.RotateTo(alg)
		raw := p.Mint(nil, nil)
		_, document := get(t, request(t, "GET", p.URL+tokentest.KeysPath, nil))
		var set jose.JSONWebKeySet
		if err := json.Unmarshal([]byte(document), &set); err != nil {
			t.Fatal(err)
		}
		parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
		if err != nil {
			t.Fatal(err)
		}
		claims := map[string]any{}
		if err := parsed.Claims(&set, &claims); err != nil || claims["sub"] != tokentest.Subject {
			t.Errorf("%s: got %v, %v", alg, claims, err)
		}
	}
}

func TestProfile(t *testing.T) {
	p := tokentest.New(t)
	p.Opaque("opaque", map[string]any{"sub": "bob", "id": "bob", "scope": "a"})
	revoked := p.Mint(map[string]any{"jti": "revoked"}, nil)
	p.Revoke(revoked)
	for raw, want := range map[string]int{
		p.Mint(nil, nil): 200, "opaque": 200, "unknown": 403, "": 403, revoked: 403,
		p.Mint(map[string]any{"exp": int64(1)}, nil): 403,
	} {
		req := request(t, "GET", p.URL+tokentest.ProfilePath, nil)
		req.Header.Set("Authorization", "Bearer "+raw)
		if status, body := get(t, req); status != want {
			t.Errorf("%.20s: got %d %s, want %d", raw, status, body, want)
		}
	}
}

func TestIntrospection(t *testing.T) {
	p := tokentest.New(t)
	raw := p.Mint(nil, nil)
	ask := func(raw, secret string) (int, string) {
		form := url.Values{"token": {raw}}
		req := request(t, "POST", p.URL+tokentest.IntrospectionPath, strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(url.QueryEscape(tokentest.ClientID), url.QueryEscape(secret))
		return get(t, req)
	}
	if status, body := ask(raw, tokentest.ClientSecret); status != 200 || !strings.Contains(body, `"active":true`) {
		t.Errorf("good: %d %s", status, body)
	}
	if status, body := ask("x", tokentest.ClientSecret); status != 200 || !strings.Contains(body, `"active":false`) {
		t.Errorf("unknown: %d %s", status, body)
	}
	if status, _ := ask(raw, "wrong"); status != 401 {
		t.Errorf("wrong secret: %d", status)
	}
}

func TestRotation(t *testing.T) {
	p := tokentest.New(t)
	first, _ := p.Signer()
	p.Rotate()
	second, _ := p.Signer()
	if s := p.JWKS(); !strings.Contains(s, first) || !strings.Contains(s, second) {
		t.Error("both keys should be published")
	}
	p.Drop()
	if s := p.JWKS(); strings.Contains(s, first) || !strings.Contains(s, second) {
		t.Error("only the second key should be published")
	}
}

// No two tests have a key at the same time: a stranger's would be no stranger's.
func TestKeysHaveOneOwner(t *testing.T) {
	mine := tokentest.RSAKey(t)
	var before *rsa.PrivateKey
	for range 2 {
		t.Run("another", func(t *testing.T) {
			one, two := tokentest.RSAKey(t), tokentest.RSAKey(t)
			if one == two || one == mine || two == mine {
				t.Error("a key has two owners")
			}
			if before != nil && before != one && before != two {
				t.Error("a key whose test has ended is not used again")
			}
			before = one
		})
	}
}
