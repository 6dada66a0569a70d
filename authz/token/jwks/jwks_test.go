package jwks_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"scopeward/authz/token"
	"scopeward/authz/token/jwks"
	"scopeward/internal/testenv/tokentest"
)

var allAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

func newVerifier(idp *tokentest.Provider) *jwks.Verifier {
	return &jwks.Verifier{
		Keys:       jwks.New(jwks.Options{URL: idp.URL + tokentest.KeysPath}),
		Rules:      token.Rules{Provider: "idp", Issuer: idp.URL, Audiences: []string{tokentest.Audience}},
		Algorithms: allAlgorithms,
	}
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func payload(t *testing.T, idp *tokentest.Provider) string {
	t.Helper()
	data, err := json.Marshal(idp.Claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// signer signs with the provider's real current key by any algorithm.
func signer(t *testing.T, idp *tokentest.Provider, alg string) func(string) []byte {
	t.Helper()
	_, private := idp.Signer()
	return func(input string) []byte {
		sig, err := jwt.GetSigningMethod(alg).Sign(input, private)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
}

func mustBeInvalid(t *testing.T, name string, id *token.Identity, err error) {
	t.Helper()
	if invalid := (*token.InvalidError)(nil); id != nil || !errors.As(err, &invalid) {
		t.Errorf("%s: got %v, %v; want *token.InvalidError", name, id, err)
	}
}

func TestGoodTokens(t *testing.T) {
	idp := tokentest.New(t)
	v := newVerifier(idp)
	for _, alg := range allAlgorithms {
		idp.RotateTo(alg)
		v.Keys = jwks.New(jwks.Options{URL: idp.URL + tokentest.KeysPath})
		raw := idp.Mint(nil, nil)
		id, err := v.Verify(t.Context(), token.Parse(raw))
		if err != nil || id.Subject != tokentest.Subject || id.Scopes[0] != tokentest.Scope || id.KeyID == "" {
			t.Errorf("%s: got %+v, %v", alg, id, err)
		}
		for i := range 3 { // a bit of each part
			parts := strings.Split(raw, ".")
			parts[i] = flip(parts[i])
			id, err := v.Verify(t.Context(), token.Parse(strings.Join(parts, ".")))
			mustBeInvalid(t, fmt.Sprint(alg, " with a changed part ", i), id, err)
		}
		v.Algorithms = []string{map[bool]string{true: "ES256", false: "RS256"}[alg == "RS256"]}
		id, err = v.Verify(t.Context(), token.Parse(raw))
		mustBeInvalid(t, alg+" is not configured", id, err)
		v.Algorithms = allAlgorithms
	}
}

// flip changes one character in the middle.
func flip(s string) string {
	b := []byte(s)
	i := len(b) / 2
	if b[i]++; !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", rune(b[i])) {
		b[i] = 'A'
	}
	return string(b)
}

func TestHostileTokens(t *testing.T) {
	idp := tokentest.New(t)
	v := newVerifier(idp)
	evil := tokentest.New(t)
	v.Algorithms = append([]string{"none", "None", "", "HS256", "HS384", "HS512", "dir"}, allAlgorithms...) // even if configured
	for name, raw := range idp.Hostile(evil) {
		id, err := v.Verify(t.Context(), token.Parse(raw))
		if unavailable, ok := errors.AsType[*token.UnavailableError](err); ok && unavailable.Charged && id == nil {
			continue // its key may be published yet
		}
		mustBeInvalid(t, name, id, err)
	}
	big := tokentest.Compact(`{"alg":"RS256","kid":"`+strings.Repeat("k", 1<<20)+`"}`, payload(t, idp), signer(t, idp, "RS256")) // no header carries it
	id, err := v.Verify(t.Context(), token.Parse(big))
	mustBeInvalid(t, "kid of 1 MB", id, err)
	if _, err := v.Verify(t.Context(), token.Parse(idp.Mint(nil, nil))); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	if n := evil.Requests(tokentest.KeysPath) + evil.Requests("/x5u"); n != 0 {
		t.Errorf("the attacker's server was asked %d times", n)
	}
}

func TestECDSASignatures(t *testing.T) {
	idp := tokentest.New(t)
	idp.RotateTo("ES256")
	v := newVerifier(idp)
	claims := payload(t, idp)
	kid, private := idp.Signer()
	header := `{"alg":"ES256","kid":"` + kid + `"}`
	n := private.Public().(*ecdsa.PublicKey).Params().N.Bytes()
	good := signer(t, idp, "ES256")
	der := func(input string) []byte {
		sig := good(input)
		out := []byte{0x30, 0, 2, 33, 0}
		out = append(append(append(out, sig[:32]...), 2, 33, 0), sig[32:]...)
		out[1] = byte(len(out) - 2)
		return out
	}
	for name, sign := range map[string]func(string) []byte{
		"(0,0)":            func(string) []byte { return make([]byte, 64) },
		"(n,n)":            func(string) []byte { return append(append([]byte{}, n...), n...) },
		"(1,0)":            func(string) []byte { return append(append(make([]byte, 31), 1), make([]byte, 32)...) },
		"(1,1)":            func(string) []byte { return append(append(make([]byte, 31), 1), append(make([]byte, 31), 1)...) },
		"DER":              der,
		"one byte more":    func(in string) []byte { return append(good(in), 0) },
		"one byte less":    func(in string) []byte { return good(in)[:63] },
		"padded to 132":    func(in string) []byte { return append(make([]byte, 68), good(in)...) },
		"of another input": func(in string) []byte { return good(in + "x") },
	} {
		id, err := v.Verify(t.Context(), token.Parse(tokentest.Compact(header, claims, sign)))
		mustBeInvalid(t, name, id, err)
	}
	// (r, n-s) is as valid as (r, s): it is another spelling of the same token and
	// gives nobody more than the token itself.
	malleable := func(in string) []byte {
		sig := good(in)
		s := new(big.Int).Sub(new(big.Int).SetBytes(n), new(big.Int).SetBytes(sig[32:]))
		return append(sig[:32:32], s.FillBytes(make([]byte, 32))...)
	}
	if id, err := v.Verify(t.Context(), token.Parse(tokentest.Compact(header, claims, malleable))); err != nil || id.Subject != tokentest.Subject {
		t.Errorf("(r, n-s): got %v, %v", id, err)
	}
	for _, alg := range []string{"ES384", "ES512", "RS256", "EdDSA"} {
		raw := tokentest.Compact(`{"alg":"`+alg+`","kid":"`+kid+`"}`, claims, good)
		id, err := v.Verify(t.Context(), token.Parse(raw))
		mustBeInvalid(t, alg+" with a P-256 key", id, err)
	}
}

// Publishes the good key with changed members.
func TestKeysThatDoNotCount(t *testing.T) {
	idp := tokentest.New(t)
	raw := idp.Mint(nil, nil)
	var own struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(idp.JWKS()), &own); err != nil {
		t.Fatal(err)
	}
	type m = map[string]any
	for name, c := range map[string]struct {
		changes m
		good    bool
	}{
		"as it is":                     {m{}, true},
		"without alg":                  {m{"alg": nil}, true},
		"without use":                  {m{"use": nil}, true},
		"with key_ops verify":          {m{"use": nil, "key_ops": []string{"sign", "verify"}}, true},
		"with unknown members":         {m{"x5t": 7, "x5c": "odd", "ext": true, "nbf": 1}, true},
		"use: enc":                     {m{"use": "enc"}, false},
		"use: SIG":                     {m{"use": "SIG"}, false},
		"use of another type":          {m{"use": []string{"sig"}}, false},
		"key_ops without verify":       {m{"key_ops": []string{"encrypt"}}, false},
		"key_ops empty":                {m{"key_ops": []string{}}, false},
		"key_ops a string":             {m{"key_ops": "verify"}, false},
		"another alg":                  {m{"alg": "RS384"}, false},
		"alg for encryption":           {m{"alg": "RSA-OAEP"}, false},
		"alg HS256":                    {m{"alg": "HS256"}, false},
		"alg none":                     {m{"alg": "none"}, false},
		"alg empty":                    {m{"alg": ""}, false},
		"Alg and Use in another case":  {m{"alg": nil, "use": nil, "Alg": "HS256", "USE": "enc"}, true},
		"KTY only":                     {m{"kty": nil, "KTY": "RSA"}, false},
		"another kid":                  {m{"kid": "other"}, false},
		"kid in another case":          {m{"kid": "KEY-1"}, false},
		"without kid":                  {m{"kid": nil}, true},
		"exponent 1":                   {m{"e": "AQ"}, false},
		"exponent 2":                   {m{"e": "Ag"}, false},
		"exponent 0":                   {m{"e": "AA"}, false},
		"exponent even":                {m{"e": "AQAA"}, false},
		"exponent that wraps to 65537": {m{"e": b64(append([]byte{1, 0, 0, 0, 0, 0}, 1, 0, 1))}, false},
		"exponent negative":            {m{"e": "_____w"}, false},
		"no exponent":                  {m{"e": nil}, false},
		"modulus of 1024 bits":         {m{"n": b64(append([]byte{0x80}, append(make([]byte, 126), 1)...))}, false},
		"modulus of 2047 bits":         {m{"n": b64(append([]byte{0x40}, append(make([]byte, 254), 1)...))}, false},
		"modulus of 64 kbit":           {m{"n": b64(append([]byte{0x80}, append(make([]byte, 8190), 1)...))}, false},
		"modulus not base64":           {m{"n": "!"}, false},
		"modulus empty":                {m{"n": ""}, false},
		"a symmetric key":              {m{"kty": "oct", "k": "c2VjcmV0"}, false},
		"a key of an unknown kind":     {m{"kty": "AKP", "alg": "ML-DSA-65"}, false},
		"another kind":                 {m{"kty": "EC"}, false},
		"with its private part":        {m{"d": "AQAB"}, false},
	} {
		key := maps.Clone(own.Keys[0])
		maps.Copy(key, c.changes)
		maps.DeleteFunc(key, func(_ string, v any) bool { return v == nil })
		data, err := json.Marshal(m{"keys": []any{key}})
		if err != nil {
			t.Fatal(err)
		}
		idp.Publish(string(data))
		id, err := newVerifier(idp).Verify(t.Context(), token.Parse(raw))
		if c.good && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !c.good && id != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A short key is refused even though everything about its signature is right.
func TestShortRSAKey(t *testing.T) {
	idp := tokentest.New(t)
	for bits, good := range map[int]bool{1024: false, 2040: false, 2048: true} {
		private := tokentest.RSAKey(t)
		if bits < 2048 {
			var err error
			if private, err = rsa.GenerateKey(rand.Reader, bits); err != nil {
				t.Fatal(err)
			}
		}
		idp.Publish(idp.JWKS(`{"kty":"RSA","kid":"short","e":"AQAB","n":"` + b64(private.N.Bytes()) + `"}`))
		raw := tokentest.Compact(`{"alg":"RS256","kid":"short"}`, payload(t, idp), func(input string) []byte {
			sig, err := jwt.SigningMethodRS256.Sign(input, private)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		})
		if _, err := newVerifier(idp).Verify(t.Context(), token.Parse(raw)); (err == nil) != good {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}

// With the exponent 1 everybody can sign: the signature is the padded hash.
func TestExponentOne(t *testing.T) {
	idp := tokentest.New(t)
	_, private := idp.Signer()
	n := private.Public().(*rsa.PublicKey).N.Bytes()
	idp.Publish(idp.JWKS(`{"kty":"RSA","kid":"one","e":"AQ","n":"` + b64(n) + `"}`))
	id, err := newVerifier(idp).Verify(t.Context(), token.Parse(tokentest.Compact(`{"alg":"RS256","kid":"one"}`, payload(t, idp), func(input string) []byte {
		hash := sha256.Sum256([]byte(input))
		info := append([]byte{0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20}, hash[:]...)
		padding := strings.Repeat("\xff", len(n)-3-len(info))
		return append([]byte("\x00\x01"+padding+"\x00"), info...)
	})))
	mustBeInvalid(t, "exponent 1", id, err)
}

func TestOneBadKeyNeverCostsTheOthers(t *testing.T) {
	idp := tokentest.New(t)
	raw := idp.Mint(nil, nil)
	for _, bad := range []string{
		`{}`, `null`, `7`, `"key"`, `[]`,
		`{"kty":"XYZ","kid":"x"}`,
		`{"kty":"AKP","alg":"ML-DSA-44","kid":"pq","pub":"AA"}`,
		`{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA","kid":"k"}`,
		`{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ","kid":"off the curve"}`,
		`{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"zero"}`,
		`{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 10_000) + `","y":"AA"}`,
		`{"kty":"OKP","crv":"Ed448","x":"AA"}`,
		`{"kty":"OKP","crv":"X25519","x":"` + strings.Repeat("A", 43) + `"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"AA"}`,
		`{"kty":"RSA","kid":7}`,
		`{"kty":"RSA","n":"AQ","e":"AQAB"}`,
		`{"kty":"oct","k":"AA"}`,
		`{"kty":"RSA","kty":"EC"}`,
		"{\"kty\":\"\xff\"}",
		`{"kty":"RSA","x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`,
		`{"kty":"RSA","n":"` + strings.Repeat("x", 100_000) + `","e":"AQAB"}`,
	} {
		idp.Publish(idp.JWKS(bad))
		if _, err := newVerifier(idp).Verify(t.Context(), token.Parse(raw)); err != nil {
			t.Errorf("%.60s cost the good key: %v", bad, err)
		}
	}
}

func TestTokensWithoutKid(t *testing.T) {
	idp := tokentest.New(t)
	verify := func(alg string) (*token.Identity, error) {
		raw := tokentest.Compact(`{"alg":"`+alg+`"}`, payload(t, idp), signer(t, idp, alg))
		return newVerifier(idp).Verify(t.Context(), token.Parse(raw))
	}
	if _, err := verify("RS256"); err != nil {
		t.Errorf("one key: %v", err)
	}
	idp.RotateTo("ES256")
	if _, err := verify("ES256"); err != nil {
		t.Errorf("one key that fits: %v", err)
	}
	idp.Rotate()
	if _, err := verify("RS256"); err != nil {
		t.Errorf("two keys that fit: %v", err)
	}
	if _, err := newVerifier(idp).Verify(t.Context(), token.Parse(tokentest.Compact(`{"alg":"RS256","kid":""}`, payload(t, idp), signer(t, idp, "RS256")))); err != nil {
		t.Errorf("an empty kid is none: %v", err)
	}
	good := tokentest.Compact(`{"alg":"RS256"}`, payload(t, idp), signer(t, idp, "RS256"))
	id, err := newVerifier(idp).Verify(t.Context(), token.Parse(good[:len(good)-8]+"AAAAAAAA"))
	mustBeInvalid(t, "no key signed it", id, err)
	for range 7 {
		idp.Rotate()
	}
	id, err = verify("RS256")
	mustBeInvalid(t, "nine keys that fit", id, err)
}

// TestKeysWithoutKid: a key without a kid is for any token of its algorithm, and a key
// that names an issuer for the tokens of that issuer.
func TestKeysWithoutKid(t *testing.T) {
	publish := func(t *testing.T, idp *tokentest.Provider, change func(jwk map[string]any)) {
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal([]byte(idp.JWKS()), &set); err != nil {
			t.Fatal(err)
		}
		for _, jwk := range set.Keys {
			change(jwk)
		}
		text, err := json.Marshal(map[string]any{"keys": set.Keys})
		if err != nil {
			t.Fatal(err)
		}
		idp.Publish(string(text))
	}
	for name, test := range map[string]struct {
		change func(idp *tokentest.Provider) func(jwk map[string]any)
		claims map[string]any
		good   bool
	}{
		"no kid": {func(*tokentest.Provider) func(map[string]any) { return func(jwk map[string]any) { delete(jwk, "kid") } }, nil, true},
		"its issuer": {func(idp *tokentest.Provider) func(map[string]any) {
			return func(jwk map[string]any) { jwk["issuer"] = idp.URL }
		}, nil, true},
		"another issuer": {func(*tokentest.Provider) func(map[string]any) {
			return func(jwk map[string]any) { jwk["issuer"] = "https://other.example" }
		}, nil, false},
		"its issuer by a tenant": {func(idp *tokentest.Provider) func(map[string]any) {
			front := idp.URL[:len(idp.URL)-2]
			return func(jwk map[string]any) { jwk["issuer"] = front + "{tenantid}" }
		}, map[string]any{"tid": "LAST"}, true},
	} {
		idp := tokentest.New(t)
		publish(t, idp, test.change(idp))
		claims := maps.Clone(test.claims)
		if claims["tid"] == "LAST" {
			claims["tid"] = idp.URL[len(idp.URL)-2:]
		}
		id, err := newVerifier(idp).Verify(t.Context(), token.Parse(idp.Mint(claims, nil)))
		if (err == nil) != test.good || (id != nil) != test.good {
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
	idp := tokentest.New(t)
	publish(t, idp, func(jwk map[string]any) { delete(jwk, "kid") })
	v := newVerifier(idp)
	stranger := tokentest.New(t)
	stranger.URL = idp.URL
	id, err := v.Verify(t.Context(), token.Parse(stranger.Mint(map[string]any{"iss": idp.URL}, nil)))
	if id != nil || err == nil {
		t.Errorf("a stranger's signature beside a key without kid: %v, %v", id, err)
	}
}

func TestZeroVerifierDenies(t *testing.T) {
	idp := tokentest.New(t)
	raw := idp.Mint(nil, nil)
	full := newVerifier(idp)
	for name, v := range map[string]*jwks.Verifier{
		"zero":          {},
		"no keys":       {Rules: full.Rules, Algorithms: full.Algorithms},
		"no rules":      {Keys: full.Keys, Algorithms: full.Algorithms},
		"no algorithms": {Keys: full.Keys, Rules: full.Rules},
	} {
		id, err := v.Verify(t.Context(), token.Parse(raw))
		mustBeInvalid(t, name, id, err)
		if v.HasKey("x") {
			t.Errorf("%s: has a key", name)
		}
	}
}

// Through the cache: an identity does not outlive the key that signed it.
func TestDroppedKeyEndsCachedIdentities(t *testing.T) {
	idp := tokentest.New(t)
	v := newVerifier(idp)
	validator := token.NewValidator(token.Options{Providers: []token.Provider{{Name: "idp", Issuer: idp.URL, Verifier: v}}})
	validate := func(raw string) (string, error) {
		r, err := validator.Validate(t.Context(), raw, nil)
		return r.Cache, err
	}
	old := idp.Mint(nil, nil)
	_, _ = validate(old)
	if cache, err := validate(old); err != nil || cache != token.CacheHit {
		t.Fatalf("before: %s, %v", cache, err)
	}
	idp.Rotate()
	idp.Drop()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go v.Keys.Run(ctx)
	for { // until the background fetch has been
		_, err := validate(old)
		if err != nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the old token is still valid")
		}
	}
	if _, err := validate(idp.Mint(nil, nil)); err != nil {
		t.Errorf("the new key: %v", err)
	}
}

// TestImmediate: who needs no key, or one that is held, waits for nobody; else the caller
// would be held up by the provider.
func TestImmediate(t *testing.T) {
	idp := tokentest.New(t)
	v := newVerifier(idp)
	known := idp.Mint(nil, nil)
	if v.Immediate(token.Parse(known)) {
		t.Error("before the keys are fetched")
	}
	if _, err := v.Verify(t.Context(), token.Parse(known)); err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]bool{
		known:       true,
		"garbage":   true,
		known + "A": true,
		idp.Mint(nil, map[string]any{"kid": "other"}): false,
	} {
		if got := v.Immediate(token.Parse(raw)); got != want {
			t.Errorf("%.20s: %v", raw, got)
		}
	}
	if n := idp.Requests(tokentest.KeysPath); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
	if !(&jwks.Verifier{}).Immediate(token.Parse(known)) {
		t.Error("the zero verifier refuses at once")
	}
}

// BenchmarkFirstSight is what a token costs that nobody has seen yet, beside the
// signature alone: parsing, claims and the cache come on top.
func BenchmarkFirstSight(b *testing.B) {
	idp := tokentest.New(b)
	raw := idp.Mint(map[string]any{
		"azp": "web", "jti": "3a1c9a6e-9f0f-4c4b-8f0a-1b2c3d4e5f60", "org_code": "org_12345", "scope": nil,
		"permissions": []string{"read:users", "write:orders"}, "scp": []string{"openid", "profile", "read:users", "write:orders"},
	}, nil)
	b.Run("signature", func(b *testing.B) {
		t, err := token.ParseJWT(raw)
		if err != nil {
			b.Fatal(err)
		}
		_, private := idp.Signer()
		public := private.(*rsa.PrivateKey).Public()
		for b.Loop() {
			if err := jwt.SigningMethodRS256.Verify(t.SigningInput, t.Signature, public); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		v := token.NewValidator(token.Options{
			Providers: []token.Provider{{Name: "idp", Issuer: idp.URL, Verifier: newVerifier(idp)}},
			TTL:       time.Nanosecond, // cached, and never found
			Inline:    true,
		})
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Validate(b.Context(), raw, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
