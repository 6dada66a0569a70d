package tokentest

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
)

// Sign signs what a JWS signs (RFC 7515 §5.1): its encoded header and payload.
type Sign func(input string) []byte

// Compact is a JWS of any header and payload, signed by any function.
func Compact(header, payload string, sign Sign) string {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	return input + "." + b64(sign(input))
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// Hostile are tokens that an attacker can make, by how they are made. None is
// valid for the provider, whose current key must be one for RS256. The evil
// provider is the attacker's: it must never be asked for anything.
func (p *Provider) Hostile(evil *Provider) map[string]string {
	p.t.Helper()
	claims, err := json.Marshal(p.Claims(nil))
	if err != nil {
		p.t.Fatal(err)
	}
	a := attacker{provider: p, evil: evil, claims: string(claims)}
	all := map[string]string{}
	for _, tokens := range []map[string]string{a.algorithms(), a.headers(), a.payloads(), a.encodings()} {
		for name, raw := range tokens {
			all[name] = raw
		}
	}
	return all
}

type attacker struct {
	provider, evil *Provider
	claims         string
}

// header is a header with the provider's kid and these further members.
func (a attacker) header(alg string, more ...string) string {
	kid, _ := a.provider.Signer()
	return "{" + strings.Join(append([]string{`"alg":"` + alg + `"`, `"kid":"` + kid + `"`}, more...), ",") + "}"
}

// good is the signature of the provider itself.
func (a attacker) good(input string) []byte { return a.provider.rsa(input, crypto.SHA256, nil) }

// rsa signs with the current key, by PSS if there are options for it.
func (p *Provider) rsa(input string, hash crypto.Hash, pss *rsa.PSSOptions) []byte {
	_, private := p.Signer()
	digest := hash.New()
	digest.Write([]byte(input))
	var opts crypto.SignerOpts = hash
	if pss != nil {
		opts = pss
	}
	signature, err := private.Sign(rand.Reader, digest.Sum(nil), opts)
	if err != nil {
		p.t.Error(errors.New("a hostile token: " + err.Error()))
	}
	return signature
}

func keyed(secret []byte) Sign {
	return func(input string) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(input))
		return h.Sum(nil)
	}
}

// algorithms confuse the algorithm, or do without a signature (RFC 8725 §2.1).
func (a attacker) algorithms() map[string]string {
	_, private := a.provider.Signer()
	public := private.Public().(*rsa.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		a.provider.t.Fatal(err)
	}
	pss := func(input string) []byte {
		return a.provider.rsa(input, crypto.SHA256, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	}
	nothing := func(string) []byte { return nil }
	kid, _ := a.provider.Signer()
	return map[string]string{
		"HMAC with the PEM":      Compact(a.header("HS256"), a.claims, keyed(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))),
		"HMAC with the DER":      Compact(a.header("HS256"), a.claims, keyed(der)),
		"HMAC with n":            Compact(a.header("HS256"), a.claims, keyed(public.N.Bytes())),
		"HMAC with nothing":      Compact(a.header("HS256"), a.claims, keyed(nil)),
		"HMAC called RS256":      Compact(a.header("RS256"), a.claims, keyed(der)),
		"none":                   Compact(`{"alg":"none"}`, a.claims, nothing),
		"none with a signature":  Compact(a.header("none"), a.claims, a.good),
		"None":                   Compact(a.header("None"), a.claims, a.good),
		"nOnE":                   Compact(a.header("nOnE"), a.claims, a.good),
		"none escaped":           Compact(a.header(`\u006eone`), a.claims, nothing),
		"no alg":                 Compact(`{"kid":"`+kid+`"}`, a.claims, a.good),
		"alg in another case":    Compact(a.header("rs256"), a.claims, a.good),
		"Alg member":             Compact(`{"Alg":"RS256","kid":"`+kid+`"}`, a.claims, a.good),
		"alg twice":              Compact(a.header("RS256", `"alg":"RS256"`), a.claims, a.good),
		"signature stripped":     Compact(a.header("RS256"), a.claims, nothing),
		"signature of zeros":     Compact(a.header("RS256"), a.claims, func(string) []byte { return make([]byte, 256) }),
		"PSS called PKCS1":       Compact(a.header("RS256"), a.claims, pss),
		"PKCS1 called PSS":       Compact(a.header("PS256"), a.claims, a.good),
		"the key's own alg":      Compact(a.header("RS512"), a.claims, func(in string) []byte { return a.provider.rsa(in, crypto.SHA512, nil) }),
		"the key's own alg, PSS": Compact(a.header("PS256"), a.claims, pss),
	}
}

// headers ask to be believed by what is in the header (RFC 8725 §2.6 to §2.8, §3.9 to §3.11).
func (a attacker) headers() map[string]string {
	_, private := a.provider.Signer()
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		a.provider.t.Fatal(err)
	}
	evilKid, _ := a.evil.Signer()
	evil := func(input string) []byte { return a.evil.rsa(input, crypto.SHA256, nil) }
	evilKey := strings.TrimSuffix(strings.TrimPrefix(a.evil.JWKS(), `{"keys":[`), `]}`)
	kid, _ := a.provider.Signer()
	return map[string]string{
		"crit":                     Compact(a.header("RS256", `"crit":["x"]`, `"x":1`), a.claims, a.good),
		"crit empty":               Compact(a.header("RS256", `"crit":[]`), a.claims, a.good),
		"b64":                      Compact(a.header("RS256", `"crit":["b64"]`, `"b64":false`), a.claims, a.good),
		"b64 without crit":         Compact(a.header("RS256", `"b64":false`), a.claims, a.good),
		"logout token":             Compact(a.header("RS256", `"typ":"logout+jwt"`), a.claims, a.good),
		"DPoP proof":               Compact(a.header("RS256", `"typ":"dpop+jwt"`), a.claims, a.good),
		"jwk header":               Compact(`{"alg":"RS256","jwk":`+evilKey+`}`, a.claims, evil),
		"jwk header, our kid":      Compact(a.header("RS256", `"jwk":`+evilKey), a.claims, evil),
		"jku header":               Compact(`{"alg":"RS256","kid":"`+evilKid+`x","jku":"`+a.evil.URL+KeysPath+`"}`, a.claims, evil),
		"x5u header":               Compact(a.header("RS256", `"x5u":"`+a.evil.URL+`/x5u"`), a.claims, evil),
		"x5c header":               Compact(a.header("RS256", `"x5c":["`+base64.StdEncoding.EncodeToString(der)+`"]`), a.claims, evil),
		"kid as a path":            Compact(`{"alg":"RS256","kid":"../../../dev/null"}`, a.claims, a.good),
		"kid as SQL":               Compact(`{"alg":"RS256","kid":"x' UNION SELECT '`+kid+`"}`, a.claims, a.good),
		"kid of 10 KB":             Compact(`{"alg":"RS256","kid":"`+strings.Repeat("k", 10_000)+`"}`, a.claims, a.good),
		"kid of another type":      Compact(`{"alg":"RS256","kid":["`+kid+`"]}`, a.claims, a.good),
		"nested":                   Compact(a.header("RS256", `"cty":"JWT"`), a.provider.Mint(nil, nil), a.good),
		"of another provider":      a.evil.Mint(nil, nil),
		"of another provider, iss": a.evil.Mint(map[string]any{"iss": a.provider.URL}, nil),
	}
}

// payloads are signed by the provider, and are no access token for this API.
func (a attacker) payloads() map[string]string {
	type m = map[string]any
	tokens := map[string]string{
		"exp twice":             Compact(a.header("RS256"), `{"exp":1,`+a.claims[1:], a.good),
		"sub twice, by escapes": Compact(a.header("RS256"), `{"\u0073ub":"admin",`+a.claims[1:], a.good),
		"nested too deeply":     Compact(a.header("RS256"), `{"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`,`+a.claims[1:], a.good),
		"something after it":    Compact(a.header("RS256"), a.claims+"{}", a.good),
		"huge number":           Compact(a.header("RS256"), `{"exp":1e999,"iss":"`+a.provider.URL+`"}`, a.good),
	}
	for name, claims := range map[string]m{
		"expired": {"exp": 1}, "no exp": {"exp": nil}, "exp as text": {"exp": "4102444800"}, "EXP instead of exp": {"exp": nil, "EXP": 4102444800},
		"exp negative": {"exp": -1}, "exp in milliseconds": {"exp": 4102444800000}, "nbf to come": {"nbf": 4102444800}, "iat to come": {"iat": 4102444800},
		"iss with a slash": {"iss": a.provider.URL + "/"}, "iss in upper case": {"iss": strings.ToUpper(a.provider.URL)}, "iss a list": {"iss": []string{a.provider.URL}},
		"no aud": {"aud": nil}, "aud a number": {"aud": 7}, "aud an object": {"aud": m{Audience: true}}, "aud nested": {"aud": []any{[]any{Audience}}}, "aud with spaces": {"aud": Audience + " other"},
		"Scope of another type": {"scope": true},
		"sub with a line break": {"sub": "alice\r\nx-admin: yes"}, "sub with a bidi override": {"sub": "\u202ealice"}, "sub a number": {"sub": 7}, "sub empty": {"sub": ""},
		"ID token": {"at_hash": "x"}, "ID token of Keycloak": {"typ": "ID"}, "ID token of Cognito": {"token_use": "id"},
		"logout token by events": {"events": m{"http://schemas.openid.net/event/backchannel-logout": m{}}},
	} {
		tokens[name] = a.provider.Mint(claims, nil)
	}
	return tokens
}

// encodings are other spellings of a good token. None has a space or a comma: that
// would be no credential at all.
func (a attacker) encodings() map[string]string {
	good := a.provider.Mint(nil, nil)
	parts := strings.Split(good, ".")
	std := strings.NewReplacer("-", "+", "_", "/")
	last := good[len(good)-1]
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	spare := alphabet[strings.IndexByte(alphabet, last)^1] // 256 bytes leave 4 bits unused
	tokens := map[string]string{
		"padded":                good + "==",
		"header padded":         parts[0] + "=." + parts[1] + "." + parts[2],
		"spare bits":            good[:len(good)-1] + string(spare),
		"four parts":            good + ".",
		"two parts":             parts[0] + "." + parts[1],
		"JWE":                   good + ".AA.AA",
		"signature of a header": parts[0] + "." + parts[1] + "." + parts[0],
		"payload changed":       parts[0] + "." + b64([]byte(strings.Replace(a.claims, Subject, "admin", 1))) + "." + parts[2],
	}
	if s := std.Replace(parts[2]); s != parts[2] {
		tokens["standard alphabet"] = parts[0] + "." + parts[1] + "." + s
	}
	return tokens
}
