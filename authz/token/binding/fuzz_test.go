package binding

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"scopeward/authz/token"
	"scopeward/internal/testenv/tokentest"
)

// FuzzProof signs any header and payload with the client's own key: what passes is a proof
// of this key, token and request, as a second library reads it, and passes once.
func FuzzProof(f *testing.F) {
	holder := tokentest.NewHolder(f, "ES256")
	now, bound := time.Unix(rfcAt, 0), &token.Binding{Key: holder.Thumbprint()}
	jwk, err := json.Marshal(holder.JWK()) // each process that fuzzes has another
	if err != nil {
		f.Fatal(err)
	}
	const header = `{"alg":"ES256","typ":"dpop+jwt","jwk":{$KEY}}`
	claims := `{"jti":"1","htm":"GET","htu":"https://a/b","iat":1562262618,"ath":"` + hashOf("t") + `"}`
	f.Add(header, claims, "")
	for _, change := range [][2]string{
		{`"dpop+jwt"`, `"jwt"`}, {`"ES256"`, `"none"`}, {`"ES256"`, `"HS256"`}, {`"jwk":{`, `"jwk":{"d":"AA",`}, {`{`, `{"crit":[],`},
		{`"ES256"`, `"ES256","alg":"none"`}, {`$KEY`, `"kty":"oct","k":"AA"`}, {`$KEY`, `$KEY,"use":"enc"`},
	} {
		f.Add(strings.Replace(header, change[0], change[1], 1), claims, "")
	}
	for _, change := range [][2]string{
		{`"GET"`, `"get"`}, {`https://a/b`, `https://a/b?c#d`}, {`https://a/b`, `https://a@b/`}, {`"1"`, `""`}, {`1562262618`, `1562262618.5`}, {`1562262618`, `-1e400`},
		{`{`, `{"htm":"POST",`}, {`{`, `{"nonce":null,`},
	} {
		f.Add(header, strings.Replace(claims, change[0], change[1], 1), "")
	}
	f.Add(header, claims, ",a")
	f.Fuzz(func(t *testing.T, header, claims, tail string) {
		header = strings.ReplaceAll(header, "$KEY", strings.Trim(string(jwk), "{}"))
		input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		signature, err := jwt.SigningMethodES256.Sign(input, holder.Signer())
		if err != nil {
			t.Fatal(err)
		}
		proof := input + "." + base64.RawURLEncoding.EncodeToString(signature) + tail
		c := New(Options{MaxAge: time.Minute, Now: func() time.Time { return now }})
		shown := Shown{Scheme: token.DPoP, Proof: proof, Method: "GET", URL: URL{"https", "a", "/b"}}
		if _, err := c.Check(t.Context(), "t", bound, shown); err != nil {
			if checkOf(t, err) == "" {
				t.Fatal(err)
			}
			return
		}
		if _, err := c.Check(t.Context(), "t", bound, shown); checkOf(t, err) != CheckReplay {
			t.Fatalf("it passes twice: %v", err)
		}
		parsed, err := jose.ParseSignedCompact(strings.Trim(proof, " \t"), []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatalf("go-jose does not read it: %v", err)
		}
		jwk := parsed.Signatures[0].Protected.JSONWebKey
		if jwk == nil || !jwk.IsPublic() {
			t.Fatalf("its key is %v", jwk)
		}
		if _, err := parsed.Verify(jwk.Key); err != nil {
			t.Fatalf("go-jose does not verify it: %v", err)
		}
		if typ, _ := parsed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(typ, "dpop+jwt") {
			t.Fatalf("its typ is %q", typ)
		}
	})
}

// FuzzXFCC: whatever a client sends, and whatever names are in its certificate, only the
// hash that Envoy writes of it counts.
func FuzzXFCC(f *testing.F) {
	f.Add("", "CN=a", "spiffe://a", "a.example")
	f.Add("Hash="+rfcHash, "CN=a", "spiffe://a", "")
	f.Add(`Subject="`, "CN=a", `",Hash=`+rfcHash, "")
	f.Add(`By=x;Hash=`+rfcHash+`;Cert="a"`, "", "", "")
	f.Add("", `CN=a;Hash=`+rfcHash, `x,Hash=`+rfcHash, `a;Hash=`+rfcHash)
	f.Add(`Hash=`+rfcHash+`;Subject="`, `",By=a;Hash=`+rfcHash, "", "")
	f.Fuzz(func(t *testing.T, sent, subject, uri, dns string) {
		own := "By=spiffe://envoy;Hash=" + otherHash
		if subject != "" {
			own += `;Subject="` + subject + `"`
		}
		if uri != "" {
			own += ";URI=" + uri
		}
		if dns != "" {
			own += ";DNS=" + dns
		}
		header := own
		if sent != "" { // APPEND_FORWARD
			header = sent + "," + own
		}
		if got, err := thumbprintOfForwarded(header); err == nil && tokentest.HexOf(got) != otherHash {
			t.Fatalf("%s: reads %s", header, tokentest.HexOf(got))
		}
	})
}
