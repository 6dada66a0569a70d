package authz

import (
	"encoding/json"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"scopeward/authz/audit"
	"scopeward/authz/ratelimit"
	"scopeward/authz/token"
	"scopeward/authz/token/binding"
	"scopeward/internal/testenv/pki"
	"scopeward/internal/testenv/tokentest"
	"scopeward/policy"
)

// boundRequest is a request whose parts a case may change.
type boundRequest struct {
	holder, other *tokentest.Holder
	method, path  string
	scheme, token string
	claims        map[string]any // of the proof
	header        map[string]any
	proof         func(good string) string
	change        func(*authv3.CheckRequest)
}

const boundURL = "https://api.example.com/users"

func (r *boundRequest) build() *authv3.CheckRequest {
	in := get(r.path, r.scheme+" "+r.token)
	http := in.Attributes.Request.Http
	http.Method, http.Scheme = r.method, "https"
	http.Headers["dpop"] = r.holder.Proof("GET", boundURL, r.token, r.claims, r.header)
	if r.proof != nil {
		http.Headers["dpop"] = r.proof(http.Headers["dpop"])
	}
	in.Attributes.Source = peer("203.0.113.9")
	if r.change != nil {
		r.change(in)
	}
	return in
}

// boundServer knows tokens by what they are bound to.
func boundServer(t testing.TB, holder *tokentest.Holder, certificate string, change func(*Snapshot)) *Server {
	t.Helper()
	s, _, _ := boundServerAudited(t, holder, certificate, change)
	return s
}

func boundServerAudited(t testing.TB, holder *tokentest.Holder, certificate string, change func(*Snapshot)) (*Server, func() []audit.Event, func() float64) {
	t.Helper()
	bindings := map[string]*token.Binding{
		"key": {Key: holder.Thumbprint()}, "certificate": {Certificate: certificate}, "both": {Key: holder.Thumbprint(), Certificate: certificate}, "mere": nil,
	}
	s, out, _ := testServer(t, func(raw string) (*token.Identity, error) {
		bound, known := bindings[raw]
		if !known {
			return nil, token.Invalidf("nobody knows it")
		}
		return &token.Identity{Provider: "test", Subject: "alice", Scopes: []string{"read:users"}, Bound: bound}, nil
	}, func(s *Snapshot) {
		s.Binding = binding.New(binding.Options{MaxAge: time.Minute})
		if change != nil {
			change(s)
		}
	})
	refusals := func() (n float64) {
		for _, c := range s.metrics.bindings {
			n += testutil.ToFloat64(c)
		}
		return n
	}
	return s, func() []audit.Event { return eventsOf(t.(*testing.T), s, out) }, refusals
}

// headerOf is a header of a denial.
func headerOf(r *authv3.CheckResponse, name string) string {
	for _, h := range r.GetDeniedResponse().GetHeaders() {
		if h.GetHeader().GetKey() == name {
			return h.GetHeader().GetValue()
		}
	}
	return ""
}

// codeIn is the code in the body of a denial.
func codeIn(t testing.TB, r *authv3.CheckResponse) string {
	t.Helper()
	var body struct{ Code string }
	if err := json.Unmarshal([]byte(r.GetDeniedResponse().GetBody()), &body); err != nil {
		t.Fatalf("%v: %v", r, err)
	}
	return body.Code
}

// encodedCertificate is what Envoy sends of a client's certificate, and its thumbprint.
func encodedCertificate(t testing.TB) (encoded, thumbprint string) {
	t.Helper()
	pair := pki.NewCA(t, "ca").Issue(t, pki.Leaf{Names: []string{"client"}})
	block, _ := pem.Decode(pair.Cert)
	return strings.ReplaceAll(url.PathEscape(string(pair.Cert)), "+", "%2B"), tokentest.Thumbprint(block.Bytes)
}

// TestBoundTokens: each of these requests is denied, also when its token is known; what it
// is a change of passes.
func TestBoundTokens(t *testing.T) {
	holder, other := tokentest.NewHolder(t, "ES256"), tokentest.NewHolder(t, "ES256")
	rsa := tokentest.NewHolder(t, "RS256")
	encoded, thumbprint := encodedCertificate(t)
	othersEncoded, _ := encodedCertificate(t)
	now := time.Now()
	hs256 := func(claims map[string]any, key any) string {
		tok := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims))
		tok.Header["typ"], tok.Header["jwk"] = "dpop+jwt", holder.JWK()
		raw, err := tok.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	with := func(member string, value any) map[string]any { return map[string]any{member: value} }
	jwk := func(changes map[string]any) map[string]any {
		k := holder.JWK()
		for name, v := range changes {
			k[name] = v
		}
		return with("jwk", k)
	}
	setHeader := func(name, value string) func(*authv3.CheckRequest) {
		return func(in *authv3.CheckRequest) { in.Attributes.Request.Http.Headers[name] = value }
	}
	setCertificate := func(value string) func(*authv3.CheckRequest) {
		return func(in *authv3.CheckRequest) { in.Attributes.Source.Certificate = value }
	}
	parts := func(change func(p []string)) func(string) string {
		return func(good string) string { p := strings.Split(good, "."); change(p); return strings.Join(p, ".") }
	}
	type c struct {
		name string
		code string
		set  func(r *boundRequest)
	}
	const proof, invalid = "invalid_dpop_proof", "invalid_token"
	cases := []c{
		// The scheme.
		{"bound to a key, as a bearer token", invalid, func(r *boundRequest) { r.scheme = "Bearer" }},
		{"bound to a key, as a bearer token without a proof", invalid, func(r *boundRequest) { r.scheme, r.proof = "Bearer", func(string) string { return "" } }},
		{"bound to both, as a bearer token with the certificate", invalid, func(r *boundRequest) { r.token, r.scheme, r.change = "both", "Bearer", setCertificate(encoded) }},
		{"not bound, by DPoP", invalid, func(r *boundRequest) { r.token = "mere" }},
		{"bound to a certificate, by DPoP", invalid, func(r *boundRequest) { r.token, r.change = "certificate", setCertificate(encoded) }},
		{"another scheme", "missing_token", func(r *boundRequest) { r.scheme = "PoP" }},
		{"DPoP without a token", "missing_token", func(r *boundRequest) { r.change = setHeader("authorization", "DPoP") }},
		{"two Authorization headers", "invalid_request", func(r *boundRequest) { r.change = setHeader("authorization", "DPoP key,Bearer key") }},
		// 1. and 2.: one header, a JWT.
		{"no proof", proof, func(r *boundRequest) { r.proof = func(string) string { return "" } }},
		{"two proofs", proof, func(r *boundRequest) { r.proof = func(p string) string { return p + "," + p } }},
		{"a comma at the end", proof, func(r *boundRequest) { r.proof = func(p string) string { return p + "," } }},
		{"two parts", proof, func(r *boundRequest) { r.proof = func(p string) string { return p[:strings.LastIndex(p, ".")] } }},
		{"four parts", proof, func(r *boundRequest) { r.proof = func(p string) string { return p + ".x" } }},
		{"an encrypted one", proof, func(r *boundRequest) { r.proof = func(p string) string { return p + ".x.x" } }},
		{"padding", proof, func(r *boundRequest) { r.proof = func(p string) string { return p + "=" } }},
		{"white space within", proof, func(r *boundRequest) { r.proof = parts(func(p []string) { p[1] = " " + p[1] }) }},
		{"not JSON", proof, func(r *boundRequest) { r.proof = parts(func(p []string) { p[1] = "eA" }) }},
		{"a very long one", proof, func(r *boundRequest) { r.claims = with("pad", strings.Repeat("x", 9000)) }},
		{"the token as its proof", proof, func(r *boundRequest) { r.proof = func(string) string { return r.token } }},
		{"critical extensions", proof, func(r *boundRequest) { r.header = map[string]any{"crit": []string{"x"}, "x": 1} }},
		// 3.: the claims.
		{"no jti", proof, func(r *boundRequest) { r.claims = with("jti", nil) }},
		{"an empty jti", proof, func(r *boundRequest) { r.claims = with("jti", "") }},
		{"jti a number", proof, func(r *boundRequest) { r.claims = with("jti", 7) }},
		{"no htm", proof, func(r *boundRequest) { r.claims = with("htm", nil) }},
		{"no htu", proof, func(r *boundRequest) { r.claims = with("htu", nil) }},
		{"no iat", proof, func(r *boundRequest) { r.claims = with("iat", nil) }},
		{"iat as text", proof, func(r *boundRequest) { r.claims = with("iat", now.Format(time.RFC3339)) }},
		{"iat in milliseconds", proof, func(r *boundRequest) { r.claims = with("iat", now.UnixMilli()) }},
		{"iat beyond all dates", proof, func(r *boundRequest) { r.claims = with("iat", 1e300) }},
		{"no ath", proof, func(r *boundRequest) { r.claims = with("ath", nil) }},
		// 4. and 5.: typ and alg.
		{"no typ", proof, func(r *boundRequest) { r.header = with("typ", nil) }},
		{"typ JWT", proof, func(r *boundRequest) { r.header = with("typ", "JWT") }},
		{"typ of an access token", proof, func(r *boundRequest) { r.header = with("typ", "at+jwt") }},
		{"alg none", proof, func(r *boundRequest) { r.header = with("alg", "none") }},
		{"alg None, without a signature", proof, func(r *boundRequest) {
			r.header, r.proof = with("alg", "None"), func(p string) string { return p[:strings.LastIndex(p, ".")+1] }
		}},
		{"no alg", proof, func(r *boundRequest) { r.header = with("alg", nil) }},
		{"HMAC with the public key", proof, func(r *boundRequest) {
			r.proof = func(string) string {
				return hs256(map[string]any{"jti": "x", "htm": "GET", "htu": boundURL, "iat": now.Unix(), "ath": tokentest.Thumbprint([]byte("key"))}, []byte(holder.JWK()["x"].(string)))
			}
		}},
		{"another algorithm of the same kind", proof, func(r *boundRequest) { r.header = with("alg", "ES384") }},
		{"RSA by an elliptic key", proof, func(r *boundRequest) { r.header = with("alg", "RS256") }},
		// 6. and 7.: the signature and the key.
		{"no key", proof, func(r *boundRequest) { r.header = with("jwk", nil) }},
		{"a key by address", proof, func(r *boundRequest) { r.header = map[string]any{"jwk": nil, "jku": "https://evil.dev/keys"} }},
		{"a certificate instead", proof, func(r *boundRequest) { r.header = map[string]any{"jwk": nil, "x5c": []string{"MIIB"}} }},
		{"key as text", proof, func(r *boundRequest) { r.header = with("jwk", "x") }},
		{"a list of keys", proof, func(r *boundRequest) { r.header = with("jwk", []any{holder.JWK()}) }},
		{"with its private part", proof, func(r *boundRequest) { r.header = jwk(with("d", "AAAA")) }},
		{"with a null for its private part", proof, func(r *boundRequest) { r.header = jwk(with("d", nil)) }},
		{"with a prime", proof, func(r *boundRequest) { r.header = jwk(with("p", "AAAA")) }},
		{"a symmetric key", proof, func(r *boundRequest) { r.header = with("jwk", map[string]any{"kty": "oct", "k": "AAAA"}) }},
		{"with a symmetric key in it", proof, func(r *boundRequest) { r.header = jwk(with("k", "AAAA")) }},
		{"a key for encryption", proof, func(r *boundRequest) { r.header = jwk(with("use", "enc")) }},
		{"a point that is none", proof, func(r *boundRequest) { r.header = jwk(with("x", holder.JWK()["y"])) }},
		{"a short RSA key", proof, func(r *boundRequest) {
			r.header = map[string]any{"alg": "RS256", "jwk": map[string]any{"kty": "RSA", "e": "AQAB", "n": strings.Repeat("A", 100)}}
		}},
		{"another key in the header", proof, func(r *boundRequest) { r.header = with("jwk", other.JWK()) }},
		{"a signature of zeros", proof, func(r *boundRequest) { r.proof = parts(func(p []string) { p[2] = strings.Repeat("A", 86) }) }},
		{"an empty signature", proof, func(r *boundRequest) { r.proof = parts(func(p []string) { p[2] = "" }) }},
		{"a changed claim", proof, func(r *boundRequest) {
			p := strings.Split(holder.Proof("GET", boundURL, "key", nil, nil), ".")
			r.proof = parts(func(own []string) { own[1] = p[1] })
		}},
		// 8. and 9.: method and URL.
		{"another method in the proof", proof, func(r *boundRequest) { r.claims = with("htm", "POST") }},
		{"another method in the request", proof, func(r *boundRequest) { r.method = "HEAD" }},
		{"the method in lower case", proof, func(r *boundRequest) { r.claims = with("htm", "get") }},
		{"another path", proof, func(r *boundRequest) { r.claims = with("htu", "https://api.example.com/users/1") }},
		{"a path in another case", proof, func(r *boundRequest) { r.claims = with("htu", "https://api.example.com/Users") }},
		{"a slash at the end", proof, func(r *boundRequest) { r.claims = with("htu", boundURL+"/") }},
		{"another host", proof, func(r *boundRequest) { r.claims = with("htu", "https://evil.dev/users") }},
		{"another port", proof, func(r *boundRequest) { r.claims = with("htu", "https://api.example.com:8443/users") }},
		{"another scheme of the URL", proof, func(r *boundRequest) { r.claims = with("htu", "http://api.example.com/users") }},
		{"a request by http", proof, func(r *boundRequest) {
			r.change = func(in *authv3.CheckRequest) { in.Attributes.Request.Http.Scheme = "http" }
		}},
		{"a proxy that says http", proof, func(r *boundRequest) { r.change = setHeader("x-forwarded-proto", "http") }},
		{"a URL with a user", proof, func(r *boundRequest) { r.claims = with("htu", "https://api.example.com@evil.dev/users") }},
		{"a path alone", proof, func(r *boundRequest) { r.claims = with("htu", "/users") }},
		{"the wrong host in the request", proof, func(r *boundRequest) {
			r.change = func(in *authv3.CheckRequest) { in.Attributes.Request.Http.Host = "evil.dev" }
		}},
		// 11.: the time.
		{"two minutes old", proof, func(r *boundRequest) { r.claims = with("iat", now.Add(-2*time.Minute).Unix()) }},
		{"two minutes ahead", proof, func(r *boundRequest) { r.claims = with("iat", now.Add(2*time.Minute).Unix()) }},
		{"of the year 1970", proof, func(r *boundRequest) { r.claims = with("iat", 1) }},
		{"of a negative time", proof, func(r *boundRequest) { r.claims = with("iat", -1) }},
		// 12.: the token.
		{"for another token", proof, func(r *boundRequest) { r.claims = with("ath", tokentest.Thumbprint([]byte("other"))) }},
		{"the hash with padding", proof, func(r *boundRequest) { r.claims = with("ath", tokentest.Thumbprint([]byte("key"))+"=") }},
		{"of another client", invalid, func(r *boundRequest) { r.holder = other }},
		{"of another client, by RSA", invalid, func(r *boundRequest) { r.holder = rsa }},
		// Mutual TLS.
		{"no certificate", invalid, func(r *boundRequest) { r.token, r.scheme = "certificate", "Bearer" }},
		{"another certificate", invalid, func(r *boundRequest) {
			r.token, r.scheme, r.change = "certificate", "Bearer", setCertificate(othersEncoded)
		}},
		{"garbage for a certificate", invalid, func(r *boundRequest) { r.token, r.scheme, r.change = "certificate", "Bearer", setCertificate("x") }},
		{"two certificates", invalid, func(r *boundRequest) {
			r.token, r.scheme, r.change = "certificate", "Bearer", setCertificate(encoded+othersEncoded)
		}},
		{"a header for a certificate, which is not trusted", invalid, func(r *boundRequest) {
			r.token, r.scheme, r.change = "certificate", "Bearer", setHeader("x-forwarded-client-cert", "Cert="+encoded)
		}},
		{"both, without the certificate", invalid, func(r *boundRequest) { r.token = "both" }},
		{"both, with another certificate", invalid, func(r *boundRequest) { r.token, r.change = "both", setCertificate(othersEncoded) }},
		{"both, without a proof", proof, func(r *boundRequest) {
			r.token, r.proof, r.change = "both", func(string) string { return "" }, setCertificate(encoded)
		}},
		{"both, with a proof of another key", invalid, func(r *boundRequest) { r.token, r.holder, r.change = "both", other, setCertificate(encoded) }},
	}
	if len(cases) < 50 {
		t.Fatalf("only %d cases", len(cases))
	}
	s := boundServer(t, holder, thumbprint, nil)
	good := func() *boundRequest {
		return &boundRequest{holder: holder, other: other, method: "GET", path: "/users", scheme: "DPoP", token: "key"}
	}
	passes := func(t *testing.T, name string, set func(*boundRequest)) {
		t.Helper()
		r := good()
		set(r)
		if got := check(t, s, r.build()); got.GetOkResponse() == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	goods := func(t *testing.T) {
		passes(t, "a good request", func(*boundRequest) {})
		passes(t, "the same once more, with a proof of its own", func(*boundRequest) {})
		passes(t, "the scheme in lower case", func(r *boundRequest) { r.scheme = "dpop" })
		passes(t, "the type in upper case", func(r *boundRequest) { r.header = with("typ", "DPOP+JWT") })
		passes(t, "the URL with its port and a query", func(r *boundRequest) { r.claims = with("htu", "https://API.example.com:443/%75sers?q=1") })
		passes(t, "a query in the request", func(r *boundRequest) { r.path = "/users?q=1" })
		passes(t, "behind a proxy that ends TLS", func(r *boundRequest) {
			r.change = func(in *authv3.CheckRequest) {
				in.Attributes.Request.Http.Scheme, in.Attributes.Request.Http.Headers["x-forwarded-proto"] = "http", "https"
			}
		})
		passes(t, "a certificate", func(r *boundRequest) { r.token, r.scheme, r.change = "certificate", "Bearer", setCertificate(encoded) })
		passes(t, "both", func(r *boundRequest) { r.token, r.change = "both", setCertificate(encoded) })
		passes(t, "a mere bearer token", func(r *boundRequest) { r.token, r.scheme = "mere", "Bearer" })
	}
	goods(t) // and now all of the tokens are known
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			r := good()
			test.set(r)
			got := check(t, s, r.build())
			if code := codeIn(t, got); statusOf(got) != 401 || code != test.code {
				t.Errorf("status %d, code %s, want 401, %s", statusOf(got), code, test.code)
			}
		})
	}
	goods(t)
}

// TestProofCountsOnce: the very same request is refused, also on another server that has
// the same memory.
func TestProofCountsOnce(t *testing.T) {
	holder := tokentest.NewHolder(t, "ES256")
	s := boundServer(t, holder, "", nil)
	in := (&boundRequest{holder: holder, method: "GET", path: "/users", scheme: "DPoP", token: "key"}).build()
	if got := check(t, s, in); got.GetOkResponse() == nil {
		t.Fatalf("the first: %v", got)
	}
	s.Swap(s.Snapshot()) // as a reload does
	if got := check(t, s, in); codeIn(t, got) != "invalid_dpop_proof" {
		t.Errorf("the second: %v", got)
	}
}

// TestBoundChallenges: RFC 9449 section 7.1 and 7.2. Who doesn't use DPoP hears of it only
// where the configuration or the token asks for it.
func TestBoundChallenges(t *testing.T) {
	holder := tokentest.NewHolder(t, "ES256")
	const algs = `algs="ES256 ES384 ES512 EdDSA Ed25519 PS256 PS384 PS512 RS256 RS384 RS512"`
	for _, c := range []struct {
		name, authorization, proof string
		offer                      bool
		want                       string
	}{
		{"no token", "", "", false, `Bearer realm="api", scope="read:users"`},
		{"no token, offered", "", "", true, `Bearer realm="api", scope="read:users", DPoP realm="api", ` + algs},
		{"a bad bearer token", "Bearer bad", "", false, `Bearer realm="api", error="invalid_token", scope="read:users"`},
		{"a bound token", "Bearer key", "", false, `Bearer realm="api", error="invalid_token", scope="read:users", DPoP realm="api", ` + algs},
		{"no proof", "DPoP key", "", false, `Bearer realm="api", DPoP realm="api", error="invalid_dpop_proof", scope="read:users", ` + algs},
		{"a bad token by DPoP", "DPoP bad", "", false, `Bearer realm="api", DPoP realm="api", error="invalid_token", scope="read:users", ` + algs},
		{"DPoP alone", "DPoP", "", false, `Bearer realm="api", DPoP realm="api", scope="read:users", ` + algs},
	} {
		s := boundServer(t, holder, "", func(s *Snapshot) { s.OfferDPoP = c.offer })
		got := check(t, s, get("/users", c.authorization))
		if challenge := headerOf(got, "www-authenticate"); challenge != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, challenge, c.want)
		}
	}
}

// TestNonceAnswers: the answer that asks for a nonce has it, and so has one after it changed.
func TestNonceAnswers(t *testing.T) {
	holder := tokentest.NewHolder(t, "ES256")
	now := time.Now()
	nonces, err := binding.NewNonces(nil, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s := boundServer(t, holder, "", func(s *Snapshot) {
		s.Binding = binding.New(binding.Options{MaxAge: time.Minute, Nonces: nonces, Now: func() time.Time { return now }})
	})
	ask := func(nonce any) *authv3.CheckResponse {
		r := &boundRequest{holder: holder, method: "GET", path: "/users", scheme: "DPoP", token: "key", claims: map[string]any{"nonce": nonce, "iat": now.Unix()}}
		return check(t, s, r.build())
	}
	first := ask(nil)
	nonce := headerOf(first, "dpop-nonce")
	if codeIn(t, first) != "use_dpop_nonce" || statusOf(first) != 401 || nonce == "" || !strings.Contains(headerOf(first, "www-authenticate"), `DPoP realm="api", error="use_dpop_nonce"`) {
		t.Fatalf("without a nonce: %v", first)
	}
	if got := ask(nonce); got.GetOkResponse() == nil || len(got.GetOkResponse().GetResponseHeadersToAdd()) != 0 {
		t.Errorf("with it: %v", got)
	}
	now = now.Add(time.Minute)
	got := ask(nonce)
	added := got.GetOkResponse().GetResponseHeadersToAdd()
	if len(added) != 1 || added[0].GetHeader().GetKey() != "dpop-nonce" || added[0].GetHeader().GetValue() == nonce {
		t.Errorf("with that of before: %v", got)
	}
	now = now.Add(3 * time.Minute)
	if got := ask(nonce); codeIn(t, got) != "use_dpop_nonce" {
		t.Errorf("with an old one: %v", got)
	}
}

// TestBoundNobody: who can't show what the token is bound to is nobody, also where a rule is
// not enforced, and is not nobody where a rule is optional.
func TestBoundNobody(t *testing.T) {
	holder := tokentest.NewHolder(t, "ES256")
	for rule, allowed := range map[string]bool{"{match: /users, mode: audit}": true, "{match: /users, optional: true}": false} {
		set, err := policy.Parse(policy.File{Name: "p.yaml", Data: []byte("version: 1\nrules:\n  - " + rule + "\n")})
		if err != nil {
			t.Fatal(err)
		}
		s, events, refusals := boundServerAudited(t, holder, "", func(s *Snapshot) { s.Policy = set })
		for range 2 { // the second time, the token is known
			got := check(t, s, get("/users", "Bearer key"))
			if (got.GetOkResponse() != nil) != allowed {
				t.Errorf("%s: %v", rule, got)
			}
			for _, h := range got.GetOkResponse().GetHeaders() {
				t.Errorf("%s: it goes on as %v", rule, h)
			}
		}
		if n := refusals(); n != 2 {
			t.Errorf("%s: %v refusals are counted", rule, n)
		}
		for _, e := range events() {
			if e.UserID != "" || e.Binding != "dpop" || e.Provider != "test" || !strings.Contains(e.Reason, "cnf.jkt") {
				t.Errorf("%s: %+v", rule, e)
			}
		}
	}
}

// TestBadProofsCount: they count against the client's limit as bad tokens do; a nonce that
// is missing does not.
func TestBadProofsCount(t *testing.T) {
	holder := tokentest.NewHolder(t, "ES256")
	nonces, err := binding.NewNonces(nil, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		nonces *binding.Nonces
		claims map[string]any
		want   int
	}{{nil, map[string]any{"htm": "POST"}, 429}, {nonces, nil, 401}, {nil, nil, 0}} {
		s := boundServer(t, holder, "", func(s *Snapshot) {
			s.Binding = binding.New(binding.Options{MaxAge: time.Minute, Nonces: c.nonces})
			s.Limit = Limit{Limiter: ratelimit.NewMemory(ratelimit.Options{Max: 5, Window: time.Minute})}
		})
		last := 0
		for range 8 {
			r := &boundRequest{holder: holder, method: "GET", path: "/users", scheme: "DPoP", token: "key", claims: c.claims}
			last = statusOf(check(t, s, r.build()))
		}
		if last != c.want {
			t.Errorf("%v: status %d, want %d", c.claims, last, c.want)
		}
	}
}

// TestShadowOfABoundToken: a proof is for the policy in force; a shadow spends none.
func TestShadowOfABoundToken(t *testing.T) {
	holder := tokentest.NewHolder(t, "ES256")
	set := func(rule string) *policy.Set {
		s, err := policy.Parse(policy.File{Name: "p.yaml", Data: []byte("version: 1\nrules:\n  - " + rule + "\n")})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s, events, _ := boundServerAudited(t, holder, "", func(s *Snapshot) {
		s.Policy, s.Shadow = set("{match: /users}"), set("{match: /users, scopes: [admin]}")
	})
	r := &boundRequest{holder: holder, method: "GET", path: "/users", scheme: "DPoP", token: "key"}
	check(t, s, r.build())
	public := *s.Snapshot()
	public.Policy = set("{match: /users, public: true}")
	s.Swap(&public)
	check(t, s, r.build())
	var shadows []string
	for _, e := range events() {
		shadows = append(shadows, e.Code+" "+e.Shadow)
	}
	if got := strings.Join(shadows, ", "); got != "allow insufficient_scope, allow token_unverified" {
		t.Error(got)
	}
}

// TestForwardedCertificate: where it is trusted, x-forwarded-client-cert counts.
func TestForwardedCertificate(t *testing.T) {
	holder := tokentest.NewHolder(t, "ES256")
	encoded, thumbprint := encodedCertificate(t)
	s := boundServer(t, holder, thumbprint, func(s *Snapshot) { s.TrustXFCC = true })
	for value, want := range map[string]int{
		"Hash=" + tokentest.HexOf(thumbprint):                                                      0,
		"By=spiffe://a;Hash=" + tokentest.HexOf(thumbprint) + `;Subject="CN=client"`:               0,
		"Hash=" + tokentest.HexOf(thumbprint) + ",Hash=" + strings.Repeat("ab", 32):                401,
		"Hash=" + strings.Repeat("ab", 32) + `;URI=spiffe://a,Hash=` + tokentest.HexOf(thumbprint): 401,
		"x": 401,
	} {
		in := get("/users", "Bearer certificate")
		in.Attributes.Request.Http.Headers["x-forwarded-client-cert"] = value
		if got := statusOf(check(t, s, in)); got != want {
			t.Errorf("%s: %d, want %d", value, got, want)
		}
	}
	in := get("/users", "Bearer certificate")
	in.Attributes.Source = peer("203.0.113.9")
	in.Attributes.Source.Certificate = encoded
	if got := check(t, s, in); got.GetOkResponse() == nil {
		t.Errorf("without the header, that of the connection: %v", got)
	}
}
