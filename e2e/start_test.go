package e2e

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// startPatience is the part of a configuration that says how long a start may take.
func startPatience(patience string) map[string]any {
	return map[string]any{"listen": map[string]any{"grpc": "127.0.0.1:0", "admin": "127.0.0.1:0", "start_patience": patience}}
}

// healthcheck is what a container's health check says.
func (s *scopeward) healthcheck(t *testing.T) string {
	t.Helper()
	return run(t, "healthcheck", "--addr", s.grpc)
}

// TestStartWithoutKeys: a new process is not ready before its provider has given keys, or a
// rollout with a mistake would replace all that work.
func TestStartWithoutKeys(t *testing.T) {
	t.Parallel()
	for _, fault := range []tokentest.Fault{tokentest.Down, tokentest.HTML} {
		idp := tokentest.New(t)
		idp.Fail("", fault)
		s := launch(t, nil, "--config", corpus.Configure(t, t.TempDir(), "jwks", idp, startPatience("5m"), map[string]string{"policy.yaml": usersPolicy}))
		eventually(t, "the keys were asked for", func() bool { return strings.Contains(s.stderr.String(), "cannot fetch the provider's keys") })
		if err := s.get("/readyz", http.StatusServiceUnavailable); err != nil {
			t.Error(err)
		}
		if err := s.get("/healthz", http.StatusOK); err != nil {
			t.Error(err)
		}
		if out := s.healthcheck(t); !strings.Contains(out, "NOT_SERVING") {
			t.Errorf("healthcheck says %s", out)
		}
		idp.Fail("", "")
		eventually(t, "it is ready with its keys", func() bool { return s.get("/readyz", http.StatusOK) == nil })
		if out := s.healthcheck(t); out != "SERVING\n" {
			t.Errorf("with keys, healthcheck says %s", out)
		}
	}
}

// TestStartPatience: a provider that stays down does not keep a process down for ever.
func TestStartPatience(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	idp.Fail("", tokentest.Down)
	dir := t.TempDir()
	config := corpus.Configure(t, dir, "jwks", idp, startPatience("2s"), map[string]string{"policy.yaml": usersPolicy})
	s := launch(t, nil, "--config", config)
	if err := s.get("/readyz", http.StatusServiceUnavailable); err != nil {
		t.Error(err)
	}
	eventually(t, "it serves without keys", func() bool { return s.get("/readyz", http.StatusOK) == nil && s.healthcheck(t) == "SERVING\n" })
	if !strings.Contains(s.stderr.String(), "listen.start_patience is over") {
		t.Errorf("the log doesn't say so:\n%s", s.stderr)
	}
	sys := &system{scopeward: s}
	if page := sys.page(t, "/readyz"); !strings.Contains(page, "provider idp: no keys") {
		t.Errorf("/readyz doesn't say so: %s", page)
	}
	if sys.metric(t, `scopeward_jwks_keys{provider="idp"}`) != 0 {
		t.Error("the metrics don't say so")
	}
}

// TestReloadWithoutKeys: a provider that a reload adds does not make a process that serves
// unready.
func TestReloadWithoutKeys(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts, let alone answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dir := t.TempDir()
	config := corpus.Configure(t, dir, "jwks", tokentest.New(t), startPatience("5m"), map[string]string{"policy.yaml": usersPolicy})
	s := serve(t, "--config", config)
	replace(t, config, "providers:\n", "providers:\n    - {name: silent, issuer: 'http://"+silent.Addr().String()+"', audiences: [x], timeout: 8s}\n")
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(s.stderr.String(), "the files were loaded"); {
		if err := s.get("/readyz", http.StatusOK); err != nil || time.Now().After(deadline) {
			t.Fatalf("while the files are loaded: %v", err)
		}
	}
	if err := s.get("/readyz", http.StatusOK); err != nil {
		t.Error(err)
	}
	if out := s.healthcheck(t); out != "SERVING\n" {
		t.Errorf("healthcheck says %s", out)
	}
}

// TestIdleConnections: 1,024 idle connections keep neither a new Envoy nor who asks for the
// health from being served.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	s := &system{idp: idp, dir: t.TempDir()}
	s.config = corpus.Configure(t, s.dir, "jwks", idp, nil, map[string]string{"policy.yaml": usersPolicy})
	s.scopeward = serve(t, "--config", s.config)
	for range 1024 {
		conn, err := net.Dial("tcp", s.grpc)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if err := s.get("/healthz", http.StatusOK); err != nil {
		t.Error(err)
	}
	eventually(t, "the health is told", func() bool { return s.healthcheck(t) == "SERVING\n" })
	s.url = "http://" + startEnvoy(t, newUpstream(t).Listener.Addr().String(), []target{{name: "public", authz: s.grpc}})["public"]
	token := idp.Mint(nil, nil)
	eventually(t, "a new Envoy is served", func() bool { status, _ := s.status(t, "/users", token); return status == 200 })
	for range 20 {
		s.want(t, "/users", token, 200)
	}
	if open := s.metric(t, "scopeward_connections"); open > 768 {
		t.Errorf("%v connections of one address are open", open)
	}
	if s.metric(t, `scopeward_connections_refused_total{reason="share"}`)+s.metric(t, "scopeward_connections_replaced_total") == 0 {
		t.Error("no metric tells of the connections that were too many")
	}
}
