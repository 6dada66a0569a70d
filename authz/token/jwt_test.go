package token_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"scopeward/authz/token"
)

const (
	goodHeader  = `{"alg":"RS256","kid":"k1","typ":"JWT"}`
	goodPayload = `{"iss":"https://idp.test","sub":"alice"}`
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func compact(header, payload string) string {
	return b64(header) + "." + b64(payload) + "." + b64("signature")
}

func TestParseJWT(t *testing.T) {
	raw := compact(goodHeader, goodPayload)
	got, err := token.ParseJWT(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got.Alg != "RS256" || got.Kid != "k1" || got.Typ != "JWT" || got.Claims.Text("sub") != "alice" ||
		string(got.Signature) != "signature" || raw != got.SigningInput+"."+b64("signature") {
		t.Errorf("got %+v", got)
	}
}

func TestParseJWTHeaders(t *testing.T) {
	for header, good := range map[string]bool{
		`{"alg":"RS256"}`:                                            true,
		`{"alg":"RS256","typ":"at+jwt"}`:                             true,
		`{"alg":"RS256","typ":"AT+JWT"}`:                             true,
		`{"alg":"RS256","typ":"application/at+jwt"}`:                 true,
		`{"alg":"RS256","typ":"jwt"}`:                                true,
		`{"alg":"RS256","jku":"https://evil.test","x5u":"x"}`:        true, // not read
		`{"alg":"RS256","jwk":{"kty":"oct","k":"AA"}}`:               true, // not read
		` {"alg":"RS256"} `:                                          true, // JSON allows white space
		`{"alg":"RS256","kid":"../../etc/passwd"}`:                   true, // a name like any other
		`{"alg":"RS256","typ":""}`:                                   false,
		`{"alg":"RS256","typ":"dpop+jwt"}`:                           false,
		`{"alg":"RS256","typ":"logout+jwt"}`:                         false,
		`{"alg":"RS256","typ":"secevent+jwt"}`:                       false,
		`{"alg":"RS256","typ":"id_token+jwt"}`:                       false,
		`{"alg":"RS256","typ":"JWE"}`:                                false,
		`{"alg":"RS256","typ":7}`:                                    false,
		`{"alg":"RS256","typ":null}`:                                 false,
		`{"alg":"none"}`:                                             false,
		`{"alg":"None"}`:                                             false,
		`{"alg":"NONE"}`:                                             false,
		`{"alg":"nOnE"}`:                                             false,
		`{"alg":"\u006eone"}`:                                        false,
		`{"alg":""}`:                                                 false,
		`{"alg":null}`:                                               false,
		`{"alg":["RS256"]}`:                                          false,
		`{"ALG":"RS256"}`:                                            false,
		`{"Alg":"RS256"}`:                                            false,
		`{}`:                                                         false,
		`{"alg":"RS256","alg":"RS256"}`:                              false,
		`{"alg":"RS256","\u0061lg":"none"}`:                          false,
		`{"alg":"RS256","crit":["exp"],"exp":1}`:                     false,
		`{"alg":"RS256","crit":[]}`:                                  false,
		`{"alg":"RS256","crit":null}`:                                false,
		`{"alg":"RS256","b64":false,"crit":["b64"]}`:                 false,
		`{"alg":"RS256","b64":false}`:                                false,
		`{"alg":"RS256","kid":1}`:                                    false,
		`{"alg":"RS256","kid":null}`:                                 false,
		`{"alg":"RS256"}{}`:                                          false,
		`{"alg":"RS256",}`:                                           false,
		`{"alg":"RS256" /* why not */}`:                              false,
		`["alg","RS256"]`:                                            false,
		`null`:                                                       false,
		``:                                                           false,
		"{\"alg\":\"RS256\",\"kid\":\"\xff\"}":                       false,
		"{\"alg\":\"RS256\",\"kid\":\"a\nb\"}":                       false,
		"\ufeff" + `{"alg":"RS256"}`:                                 false,
		`{"alg":"RS256","kid":"\ud800"}`:                             false,
		`{"alg":"RS256","x":` + strings.Repeat("[", 10_000):          false,
		`{"alg":"RS256","kid":"` + strings.Repeat("k", 1<<20):        false,
		`{"alg":"RS256","x":` + nested(31) + `}`:                     true,
		`{"alg":"RS256","x":` + nested(40) + `}`:                     false,
		`{"alg":"RS256","kid":"` + strings.Repeat("k", 9<<10) + `"}`: true,
		`{"alg":"RS256","kid":"` + strings.Repeat("k", 1<<20) + `"}`: false,
	} {
		_, err := token.ParseJWT(compact(header, goodPayload))
		if (err == nil) != good {
			t.Errorf("%.60s: got error %v, want good: %v", header, err, good)
		}
		mustBeInvalid(t, err)
	}
}

func TestParseJWTPayloads(t *testing.T) {
	for payload, good := range map[string]bool{
		`{}`:                           true,
		`{"a":{"b":[1,2,{"c":null}]}}`: true,
		`{"exp":1,"EXP":2}`:            true, // another member, which nobody reads
		`{"exp":1,"exp":2}`:            false,
		`{"a":{"b":1,"b":2}}`:          false,
		`{"exp":1,"\u0065xp":2}`:       false,
		`{"exp":1e999}`:                false,
		`{"exp":NaN}`:                  false,
		`{"exp":0x10}`:                 false,
		`{"exp":01}`:                   false,
		`[]`:                           false,
		`"text"`:                       false,
		`{"sub":"a"`:                   false,
		``:                             false,
		compact(goodHeader, `{}`):      false, // nested
		`{"a":` + nested(40) + `}`:     false,
		"{\"sub\":\"\xc3\x28\"}":       false,
	} {
		_, err := token.ParseJWT(compact(goodHeader, payload))
		if (err == nil) != good {
			t.Errorf("%.60s: got error %v, want good: %v", payload, err, good)
		}
		mustBeInvalid(t, err)
	}
}

func TestParseJWTEncoding(t *testing.T) {
	h, p, s := b64(goodHeader), b64(goodPayload), b64("signature!") // 10 bytes leave spare bits in the last character
	spare := s[:len(s)-1] + string(s[len(s)-1]+1)
	for name, raw := range map[string]string{
		"empty":                     "",
		"one part":                  h,
		"two parts":                 h + "." + p,
		"four parts":                h + "." + p + "." + s + "." + s,
		"JWE":                       h + "." + p + "." + s + "." + s + "." + s,
		"signature stripped":        h + "." + p + ".",
		"no header":                 "." + p + "." + s,
		"no payload":                h + ".." + s,
		"padding":                   h + "." + p + "." + s + "==",
		"padding in header":         h + "=." + p + "." + s,
		"trailing bits":             h + "." + p + "." + spare,
		"standard alphabet":         h + "." + p + ".+/+/",
		"line break in signature":   h + "." + p + "." + s + "\n",
		"line break in the middle":  h + "." + p + "." + s[:4] + "\r\n" + s[4:],
		"line break in header":      h[:4] + "\n" + h[4:] + "." + p + "." + s,
		"space":                     " " + h + "." + p + "." + s,
		"percent escape":            h + "%2e" + p + "." + s,
		"impossible length":         h + "." + p + ".A",
		"too long":                  h + "." + p + "." + strings.Repeat("A", token.MaxLength),
		"flattened serialization":   `{"protected":"` + h + `","payload":"` + p + `","signature":"` + s + `"}`,
		"detached payload":          h + ".." + s,
		"header of another payload": p + "." + p + "." + s,
	} {
		if _, err := token.ParseJWT(raw); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			mustBeInvalid(t, err)
		}
	}
	if _, err := token.ParseJWT(h + "." + p + "." + s); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestReadClaimsKeepsQuietAboutItsInput(t *testing.T) {
	for _, data := range []string{`{"canary":1,"canary":2}`, `{"canary" 1}`, `{"canary":"\ud800"}`, `{"a":canary}`, `canary`, `{"canary":1e999}`} {
		_, err := token.ReadClaims([]byte(data))
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", data, err)
		}
	}
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func mustBeInvalid(t *testing.T, err error) {
	t.Helper()
	if invalid := (*token.InvalidError)(nil); err != nil && !errors.As(err, &invalid) {
		t.Errorf("the error is %T, want *token.InvalidError", err)
	}
}

func FuzzJWT(f *testing.F) {
	f.Add(compact(goodHeader, goodPayload))
	f.Add(compact(`{"alg":"none"}`, goodPayload))
	f.Add(compact(`{"alg":"RS256","crit":["b64"],"b64":false}`, `{"exp":1e10,"aud":["a"],"scope":"a b"}`))
	f.Add(b64(goodHeader) + "." + b64(goodPayload) + ".")
	f.Add("a.b.c.d.e")
	f.Add("opaque")
	rules := token.Rules{Issuer: "https://idp.test", Audiences: []string{"api"}}
	f.Fuzz(func(t *testing.T, raw string) {
		parsed, err := token.ParseJWT(raw)
		if err != nil {
			mustBeInvalid(t, err)
			return
		}
		if again := parsed.SigningInput + "." + b64(string(parsed.Signature)); again != raw {
			t.Fatalf("two spellings of one token: %q and %q", raw, again)
		}
		if strings.EqualFold(parsed.Alg, "none") || parsed.Header.Has("crit") || len(parsed.Signature) == 0 {
			t.Fatalf("accepted %q", raw)
		}
		id, err := rules.Identity(parsed.Claims)
		mustBeInvalid(t, err)
		if err == nil && (id.Issuer != "https://idp.test" || strings.ContainsAny(id.Subject+strings.Join(id.Scopes, ""), "\r\n\x00")) {
			t.Fatalf("unsound identity %+v", id)
		}
	})
}
