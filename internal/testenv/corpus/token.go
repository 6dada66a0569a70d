package corpus

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"scopeward/internal/testenv/tokentest"
)

// Token says how a token of a case differs from a good one.
type Token struct {
	// Claims replace those of a good token; null removes one. A string for
	// exp, nbf, iat or auth_time is a duration from now.
	Claims map[string]any `yaml:"claims"`
	Header map[string]any `yaml:"header"`
	// Opaque makes a token that is no JWT, with this profile; Raw says which.
	Opaque map[string]any `yaml:"opaque"`
	// Forge says how an attacker made it.
	Forge string `yaml:"forge" enum:"none|hmac|stranger|tampered|stripped"`
	Raw   string `yaml:"raw"`
	// Bound binds it to the key of the case's client.
	Bound bool `yaml:"bound"`
	// Length makes a token of that many bytes which is none.
	Length int `yaml:"length"`
}

// Proof says how a proof for a request differs from a good one.
type Proof struct {
	Token    string         `yaml:"token,required"`
	Method   string         `yaml:"method,required"`
	URL      string         `yaml:"url,required"`
	Claims   map[string]any `yaml:"claims"` // as those of a token
	Header   map[string]any `yaml:"header"`
	Stranger bool           `yaml:"stranger"` // it is by another key
}

func (s Token) mint(t testing.TB, idp *tokentest.Provider) string {
	t.Helper()
	switch {
	case s.Opaque != nil:
		raw := cmp.Or(s.Raw, "opaque-"+rand.Text())
		idp.Opaque(raw, s.Opaque)
		return raw
	case s.Raw != "":
		return s.Raw
	case s.Length > 0:
		return strings.Repeat("a", s.Length)
	}
	good := idp.Mint(dated(s.Claims), s.Header)
	if s.Forge == "" {
		return good
	}
	return forge(t, s.Forge, good)
}

// dated are claims whose durations have become dates.
func dated(spec map[string]any) map[string]any {
	claims := map[string]any{}
	for name, value := range spec {
		if text, ok := value.(string); ok && (name == "exp" || name == "nbf" || name == "iat" || name == "auth_time") {
			if d, err := time.ParseDuration(text); err == nil {
				value = time.Now().Add(d).Unix()
			}
		}
		claims[name] = value
	}
	return claims
}

// forge changes a good token as an attacker without the provider's key could.
func forge(t testing.TB, how, good string) string {
	t.Helper()
	parts := strings.Split(good, ".")
	header := decode(t, parts[0])
	var method jwt.SigningMethod
	var key any
	switch how {
	case "stripped":
		return parts[0] + "." + parts[1] + "."
	case "tampered":
		claims := decode(t, parts[1])
		claims["scope"] = "admin"
		return parts[0] + "." + encode(t, claims) + "." + parts[2]
	case "none":
		header["alg"] = "none"
		return encode(t, header) + "." + parts[1] + "."
	case "hmac":
		header["alg"] = "HS256"
		method, key = jwt.SigningMethodHS256, []byte("the public key, as everybody knows it")
	case "stranger":
		method, key = jwt.SigningMethodRS256, tokentest.RSAKey(t)
	default:
		t.Fatalf("unknown forgery %q", how)
	}
	input := encode(t, header) + "." + parts[1]
	signature, err := method.Sign(input, key)
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func decode(t testing.TB, part string) map[string]any {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func encode(t testing.TB, m map[string]any) string {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
