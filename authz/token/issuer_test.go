package token

import (
	"encoding/base64"
	"testing"
)

func TestIssuer(t *testing.T) {
	entra, err := NewIssuer("https://login.example/{tid}/v2.0", []string{"one", "two"})
	if err != nil {
		t.Fatal(err)
	}
	any, _ := NewIssuer("https://login.example/{tid}/v2.0", nil)
	for iss, want := range map[string][2]bool{ // of the tenants, of any
		"https://login.example/one/v2.0":   {true, true},
		"https://login.example/three/v2.0": {false, false},
		"https://login.example//v2.0":      {},
		"https://login.example/one/v2.0/":  {},
		"https://login.example/one":        {},
		"https://login.example/{tid}/v2.0": {},
		"":                                 {},
	} {
		claims, err := ReadClaims([]byte(`{"tid":"one"}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{entra.takes(iss, claims), any.takes(iss, claims)}; got != want {
			t.Errorf("%s: %v", iss, got)
		}
	}
	other, _ := ReadClaims([]byte(`{"tid":"three"}`))
	if !any.takes("https://login.example/three/v2.0", other) || entra.takes("https://login.example/three/v2.0", other) {
		t.Error("tenants are not asked")
	}
	for _, bad := range []string{"https://{host}/x", "https://x.example/a{b}", "https://x.example/{}", "https://x.example/{a}/{a}", "{a}"} {
		if _, err := NewIssuer(bad, nil); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestRoute(t *testing.T) {
	template, _ := NewIssuer("https://t.example/{tid}", nil)
	providers := []Provider{
		{Name: "a", Issuer: "https://x.example", Rules: Rules{Audiences: []string{"a"}}},
		{Name: "b", Issuer: "https://x.example", Rules: Rules{Audiences: []string{"b"}}},
		{Name: "client", Issuer: "https://x.example", Rules: Rules{Clients: []string{"c"}}},
		{Name: "opaque", Issuer: "https://x.example", Tokens: Opaque},
		{Name: "google", Tokens: Opaque, Prefixes: []string{"ya29."}},
		{Name: "template", Rules: Rules{Issuers: []Issuer{template}}},
		{Name: "spiffe", Rules: Rules{SubjectPrefix: "spiffe://acme/"}},
	}
	v := NewValidator(Options{Providers: providers})
	for raw, want := range map[string]string{
		jwtOf(`{"iss":"https://x.example","aud":"a"}`):           "a",
		jwtOf(`{"iss":"https://x.example","aud":["z","b"]}`):     "b",
		jwtOf(`{"iss":"https://x.example","aud":"z","azp":"c"}`): "client",
		jwtOf(`{"iss":"https://x.example","aud":"z"}`):           "a", // which refuses it
		jwtOf(`{"iss":"https://t.example/7","tid":"7"}`):         "template",
		jwtOf(`{"iss":"https://t.example/7","tid":"8"}`):         "",
		jwtOf(`{"sub":"spiffe://acme/ns"}`):                      "spiffe",
		jwtOf(`{"sub":"spiffe://acme.evil/ns"}`):                 "",
		"ya29.abc":                                               "google",
		"ory_at_1":                                               "opaque",
	} {
		if p, _ := v.route(Parse(raw)); p.Name != want {
			t.Errorf("%s: goes to %q, want %q", raw, p.Name, want)
		}
	}
}

func TestClients(t *testing.T) {
	rules := Rules{Issuer: "i", Optional: true, Clients: []string{"app"}}
	for claims, good := range map[string]bool{
		`{"client_id":"app"}`:                     true,
		`{"azp":"app","aud":"api"}`:               true,
		`{"appid":"app"}`:                         true,
		`{"cid":"app"}`:                           true,
		`{"cid":"app","azp":"other"}`:             false,
		`{"azp":"other"}`:                         false,
		`{"azp":null}`:                            false,
		`{}`:                                      false,
		`{"azp":"app","aud":["app"]}`:             false, // an ID token
		`{"azp":"app","aud":["app","https://x"]}`: true,
	} {
		read, err := ReadClaims([]byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		id, err := rules.Identity(read)
		if (err == nil) != good || good && id.ClientID != "app" {
			t.Errorf("%s: %v, %v", claims, id, err)
		}
	}
}

func jwtOf(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}
