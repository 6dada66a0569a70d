package identitytoken_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"scopeward/authz/identitytoken"
	"scopeward/authz/token"
)

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func alice(t *testing.T, expiry time.Time) *token.Identity {
	t.Helper()
	id := &token.Identity{Provider: "idp", Issuer: "https://idp", Subject: "alice", ClientID: "app", Scopes: []string{"a", "b"}, Expiry: expiry}
	claims, err := token.ReadClaims([]byte(`{"org": "acme", "roles": ["guest admin", "b"], "uid": 12345678901234567890, "none": null}`))
	if err != nil {
		t.Fatal(err)
	}
	id.SetClaims(claims)
	return id
}

func claim(name string) identitytoken.Claim {
	return identitytoken.Claim{Name: name, Value: func(id *token.Identity) any { return id.Claims()[name] }}
}

func signer(t *testing.T, version byte, keys ...crypto.Signer) *identitytoken.Signer {
	t.Helper()
	s, err := identitytoken.New(identitytoken.Options{
		Version: [8]byte{version}, Issuer: "https://gateway", Audiences: []string{"https://users"}, Keys: keys, TTL: 5 * time.Minute,
		Claims: []identitytoken.Claim{claim("org"), claim("roles"), claim("uid"), claim("none"), claim("absent")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// verified are the claims of a token that another library verifies by the published keys.
func verified(t *testing.T, text, jwks string) map[string]any {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(jwks), &set); err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Keys {
		if !key.IsPublic() || key.Use != "sig" {
			t.Fatalf("the key %s is published with its private part, or for another use", key.KeyID)
		}
	}
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	if typ := parsed.Headers[0].ExtraHeaders["typ"]; typ != "JWT" {
		t.Errorf("typ is %v", typ)
	}
	claims := map[string]any{}
	if err := parsed.Claims(set, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestSign(t *testing.T) {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	for _, key := range []crypto.Signer{ec, ed, rsaKey} {
		s := signer(t, 1, key)
		note, err := s.Sign(alice(t, now.Add(time.Hour)), now)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"iss": "https://gateway", "aud": "https://users", "sub": "alice", "client_id": "app", "scope": "a b", "jti": note.ID,
			"iat": float64(now.Unix()), "exp": float64(now.Add(5 * time.Minute).Unix()), "org": "acme", "roles": []any{"guest admin", "b"}, "uid": 12345678901234567890.,
		}
		if diff := cmp.Diff(want, verified(t, note.Text, s.JWKS())); diff != "" {
			t.Errorf("%T (-want +got):\n%s", key, diff)
		}
	}
}

// TestLife: a token ends no later than what it stands for, is used again for half of its
// life, and made anew after that.
func TestLife(t *testing.T) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	s := signer(t, 1, key)
	id := alice(t, now.Add(6*time.Minute))
	at := func(after time.Duration) (jti string, exp float64) {
		t.Helper()
		note := s.Known(id, now.Add(after))
		if note == nil {
			var err error
			if note, err = s.Sign(id, now.Add(after)); err != nil {
				t.Fatal(err)
			}
		}
		return note.ID, verified(t, note.Text, s.JWKS())["exp"].(float64) - float64(now.Unix())
	}
	first, exp := at(0)
	if again, _ := at(2 * time.Minute); again != first || exp != 5*60 {
		t.Errorf("signed twice within half of its life, or ends after %v s", exp)
	}
	second, exp := at(3 * time.Minute)
	if second == first || exp != 6*60 {
		t.Errorf("not made anew, or ends after %v s: what it stands for ends after 360", exp)
	}
	if again, _ := at(6*time.Minute - time.Second); again != second {
		t.Error("signed again, though another one ends no later")
	}
	if _, exp = at(7 * time.Minute); exp > 6*60 {
		t.Errorf("it ends %v s after what it stands for", exp-6*60)
	}
	if other := signer(t, 2, key); other.Known(id, now) != nil {
		t.Error("a token of other options counts")
	}
}

// TestSignOnce: of many requests at once, one signs.
func TestSignOnce(t *testing.T) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	s, id := signer(t, 1, key), alice(t, time.Time{})
	var group sync.WaitGroup
	var ids sync.Map
	for range 32 {
		group.Go(func() {
			note, err := s.Sign(id, now)
			if err != nil {
				t.Error(err)
				return
			}
			ids.Store(note.ID, true)
		})
	}
	group.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d tokens were signed", n)
	}
}

func TestKeys(t *testing.T) {
	_, old, _ := ed25519.GenerateKey(rand.Reader)
	next, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	before, between, after := signer(t, 1, old), signer(t, 2, old, next), signer(t, 3, next, old)
	id := alice(t, time.Time{})
	for _, s := range []*identitytoken.Signer{before, between, after} {
		note, err := s.Sign(id, now)
		if err != nil {
			t.Fatal(err)
		}
		verified(t, note.Text, between.JWKS())
		verified(t, note.Text, after.JWKS())
	}
	note, _ := after.Sign(id, now)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(before.JWKS()), &set); err != nil {
		t.Fatal(err)
	}
	if parsed, err := jwt.ParseSigned(note.Text, []jose.SignatureAlgorithm{jose.ES256}); err != nil || parsed.Claims(set, &struct{}{}) == nil {
		t.Error("the key that is first in the list does not sign")
	}
	for name, keys := range map[string][]crypto.Signer{"no key": nil, "a key twice": {old, old}} {
		if _, err := identitytoken.New(identitytoken.Options{Keys: keys}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestTooLong: what the service could not take is an error, not a header that is cut or
// missing.
func TestTooLong(t *testing.T) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	id := &token.Identity{Subject: strings.Repeat("s", 20_000)}
	if note, err := signer(t, 1, key).Sign(id, now); err == nil || note != nil {
		t.Errorf("%v, %v", note, err)
	}
}
