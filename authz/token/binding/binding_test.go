package binding

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"scopeward/authz/token"
	"scopeward/authz/token/jwks"
	"scopeward/internal/testenv/tokentest"
)

// What RFC 9449 has in its figures 12 and 9: a request with a token, and the thumbprint of
// its client's key.
const (
	rfcToken = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	rfcProof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5" +
		"IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19" +
		".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYx" +
		"OCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9" +
		".2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	rfcKey = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	rfcAt  = 1562262618
)

func rfcRequest() Shown {
	return Shown{Scheme: token.DPoP, Proof: rfcProof, Method: "GET", URL: URL{"https", "resource.example.org", "/protectedresource"}}
}

func at(unix int64) func() time.Time { return func() time.Time { return time.Unix(unix, 0) } }

// checkOf is the check that refused; "" if none did.
func checkOf(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok {
		t.Fatalf("not a refusal: %v", err)
	}
	return refusal.Check
}

// TestVector: the example of RFC 9449 section 7.1 passes, once, and in its time.
func TestVector(t *testing.T) {
	bound := &token.Binding{Key: rfcKey}
	for now, want := range map[int64]string{
		rfcAt: "", rfcAt + 60: "", rfcAt - 30: "", rfcAt + 61: CheckAge, rfcAt - 31: CheckAge,
	} {
		c := New(Options{MaxAge: time.Minute, Now: at(now)})
		_, err := c.Check(t.Context(), rfcToken, bound, rfcRequest())
		if got := checkOf(t, err); got != want {
			t.Errorf("%d s after: %q (%v), want %q", now-rfcAt, got, err, want)
		}
		if want == "" {
			if _, err := c.Check(t.Context(), rfcToken, bound, rfcRequest()); checkOf(t, err) != CheckReplay {
				t.Errorf("%d s after, again: %v", now-rfcAt, err)
			}
		}
	}
	c := New(Options{MaxAge: time.Minute, Now: at(rfcAt)})
	if _, err := c.Check(t.Context(), rfcToken+"x", bound, rfcRequest()); checkOf(t, err) != CheckToken {
		t.Errorf("another token: %v", err)
	}
	if _, err := c.Check(t.Context(), rfcToken, &token.Binding{Key: strings.ToLower(rfcKey)}, rfcRequest()); checkOf(t, err) != CheckBinding {
		t.Errorf("another key: %v", err)
	}
}

// TestThumbprintVector is the example of RFC 7638 section 3.1.
func TestThumbprintVector(t *testing.T) {
	public, err := jwks.ParsePublic(`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`)
	if err != nil || public.Thumbprint != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("%q, %v", public.Thumbprint, err)
	}
}

// rfcCertificate is that of RFC 8705 appendix A.
const (
	rfcCertificate = `-----BEGIN CERTIFICATE-----
MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx
ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ
/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID
SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOV
bUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=
-----END CERTIFICATE-----
`
	rfcThumbprint = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"
	rfcHash       = "0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd"
	otherHash     = "111111111111111111111111111111111111111111111111111111111111beef"
)

func TestCertificate(t *testing.T) {
	encoded := url.PathEscape(rfcCertificate)
	for name, c := range map[string]struct {
		shown Shown
		want  string
	}{
		"the certificate":          {Shown{Certificate: encoded}, ""},
		"all of it escaped":        {Shown{Certificate: url.QueryEscape(strings.ReplaceAll(rfcCertificate, " ", "%20"))}, CheckCertificate},
		"as Envoy escapes":         {Shown{Certificate: strings.NewReplacer("\n", "%0A", " ", "%20", "+", "%2B", "/", "%2F", "=", "%3D").Replace(rfcCertificate)}, ""},
		"none":                     {Shown{}, CheckCertificate},
		"its subject":              {Shown{Certificate: "CN=mtls"}, CheckCertificate},
		"a broken escape":          {Shown{Certificate: encoded + "%2"}, CheckCertificate},
		"two of them":              {Shown{Certificate: encoded + encoded}, CheckCertificate},
		"another kind of PEM":      {Shown{Certificate: strings.ReplaceAll(encoded, "CERTIFICATE", "PUBLIC%20KEY")}, CheckCertificate},
		"another certificate":      {Shown{Certificate: strings.Replace(encoded, "MIIBBj", "MIIBBk", 1)}, CheckCertificate},
		"forwarded":                {Shown{Forwarded: "Hash=" + rfcHash}, ""},
		"forwarded in upper case":  {Shown{Forwarded: "Hash=" + strings.ToUpper(rfcHash)}, ""},
		"forwarded by a name":      {Shown{Forwarded: "By=spiffe://a/b;Hash=" + rfcHash + `;Cert="` + encoded + `";Subject="CN=a\,b,O=c";URI=spiffe://a/c;DNS=a;DNS=b`}, ""},
		"forwarded, another":       {Shown{Forwarded: "Hash=" + otherHash, Certificate: encoded}, CheckCertificate},
		"forwarded before the own": {Shown{Forwarded: "Hash=" + rfcHash, Certificate: "x"}, ""},
		"forged, Envoy's last":     {Shown{Forwarded: "Hash=" + rfcHash + ",By=x;Hash=" + otherHash}, CheckCertificate},
		"the last hop counts":      {Shown{Forwarded: `By=y;Hash=` + otherHash + `;Chain="a%2Cb",By=x;Hash=` + rfcHash + `;Cert="` + encoded + `"`}, CheckCertificate}, // the PEM has spaces that are not escaped
		"the last hop, escaped":    {Shown{Forwarded: `By=y;Hash=` + otherHash + `;Chain="a%2Cb",By=x;Hash=` + rfcHash + `;Cert="a%0Ab%3D"`}, ""},
		"an open quote in front":   {Shown{Forwarded: `Subject="Hash=` + rfcHash + `,By=x;Hash=` + otherHash + `;Subject=""`}, CheckCertificate},
		"swallowed by a quote":     {Shown{Forwarded: `Hash=` + rfcHash + `;Subject=",By=x;Hash=` + otherHash + `;Subject="CN=att"`}, CheckCertificate},
		"a URI with a comma":       {Shown{Forwarded: `By=x;Hash=` + otherHash + `;URI=spiffe://a,Hash=` + rfcHash}, CheckCertificate},
		"a URI with a semicolon":   {Shown{Forwarded: `By=x;Hash=` + otherHash + `;URI=spiffe://a;Hash=` + rfcHash}, CheckCertificate},
		"a DNS name with a comma":  {Shown{Forwarded: `Hash=` + otherHash + `;DNS=a,By=x;Hash=` + rfcHash}, CheckCertificate},
		"a subject with a hash":    {Shown{Forwarded: `Hash=` + otherHash + `;Subject="CN=a;Hash=` + rfcHash + `"`}, CheckCertificate},
		"two hashes in one":        {Shown{Forwarded: `Hash=` + otherHash + `;Hash=` + rfcHash}, CheckCertificate},
		"no hash":                  {Shown{Forwarded: `By=x;Subject="CN=mtls"`}, CheckCertificate},
		"a key that ends so":       {Shown{Forwarded: `XHash=` + rfcHash}, CheckCertificate},
		"a short hash":             {Shown{Forwarded: `Hash=` + rfcHash[:62]}, CheckCertificate},
		"a hash in quotes":         {Shown{Forwarded: `Hash="` + rfcHash + `"`}, CheckCertificate},
		"DPoP for a certificate":   {Shown{Scheme: token.DPoP, Certificate: encoded}, CheckScheme},
	} {
		_, err := New(Options{MaxAge: time.Minute}).Check(t.Context(), "t", &token.Binding{Certificate: rfcThumbprint}, c.shown)
		if got := checkOf(t, err); got != c.want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, c.want)
		}
	}
}

// TestBoth: who is bound to a key and a certificate shows both.
func TestBoth(t *testing.T) {
	both := &token.Binding{Key: rfcKey, Certificate: rfcThumbprint}
	shown := rfcRequest()
	c := New(Options{MaxAge: time.Minute, Now: at(rfcAt)})
	if _, err := c.Check(t.Context(), rfcToken, both, shown); checkOf(t, err) != CheckCertificate {
		t.Errorf("without a certificate: %v", err)
	}
	shown.Certificate = url.PathEscape(rfcCertificate)
	if _, err := c.Check(t.Context(), rfcToken, both, shown); err != nil {
		t.Errorf("with both (the proof has not been spent before): %v", err)
	}
	shown.Proof = ""
	if _, err := c.Check(t.Context(), rfcToken, both, shown); checkOf(t, err) != CheckForm {
		t.Errorf("without a proof: %v", err)
	}
}

// TestZeroDenies: what was forgotten refuses bound tokens.
func TestZeroDenies(t *testing.T) {
	var none *Checker
	for _, bound := range []*token.Binding{{}, {Key: rfcKey}, {Certificate: rfcThumbprint}} {
		if _, err := none.Check(t.Context(), rfcToken, bound, rfcRequest()); err == nil {
			t.Errorf("no checker accepts %v", bound)
		}
	}
	if _, err := New(Options{}).Check(t.Context(), rfcToken, &token.Binding{}, Shown{}); err == nil {
		t.Error("an empty binding is accepted")
	}
	if _, err := none.Check(t.Context(), "t", nil, Shown{}); err != nil {
		t.Errorf("a mere bearer token: %v", err)
	}
}

func TestURL(t *testing.T) {
	own := URL{"https", "api.acme.dev", "/a%2fb/~c"}
	for htu, want := range map[string]bool{
		"https://api.acme.dev/a%2fb/~c": true, "https://api.acme.dev/a%2Fb/%7ec": true, "HTTPS://API.acme.DEV/a%2fb/~c": true,
		"https://api.acme.dev:443/a%2fb/~c": true, "https://api.acme.dev/a%2fb/~c?q=1#f": true, "https://api.acme.dev/x/../a%2fb/./~c": true,
		"http://api.acme.dev/a%2fb/~c": false, "https://api.acme.dev:80/a%2fb/~c": false, "https://api.acme.dev/a/b/~c": false, "https://api.acme.dev/a%2fb/~c/": false,
		"https://api.acme.dev/A%2fb/~c": false, "https://api.acme.dev//a%2fb/~c": false, "https://evil.dev/a%2fb/~c": false, "https://api.acme.dev.evil.dev/a%2fb/~c": false,
		"https://x@api.acme.dev/a%2fb/~c": false, "https://api.acme.dev@evil.dev/a%2fb/~c": false, "//api.acme.dev/a%2fb/~c": false, "/a%2fb/~c": false, "": false,
		"https:api.acme.dev": false, "https://api.acme.dev/a%2fb/~c%zz": false, "wss://api.acme.dev/a%2fb/~c": false, " https://api.acme.dev/a%2fb/~c": false,
		"https://api.acme.dev\\@evil.dev/a%2fb/~c": false,
	} {
		if got := own.is(htu); got != want {
			t.Errorf("%q: %v", htu, got)
		}
	}
	for _, c := range []struct {
		own URL
		htu string
	}{
		{URL{"http", "localhost:8080", "/"}, "http://localhost:8080"}, {URL{"http", "[::1]:8080", "/x"}, "http://[0:0::1]:8080/x"},
		{URL{"https", "api.acme.dev:443", "/%c3%bc"}, "https://api.acme.dev/ü"}, {URL{"http", "a", "/%41"}, "http://a:80/A"},
	} {
		if !c.own.is(c.htu) {
			t.Errorf("%v is not %q", c.own, c.htu)
		}
	}
	for _, strange := range []URL{{}, {"https", "", "/"}, {"https", "a b", "/"}, {"https", "a", "*"}, {"https,http", "a", "/"}, {"https", "x@a", "/"}, {"https", "a/b", "/"}} {
		if strange.is(strange.Scheme + "://" + strange.Authority + strange.Path) {
			t.Errorf("%v is a URL", strange)
		}
	}
}

func TestNonces(t *testing.T) {
	key := []byte(strings.Repeat("k", 32))
	n, err := NewNonces(key, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := NewNonces(key, time.Minute)
	now := time.Unix(rfcAt, 0)
	nonce := n.at(now)
	if !other.good(nonce, now.Add(time.Minute)) || !other.good(nonce, now.Add(-time.Minute)) {
		t.Error("a replica does not take the nonce of the period before or after")
	}
	if n.good(nonce, now.Add(3*time.Minute)) || n.good("", now) || n.good(nonce+"A", now) || n.good(strings.ToLower(nonce), now) {
		t.Error("takes a nonce that is old, empty or changed")
	}
	one, _ := NewNonces(nil, time.Minute)
	two, _ := NewNonces(nil, time.Minute)
	if one.at(now) == two.at(now) || one.at(now) == n.at(now) {
		t.Error("processes without a key have one nonce")
	}
}

// TestNonceIsAsked: without the nonce of now the answer has it; with that of before, too.
func TestNonceIsAsked(t *testing.T) {
	now := time.Now()
	nonces, _ := NewNonces(nil, time.Minute)
	c := New(Options{MaxAge: time.Minute, Nonces: nonces, Now: func() time.Time { return now }})
	holder := tokentest.NewHolder(t, "ES256")
	ask := func(nonce any) (string, string) {
		shown := Shown{Scheme: token.DPoP, Method: "GET", URL: URL{"https", "a", "/"}}
		shown.Proof = holder.Proof("GET", "https://a/", "t", map[string]any{"nonce": nonce, "iat": now.Unix()}, nil)
		next, err := c.Check(t.Context(), "t", &token.Binding{Key: holder.Thumbprint()}, shown)
		return next, checkOf(t, err)
	}
	next, check := ask(nil)
	if check != CheckNonce || next != nonces.at(now) {
		t.Fatalf("without: %q, %q", check, next)
	}
	if again, check := ask(next); check != "" || again != "" {
		t.Errorf("with it: %q, %q", check, again)
	}
	now = now.Add(time.Minute)
	if again, check := ask(next); check != "" || again != nonces.at(now) {
		t.Errorf("with that of before: %q, %q", check, again)
	}
	if _, check := ask(7); check != CheckClaims {
		t.Errorf("a number: %q", check)
	}
	if _, check := ask("x"); check != CheckNonce {
		t.Errorf("made up: %q", check)
	}
}

// TestAlgorithms: each that is named in challenges makes good proofs.
func TestAlgorithms(t *testing.T) {
	for _, alg := range Algorithms() {
		made := alg
		if alg == "Ed25519" {
			made = "EdDSA"
		}
		holder := tokentest.NewHolder(t, made)
		shown := Shown{Scheme: token.DPoP, Method: "GET", URL: URL{"https", "a", "/"}}
		shown.Proof = holder.Proof("GET", "https://a/", "t", nil, map[string]any{"alg": alg})
		if _, err := New(Options{MaxAge: time.Minute}).Check(context.Background(), "t", &token.Binding{Key: holder.Thumbprint()}, shown); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}
