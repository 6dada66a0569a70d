package token_test

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"scopeward/authz/token"
	"scopeward/internal/testenv/tokentest"
)

var now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func rules() token.Rules {
	return token.Rules{
		Provider: "idp", Issuer: "https://idp.test", Audiences: []string{"api", "api2"},
		ClockSkew: 30 * time.Second, Now: func() time.Time { return now },
	}
}

// with changes good claims; a nil value removes one.
func with(changes map[string]any) map[string]any {
	claims := map[string]any{
		"iss": "https://idp.test", "aud": []any{"other", "api"}, "sub": "alice",
		"exp": unix(now.Add(time.Hour)), "iat": unix(now), "scope": "read write",
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

type null struct{}

func unix(t time.Time) int64 { return t.Unix() }

func TestIdentity(t *testing.T) {
	claims := with(map[string]any{"azp": "app", "email": "a@b.test"})
	got, err := rules().Identity(tokentest.Decoded(claims))
	if err != nil {
		t.Fatal(err)
	}
	want := &token.Identity{
		Provider: "idp", Issuer: "https://idp.test", Subject: "alice", ClientID: "app", Email: "a@b.test",
		Scopes: []string{"read", "write"}, Expiry: now.Add(time.Hour).Local(),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(token.Identity{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(claims, got.Claims()); diff != "" {
		t.Errorf("claims: -want +got:\n%s", diff)
	}
	if got.ScopeText() != "read write" {
		t.Errorf("scopes as text: %q", got.ScopeText())
	}
}

func TestClaimsThatDeny(t *testing.T) {
	skew := 30 * time.Second
	type m = map[string]any
	for name, c := range map[string]struct {
		changes m
		good    bool
	}{
		"nothing changed": {m{}, true},

		"no exp":                      {m{"exp": nil}, false},
		"exp now":                     {m{"exp": unix(now)}, true},
		"exp within the skew":         {m{"exp": unix(now.Add(-skew + time.Second))}, true},
		"exp at the skew":             {m{"exp": unix(now.Add(-skew))}, false},
		"exp as a string":             {m{"exp": "2524608000"}, false},
		"exp null":                    {m{"exp": null{}}, false},
		"exp zero":                    {m{"exp": 0.0}, false},
		"exp negative":                {m{"exp": -1.0}, false},
		"exp a fraction of a second":  {m{"exp": 0.5}, false},
		"exp beyond year 9999":        {m{"exp": 253402300800.0}, false},
		"exp in milliseconds":         {m{"exp": unix(now) * 1000}, false},
		"exp huge":                    {m{"exp": math.MaxFloat64}, false},
		"exp fractional":              {m{"exp": float64(unix(now)) + 0.25}, true},
		"exp an array":                {m{"exp": []any{unix(now)}}, false},
		"EXP only":                    {m{"exp": nil, "EXP": unix(now.Add(time.Hour))}, false},
		"nbf in the future":           {m{"nbf": unix(now.Add(skew + time.Second))}, false},
		"nbf within the skew":         {m{"nbf": unix(now.Add(skew))}, true},
		"nbf as a string":             {m{"nbf": "1"}, false},
		"nbf null":                    {m{"nbf": null{}}, true},
		"nbf zero":                    {m{"nbf": 0.0}, true},
		"iat in the future":           {m{"iat": unix(now.Add(skew + time.Second))}, false},
		"iat within the skew":         {m{"iat": unix(now.Add(skew))}, true},
		"iat as a string":             {m{"iat": "1"}, false},
		"no iat":                      {m{"iat": nil}, true},
		"no iss":                      {m{"iss": nil}, false},
		"iss empty":                   {m{"iss": ""}, false},
		"iss with a trailing slash":   {m{"iss": "https://idp.test/"}, false},
		"iss in upper case":           {m{"iss": "HTTPS://IDP.TEST"}, false},
		"iss an array":                {m{"iss": []any{"https://idp.test"}}, false},
		"ISS only":                    {m{"iss": nil, "ISS": "https://idp.test"}, false},
		"no aud":                      {m{"aud": nil}, false},
		"aud a string":                {m{"aud": "api2"}, true},
		"aud a string with spaces":    {m{"aud": "api api2"}, false},
		"aud of another":              {m{"aud": "other"}, false},
		"aud empty":                   {m{"aud": ""}, false},
		"aud an empty array":          {m{"aud": []any{}}, false},
		"aud with an empty string":    {m{"aud": []any{""}}, false},
		"aud a number":                {m{"aud": 7.0}, false},
		"aud null":                    {m{"aud": null{}}, false},
		"aud an object":               {m{"aud": map[string]any{"api": true}}, false},
		"aud with a number":           {m{"aud": []any{"api", 7.0}}, false},
		"aud nested":                  {m{"aud": []any{[]any{"api"}}}, false},
		"aud a prefix":                {m{"aud": "ap"}, false},
		"sub a number":                {m{"sub": 7.0}, false},
		"sub empty":                   {m{"sub": ""}, false},
		"sub null":                    {m{"sub": null{}}, true},
		"sub with a line break":       {m{"sub": "alice\r\nx-admin: true"}, false},
		"sub with NUL":                {m{"sub": "alice\x00"}, false},
		"sub with a C1 control":       {m{"sub": "alice\u0085"}, false},
		"sub with a line separator":   {m{"sub": "alice\u2028"}, false},
		"sub with a bidi override":    {m{"sub": "\u202ealice"}, false},
		"sub with a zero width space": {m{"sub": "ali\u200bce"}, false},
		"sub in another script":       {m{"sub": "алиса"}, true},
		"no sub":                      {m{"sub": nil}, true},
		"client_id a number":          {m{"client_id": 7.0}, true},
		"azp an array":                {m{"azp": []any{"app"}}, true},
		"email with a line break":     {m{"email": "a@b.test\n"}, false},
		"email empty":                 {m{"email": ""}, true},
		"email an object":             {m{"email": map[string]any{}}, true},

		"ID token (at_hash)":      {m{"at_hash": "x"}, false},
		"ID token (c_hash)":       {m{"c_hash": "x"}, false},
		"ID token (Cognito)":      {m{"token_use": "id"}, false},
		"access token (Cognito)":  {m{"token_use": "access"}, true},
		"ID token (Keycloak)":     {m{"typ": "ID"}, false},
		"refresh token":           {m{"typ": "Refresh"}, false},
		"access token (Keycloak)": {m{"typ": "Bearer"}, true},
		"logout token":            {m{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}, false},
	} {
		claims := with(c.changes)
		for name, v := range claims {
			if v == (null{}) {
				claims[name] = nil
			}
		}
		id, err := rules().Identity(tokentest.Decoded(claims))
		if (err == nil) != c.good || (id != nil) != c.good {
			t.Errorf("%s: got %v, %v; want good: %v", name, id, err, c.good)
		}
		mustBeInvalid(t, err)
	}
}

func TestScopes(t *testing.T) {
	type m = map[string]any
	for name, c := range map[string]struct {
		claims m
		names  []string
		want   []string
		bad    bool
	}{
		"string":                          {claims: m{"scope": "a b"}, want: []string{"a", "b"}},
		"array":                           {claims: m{"scope": []any{"a", "b"}}, want: []string{"a", "b"}},
		"scp array":                       {claims: m{"scp": []any{"a"}}, want: []string{"a"}},
		"scp string":                      {claims: m{"scp": "a b"}, want: []string{"a", "b"}},
		"the first counts, never a union": {claims: m{"scope": "a", "scp": []any{"a", "admin"}}, want: []string{"a"}},
		"an empty first counts":           {claims: m{"scope": "", "scp": "admin"}},
		"an empty array counts":           {claims: m{"scope": []any{}, "scp": "admin"}},
		"null does not open the next":     {claims: m{"scope": null{}, "scp": "admin"}},
		"other order":                     {claims: m{"scope": "a", "scp": "b"}, names: []string{"scp", "scope"}, want: []string{"b"}},
		"other claim":                     {claims: m{"scope": "a", "permissions": []any{"p"}}, names: []string{"permissions"}, want: []string{"p"}},
		"other case":                      {claims: m{"Scope": "admin", "SCOPE": "admin"}},
		"none":                            {claims: m{}},
		"repeated":                        {claims: m{"scope": "a  b a "}, want: []string{"a", "b"}},
		"number":                          {claims: m{"scope": 7.0}, bad: true},
		"boolean":                         {claims: m{"scope": true}, bad: true},
		"object":                          {claims: m{"scope": m{"admin": true, "b": m{"org": "x"}, "no": false, "none": null{}, "has space": 1, "": 1}}, want: []string{"admin", "b"}},
		"an empty object counts":          {claims: m{"scope": m{}, "scp": "admin"}},
		"pointer":                         {claims: m{"realm_access": m{"roles": []any{"a", "PS Emeriti", 7}}}, names: []string{"/realm_access/roles"}, want: []string{"a"}},
		"pointer to what is not there":    {claims: m{"realm_access": m{}, "scope": "a"}, names: []string{"/realm_access/roles", "scope"}, want: []string{"a"}},
		"pointer through a string":        {claims: m{"realm_access": "x", "scope": "a"}, names: []string{"/realm_access/roles", "scope"}, want: []string{"a"}},
		"pointer through null":            {claims: m{"realm_access": null{}, "scope": "admin"}, names: []string{"/realm_access/roles", "scope"}},
		"pointer to null":                 {claims: m{"r": m{"roles": null{}}, "scope": "admin"}, names: []string{"/r/roles", "scope"}},
		"pointer into an array":           {claims: m{"r": []any{m{"roles": "a"}}}, names: []string{"/r/0/roles"}, want: []string{"a"}},
		"pointer with a wrong index":      {claims: m{"r": []any{m{"roles": "a"}}}, names: []string{"/r/00/roles", "/r/-/roles", "/r/1/roles", "/r/+0/roles"}},
		"escaped pointer":                 {claims: m{"a/b": m{"c~d": "x"}}, names: []string{"/a~1b/c~0d"}, want: []string{"x"}},
		"pointer to a number":             {claims: m{"r": m{"n": 7}}, names: []string{"/r/n"}, bad: true},
		"a name with colons":              {claims: m{"urn:zitadel:iam:org:project:roles": m{"admin": m{"1": "acme"}}}, names: []string{"urn:zitadel:iam:org:project:roles"}, want: []string{"admin"}},
		"joined":                          {claims: m{"scp": "a", "roles": []any{"b", "a"}, "scope": "admin"}, names: []string{"scp roles", "scope"}, want: []string{"a", "b"}},
		"joined, one there":               {claims: m{"roles": []any{"b"}, "scope": "admin"}, names: []string{"scp roles", "scope"}, want: []string{"b"}},
		"joined, none there":              {claims: m{"scope": "a"}, names: []string{"scp roles", "scope"}, want: []string{"a"}},
		"joined, one null":                {claims: m{"scp": null{}, "scope": "admin"}, names: []string{"scp roles", "scope"}},
		"array with a number":             {claims: m{"scope": []any{"a", 7.0}}, want: []string{"a"}},
		"nested array":                    {claims: m{"scope": []any{[]any{"a"}}}},
		"space in an element":             {claims: m{"scope": []any{"b", "a admin"}}, want: []string{"b"}},
		"tab":                             {claims: m{"scope": "a\tb c"}, want: []string{"c"}},
		"line break":                      {claims: m{"scope": "a\nb"}},
		"quote":                           {claims: m{"scope": `a"b`}},
		"backslash":                       {claims: m{"scope": `a\b`}},
		"not ASCII":                       {claims: m{"scope": "lesen:bücher"}},
		"no-break space":                  {claims: m{"scope": "a\u00a0admin"}},
	} {
		claims := with(m{"scope": nil})
		maps.Copy(claims, c.claims)
		claims = nulled(claims).(m)
		r := rules()
		for _, text := range c.names {
			r.ScopeClaims = append(r.ScopeClaims, places(t, text))
		}
		id, err := r.Identity(tokentest.Decoded(claims))
		mustBeInvalid(t, err)
		if (err != nil) != c.bad {
			t.Errorf("%s: error %v, want one: %v", name, err, c.bad)
		} else if err == nil && !cmp.Equal(c.want, id.Scopes) {
			t.Errorf("%s: got %q, want %q", name, id.Scopes, c.want)
		}
	}
}

// places reads places that are joined, with spaces between.
func places(t *testing.T, text string) (joined []token.Place) {
	t.Helper()
	for field := range strings.FieldsSeq(text) {
		place, err := token.ParsePlace(field)
		if err != nil || place.String() != field {
			t.Errorf("%q is read as %q, %v", field, place, err)
		}
		joined = append(joined, place)
	}
	return joined
}

// nulled puts nil where value holds null{}.
func nulled(value any) any {
	switch v := value.(type) {
	case null:
		return nil
	case map[string]any:
		for name := range v {
			v[name] = nulled(v[name])
		}
	}
	return value
}

func TestParsePlace(t *testing.T) {
	for _, text := range []string{"", "/", "/a~", "/a~2b", "/~/b"} {
		if place, err := token.ParsePlace(text); err == nil {
			t.Errorf("%q is read as %q", text, []string(place))
		}
	}
	for text, want := range map[string]token.Place{"a.b": {"a.b"}, "a/b": {"a/b"}, "/a": {"a"}, "/~1a": {"/a"}, "/a/": {"a", ""}, "/~01": {"~1"}} {
		if place, err := token.ParsePlace(text); err != nil || !slices.Equal(place, want) {
			t.Errorf("%q is read as %q, %v; want %q", text, []string(place), err, []string(want))
		}
	}
}

// FuzzScopes holds the reading of places against encoding/json's view of the claims.
func FuzzScopes(f *testing.F) {
	f.Add("/realm_access/roles", `{"realm_access":{"roles":["a","b c"]}}`)
	f.Add("scope", `{"scope":null,"scp":"admin"}`)
	f.Add("/a~1b/0", `{"a/b":[{"x":false,"y":1}]}`)
	f.Fuzz(func(t *testing.T, text, data string) {
		place, err := token.ParsePlace(text)
		if err != nil {
			return
		}
		if again, err := token.ParsePlace(place.String()); err != nil || !slices.Equal(again, place) {
			t.Fatalf("%q, written %q, is read as %q, %v", []string(place), place.String(), []string(again), err)
		}
		claims, err := token.ReadClaims([]byte(data))
		if err != nil {
			return
		}
		r := rules()
		r.Optional, r.AnyAudience, r.Audiences, r.ScopeClaims = true, true, nil, token.ScopeClaims{{place}}
		id, err := r.Identity(claims)
		if err != nil {
			return
		}
		scopes := id.Scopes
		for _, scope := range scopes {
			if !token.IsScope(scope) || scope == "" || !strings.Contains(data, scope) && !strings.Contains(data, `\`) {
				t.Fatalf("%q is no scope of %s", scope, data)
			}
		}
		if len(scopes) > 0 && !(token.ScopeClaims{{place}}).Present(claims) {
			t.Fatalf("scopes %q of a place that is not there", scopes)
		}
	})
}

func TestClientIDAndEmail(t *testing.T) {
	type m = map[string]any
	for name, c := range map[string]struct {
		claims        m
		client, email string
	}{
		"azp":                {m{"azp": "app"}, "app", ""},
		"client_id wins":     {m{"azp": "app", "client_id": "svc"}, "svc", ""},
		"verified email":     {m{"email": "a@b.test", "email_verified": true}, "", "a@b.test"},
		"verified in words":  {m{"email": "a@b.test", "email_verified": "true"}, "", "a@b.test"},
		"nothing known":      {m{"email": "a@b.test"}, "", "a@b.test"},
		"not verified":       {m{"email": "a@b.test", "email_verified": false}, "", ""},
		"not verified, word": {m{"email": "a@b.test", "email_verified": "false"}, "", ""},
	} {
		id, err := rules().Identity(tokentest.Decoded(with(c.claims)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if id.ClientID != c.client || id.Email != c.email {
			t.Errorf("%s: got %q, %q", name, id.ClientID, id.Email)
		}
	}
}

func TestRulesThatAreNotConfiguredDeny(t *testing.T) {
	for name, r := range map[string]token.Rules{
		"zero value":  {},
		"no issuer":   {Audiences: []string{"api"}},
		"no audience": {Issuer: "https://idp.test"},
	} {
		r.Now = func() time.Time { return now }
		if id, err := r.Identity(tokentest.Decoded(with(nil))); err == nil {
			t.Errorf("%s: got %+v", name, id)
		}
	}
}

func TestOptionalClaims(t *testing.T) {
	type m = map[string]any
	r := rules()
	r.Audiences, r.AnyAudience, r.Optional = nil, true, true
	for name, c := range map[string]struct {
		changes m
		good    bool
	}{
		"all absent":      {m{"exp": nil, "iss": nil, "aud": nil}, true},
		"expired":         {m{"exp": unix(now.Add(-time.Hour))}, false},
		"another issuer":  {m{"iss": "https://evil.test"}, false},
		"empty issuer":    {m{"iss": ""}, false},
		"any audience":    {m{"aud": "other"}, true},
		"aud of no shape": {m{"aud": 7.0}, false},
	} {
		if _, err := r.Identity(tokentest.Decoded(with(c.changes))); (err == nil) != c.good {
			t.Errorf("%s: got %v, want good: %v", name, err, c.good)
		}
	}
}

func TestReasonsSayWhyWithoutTheToken(t *testing.T) {
	type m = map[string]any
	for want, changes := range map[string]m{
		"expired": {"exp": unix(now.Add(-time.Hour)), "sub": "canary"},
		"issuer":  {"iss": "https://canary.test"},
		`audience (aud): it has "other", and must have "api", "api2"`: {"aud": "other", "sub": "canary"},
		`it has no aud (it must have "api", "api2")`:                  {"aud": ""},
		"it has no exp": {"exp": nil},
		"nbf":           {"nbf": unix(now.Add(time.Hour))},
		"iat":           {"iat": unix(now.Add(time.Hour))},
		"control":       {"sub": "canary\n"},
		"not a string":  {"sub": m{"canary": 1}},
	} {
		_, err := rules().Identity(tokentest.Decoded(with(changes)))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v, want something with %q", err, want)
		}
	}
}

// TestClaims: what comes back is what was there, whatever of it the identity
// holds itself.
func TestClaims(t *testing.T) {
	for name, changes := range map[string]map[string]any{
		"plain":                  {},
		"more":                   {"org_code": "org_1", "permissions": []any{"a", "b"}, "flags": map[string]any{"x": true}, "n": 1.5, "nothing": nil},
		"fraction of a second":   {"exp": float64(unix(now.Add(time.Hour))) + 0.5},
		"scopes as a list":       {"scope": []any{"read", "write"}},
		"scopes written loosely": {"scope": "  read   write read"},
		"client by azp":          {"azp": "app"},
		"unverified e-mail":      {"email": "a@b.test", "email_verified": false},
		"verified e-mail":        {"email": "a@b.test", "email_verified": true},
	} {
		t.Run(name, func(t *testing.T) {
			want := with(changes)
			id, err := rules().Identity(tokentest.Decoded(want))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, id.Claims()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
