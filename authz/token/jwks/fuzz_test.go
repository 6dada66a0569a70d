package jwks_test

import (
	"crypto"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"

	"scopeward/authz/token"
	"scopeward/authz/token/jwks"
	"scopeward/internal/testenv/tokentest"
)

// FuzzToken signs any header and payload with the good key, and checks against a
// second library that whatever we accept is a good token.
func FuzzToken(f *testing.F) {
	const issuer, exp = "https://idp.test", "9999999999"
	for _, header := range []string{
		`{"alg":"EdDSA","kid":"key-1"}`, `{"alg":"EdDSA"}`, `{"alg":"none"}`, `{"alg":"EdDSA","crit":["b64"],"b64":false}`,
		`{"alg":"HS256","kid":"key-1"}`, `{"ALG":"EdDSA","alg":"EdDSA"}`, `{"alg":"EdDSA","typ":"at+jwt"}`,
	} {
		f.Add(header, `{"iss":"`+issuer+`","aud":["api"],"exp":`+exp+`,"sub":"alice","scope":"a b"}`, "")
	}
	for _, payload := range []string{
		`{"iss":"` + issuer + `","aud":"api","exp":1}`,
		`{"iss":"` + issuer + `/","aud":"api","exp":` + exp + `}`,
		`{"iss":"` + issuer + `","aud":["api"],"exp":` + exp + `,"nbf":` + exp + `}`,
		`{"iss":"` + issuer + `","AUD":["api"],"exp":` + exp + `,"exp":1e3,"sub":"a\u0000"}`,
	} {
		f.Add(`{"alg":"EdDSA","kid":"key-1"}`, payload, "")
		f.Add(`{"alg":"EdDSA","kid":"key-1"}`, payload, "AA")
	}
	idp := tokentest.New(f)
	idp.RotateTo("EdDSA")
	idp.Drop()
	_, private := idp.Signer()
	idp.Publish(strings.Replace(idp.JWKS(), "key-2", "key-1", 1))
	v := jwks.Verifier{
		Keys:       jwks.New(jwks.Options{URL: idp.URL + tokentest.KeysPath}),
		Rules:      token.Rules{Issuer: issuer, Audiences: []string{"api"}, ClockSkew: 30 * time.Second},
		Algorithms: []string{"EdDSA"},
	}
	f.Fuzz(func(t *testing.T, header, payload, tail string) {
		input := b64([]byte(header)) + "." + b64([]byte(payload))
		sig, err := private.Sign(nil, []byte(input), crypto.Hash(0))
		if err != nil {
			t.Fatal(err)
		}
		raw := input + "." + b64(sig) + tail
		id, err := v.Verify(t.Context(), token.Parse(raw))
		if err != nil {
			return
		}
		parsed, err := josejwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			t.Fatalf("accepted %q, which go-jose does not parse: %v", raw, err)
		}
		var claims josejwt.Claims
		if err := parsed.Claims(private.Public(), &claims); err != nil {
			t.Fatalf("accepted %q, which go-jose does not verify: %v", raw, err)
		}
		expected := josejwt.Expected{Issuer: issuer, AnyAudience: []string{"api"}, Time: time.Now()}
		if err := claims.ValidateWithLeeway(expected, 30*time.Second); err != nil {
			t.Fatalf("accepted %q, which go-jose finds invalid: %v", payload, err)
		}
		if claims.Subject != id.Subject {
			t.Fatalf("subject %q, go-jose reads %q", id.Subject, claims.Subject)
		}
	})
}
