package e2e

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// TestHostileTokens: what an attacker can make of a token is refused in every
// mode, and nobody asks the attacker's own server for anything.
func TestHostileTokens(t *testing.T) {
	evil := tokentest.New(t)
	up := newUpstream(t)
	var targets []target
	idps := map[string]*tokentest.Provider{}
	for _, mode := range corpus.Modes {
		idp := tokentest.New(t)
		config := corpus.Configure(t, t.TempDir(), mode, idp, map[string]any{"rate_limit": map[string]any{"count": "off"}}, map[string]string{"policy.yaml": usersPolicy})
		idps[mode] = idp
		targets = append(targets, target{name: mode, authz: serve(t, "--config", config).grpc})
	}
	addresses := startEnvoy(t, up.Listener.Addr().String(), targets)
	for mode, idp := range idps {
		t.Run(mode, func(t *testing.T) {
			s := &system{url: "http://" + addresses[mode], idp: idp}
			good := idp.Mint(nil, nil)
			s.want(t, "/users", good, http.StatusOK)
			hostile := idp.Hostile(evil)
			if mode == "introspection" || mode == "lookup" { // who answers active knows when it ends (RFC 7662 §2.2)
				delete(hostile, "no exp")
				delete(hostile, "EXP instead of exp")
			}
			for name, raw := range hostile {
				// A key that nobody has, within 10 s of the last fetch: it may have come since.
				unknownKey := strings.HasPrefix(mode, "jwks") && (strings.HasPrefix(name, "kid ") || name == "jku header")
				for range 2 { // the second answer is a cached one
					got, headers := s.status(t, "/users", raw)
					if unknownKey && got == http.StatusServiceUnavailable && headers.Get("Retry-After") != "" {
						continue
					}
					if got != http.StatusUnauthorized || !strings.Contains(headers.Get("WWW-Authenticate"), "error=") {
						t.Errorf("%s: got %d, %q", name, got, headers)
					}
				}
			}
			s.want(t, "/users", good, http.StatusOK)
		})
	}
	for _, path := range []string{tokentest.KeysPath, tokentest.ProfilePath, tokentest.IntrospectionPath, "/x5u"} {
		if n := evil.Requests(path); n != 0 {
			t.Errorf("the attacker's server was asked for %s %d times", path, n)
		}
	}
}

const attackedPolicy = `version: 1
rules:
  - match: "GET /public/{path...}"
    public: true
  - match: GET /users
    scopes: [read:users]
  - match: "DELETE /users/{id}"
    scopes: [delete:users]
  - match: POST /acme.Users/List
    scopes: [read:users]
  - match: admin.example.com/{path...}
    deny: true
`

// recorder is an upstream that remembers the requests that got there.
type recorder struct {
	mu   sync.Mutex
	seen []*http.Request
}

func (r *recorder) ServeHTTP(_ http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, request)
}

// take gives what has come since it was last asked.
func (r *recorder) take() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// attacked is an Envoy that leaves paths alone, as ours do, and one that does all it
// can to them, before one Scopeward.
func attacked(t *testing.T) (reader string, up *recorder, addresses map[string]string) {
	t.Helper()
	idp := tokentest.New(t)
	config := corpus.Configure(t, t.TempDir(), "jwks", idp, nil, map[string]string{"policy.yaml": attackedPolicy})
	s := serve(t, "--config", config)
	up = &recorder{}
	server := httptest.NewServer(up)
	t.Cleanup(server.Close)
	upgrades := func(m map[string]any) {
		m["upgrade_configs"] = []any{map[string]any{"upgrade_type": "websocket"}, map[string]any{"upgrade_type": "CONNECT"}}
		m["http_protocol_options"] = map[string]any{"accept_http_10": true}
	}
	addresses = startEnvoy(t, server.Listener.Addr().String(), []target{
		{name: "raw", authz: s.grpc, manager: upgrades},
		{name: "normalizing", authz: s.grpc, manager: func(m map[string]any) {
			upgrades(m)
			m["normalize_path"], m["merge_slashes"], m["path_with_escaped_slashes_action"] = true, true, "UNESCAPE_AND_FORWARD"
		}},
	})
	return idp.Mint(nil, nil), up, addresses
}

// TestHostileRequests: each is decided by what it really is. What is refused never
// reaches the upstream, whoever refuses it.
func TestHostileRequests(t *testing.T) {
	reader, up, addresses := attacked(t)
	const api = "Host: api.example.com\r\n"
	bearer := "Authorization: Bearer " + reader + "\r\n"
	for name, c := range map[string]struct {
		request string
		want    []int // the answers that are right; 200 has reached the upstream
	}{
		"as it should be":              {"GET /users HTTP/1.1\r\n" + api + bearer, []int{200}},
		"method override":              {"POST /users/7 HTTP/1.1\r\nX-HTTP-Method-Override: GET\r\n" + api + bearer, []int{403}},
		"method override, underscores": {"POST /users HTTP/1.1\r\nX_METHOD_OVERRIDE: GET\r\n" + api + bearer, []int{403}},
		"method override in the query": {"POST /users?_method=GET HTTP/1.1\r\n" + api + bearer, []int{403}},
		"unknown method":               {"PROPFIND /users HTTP/1.1\r\n" + api + bearer, []int{403}},
		"method of nobody":             {"BREW /users HTTP/1.1\r\n" + api + bearer, []int{400, 403}},
		"method in lower case":         {"get /users HTTP/1.1\r\n" + api + bearer, []int{400, 403}},
		"TRACE":                        {"TRACE /users HTTP/1.1\r\n" + api + bearer, []int{403, 405}},
		"CONNECT":                      {"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n" + bearer, []int{400, 403, 404}},
		"OPTIONS *":                    {"OPTIONS * HTTP/1.1\r\n" + api + bearer, []int{400, 403, 404}},
		"HTTP/1.0 without a host":      {"GET /users HTTP/1.0\r\n" + bearer, []int{400, 404}},
		"HTTP/1.0 without a token":     {"GET /users HTTP/1.0\r\n" + api, []int{401}},
		"absolute form":                {"GET http://api.example.com/users HTTP/1.1\r\n" + api + bearer, []int{200}},
		"absolute form, other host":    {"GET http://admin.example.com/users HTTP/1.1\r\n" + api + bearer, []int{403}},
		"absolute form within":         {"GET /http://api.example.com/users HTTP/1.1\r\n" + api + bearer, []int{400, 403}},
		"host with a port":             {"GET /users HTTP/1.1\r\nHost: admin.example.com:8443\r\n" + bearer, []int{403}},
		"host in upper case":           {"GET /users HTTP/1.1\r\nHost: ADMIN.Example.COM\r\n" + bearer, []int{403}},
		"host with a dot at its end":   {"GET /users HTTP/1.1\r\nHost: admin.example.com.\r\n" + bearer, []int{400, 403}},
		"host with both":               {"GET /users HTTP/1.1\r\nHost: Admin.example.com.:80\r\n" + bearer, []int{400, 403}},
		"host with userinfo":           {"GET /users HTTP/1.1\r\nHost: api.example.com@admin.example.com\r\n" + bearer, []int{400, 403}},
		"two hosts":                    {"GET /users HTTP/1.1\r\nHost: api.example.com\r\nHost: admin.example.com\r\n" + bearer, []int{400, 403}},
		"host with a space":            {"GET /users HTTP/1.1\r\nHost: api.example.com admin.example.com\r\n" + bearer, []int{400, 403}},
		"forwarded host":               {"GET /users HTTP/1.1\r\nHost: admin.example.com\r\nX-Forwarded-Host: api.example.com\r\n" + bearer, []int{403}},
		"original path":                {"GET /users HTTP/1.1\r\nX-Original-URL: /public/x\r\nX-Envoy-Original-Path: /public/x\r\n" + api, []int{401}},
		"token in the query":           {"GET /users?access_token=" + reader + " HTTP/1.1\r\n" + api, []int{401}},
		"token in a cookie":            {"GET /users HTTP/1.1\r\nCookie: access_token=" + reader + "\r\n" + api, []int{401}},
		"token in the wrong header":    {"GET /users HTTP/1.1\r\nX-Authorization: Bearer " + reader + "\r\n" + api, []int{401}},
		"two tokens":                   {"GET /users HTTP/1.1\r\n" + api + bearer + bearer, []int{401}},
		"token after another scheme":   {"GET /users HTTP/1.1\r\n" + api + "Authorization: Basic YTpi, Bearer " + reader + "\r\n", []int{401}},
		"WebSocket without a token":    {"GET /users HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n" + api, []int{401}},
		"WebSocket with a token":       {"GET /users HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + api + bearer, []int{200}},
		"WebSocket that no rule names": {"GET /socket HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + api + bearer, []int{403}},
		"h2c upgrade":                  {"GET /users HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" + api, []int{400, 401, 403}},
		"connection drops the token":   {"GET /users HTTP/1.1\r\nConnection: authorization\r\n" + api, []int{400, 401}},
		"90 headers":                   {"GET /users HTTP/1.1\r\n" + api + strings.Repeat("X-Many: 1\r\n", 80), []int{401}},
		"5,000 headers":                {"GET /users HTTP/1.1\r\n" + api + bearer + strings.Repeat("X-M: 1\r\n", 5000), []int{400, 431}},
		"header of 70 KB":              {"GET /users HTTP/1.1\r\n" + api + bearer + "X-Long: " + strings.Repeat("a", 70_000) + "\r\n", []int{400, 431}},
		"two lengths":                  {"POST /public/x HTTP/1.1\r\n" + api + "Content-Length: 0\r\nContent-Length: 5\r\n", []int{400}},
		"length and chunks":            {"POST /users HTTP/1.1\r\n" + api + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", []int{400, 401, 403}},
		"a space before the colon":     {"GET /users HTTP/1.1\r\n" + api + "Authorization : Bearer " + reader + "\r\n", []int{400}},
		"a folded header":              {"GET /users HTTP/1.1\r\n" + api + "Authorization:\r\n Bearer " + reader + "\r\n", []int{200, 400, 401}},
	} {
		for listener, address := range addresses {
			t.Run(name+"/"+listener, func(t *testing.T) {
				res, body := exchange(t, address, []byte(c.request+"Connection: close\r\n\r\n"))
				if !slices.Contains(c.want, res.StatusCode) {
					t.Errorf("got %s %s; want one of %v", res.Status, body, c.want)
				}
				if reached := len(up.take()); (res.StatusCode == 200) != (reached == 1) {
					t.Errorf("got %s, and %d requests reached the upstream", res.Status, reached)
				}
			})
		}
	}
}

// TestGRPCRequestIsDecidedLikeOthers: Envoy answers a gRPC client in its own terms.
func TestGRPCRequestIsDecidedLikeOthers(t *testing.T) {
	reader, up, addresses := attacked(t)
	call := func(authorization string) (*http.Response, int) {
		res, _ := exchange(t, addresses["raw"], []byte("POST /acme.Users/List HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/grpc\r\nTE: trailers\r\nContent-Length: 0\r\n"+authorization+"Connection: close\r\n\r\n"))
		return res, len(up.take())
	}
	for authorization, want := range map[string]string{"": "16", "Authorization: Bearer x\r\n": "16"} { // UNAUTHENTICATED
		if res, reached := call(authorization); res.Header.Get("grpc-status") != want || reached != 0 {
			t.Errorf("%q: got %v, %d requests reached the upstream", authorization, res.Header, reached)
		}
	}
	if res, reached := call("Authorization: Bearer " + reader + "\r\n"); res.StatusCode != 200 || reached != 1 {
		t.Errorf("with a token: got %v, %d requests reached the upstream", res.Header, reached)
	}
}

// TestConfusingPaths: however a path is written, and whatever Envoy makes of it, what
// reaches the upstream without a token is a public path in its plain form. It makes
// no difference that the token of the one who asks is known.
func TestConfusingPaths(t *testing.T) {
	reader, up, addresses := attacked(t)
	for listener, address := range addresses {
		exchange(t, address, []byte("GET /users HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer "+reader+"\r\nConnection: close\r\n\r\n"))
		up.take()
		for _, path := range []string{
			"/public/../users", "/public/%2e%2e/users", "/public/.%2e/users", "/public/%252e%252e/users", "/public/..%2fusers", "/public/..%5cusers", `/public/..\users`,
			"/public/..;/users", "/public/..;a=b/users", "/public/.;/users", "/public//users", "//users", "/./users", "/users/.", "/public/%2f..%2fusers", "/public/%00/../users",
			"/public/x%0d%0aX-Admin:%201", "/public/%c0%ae%c0%ae/users", "/public/%uff0e%uff0e/users", "/public/x#/../users", "/users%2f", "/users%20", "/users;", "/users;x=1", "/Users", "/USERS",
			"/users/", "/users?", "/users%3f", "/users%23", "/public/x/../../users", "/public/x%2f..%2f..%2fusers", "/%70ublic/../users", "/%75sers", "users", "/public/" + strings.Repeat("../", 50) + "users",
		} {
			for _, authorization := range []string{"", "Authorization: Bearer " + reader + "\r\n"} {
				res, body := exchange(t, address, []byte("GET "+path+" HTTP/1.1\r\nHost: api.example.com\r\n"+authorization+"Connection: close\r\n\r\n"))
				reached := up.take()
				if (res.StatusCode == 200) != (len(reached) == 1) {
					t.Errorf("%s, %s: got %s %s, and %d requests reached the upstream", listener, path, res.Status, body, len(reached))
				}
				for _, r := range reached {
					plain := strings.HasPrefix(r.RequestURI, "/public/") && !strings.Contains(r.RequestURI, "..") && !strings.Contains(strings.ToLower(r.RequestURI), "%2e")
					users := authorization != "" && (r.URL.Path == "/users")
					if !plain && !users {
						t.Errorf("%s, %s: %s reached the upstream", listener, path, r.RequestURI)
					}
				}
			}
		}
	}
}

// TestSpoofedIdentity: whoever a client claims to be by headers, under any spelling,
// the upstream sees who they are.
func TestSpoofedIdentity(t *testing.T) {
	reader, up, addresses := attacked(t)
	const spoof = "X-Auth-Subject: root\r\nx-auth-subject: root\r\nX_Auth_Subject: root\r\nx-auth_subject: root\r\nX-Auth-Scopes: admin\r\nX_AUTH_SCOPES: admin\r\nX-Auth-Email: root@example.com\r\n" +
		"X-Forwarded-For: 1.2.3.4\r\nConnection: close, x-auth-subject\r\n"
	for name, c := range map[string]struct {
		request, subject string
	}{
		"with a token":     {"GET /users HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer " + reader + "\r\n", tokentest.Subject},
		"on a public path": {"GET /public/x HTTP/1.1\r\nHost: api.example.com\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			res, body := exchange(t, addresses["raw"], []byte(c.request+spoof+"\r\n"))
			reached := up.take()
			if len(reached) != 1 {
				t.Fatalf("got %s %s, and %d requests reached the upstream", res.Status, body, len(reached))
			}
			for header, values := range reached[0].Header {
				switch plain := strings.ToLower(strings.ReplaceAll(header, "_", "-")); {
				case plain == "x-auth-subject" && c.subject != "" && slices.Equal(values, []string{c.subject}) && header == "X-Auth-Subject":
				case plain == "x-auth-scopes" && c.subject != "" && slices.Equal(values, []string{tokentest.Scope}) && header == "X-Auth-Scopes":
				case strings.HasPrefix(plain, "x-auth-"):
					t.Errorf("the upstream sees %s: %q", header, values)
				}
			}
			if c.subject != "" && reached[0].Header.Get("X-Auth-Subject") != c.subject {
				t.Errorf("the upstream does not see who it is: %v", reached[0].Header)
			}
		})
	}
}
