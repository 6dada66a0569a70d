package e2e

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"scopeward/internal/envoyrun"
	"scopeward/internal/process"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/pki"
	"scopeward/internal/testenv/tokentest"
)

// edge is a bootstrap of envoy/ that runs, with a Scopeward behind it.
type edge struct {
	*system
	envoy    *envoyrun.Process
	upstream *upstream
	ca       *pki.CA         // of all certificates
	client   *volume         // Envoy's certificate
	authz    string          // Scopeward's gRPC address
	log      *process.Output // of Envoy
	paths    []string        // what the bootstrap and its comment name, and what stands there here, in pairs
}

// bootstrapTest is what is particular about a bootstrap.
type bootstrapTest struct {
	try         func(*testing.T, *edge)
	whileDown   func(*testing.T, *edge)
	underscores int // the status for a client's x_auth_subject; 200 if zero
}

// TestBootstraps runs each bootstrap of envoy/ as it stands but for addresses and
// paths. A new one must be added here.
func TestBootstraps(t *testing.T) {
	tests := map[string]bootstrapTest{
		"minimal.yaml":     {try: tryAllHeaders},
		"production.yaml":  {try: tryProduction, underscores: http.StatusBadRequest},
		"per-route.yaml":   {try: tryPerRoute, whileDown: tryProbe, underscores: http.StatusBadRequest},
		"unix-socket.yaml": {try: tryUnixSocket},
		"mutual-tls.yaml":  {try: tryMutualTLS},
		"jwt-first.yaml":   {try: tryJWTFirst},
		"browser.yaml":     {try: tryBrowser},
	}
	files, err := filepath.Glob("../envoy/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		test, ok := tests[name]
		delete(tests, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !ok {
				t.Fatal("it is not in the table of this test")
			}
			e := startEdge(t, name)
			e.tryAnswers(t)
			e.tryAmbiguousPaths(t)
			e.tryRawPaths(t)
			e.trySpoofing(t, test.underscores)
			e.tryDoctor(t)
			test.try(t, e)
			e.tryOutage(t, test.whileDown)
		})
	}
	for name := range tests {
		t.Errorf("there is no envoy/%s", name)
	}
}

const bootstrapPolicy = `version: 1
rules:
  - {match: GET /users, scopes: [read:users]}
  - {match: /public, public: true}
  - {match: GET /cookie, when: '"cookie" in request.headers'}
`

// startEdge runs an Envoy by a file, and a Scopeward by the configuration in its
// first comment. names and what stands for them here, in pairs, are replaced in both.
func startEdge(t *testing.T, file string, names ...string) *edge {
	t.Helper()
	dir := t.TempDir()
	idp := tokentest.New(t)
	e := &edge{
		system: &system{idp: idp, dir: dir}, upstream: newUpstream(t), ca: pki.NewCA(t, "corporation"), log: &process.Output{},
		paths: []string{
			"/etc/scopeward", dir, "/run/scopeward", dir, "/etc/envoy", dir + "/envoy", "/etc/ssl/certs", dir + "/tls",
			`":envoy"`, fmt.Sprintf(`":%d"`, os.Getgid()), "0.0.0.0:9191", "127.0.0.1:0", "scopeward.example.com, port_value", "127.0.0.1, port_value",
			"issuer: https://acme.kinde.com", "issuer: " + idp.URL, "https://api.acme.dev", tokentest.Audience, "cache_duration: 300s", "cache_duration: 1s",
		},
	}
	e.paths = append(names, e.paths...)
	e.writeFiles(t)
	text, err := os.ReadFile("../envoy/" + file)
	if err != nil {
		t.Fatal(err)
	}
	e.configure(t, string(text))
	if err := envoyrun.Validate(t.Context(), built.envoy, e.adapt(text)); err != nil {
		t.Fatal(err)
	}
	e.scopeward = serve(t, "--config", e.config)
	e.authz = e.grpc
	if filepath.IsAbs(e.authz) {
		e.authz = "unix://" + e.authz
	}
	e.startEnvoy(t, file, strings.Contains(string(text), "- name: idp\n"))
	return e
}

// startEnvoy runs Envoy by a file, which may have a cluster for the provider.
func (e *edge) startEnvoy(t *testing.T, file string, withProvider bool) {
	t.Helper()
	boot := envoyrun.Local(e.upstream.Listener.Addr().String(), e.authz)
	boot.File = file
	if withProvider {
		boot.Clusters = map[string]string{"idp": overTLS(t, e.idp, e.ca)}
	}
	rendered, err := boot.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if e.envoy, err = envoyrun.Start(t.Context(), envoyrun.Options{Path: built.envoy, Config: e.adapt(rendered), Log: e.log, Concurrency: 1}); err != nil {
		t.Fatalf("%v\n%s", err, e.log)
	}
	running := e.envoy
	t.Cleanup(func() {
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Envoy's log:\n%s", e.log)
		}
	})
	address, err := e.envoy.Address(t.Context(), "public")
	if err != nil {
		t.Fatal(err)
	}
	e.url = "http://" + address
}

// adapt puts what stands on this machine in the places of a text's paths and names.
func (e *edge) adapt(text []byte) []byte {
	return []byte(strings.NewReplacer(e.paths...).Replace(string(text)))
}

// writeFiles writes all that some bootstrap or its Scopeward reads.
func (e *edge) writeFiles(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"tls", "envoy/sds"} {
		if err := os.MkdirAll(filepath.Join(e.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	pki.Write(t, e.dir+"/policy.yaml", []byte(bootstrapPolicy))
	pki.Write(t, e.dir+"/admin.yaml", []byte("version: 1\nname: admin\nrules: [{match: GET /admin, scopes: [admin]}]\n"))
	pki.Write(t, e.dir+"/partners.yaml", []byte("version: 1\nname: partners\nrules: [{match: GET /users, scopes: [partner]}]\n"))
	serverPair(t, e.ca).Write(t, e.dir+"/tls", "tls")
	pki.Write(t, e.dir+"/tls/ca.crt", e.ca.PEM)
	pki.Write(t, e.dir+"/tls/ca-certificates.crt", e.ca.PEM)
	e.client = newVolume(t, e.dir+"/envoy/tls", secretFiles(clientPair(t, e.ca), e.ca))
	for _, name := range []string{"client.yaml", "trust.yaml"} {
		text, err := os.ReadFile("../envoy/sds/" + name)
		if err != nil {
			t.Fatal(err)
		}
		pki.Write(t, e.dir+"/envoy/sds/"+name, e.adapt(text))
	}
}

// inComment is the configuration of Scopeward in the comment at the head of a
// bootstrap.
var inComment = regexp.MustCompile(`(?m)^#   # scopeward\.yaml\n((?:#   .*\n)+)`)

// configure writes the Scopeward's configuration: the usual one, with what the
// bootstrap's comment says.
func (e *edge) configure(t *testing.T, bootstrap string) {
	t.Helper()
	changes := map[string]any{"policy": []string{"policy.yaml"}}
	if m := inComment.FindStringSubmatch(bootstrap); m != nil {
		text := e.adapt([]byte(regexp.MustCompile(`(?m)^#   `).ReplaceAllString(m[1], "")))
		if err := yaml.Unmarshal(text, &changes); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	listen, _ := changes["listen"].(map[string]any)
	if listen == nil {
		listen = map[string]any{"grpc": "127.0.0.1:0"}
	}
	listen["admin"] = "127.0.0.1:0"
	changes["listen"] = listen
	e.config = corpus.Configure(t, e.dir, "jwks", e.idp, changes, nil)
}

// ask sends a request with headers, as lines, and gives the answer with its body.
func (e *edge) ask(t *testing.T, step, target string, headers ...string) (*http.Response, string) {
	t.Helper()
	if !strings.Contains(strings.Join(headers, "\n"), "Host: ") {
		headers = append(headers, "Host: api.example.com")
	}
	lines := append([]string{"GET " + target + " HTTP/1.1", stepHeader + ": " + step, "Connection: close"}, headers...)
	res, body := exchange(t, strings.TrimPrefix(e.url, "http://"), []byte(strings.Join(lines, "\r\n")+"\r\n\r\n"))
	return res, string(body)
}

// wantAnswer asks, and wants a status and something in the body.
func (e *edge) wantAnswer(t *testing.T, status int, body, target string, headers ...string) {
	t.Helper()
	res, got := e.ask(t, target, target, headers...)
	if res.StatusCode != status || !strings.Contains(got, body) {
		t.Errorf("%s with %d headers answered %d %s, want %d with %q", target, len(headers), res.StatusCode, got, status, body)
	}
}

func (e *edge) bearer(claims map[string]any) string {
	return "Authorization: Bearer " + e.idp.Mint(claims, nil)
}

func (e *edge) tryAnswers(t *testing.T) {
	e.wantAnswer(t, 200, "upstream", "/users", e.bearer(nil))
	e.wantAnswer(t, 200, "upstream", "/public")
	e.wantAnswer(t, 401, `"missing_token"`, "/users")
	e.wantAnswer(t, 403, `"insufficient_scope"`, "/users", e.bearer(map[string]any{"scope": "other"}))
	e.wantAnswer(t, 403, `"access_denied"`, "/none", e.bearer(nil))
}

// tryAmbiguousPaths: they reach Scopeward as they came, and it refuses them.
func (e *edge) tryAmbiguousPaths(t *testing.T) {
	for _, target := range []string{"//users", "/public/../users", "/%2e%2e/users", "/public/%2E%2e/users", "/public%2Fusers", "/public%5c..", "/./users", `/public\users`} {
		e.wantAnswer(t, 400, `"invalid_path"`, target, e.bearer(nil))
	}
}

// tryRawPaths: HTTP/2 carries any byte, and Envoy shows Scopeward another one for
// what is not UTF-8, so such a path gets no further.
func (e *edge) tryRawPaths(t *testing.T) {
	for _, target := range []string{"/public\xff", "/public?a=\xff", "/public?a=\xc3\xa9", "/livez?\x80"} {
		if status := askHTTP2(t, strings.TrimPrefix(e.url, "http://"), target, e.idp.Mint(nil, nil)); status != "403" || e.upstream.headers(hex.EncodeToString([]byte(target))) != nil {
			t.Errorf("%q over HTTP/2 answered %s, or reached the service", target, status)
		}
	}
	if status := askHTTP2(t, strings.TrimPrefix(e.url, "http://"), "/public?a=%ff!", ""); status != "200" {
		t.Errorf("a path of ASCII over HTTP/2 answered %s", status)
	}
}

// trySpoofing: a client's own identity headers never reach the service, in no
// spelling.
func (e *edge) trySpoofing(t *testing.T, underscores int) {
	own := map[string]string{"x-auth-subject": tokentest.Subject, "x-auth-scopes": tokentest.Scope}
	hyphens := []string{"X-Auth-Subject: root", "x-auth-scopes: admin", "x-auth-email: root@example.com"}
	e.wantIdentity(t, own, 0, "/users", append(hyphens, e.bearer(nil))...)
	e.wantIdentity(t, nil, 0, "/public", hyphens...)
	under := []string{"x_auth_subject: root", "X-Auth_scopes: admin", "x_auth_email: root@example.com"}
	e.wantIdentity(t, own, underscores, "/users", append(under, e.bearer(nil))...)
	e.wantIdentity(t, nil, underscores, "/public", under...)
}

// wantIdentity asks, and wants these identity headers at the service; or a status,
// and nothing at the service.
func (e *edge) wantIdentity(t *testing.T, want map[string]string, refused int, target string, headers ...string) {
	t.Helper()
	step := fmt.Sprint(target, headers)
	res, body := e.ask(t, step, target, headers...)
	seen := e.upstream.headers(step)
	if refused != 0 {
		if res.StatusCode != refused || seen != nil {
			t.Errorf("%s answered %d, want %d; the service saw %v", target, res.StatusCode, refused, seen)
		}
		return
	}
	if res.StatusCode != 200 {
		t.Fatalf("%s answered %d %s", target, res.StatusCode, body)
	}
	got := map[string]string{}
	for name, values := range seen {
		if strings.HasPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "x-auth-") {
			got[strings.ToLower(name)] = strings.Join(values, ",")
		}
	}
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("the service saw the identity %v at %s, want %v", got, target, want)
	}
}

// tryDoctor: nothing is to be found in what Envoy runs with.
func (e *edge) tryDoctor(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), built.scopeward, "doctor", e.envoy.AdminURL(), "--config", e.config).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "0 findings.") {
		t.Errorf("doctor: %v\n%s", err, out)
	}
}

// tryOutage: without Scopeward nobody passes and the client is told to come back;
// with it again all is well.
func (e *edge) tryOutage(t *testing.T, whileDown func(*testing.T, *edge)) {
	token := e.idp.Mint(nil, nil)
	if err := e.Stop(); err != nil {
		t.Fatal(err)
	}
	e.want(t, "/users", token, 503)
	e.want(t, "/public", "", 503)
	if whileDown != nil {
		whileDown(t, e)
	}
	e.scopeward = serve(t, "--config", e.config, "--listen", e.authz)
	eventually(t, "Scopeward's return is noticed", func() bool { status, _ := e.status(t, "/users", token); return status == 200 })
}
