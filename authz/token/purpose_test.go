package token_test

import (
	"strings"
	"testing"

	"scopeward/authz/token"
	"scopeward/internal/testenv/tokentest"
)

// TestPurpose: the marks of refresh and ID tokens are known wherever they stand.
func TestPurpose(t *testing.T) {
	type m = map[string]any
	const urn = "urn:ietf:params:oauth:token-type:"
	for name, c := range map[string]struct {
		claims      m
		access, any bool
	}{
		"Hydra":                      {m{"token_use": "refresh_token"}, false, false},
		"OpenIddict":                 {m{"token_usage": "refresh_token"}, false, false},
		"OpenIddict, of its own":     {m{"oi_tkn_typ": "refresh_token"}, false, false},
		"Keycloak":                   {m{"typ": "Refresh"}, false, false},
		"Keycloak, offline":          {m{"typ": "Offline"}, false, false},
		"SimpleJWT":                  {m{"token_type": "refresh"}, false, false},
		"flask-jwt-extended":         {m{"type": "refresh"}, false, false},
		"a URN":                      {m{"token_type": urn + "refresh_token"}, false, false},
		"in other letters":           {m{"token_type": "Refresh-Token"}, false, false},
		"in camel case":              {m{"tokenType": "refreshToken"}, false, false},
		"as a type":                  {m{"typ": "rt+jwt"}, false, false},
		"in other letters, the mark": {m{"Token_Type": "refresh"}, false, false},
		"with invisible characters":  {m{"token_type": "refresh\u200b"}, false, false},
		"in a list":                  {m{"type": []any{"x", "refresh"}}, false, false},
		"beside another mark":        {m{"token_use": "access", "type": "refresh"}, false, false},
		"a code":                     {m{"token_usage": "authorization_code"}, false, false},
		"Keycloak's registration":    {m{"typ": "InitialAccessToken"}, false, false},
		"a logout token":             {m{"events": m{}}, false, false},
		"ID token, Cognito":          {m{"token_use": "id"}, false, true},
		"ID token, Keycloak":         {m{"typ": "ID"}, false, true},
		"ID token, ForgeRock":        {m{"tokenName": "id_token"}, false, true},
		"ID token, a URN":            {m{"token_type": urn + "id_token"}, false, true},
		"ID token and refresh token": {m{"typ": "ID", "token_type": "refresh"}, false, false},
		"at_hash (ID tokens, Dex)":   {m{"at_hash": "x"}, false, true},
		"c_hash":                     {m{"c_hash": "x"}, false, true},
		"s_hash":                     {m{"s_hash": "x"}, false, true},
		"nonce alone":                {m{"nonce": "x", "scope": nil}, false, true},
		"nonce and scopes of null":   {m{"nonce": "x", "scope": null{}}, false, true},
		"nonce and scopes":           {m{"nonce": "x"}, true, true},
		"nonce and access":           {m{"nonce": "x", "scope": nil, "typ": "Bearer"}, true, true},
		"access, Cognito":            {m{"token_use": "access"}, true, true},
		"access, Keycloak":           {m{"typ": "Bearer"}, true, true},
		"access, a URN":              {m{"token_type": urn + "access_token"}, true, true},
		"a claim of another meaning": {m{"type": "employee", "typ": 7}, true, true},
		"marks that are null":        {m{"at_hash": null{}, "token_use": null{}, "events": null{}}, true, true},
		"bound by its type alone":    {m{"token_type": "DPoP"}, false, false},
		"bound":                      {m{"token_type": "DPoP", "cnf": m{"jkt": sum}}, true, true},
		"bound, Keycloak":            {m{"typ": "DPoP", "cnf": m{"jkt": sum}}, true, true},
		"bound, nonce and no scope":  {m{"typ": "DPoP", "cnf": m{"jkt": sum}, "nonce": "x", "scope": nil}, true, true},
		"bound ID token":             {m{"typ": "ID", "token_type": "DPoP", "cnf": m{"jkt": sum}}, false, true},
	} {
		claims := with(c.claims)
		for name, v := range claims {
			if v == (null{}) {
				claims[name] = nil
			}
		}
		r := rules()
		_, err := r.Identity(tokentest.Decoded(claims))
		r.AnyPurpose = true
		_, anyErr := r.Identity(tokentest.Decoded(claims))
		if (err == nil) != c.access || (anyErr == nil) != c.any {
			t.Errorf("%s: access %v, any %v", name, err, anyErr)
		}
		mustBeInvalid(t, err)
		mustBeInvalid(t, anyErr)
	}
}

// sum is the spelling of some SHA-256.
const sum = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

// TestBinding: what a token is bound to is known, or the token is refused.
func TestBinding(t *testing.T) {
	type m = map[string]any
	for name, c := range map[string]struct {
		cnf  any
		want token.Binding
		ok   bool
	}{
		"a key":                      {m{"jkt": sum}, token.Binding{Key: sum}, true},
		"a certificate":              {m{"x5t#S256": sum}, token.Binding{Certificate: sum}, true},
		"both":                       {m{"jkt": sum, "x5t#S256": sum}, token.Binding{Key: sum, Certificate: sum}, true},
		"a key, and what is unknown": {m{"jkt": sum, "kid": "x"}, token.Binding{Key: sum}, true},
		"null":                       {null{}, token.Binding{}, false},
		"text":                       {sum, token.Binding{}, false},
		"a list":                     {[]any{m{"jkt": sum}}, token.Binding{}, false},
		"true":                       {true, token.Binding{}, false},
		"nothing":                    {m{}, token.Binding{}, false},
		"a kind that nobody knows":   {m{"jwk": m{"kty": "EC"}}, token.Binding{}, false},
		"SHA-1":                      {m{"x5t": "x"}, token.Binding{}, false},
		"in other letters":           {m{"JKT": sum}, token.Binding{}, false},
		"no hash":                    {m{"jkt": "x"}, token.Binding{}, false},
		"an empty one":               {m{"jkt": ""}, token.Binding{}, false},
		"a null":                     {m{"jkt": nil}, token.Binding{}, false},
		"a null beside a good one":   {m{"jkt": nil, "x5t#S256": sum}, token.Binding{}, false},
		"a number beside a good one": {m{"jkt": sum, "x5t#S256": 1}, token.Binding{}, false},
		"padded":                     {m{"jkt": sum + "="}, token.Binding{}, false},
		"in base64":                  {m{"jkt": strings.ReplaceAll(sum, "-", "+")}, token.Binding{}, false},
		"with spare bits":            {m{"jkt": sum[:42] + "J"}, token.Binding{}, false},
		"longer":                     {m{"jkt": sum + "AAAA"}, token.Binding{}, false},
		"in a list":                  {m{"jkt": []any{sum}}, token.Binding{}, false},
		"with a line break":          {m{"jkt": sum + "\n"}, token.Binding{}, false},
	} {
		claims := with(m{"cnf": c.cnf})
		if c.cnf == (any)(null{}) {
			claims["cnf"] = nil
		}
		id, err := rules().Identity(tokentest.Decoded(claims))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && *id.Bound != c.want {
			t.Errorf("%s: %+v, want %+v", name, id.Bound, c.want)
		}
		mustBeInvalid(t, err)
	}
}

// TestMustBeBound: with binding: required, a mere bearer token is refused.
func TestMustBeBound(t *testing.T) {
	r := rules()
	r.MustBeBound = true
	_, err := r.Identity(tokentest.Decoded(with(nil)))
	mustBeInvalid(t, err)
	if err == nil {
		t.Error("a mere bearer token passes")
	}
	if _, err := r.Identity(tokentest.Decoded(with(map[string]any{"cnf": map[string]any{"jkt": sum}}))); err != nil {
		t.Errorf("a bound one: %v", err)
	}
}

// TestPurposeInTheHeader: a mark counts there, too.
func TestPurposeInTheHeader(t *testing.T) {
	for mark, want := range map[string][2]bool{
		`"token_use":"refresh_token"`: {false, false}, `"token_use":"id"`: {false, true}, `"token_use":"access"`: {true, true}, `"typ":"JWT"`: {true, true},
	} {
		parsed, err := token.ParseJWT(b64(`{"alg":"RS256",`+mark+`}`) + "." + b64(`{"iss":"https://idp.test","aud":"api","exp":1893459600}`) + ".AAAA")
		if err != nil {
			t.Fatal(err)
		}
		for i, anyPurpose := range []bool{false, true} {
			r := rules()
			r.AnyPurpose = anyPurpose
			if _, err := r.For(parsed).Identity(parsed.Claims); (err == nil) != want[i] {
				t.Errorf("%s, any %v: %v", mark, anyPurpose, err)
			}
		}
	}
}

// TestNames: white space at an end refuses the subject, and costs other names.
func TestNames(t *testing.T) {
	for _, space := range []string{" ", "\u00a0", "\u2003", "\u3000", "\u1680", "\u2800", "\u3164"} {
		for _, name := range []string{space + "alice", "alice" + space, space} {
			if id, err := rules().Identity(tokentest.Decoded(with(map[string]any{"sub": name}))); err == nil {
				t.Errorf("sub %q: got %q", name, id.Subject)
			} else if strings.Contains(err.Error(), "alice") {
				t.Errorf("the error has the name: %v", err)
			}
			id, err := rules().Identity(tokentest.Decoded(with(map[string]any{"email": name, "client_id": name, "azp": "app"})))
			if err != nil || id.Email != "" || id.ClientID != "app" {
				t.Errorf("%q: got %+v, %v", name, id, err)
			}
		}
	}
	id, err := rules().Identity(tokentest.Decoded(with(map[string]any{"sub": "alice b"})))
	if err != nil || id.Subject != "alice b" {
		t.Errorf("got %+v, %v", id, err)
	}
}

// TestClaimText: what is passed on is exact, and nobody reads it as something else.
func TestClaimText(t *testing.T) {
	claims, err := token.ReadClaims([]byte(`{"int":1234567890123456789,"next":1234567890123456788,"uint":18446744073709551615,"big":123456789012345678901234567890,
		"negative":-9223372036854775808,"double":1.5,"whole":2.0,"thousand":1e3,"rounded":9007199254740993.0,"exponent":1.234567890123456789e18,
		"list":["a","b"],"space":["guest admin"],"nbsp":["guest\u00a0admin"],"empty":["a",""],"mixed":["a",1],"nested":[["a"]],"none":[],"nothing":null,
		"object":{"a":1},"text":"a b","ends":"a ","line":"a\nb","true":true}`))
	if err != nil {
		t.Fatal(err)
	}
	id := &token.Identity{}
	id.SetClaims(claims)
	for range 2 { // also from memory
		for name, want := range map[string]string{
			"int": "1234567890123456789", "next": "1234567890123456788", "uint": "18446744073709551615", "big": "123456789012345678901234567890",
			"negative": "-9223372036854775808", "double": "1.5", "whole": "2", "thousand": "1000", "list": "a b", "text": "a b", "true": "true",
			"none": "", "nothing": "", "absent": "",
		} {
			if got, fault := id.ClaimText(name); got != want || fault != "" {
				t.Errorf("%s: got %q, %q", name, got, fault)
			}
		}
		for _, name := range []string{"rounded", "exponent", "space", "nbsp", "empty", "mixed", "nested", "object", "ends", "line"} {
			if got, fault := id.ClaimText(name); got != "" || fault == "" {
				t.Errorf("%s: got %q, %q", name, got, fault)
			}
		}
	}
}

func TestEmailRule(t *testing.T) {
	type m = map[string]any
	for name, c := range map[string]struct {
		rule   token.EmailRule
		stated []m
		want   bool
	}{
		"silence":                                {token.EmailUnlessUnverified, []m{{"email": "a@b.test"}}, true},
		"silence, strict":                        {token.EmailVerified, []m{{"email": "a@b.test"}}, false},
		"verified, strict":                       {token.EmailVerified, []m{{"email": "a@b.test", "email_verified": true}}, true},
		"not verified":                           {token.EmailUnlessUnverified, []m{{"email": "a@b.test", "email_verified": false}}, false},
		"null":                                   {token.EmailUnlessUnverified, []m{{"email": "a@b.test", "email_verified": nil}}, false},
		"any":                                    {token.EmailAny, []m{{"email": "a@b.test", "email_verified": false}}, true},
		"the profile repeats it":                 {token.EmailUnlessUnverified, []m{{"email": "a@b.test", "email_verified": false}, {"email": "a@b.test"}}, false},
		"the profile has verified it":            {token.EmailVerified, []m{{"email": "a@b.test", "email_verified": false}, {"email": "a@b.test", "email_verified": true}}, true},
		"the profile takes it back":              {token.EmailUnlessUnverified, []m{{"email": "a@b.test", "email_verified": true}, {"email_verified": false}}, false},
		"another address is verified":            {token.EmailVerified, []m{{"email": "a@b.test"}, {"email": "x@b.test", "email_verified": true}}, false},
		"of no address, after it was unverified": {token.EmailVerified, []m{{"email": "a@b.test", "email_verified": false}, {"email": "x@b.test", "email_verified": true}}, false},
		"an unknown rule":                        {"all", []m{{"email": "a@b.test", "email_verified": "yes"}}, false},
	} {
		var stated []token.Claims
		for _, s := range c.stated {
			stated = append(stated, tokentest.Decoded(s))
		}
		if got := (token.Rules{Email: c.rule}).EmailOf("a@b.test", stated...); (got != "") != c.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
