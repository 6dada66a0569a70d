package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"scopeward/internal/envoyrun"
	"scopeward/internal/process"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

const usersPolicy = `version: 1
rules:
  - match: GET /users
    scopes: [read:users]
`

// system is an Envoy, a Scopeward behind it and their provider.
type system struct {
	*scopeward
	idp    *tokentest.Provider
	dir    string
	config string
	url    string
}

// start runs a whole system in a mode, with users' policy.
func start(t *testing.T, mode string, config map[string]any) *system {
	t.Helper()
	return startWith(t, tokentest.New(t), mode, config)
}

func startWith(t *testing.T, idp *tokentest.Provider, mode string, config map[string]any) *system {
	t.Helper()
	s := &system{idp: idp, dir: t.TempDir()}
	s.config = corpus.Configure(t, s.dir, mode, idp, config, map[string]string{"policy.yaml": usersPolicy})
	s.scopeward = serve(t, "--config", s.config)
	up := newUpstream(t)
	addresses := startEnvoy(t, up.Listener.Addr().String(), []target{{name: "public", authz: s.grpc}})
	s.url = "http://" + addresses["public"]
	return s
}

// status asks for a path with a token, and gives the status and its headers.
func (s *system) status(t *testing.T, path, token string) (int, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header
}

func (s *system) want(t *testing.T, path, token string, want int) {
	t.Helper()
	if got, _ := s.status(t, path, token); got != want {
		t.Errorf("%s answered %d, want %d", path, got, want)
	}
}

// eventually waits until a condition holds: for what happens in the background
// of another process.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not in 15 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestProviderDies: where keys and profile must agree, cached tokens go on, new ones get
// 503, and all is well once the provider is back, without a restart. (TestOutage has the
// other ways of validation.)
func TestProviderDies(t *testing.T) {
	t.Parallel()
	s := start(t, "jwks+profile", nil)
	known, unknown := s.idp.Mint(nil, nil), s.idp.Mint(map[string]any{"sub": "bob"}, nil)
	s.want(t, "/users", known, 200)
	s.idp.Fail("", tokentest.Down)
	s.want(t, "/users", known, 200)
	status, header := s.status(t, "/users", unknown)
	if status != 503 || header.Get("Retry-After") == "" {
		t.Errorf("a new token got %d with Retry-After %q, want 503", status, header.Get("Retry-After"))
	}
	s.idp.Fail("", "")
	eventually(t, "the provider's return is noticed", func() bool {
		status, _ := s.status(t, "/users", unknown)
		return status == 200
	})
}

// TestProviderDownAtStart: it starts, says so, and serves once there are keys.
func TestProviderDownAtStart(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	idp.Fail("", tokentest.Down)
	s := startWith(t, idp, "jwks", nil)
	token := idp.Mint(nil, nil)
	s.want(t, "/users", token, 503)
	s.want(t, "/users", "", 401)
	if !strings.Contains(s.stderr.String(), "provider=idp") {
		t.Errorf("the log doesn't say that the provider is down:\n%s", s.stderr)
	}
	idp.Fail("", "")
	eventually(t, "the keys are fetched", func() bool { status, _ := s.status(t, "/users", token); return status == 200 })
}

// TestRotation: 50 new keys while requests come lose none of them. A token of a new key is
// accepted at once, where the keys were not fetched for an unknown one in the last 10 s, else
// with the next fetch; a token whose key the provider withdraws ends with the next fetch,
// though its identity is cached for longer.
func TestRotation(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	s := startWith(t, idp, "jwks", map[string]any{
		"rate_limit": map[string]any{"count": "off"}, "cache": map[string]any{"ttl": "1h"},
		"providers": []any{map[string]any{
			"name": "idp", "issuer": idp.URL, "audiences": []string{tokentest.Audience}, "algorithms": []string{"RS256", "ES256"},
			"jwks": map[string]any{"url": idp.URL + tokentest.KeysPath, "refresh": "50ms"},
		}},
	})
	first := idp.Mint(nil, nil)
	s.want(t, "/users", first, 200)
	stop := load(t, s.url+"/users", first)
	var last string
	for i := range 50 {
		idp.RotateTo("ES256")
		last = s.user(fmt.Sprint("user", i))
		if i == 0 {
			s.want(t, "/users", last, 200)
		}
		eventually(t, "the new key is known", func() bool { status, _ := s.status(t, "/users", last); return status == 200 })
	}
	stop()
	idp.Drop()
	eventually(t, "the withdrawn key ends a cached identity", func() bool { status, _ := s.status(t, "/users", first); return status == 401 })
	s.want(t, "/users", last, 200)
}

// TestPolicyEdit: a saved edit is live at once, a broken one changes nothing
// and is said, and the identity cache stays warm.
func TestPolicyEdit(t *testing.T) {
	t.Parallel()
	s := start(t, "profile", nil)
	token := s.idp.Mint(nil, nil)
	s.want(t, "/users", token, 200)

	edit := func(text string) {
		t.Helper()
		// As an editor does it: a new file renamed over the old one.
		next := filepath.Join(s.dir, "next")
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(s.dir, "policies", "policy.yaml")); err != nil {
			t.Fatal(err)
		}
	}
	edit(strings.Replace(usersPolicy, "read:users", "admin", 1))
	eventually(t, "the edit is live", func() bool { status, _ := s.status(t, "/users", token); return status == 403 })

	edit("version: 1\nrules:\n  - match: GET /users\n    scops: [read:users]\n")
	eventually(t, "the broken edit is said", func() bool { return strings.Contains(s.stderr.String(), "policy.yaml:4:5") })
	s.want(t, "/users", token, 403)
	if metrics := s.page(t, "/metrics"); !strings.Contains(metrics, "scopeward_policy_reload_success 0") {
		t.Error("the metrics don't say that the policy on disk is broken")
	}
	if ready := s.page(t, "/readyz"); !strings.Contains(ready, "policy.yaml:4:5") {
		t.Errorf("/readyz doesn't say where the policy is broken: %s", ready)
	}

	edit(usersPolicy)
	eventually(t, "the mended edit is live", func() bool { status, _ := s.status(t, "/users", token); return status == 200 })
	if n := s.idp.Requests(tokentest.ProfilePath); n != 1 {
		t.Errorf("the provider was asked %d times; an edit must not cost the cache", n)
	}
}

// page is what an admin page says.
func (s *system) page(t *testing.T, path string) string {
	t.Helper()
	res, err := http.Get("http://" + s.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAdmin: what the admin listener says, without a secret.
func TestAdmin(t *testing.T) {
	t.Parallel()
	s := start(t, "introspection", nil)
	token := s.idp.Mint(nil, nil)
	s.want(t, "/users", token, 200)
	s.want(t, "/users", token, 200)
	s.want(t, "/users", "", 401)

	if got := s.page(t, "/healthz"); got != "ok\n" {
		t.Errorf("/healthz says %q", got)
	}
	var ready struct{ Ready bool }
	if err := json.Unmarshal([]byte(s.page(t, "/readyz")), &ready); err != nil || !ready.Ready {
		t.Errorf("/readyz: ready %v, %v", ready.Ready, err)
	}
	metrics := s.page(t, "/metrics")
	for _, want := range []string{
		`scopeward_decisions_total{code="allow"} 2`, `scopeward_decisions_total{code="missing_token"} 1`,
		`scopeward_cache_lookups_total{result="hit"} 1`, `scopeward_cache_lookups_total{result="miss"} 1`,
		`scopeward_validation_duration_seconds_count{outcome="valid",provider="idp"} 1`,
		`scopeward_policy_info{version="`, `scopeward_policy_reload_success 1`, `scopeward_rate_limited_total 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	config := s.page(t, "/config")
	var shown map[string]any
	if err := json.Unmarshal([]byte(config), &shown); err != nil || shown["providers"] == nil {
		t.Errorf("/config is %s (%v)", config, err)
	}
	for name, text := range map[string]string{"/config": config, "/metrics": metrics, "the log": s.stderr.String(), "the audit": s.stdout.String()} {
		if strings.Contains(text, tokentest.ClientSecret) || strings.Contains(text, token) {
			t.Errorf("%s shows a secret or a token", name)
		}
	}
}

// TestDrain: SIGTERM turns health NOT_SERVING, answers what is in flight, and
// ends with status 0 (which serve checks at the end of every test).
func TestDrain(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	dir := t.TempDir()
	s := serve(t, "--config", corpus.Configure(t, dir, "profile", idp, nil, map[string]string{"policy.yaml": usersPolicy}), "--reflection")
	conn := dial(t, s.grpc)
	health, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: authv3.Authorization_ServiceDesc.ServiceName})
	if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("health: %v, %v", health.GetStatus(), err)
	}
	if _, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context()); err != nil {
		t.Errorf("reflection: %v", err)
	}
	watch, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if update, err := watch.Recv(); err != nil || update.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("watch: %v, %v", update.GetStatus(), err)
	}

	idp.Fail(tokentest.ProfilePath, tokentest.Slow)
	answered := make(chan error, 1)
	go func() {
		response, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), check("/users", idp.Mint(nil, nil)))
		if err == nil && response.GetOkResponse() == nil {
			err = fmt.Errorf("denied: %v", response)
		}
		answered <- err
	}()
	eventually(t, "the provider is asked", func() bool { return idp.Requests(tokentest.ProfilePath) == 1 })
	if err := syscall.Kill(s.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if update, err := watch.Recv(); err != nil || update.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("after SIGTERM: %v, %v; want NOT_SERVING", update.GetStatus(), err)
	}
	// It waits for those who ask at intervals.
	health, err = healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("after SIGTERM: %v, %v; want NOT_SERVING", health.GetStatus(), err)
	}
	idp.Release()
	idp.Fail(tokentest.ProfilePath, "")
	if err := <-answered; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	select {
	case <-s.Done():
	case <-time.After(10 * time.Second):
		t.Error("it did not end within 10 s")
	}
}

// TestDrainAnswersTheHeld: a request that a provider holds for longer than the
// process may live still gets its answer; meanwhile health is NOT_SERVING.
func TestDrainAnswersTheHeld(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	config := corpus.Configure(t, t.TempDir(), "profile", idp, map[string]any{"providers": []any{map[string]any{
		"name": "idp", "issuer": idp.URL, "validation": "profile", "timeout": "30s",
	}}}, map[string]string{"policy.yaml": usersPolicy})
	s := serve(t, "--config", config)
	conn := dial(t, s.grpc)
	idp.Fail(tokentest.ProfilePath, tokentest.Slow)
	answered := make(chan int32, 1)
	go func() {
		response, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), check("/users", idp.Mint(nil, nil)))
		if err != nil {
			t.Error(err)
		}
		answered <- int32(response.GetDeniedResponse().GetStatus().GetCode())
	}()
	eventually(t, "the provider is asked", func() bool { return idp.Requests(tokentest.ProfilePath) == 1 })
	if err := syscall.Kill(s.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new connection learns that it drains", func() bool {
		health, err := healthv1.NewHealthClient(dial(t, s.grpc)).Check(t.Context(), &healthv1.HealthCheckRequest{})
		return err == nil && health.GetStatus() == healthv1.HealthCheckResponse_NOT_SERVING
	})
	if status := <-answered; status != http.StatusServiceUnavailable {
		t.Errorf("the held request got %d, want 503", status)
	}
	idp.Release()
}

// TestUnixSocket: the socket works, a stale one is replaced, one in use is not.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	dir := t.TempDir()
	config := corpus.Configure(t, dir, "jwks", idp, nil, map[string]string{"policy.yaml": usersPolicy})
	socket := filepath.Join(dir, "authz.sock")
	stale, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}

	serve(t, "--config", config, "--listen", "unix://"+socket)
	up := newUpstream(t)
	addresses := startEnvoy(t, up.Listener.Addr().String(), []target{{name: "public", authz: "unix://" + socket}})
	s := &system{url: "http://" + addresses["public"]}
	s.want(t, "/users", idp.Mint(nil, nil), 200)

	second := run(t, "serve", "--config", config, "--listen", "unix://"+socket)
	if !strings.Contains(second, "is in use by another process") {
		t.Errorf("a second process on the socket said: %s", second)
	}
}

// TestRawHeaders: Envoy may send headers one by one instead of as a map.
func TestRawHeaders(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	s := serve(t, "--config", corpus.Configure(t, t.TempDir(), "jwks", idp, nil, map[string]string{"policy.yaml": usersPolicy}))
	in := check("/users", "")
	in.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
		{Key: "authorization", RawValue: []byte("Bearer " + idp.Mint(nil, nil))},
	}}
	response, err := authv3.NewAuthorizationClient(dial(t, s.grpc)).Check(t.Context(), in)
	if err != nil || response.GetOkResponse() == nil {
		t.Errorf("%v, %v", response, err)
	}
}

// TestMetadata: Envoy's access log sees who asked and by which rule.
func TestMetadata(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	s := serve(t, "--config", corpus.Configure(t, t.TempDir(), "jwks", idp, nil, map[string]string{"policy.yaml": usersPolicy}))
	config, err := combine(newUpstream(t).Listener.Addr().String(), []target{{name: "public", authz: s.grpc}})
	if err != nil {
		t.Fatal(err)
	}
	const field = "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:"
	// JSON is YAML on one line, which fits at any depth.
	accessLog := `access_log: [{"name": "envoy.access_loggers.stdout", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", "log_format": {"text_format_source": {"inline_string": "` +
		field + `code)% ` + field + `rule)% ` + field + `subject)% ` + field + `scopes)%\n"}}}}]`
	config = regexp.MustCompile(`( +)stat_prefix: public`).ReplaceAll(config, []byte("$0\n${1}"+accessLog))
	var log process.Output
	p, err := envoyrun.Start(t.Context(), envoyrun.Options{Path: built.envoy, Config: config, Log: &log})
	if err != nil {
		t.Fatalf("%v\n%s", err, config)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	address, err := p.Address(t.Context(), "public")
	if err != nil {
		t.Fatal(err)
	}
	through := &system{url: "http://" + address}
	through.want(t, "/users", idp.Mint(map[string]any{"sub": "kp_1", "scope": "read:users other"}, nil), 200)
	through.want(t, "/users", "", 401)
	want := []string{`allow GET /users kp_1 ["read:users","other"]`, `missing_token GET /users - -`}
	eventually(t, "the access log is written", func() bool { return strings.Count(log.String(), "GET /users") == len(want) })
	for _, line := range want {
		if !strings.Contains(log.String(), line+"\n") {
			t.Errorf("the access log lacks %q:\n%s", line, &log)
		}
	}
}

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func check(path, token string) *authv3.CheckRequest {
	headers := map[string]string{}
	if token != "" {
		headers["authorization"] = "Bearer " + token
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
		Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Host: "api.example.com", Path: path, Headers: headers},
	}}}
}
