package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"scopeward/internal/testenv/pki"
	"scopeward/internal/testenv/tokentest"
)

// tryAllHeaders: conditions see all headers of the client.
func tryAllHeaders(t *testing.T, e *edge) {
	e.wantAnswer(t, 200, "upstream", "/cookie", e.bearer(nil), "Cookie: a=b")
}

func tryProduction(t *testing.T, e *edge) {
	t.Run("allowed headers", func(t *testing.T) {
		e.wantAnswer(t, 403, "access_denied", "/cookie", e.bearer(nil), "Cookie: a=b")
	})
	t.Run("Envoy's own headers", func(t *testing.T) {
		e.wantAnswer(t, 200, "upstream", "/public?own", "X-Envoy-Original-Path: /fake", "X-Envoy-Upstream-Rq-Timeout-Ms: 1")
		seen := e.upstream.headers("/public?own")
		if timeout := seen.Get("X-Envoy-Expected-Rq-Timeout-Ms"); timeout != "15000" || seen.Get("X-Envoy-Original-Path") != "" {
			t.Errorf("a client chose %v", seen)
		}
	})
	t.Run("access log", e.tryAccessLog)
	t.Run("stats", func(t *testing.T) {
		for _, outcome := range []string{"ok", "denied"} {
			if n := envoyStat(t, e.envoy, "cluster.upstream.ext_authz.scopeward."+outcome); n == 0 {
				t.Errorf("Envoy counts no %s", outcome)
			}
		}
		eventually(t, "Envoy asks for Scopeward's health", func() bool {
			return envoyStat(t, e.envoy, "cluster.scopeward.health_check.success") > 0
		})
	})
}

// line is one of production.yaml's access log.
type line struct {
	RequestID string         `json:"request_id"`
	ClientIP  string         `json:"client_ip"`
	Path      string         `json:"uri_path"`
	Authority string         `json:"authority"`
	Status    int            `json:"status"`
	Details   string         `json:"details"`
	ExtAuthz  map[string]any `json:"ext_authz"`
	Micros    int            `json:"ext_authz_us,string"`
}

// logged waits for the first line of the access log with something in it.
func (e *edge) logged(t *testing.T, what string) (raw string) {
	t.Helper()
	eventually(t, what+" is in the access log", func() (whole bool) {
		raw, _, whole = strings.Cut(grep(e.log.String(), what), "\n")
		return whole
	})
	return raw
}

// tryAccessLog: a line says who asked and by which rule, without secrets, and
// policy replay reads it.
func (e *edge) tryAccessLog(t *testing.T) {
	// A client can neither hide its path nor have its secrets logged.
	e.wantAnswer(t, 403, "insufficient_scope", "/users?access_token=hush", e.bearer(map[string]any{"sub": "log-1", "scope": "a b"}), "X-Envoy-Original-Path: /fake")
	denied := e.logged(t, `"subject":"log-1"`)
	var l line
	if err := json.Unmarshal([]byte(denied), &l); err != nil {
		t.Fatalf("%v: %s", err, denied)
	}
	want := map[string]any{"code": "insufficient_scope", "rule": "GET /users", "subject": "log-1", "scopes": []any{"a", "b"}, "provider": "idp"}
	if l.Path != "/users" || l.Status != 403 || l.Details != "ext_authz_denied" || l.ClientIP != "127.0.0.1" || !reflect.DeepEqual(l.ExtAuthz, want) {
		t.Errorf("the access log says %+v", l)
	}
	if l.Micros <= 0 || l.RequestID == "" {
		t.Errorf("the access log says %+v", l)
	}
	eventually(t, "the request of the access log is in the audit log", func() bool { // which is written a little later
		return strings.Contains(e.stdout.String(), `"requestId":"`+l.RequestID+`"`)
	})
	if strings.Contains(e.log.String(), "hush") || strings.Contains(e.log.String(), "eyJ") {
		t.Errorf("the access log shows a secret:\n%s", e.log)
	}

	log := filepath.Join(e.dir, "access.log")
	pki.Write(t, log, []byte(denied+"\n"+e.logged(t, `"uri_path":"//users"`)+"\n"+e.logged(t, `"uri_path":"/public"`)+"\n"))
	pki.Write(t, e.dir+"/new.yaml", []byte(strings.Replace(bootstrapPolicy, "read:users", "a", 1)))
	out := run(t, "policy", "replay", "--old", e.dir+"/policy.yaml", "--new", e.dir+"/new.yaml", log)
	for _, want := range []string{"opens: 1 request: insufficient_scope (GET /users at ", "for example GET api.example.com/users (line 1)", "3 lines: 2 decided alike, 1 otherwise, 0 not readable."} {
		if !strings.Contains(out, want) {
			t.Errorf("replay of the access log lacks %q:\n%s", want, out)
		}
	}
}

func tryPerRoute(t *testing.T, e *edge) {
	tryProbe(t, e)
	// Only this path is open, and it carries no identity and no token.
	e.wantIdentity(t, nil, 0, "/livez", "X-Auth-Subject: root", "X-Auth-Scopes: a", "X-Auth-Email: a")
	for _, name := range []string{"x_auth_subject", "X-Auth_Subject", "x_auth-subject", "x-auth_scopes", "x_auth-email"} {
		e.wantIdentity(t, nil, 400, "/livez", name+": root")
	}
	e.wantAnswer(t, 200, "upstream", "/livez", e.bearer(nil))
	if seen := e.upstream.headers("/livez"); seen.Get("Authorization") != "" {
		t.Error("a token reached the service past Scopeward")
	}
	e.wantAnswer(t, 403, "access_denied", "/livez/x")
	e.wantAnswer(t, 400, "invalid_path", "/livez/../users")

	e.wantAnswer(t, 200, "upstream", "/admin", e.bearer(map[string]any{"scope": "admin"}))
	e.wantAnswer(t, 403, "insufficient_scope", "/admin", e.bearer(nil))
	e.wantAnswer(t, 403, "access_denied", "/admin/users", e.bearer(map[string]any{"scope": "admin"}))
	for _, host := range []string{"partners.example.com", "PARTNERS.example.com", "partners.example.com:8080", "partners.example.com.", "partners.example.com.:8080", "PARTNERS.example.com."} {
		e.wantAnswer(t, 200, "upstream", "/users", "Host: "+host, e.bearer(map[string]any{"scope": "partner"}))
		e.wantAnswer(t, 403, `"insufficient_scope"`, "/users", "Host: "+host, e.bearer(nil))
		e.wantAnswer(t, 403, `"access_denied"`, "/public", "Host: "+host)
	}
	// No spelling of a path or a host is another one's to Envoy's routes only.
	for _, target := range []string{"/%61dmin", "/adm%69n", "/a%64min/", "/%61dmin/users", "/admin%2Dx"} {
		e.wantAnswer(t, 400, `"invalid_path"`, target, e.bearer(map[string]any{"scope": "admin read:users"}))
	}
	for _, host := range []string{"partners.example.com..", "partners.example.com..:80", "partners.example.com...", "partners.example.com.:", "partners.example.com:"} {
		e.wantAnswer(t, 400, `"invalid_path"`, "/users", "Host: "+host, e.bearer(map[string]any{"scope": "partner read:users"}))
	}
	e.wantAnswer(t, 400, `"invalid_path"`, "http://partners.example.com../users", e.bearer(map[string]any{"scope": "partner read:users"}))
	// What could be spelt so that the client chooses the policy.
	for _, target := range []string{"/ADMIN", "/Admin/users", "/admin;x=1", "/admin/", "/administer"} {
		e.wantAnswer(t, 403, `"access_denied"`, target, e.bearer(map[string]any{"scope": "admin"}))
		if seen := e.upstream.headers(target); seen != nil {
			t.Errorf("%s reached the service", target)
		}
	}
}

// tryProbe: the load balancer's probe passes, whatever becomes of Scopeward.
func tryProbe(t *testing.T, e *edge) {
	e.wantAnswer(t, 200, "upstream", "/livez")
	e.wantAnswer(t, 200, "upstream", "/livez?from=lb")
}

func tryUnixSocket(t *testing.T, e *edge) {
	info, err := os.Stat(filepath.Join(e.dir, "authz.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if gid := info.Sys().(*syscall.Stat_t).Gid; info.Mode() != fs.ModeSocket|0o660 || int(gid) != os.Getgid() {
		t.Errorf("the socket has the mode %v and the group %d", info.Mode(), gid)
	}
	if out := run(t, "healthcheck", "--config", e.config); out != "SERVING\n" {
		t.Errorf("healthcheck says %s", out)
	}
}

func tryMutualTLS(t *testing.T, e *edge) {
	e.tryNoCertificate(t)
	token := e.idp.Mint(nil, nil)
	restart := func() {
		t.Helper()
		if err := e.Stop(); err != nil {
			t.Fatal(err)
		}
		e.scopeward = serve(t, "--config", e.config, "--listen", e.authz)
	}
	// What Envoy has by SDS is read again: a certificate with another name, and the right one.
	const updates = "cluster.scopeward.client_ssl_socket_factory.ssl_context_update_by_sds"
	before := envoyStat(t, e.envoy, updates)
	e.client.swap(t, secretFiles(e.ca.Issue(t, pki.Leaf{Names: []string{"spiffe://cluster.local/ns/edge/sa/other"}}), e.ca))
	eventually(t, "the swap is in force", func() bool { return envoyStat(t, e.envoy, updates) > before })
	restart()
	e.want(t, "/users", token, 503)
	eventually(t, "the log says why", func() bool { return strings.Contains(e.stderr.String(), "reason=name ") })
	e.client.swap(t, secretFiles(clientPair(t, e.ca), e.ca))
	eventually(t, "the right certificate is in force", func() bool { status, _ := e.status(t, "/users", token); return status == 200 })

	// Another service with a certificate of the same CA is not taken for Scopeward.
	e.ca.Issue(t, pki.Leaf{Names: []string{"other.example.com"}}).Write(t, e.dir+"/tls", "tls")
	restart()
	e.want(t, "/users", token, 503)
	if envoyStat(t, e.envoy, "cluster.scopeward.ssl.fail_verify_san") == 0 {
		t.Error("Envoy did not refuse the name of the certificate")
	}
	serverPair(t, e.ca).Write(t, e.dir+"/tls", "tls")
	eventually(t, "the right name is in force", func() bool { status, _ := e.status(t, "/users", token); return status == 200 })
}

// tryNoCertificate: who shows no certificate gets no answer.
func (e *edge) tryNoCertificate(t *testing.T) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(e.ca.PEM)
	anonymous := credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: serviceName})
	conn, err := grpc.NewClient(e.authz, grpc.WithTransportCredentials(anonymous))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if response, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), check("/public", "")); err == nil {
		t.Errorf("a client without a certificate got %v", response)
	}
	eventually(t, "the log says why", func() bool { return strings.Contains(e.stderr.String(), "reason=no_certificate ") })
}

// tryJWTFirst: bad tokens end at Envoy, and all else is for Scopeward.
func tryJWTFirst(t *testing.T, e *edge) {
	forged := tokentest.New(t).Mint(e.idp.Claims(map[string]any{"sub": "forged"}), nil)
	checks := func() float64 { return e.metric(t, `scopeward_decisions_total{code="invalid_token"}`) }
	for _, bad := range []struct {
		status int
		body   string
		header string
	}{
		{401, "Jwt verification fails", "Authorization: Bearer " + forged},
		{401, "Jwt is expired", e.bearer(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})},
		{401, "Jwt issuer is not configured", e.bearer(map[string]any{"iss": "https://other.example.com"})},
		{403, "Audiences in Jwt are not allowed", e.bearer(map[string]any{"aud": "https://other.example.com"})},
	} {
		e.wantAnswer(t, bad.status, bad.body, "/users", bad.header)
		e.wantAnswer(t, bad.status, bad.body, "/public", bad.header)
	}
	if n := checks(); n != 0 {
		t.Errorf("%v bad tokens reached Scopeward", n)
	}
	// What Envoy lets pass is none of its business: Scopeward looks again.
	e.wantAnswer(t, 401, `"invalid_token"`, "/users", "Authorization: bearer "+forged)
	if n := checks(); n != 1 {
		t.Errorf("Scopeward refused %v tokens, want 1", n)
	}
	// Neither looks for tokens in queries.
	e.wantAnswer(t, 200, "upstream", "/public?access_token="+forged)
	e.wantAnswer(t, 401, `"missing_token"`, "/users?access_token="+e.idp.Mint(nil, nil))
	e.wantAnswer(t, 403, `"insufficient_scope"`, "/users", e.bearer(map[string]any{"scope": "other"}))
	e.tryProviderOutage(t)
}

// tryProviderOutage: Envoy goes on with the keys that it has, as Scopeward does. One
// that starts meanwhile has none, and refuses tokens until it has.
func (e *edge) tryProviderOutage(t *testing.T) {
	t.Helper()
	e.idp.Fail("", tokentest.Down)
	eventually(t, "Envoy has asked for keys in vain", func() bool {
		return envoyStat(t, e.envoy, "http.public.jwt_authn.jwks_fetch_failed") > 0
	})
	token := e.bearer(nil)
	e.wantAnswer(t, 200, "upstream", "/users", token)
	late := *e
	late.startEnvoy(t, "jwt-first.yaml", true)
	late.wantAnswer(t, 401, "Jwks remote fetch is failed", "/users", token)
	late.wantAnswer(t, 200, "upstream", "/public")
	e.idp.Fail("", "")
	eventually(t, "the provider's return is noticed", func() bool {
		res, _ := late.ask(t, "late", "/users", token)
		return res.StatusCode == 200
	})
}
