package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	"golang.org/x/oauth2/clientcredentials"

	"scopeward/cmd/demo/idp"
	"scopeward/internal/envoyrun"
	"scopeward/internal/process"
	"scopeward/internal/testenv/pki"
	"scopeward/internal/testenv/redistest"
)

// composeService is what the tests look at in a service of docker-compose.yaml.
type composeService struct {
	Build         map[string]string
	Image         string
	ContainerName string   `yaml:"container_name"`
	ReadOnly      bool     `yaml:"read_only"`
	CapDrop       []string `yaml:"cap_drop"`
	SecurityOpt   []string `yaml:"security_opt"`
	Restart       string
	MemLimit      string `yaml:"mem_limit"`
	PidsLimit     int    `yaml:"pids_limit"`
	Logging       struct{ Options map[string]string }
	User          string
	Privileged    bool
	Ports         []string
	Volumes       []string
	Profiles      []string
	Healthcheck   map[string]any
	DependsOn     map[string]struct{ Condition string } `yaml:"depends_on"`
}

func composeServices(t *testing.T) map[string]composeService {
	t.Helper()
	var file struct{ Services map[string]composeService }
	if err := yaml.Unmarshal(readFile(t, "../docker-compose.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	return file.Services
}

// exactTag is an image with a tag that says what it is.
var exactTag = regexp.MustCompile(`^[\w./-]+:v?\d[\w.-]*$`)

// TestComposeFile: each service has no more rights than it needs, and is ready before others need it.
func TestComposeFile(t *testing.T) {
	if first, _, _ := strings.Cut(string(readFile(t, "../docker-compose.yaml")), "\n"); !strings.HasPrefix(first, "# FOR TRYING OUT") {
		t.Errorf("the file begins with %q, and not with what it is for", first)
	}
	services := composeServices(t)
	for _, name := range []string{"envoy", "scopeward", "idp", "upstream", "redis", "envoy-kinde", "scopeward-kinde", "prometheus", "grafana"} {
		if _, ok := services[name]; !ok {
			t.Errorf("there is no service %s", name)
		}
	}
	for name, s := range services {
		t.Run(name, func(t *testing.T) {
			if !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
				t.Errorf("it is not hardened: %+v", s)
			}
			if s.Restart != "unless-stopped" || s.MemLimit == "" || s.PidsLimit == 0 || s.Logging.Options["max-size"] == "" || s.Logging.Options["max-file"] == "" {
				t.Errorf("its restart, memory, processes or logs have no bound: %+v", s)
			}
			switch { // our own images have a user
			case s.Build != nil && (s.Build["context"] != "." || s.User != ""):
				t.Errorf("it builds %v as %q", s.Build, s.User)
			case s.Build == nil && (!exactTag.MatchString(s.Image) || s.User == "" || strings.HasPrefix(s.User, "0")):
				t.Errorf("image %q as %q: want an exact tag and another user than root", s.Image, s.User)
			}
			for _, port := range s.Ports {
				if !strings.HasPrefix(port, "127.0.0.1:${") {
					t.Errorf("port %s: want one of 127.0.0.1 that can be set", port)
				}
			}
			for _, volume := range s.Volumes {
				source, mode, _ := strings.Cut(volume, ":")
				if _, err := os.Stat(filepath.Join("..", source)); err != nil || !strings.HasSuffix(mode, ":ro") {
					t.Errorf("volume %s: %v; want something that is there, read-only", volume, err)
				}
			}
			if s.Healthcheck == nil {
				t.Error("nobody asks whether it is well")
			}
			for other, needs := range s.DependsOn {
				if _, ok := services[other]; !ok || needs.Condition != "service_healthy" {
					t.Errorf("it depends on %s: %+v", other, needs)
				}
			}
			if strings.HasPrefix(name, "scopeward") && (len(s.Ports) > 0 || s.ContainerName != "") {
				t.Error("there can't be two of it: it has a port of the host, or a name")
			}
			if optional := slices.Contains([]string{"envoy-kinde", "scopeward-kinde", "prometheus", "grafana"}, name); optional != (len(s.Profiles) > 0) {
				t.Errorf("its profiles are %v", s.Profiles)
			}
		})
	}
}

// TestComposeEnvironment: .env.example tells each variable, and no other.
func TestComposeEnvironment(t *testing.T) {
	used := map[string]bool{"KINDE_ISSUER_URL": true, "KINDE_AUDIENCE": true} // of kinde.yaml, which gets all of .env
	for _, m := range regexp.MustCompile(`\$\{(\w+)`).FindAllStringSubmatch(string(readFile(t, "../docker-compose.yaml")), -1) {
		used[m[1]] = true
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#?([A-Z_]+)=`).FindAllStringSubmatch(string(readFile(t, "../.env.example")), -1) {
		told[m[1]] = true
	}
	if fmt.Sprint(used) != fmt.Sprint(told) {
		t.Errorf("used: %v\ntold: %v", used, told)
	}
}

// TestComposeConfig lets docker compose read the file, where there is one: without an .env, and with the example.
func TestComposeConfig(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "docker", "compose", "version").Run(); err != nil {
		t.Logf("docker compose is not here (%v): the other tests have read the file, make test-compose runs it", err)
		return
	}
	dir := t.TempDir()
	config := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "docker", append(append([]string{"compose"}, args...), "config", "--format", "json")...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	pki.Write(t, filepath.Join(dir, "docker-compose.yaml"), readFile(t, "../docker-compose.yaml"))
	if out, err := config(); err != nil {
		t.Errorf("without an .env: %v\n%s", err, out)
	}
	if out, err := config("--profile", "kinde"); err == nil || !strings.Contains(out, ".env not found") {
		t.Errorf("the profile kinde without an .env: %v\n%s", err, out)
	}
	pki.Write(t, filepath.Join(dir, ".env"), readFile(t, "../.env.example"))
	out, err := config("--profile", "*")
	var model struct {
		Services map[string]struct{ Environment map[string]string }
	}
	if err != nil || json.Unmarshal([]byte(out), &model) != nil {
		t.Fatalf("with the example: %v\n%s", err, out)
	}
	kinde := model.Services["scopeward-kinde"].Environment
	if len(model.Services) != len(composeServices(t)) || kinde["KINDE_ISSUER_URL"] != "https://acme.kinde.com" {
		t.Errorf("%d services; Kinde's Scopeward has %v", len(model.Services), kinde)
	}
	if key := model.Services["scopeward"].Environment["CACHE_KEY"]; len(key) < 32 {
		t.Errorf("the cache key %q is too short", key)
	}
}

// TestComposePolicy: the requests of the demo are answered alike with make demo and with docker compose.
func TestComposePolicy(t *testing.T) {
	rules := func(name string) string {
		_, rules, _ := strings.Cut(string(readFile(t, name)), "\nversion: 1\n")
		return rules
	}
	if rules("../envoy/compose/scopeward/policy.yaml") != rules("../cmd/demo/policy.yaml") {
		t.Error("the policy of docker compose is not the demo's")
	}
}

// TestComposeChecks: scopeward check of the configurations, with what the containers have, and without.
func TestComposeChecks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, config string
		env          []string
		want         string
	}{
		{"demo", "scopeward.yaml", []string{"CACHE_KEY=0123456789abcdef0123456789abcdef", "DEMO_CLIENT_SECRET=x"}, "All is well: 5 rules."},
		{"Kinde", "kinde.yaml", []string{"KINDE_ISSUER_URL=https://acme.kinde.com", "KINDE_AUDIENCE=https://api.acme.dev"}, "All is well: 5 rules."},
		{"Kinde without a domain", "kinde.yaml", []string{"KINDE_AUDIENCE=https://api.acme.dev"}, "kinde.yaml:8:13: issuer: environment variable KINDE_ISSUER_URL is not set"},
		{"Kinde with an empty domain", "kinde.yaml", []string{"KINDE_ISSUER_URL=", "KINDE_AUDIENCE=https://api.acme.dev"}, "kinde.yaml:8:13: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			check := exec.CommandContext(t.Context(), built.scopeward, "check", "--config", "../envoy/compose/scopeward/"+c.config)
			check.Env = c.env
			if out, _ := check.CombinedOutput(); !strings.Contains(string(out), c.want) {
				t.Errorf("want %q, got:\n%s", c.want, out)
			}
		})
	}
}

// TestComposeSystem runs what docker compose runs, on this machine: its Envoy, its Scopeward, the demo's identity provider and a Redis, with
// other addresses.
func TestComposeSystem(t *testing.T) {
	t.Parallel()
	provider, err := idp.Serve(idp.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Secret: "the secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close()
	dir, redis := t.TempDir(), redistest.Start(t)
	pki.Write(t, filepath.Join(dir, "policy.yaml"), readFile(t, "../envoy/compose/scopeward/policy.yaml"))
	config := strings.NewReplacer("http://idp:8082", provider.URL(), "redis://redis:6379", redis.URL()+patient, "0.0.0.0:9191", "127.0.0.1:0", "0.0.0.0:9192", "127.0.0.1:0").
		Replace(string(readFile(t, "../envoy/compose/scopeward/scopeward.yaml")))
	pki.Write(t, filepath.Join(dir, "scopeward.yaml"), []byte(config+"log: {format: text}\n"))
	s := serveIn(t, []string{"CACHE_KEY=0123456789abcdef0123456789abcdef", "DEMO_CLIENT_SECRET=the secret"}, "--config", filepath.Join(dir, "scopeward.yaml"))
	up, log := newUpstream(t), &process.Output{}
	address := startComposeEnvoy(t, up.Listener.Addr().String(), s.grpc, log)
	client := clientcredentials.Config{ClientID: idp.MachineClient, ClientSecret: "the secret", Scopes: []string{"write:users"}, TokenURL: provider.URL() + "/keys/oauth2/token"}
	token, err := client.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bearer := "Authorization: Bearer " + token.AccessToken + "\r\n"
	ask := func(request, header string) int {
		res, _ := exchange(t, address, []byte(request+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Step: "+request+"\r\n"+header+"\r\n"))
		return res.StatusCode
	}
	eventually(t, "Envoy finds Scopeward well", func() bool { return ask("GET /public/a", "") == http.StatusOK })
	for _, c := range []struct {
		request, header string
		status          int
	}{{"POST /users", bearer, 200}, {"GET /users", bearer, 403}, {"GET /users", "", 401}, {"GET /public/../users", bearer, 400}} {
		if status := ask(c.request, c.header); status != c.status {
			t.Errorf("%s: %d, want %d", c.request, status, c.status)
		}
	}
	if got := up.headers("POST /users").Get("X-Auth-Scopes"); got != "write:users" {
		t.Errorf("the upstream sees the scopes %q", got)
	}
	eventually(t, "the access log tells the code and the rule", func() bool {
		return strings.Contains(log.String(), `"code":"insufficient_scope"`) && strings.Contains(log.String(), `"rule":"GET /users"`)
	})
}

// startComposeEnvoy lets Envoy check the bootstrap of docker compose as it is, and runs it with other addresses.
func startComposeEnvoy(t *testing.T, upstream, authz string, log io.Writer) (address string) {
	t.Helper()
	boot := envoyrun.Local(upstream, authz)
	boot.File = "compose/envoy.yaml"
	config, err := boot.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if err := envoyrun.Validate(t.Context(), built.envoy, readFile(t, "../envoy/"+boot.File)); err != nil {
		t.Error(err)
	}
	p, err := envoyrun.Start(t.Context(), envoyrun.Options{Path: built.envoy, Config: config, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	if address, err = p.Address(t.Context(), "public"); err != nil {
		t.Fatal(err)
	}
	return address
}
