package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// replace edits a file as an editor does: a new file renamed over the old one.
func replace(t *testing.T, path, old, new string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s lacks %q:\n%s", path, old, text)
	}
	next := path + ".next"
	if err := os.WriteFile(next, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// TestConfigurationEdit: providers, headers and the rest come into force without
// a restart; what needs one says so; the cache stays warm where it may.
func TestConfigurationEdit(t *testing.T) {
	t.Parallel()
	s := start(t, "profile", nil)
	token := s.idp.Mint(nil, nil)
	s.want(t, "/users", token, 200)

	replace(t, s.config, "policy: policies", "policy: policies\nrealm: other")
	eventually(t, "the realm is live", func() bool {
		_, header := s.status(t, "/users", "")
		return strings.HasPrefix(header.Get("WWW-Authenticate"), `Bearer realm="other"`)
	})
	s.want(t, "/users", token, 200)
	if n := s.idp.Requests(tokentest.ProfilePath); n != 1 {
		t.Errorf("the provider was asked %d times; it has not changed, so its identities stay", n)
	}

	replace(t, s.config, tokentest.Audience, "https://another.example.com")
	eventually(t, "the audience is live, for cached tokens too", func() bool { status, _ := s.status(t, "/users", token); return status == 401 })
	replace(t, s.config, "https://another.example.com", tokentest.Audience)
	eventually(t, "the audience is back", func() bool { status, _ := s.status(t, "/users", token); return status == 200 })

	replace(t, s.config, "realm: other", "relm: other")
	eventually(t, "the mistake is said", func() bool { return strings.Contains(s.stderr.String(), `did you mean \"realm\"`) })
	s.want(t, "/users", token, 200)

	replace(t, s.config, "relm: other", "realm: other")
	replace(t, s.config, "format: text", "format: json")
	eventually(t, "what needs a restart is said", func() bool { return strings.Contains(s.page(t, "/readyz"), "log.format has changed on disk: restart") })
}

// TestAnotherFolder: files that a changed configuration names are watched at once.
func TestAnotherFolder(t *testing.T) {
	t.Parallel()
	s := start(t, "jwks", nil)
	token := s.idp.Mint(nil, nil)
	policy := filepath.Join(s.dir, "elsewhere", "policy.yaml")
	if err := os.Mkdir(filepath.Dir(policy), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(policy, []byte(usersPolicy+"  - match: /elsewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	replace(t, s.config, "policy: policies", "policy: elsewhere")
	eventually(t, "the other folder counts", func() bool { status, _ := s.status(t, "/elsewhere", token); return status == 200 })
	replace(t, policy, "/elsewhere", "/edited")
	eventually(t, "an edit there is live", func() bool { status, _ := s.status(t, "/edited", token); return status == 200 })
}

// TestSecretRotation: a secret's file that changes is read again.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	s := start(t, "introspection", map[string]any{"rate_limit": map[string]any{"count": "off"}})
	secret := filepath.Join(s.dir, "secret")
	replace(t, secret, tokentest.ClientSecret, "wrong")
	fresh := func(n int) string { return s.idp.Mint(map[string]any{"sub": fmt.Sprint("user", n)}, nil) }
	n := 0
	eventually(t, "the wrong secret is in use", func() bool { n++; status, _ := s.status(t, "/users", fresh(n)); return status == 503 })
	replace(t, secret, "wrong", tokentest.ClientSecret)
	eventually(t, "the right secret is in use", func() bool { n++; status, _ := s.status(t, "/users", fresh(n)); return status == 200 })
}

// TestConfigMap: Kubernetes swaps a symlink to a folder with all files in it.
func TestConfigMap(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	dir := t.TempDir()
	config := corpus.Configure(t, dir, "jwks", idp, nil, nil)
	version := func(scope string) map[string][]byte {
		return map[string][]byte{"policy.yaml": []byte(strings.Replace(usersPolicy, "read:users", scope, 1))}
	}
	policies := newVolume(t, filepath.Join(dir, "policies"), version("read:users"))
	s := &system{scopeward: serve(t, "--config", config), idp: idp}
	s.url = "http://" + startEnvoy(t, newUpstream(t).Listener.Addr().String(), []target{{name: "public", authz: s.grpc}})["public"]
	token := idp.Mint(nil, nil)
	s.want(t, "/users", token, 200)
	for _, want := range []int{403, 200, 403} {
		scope := "admin"
		if want == 200 {
			scope = "read:users"
		}
		policies.swap(t, version(scope))
		eventually(t, "the swap is live", func() bool { status, _ := s.status(t, "/users", token); return status == want })
	}
}

// TestReloadsUnderLoad: 200 reloads while requests come lose none of them.
func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	s := start(t, "jwks", nil)
	token := s.idp.Mint(nil, nil)
	s.want(t, "/users", token, 200)

	stop := load(t, s.url+"/users", token)
	policy := filepath.Join(s.dir, "policies", "policy.yaml")
	for i := range 200 {
		text := fmt.Sprintf("%s  - match: /version/%d\n", usersPolicy, i)
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(s.Pid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		path := fmt.Sprintf("/version/%d", i)
		eventually(t, path+" is live", func() bool { status, _ := s.status(t, path, token); return status == 200 })
	}
	stop()
}

// load sends two hundred requests a second from four clients, until stop is called or the test ends.
// Each must be answered with 200; stop wants at least 100 and says what became of
// them.
func load(t *testing.T, url, token string) (stop func()) {
	t.Helper()
	var done atomic.Bool
	var sent, lost atomic.Int64
	var clients sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: 20 * time.Second}
	ask := func() error {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s %s: %.200s", time.Now().UTC().Format("15:04:05.000"), res.Status, body)
		}
		return err
	}
	for range 4 {
		clients.Go(func() {
			for !done.Load() {
				sent.Add(1)
				if err := ask(); err != nil && lost.Add(1) < 10 {
					t.Errorf("a request was lost: %v", err)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	end := func() {
		done.Store(true)
		clients.Wait()
		client.CloseIdleConnections()
	}
	t.Cleanup(end)
	return func() {
		t.Helper()
		end()
		if lost.Load() > 0 || sent.Load() < 100 {
			t.Errorf("%d of %d requests were lost", lost.Load(), sent.Load())
		}
		t.Logf("%d requests were sent, %d lost", sent.Load(), lost.Load())
	}
}

// readyz is what a person reads of the service's state.
func (s *scopeward) readyz(t *testing.T) string {
	t.Helper()
	res, err := http.Get("http://" + s.admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestFallback: a new process starts although its files are broken, with the last good version; it says so, and takes
// the files once they are mended. Without a fallback, or with a broken one, it does not start.
func TestFallback(t *testing.T) {
	t.Parallel()
	idp := tokentest.New(t)
	good, dir := t.TempDir(), t.TempDir()
	fallback := corpus.Configure(t, good, "jwks", idp, nil, map[string]string{"policy.yaml": "version: 1\nrules:\n  - {match: GET /users, public: true}\n"})
	config := corpus.Configure(t, dir, "jwks", idp, nil, map[string]string{"policy.yaml": "version: 1\nrules:\n  - {match: GET users, public: true}\n"})
	for _, args := range [][]string{{"--config", config}, {"--config", config, "--fallback", config}} {
		out, err := exec.CommandContext(t.Context(), built.scopeward, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), `pattern "GET users" has no path`) {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
	s := serve(t, "--config", config, "--fallback", fallback)
	if text := s.readyz(t); !strings.Contains(text, "policy.yaml:3:") {
		t.Errorf("/readyz does not name the mistake: %s", text)
	}
	envoy := startEnvoy(t, newUpstream(t).Listener.Addr().String(), []target{{name: "fallback", authz: s.grpc}})["fallback"]
	status := func(path string) int {
		res, _ := exchange(t, envoy, []byte("GET "+path+" HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"))
		return res.StatusCode
	}
	if got := status("/users"); got != 200 {
		t.Errorf("the fallback's public rule: %d", got)
	}
	replace(t, filepath.Join(dir, "policies", "policy.yaml"), "{match: GET users, public: true}", "{match: GET /mended, public: true}")
	eventually(t, "the mended files are in force", func() bool { return status("/mended") == 200 && status("/users") == 403 })
	if text := s.readyz(t); strings.Contains(text, "broken") {
		t.Errorf("/readyz still complains: %s", text)
	}
}

// TestBrokenFileThatOnlyTheNewConfigurationNames: it is read again when it is mended.
func TestBrokenFileThatOnlyTheNewConfigurationNames(t *testing.T) {
	t.Parallel()
	s := start(t, "jwks", nil)
	next := filepath.Join(filepath.Dir(s.config), "next.yaml")
	if err := os.WriteFile(next, []byte("version: 1\nrules:\n  - {match: GET users, public: true}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	replace(t, s.config, "policy: policies", "policy: next.yaml")
	eventually(t, "the mistake is noticed", func() bool {
		return strings.Contains(s.readyz(t), "next.yaml:3:")
	})
	replace(t, next, "GET users", "GET /users")
	eventually(t, "the mended file is in force", func() bool { status, _ := s.status(t, "/users", ""); return status == 200 })
}
