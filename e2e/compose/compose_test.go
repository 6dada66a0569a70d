//go:build compose

// Package compose runs docker-compose.yaml in a real docker engine: make test-compose.
package compose

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"scopeward/internal/envoyrun"
)

// project is the folder from which docker compose is run: a copy, for the tests edit the policy and have an .env.
type project struct {
	t       *testing.T
	dir     string
	profile string
	ports   map[string]string // by variable
}

// start runs docker compose in a new project with an .env, if that is not empty. The project ends with the test.
func start(t *testing.T, profile, dotenv string, args ...string) *project {
	t.Helper()
	needEngine(t)
	p := &project{t: t, dir: t.TempDir(), profile: profile, ports: map[string]string{}}
	for _, name := range []string{"PORT", "KINDE_PORT", "PROMETHEUS_PORT"} {
		port, err := envoyrun.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		p.ports[name] = fmt.Sprint(port)
	}
	p.copy("envoy/compose")
	p.copy("envoy/kubernetes/components/dashboard")
	compose := strings.ReplaceAll(read(t, "../../docker-compose.yaml"), "context: .,", "context: "+root(t)+",")
	p.write("docker-compose.yaml", compose)
	if dotenv != "" {
		p.write(".env", dotenv)
	}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := p.try(context.Background(), "logs", "--tail", "20")
			t.Logf("%s", out)
		}
		if out, err := p.try(context.Background(), "down", "--volumes", "--timeout", "15"); err != nil {
			t.Errorf("docker compose down: %v\n%s", err, out)
		}
		if left := p.must("ps", "--all", "--quiet"); left != "" {
			t.Errorf("left behind: %s", left)
		}
	})
	p.must(args...)
	return p
}

// needEngine tells what is missing.
func needEngine(t *testing.T) {
	t.Helper()
	for _, try := range [][]string{{"version", "--format", "{{.Server.Version}}"}, {"compose", "version"}} {
		if out, err := exec.CommandContext(t.Context(), "docker", try...).CombinedOutput(); err != nil {
			t.Fatalf("make test-compose needs a docker engine that answers (DOCKER_HOST says where, else docker's default) and the plugins compose and buildx: docker %s: %v\n%s",
				strings.Join(try, " "), err, out)
		}
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// copy copies a folder of the repository; the containers' users may read it.
func (p *project) copy(folder string) {
	p.t.Helper()
	if err := os.Chmod(p.dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(p.dir, folder), os.DirFS(filepath.Join(root(p.t), folder))); err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) try(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", append([]string{"compose", "--profile", p.profile}, args...)...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "COMPOSE_PROJECT_NAME="+strings.ToLower(p.t.Name()))
	for name, port := range p.ports {
		cmd.Env = append(cmd.Env, name+"="+port)
	}
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	if err := cmd.Run(); err != nil {
		return out.String() + told.String(), err
	}
	return out.String(), nil
}

// must runs docker compose and returns its standard output.
func (p *project) must(args ...string) string {
	p.t.Helper()
	out, err := p.try(context.WithoutCancel(p.t.Context()), args...)
	if err != nil {
		p.t.Fatalf("docker compose %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// pasted is a command of `demo requests` with the status that the comment above it promises.
var pasted = regexp.MustCompile(`(?m)^# (\d{3}): (.+)\n(curl .+)$`)

// exported finds the lines that set the variables of the others.
var exported = regexp.MustCompile(`(?m)^export .*$`)

// status runs a curl command and returns the HTTP status.
func status(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "bash", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	_, rest, _ := strings.Cut(string(out), " ")
	return rest[:3]
}

// get asks a port of this machine.
func (p *project) get(port, path string) (int, []byte) {
	p.t.Helper()
	res, err := http.Get("http://" + net.JoinHostPort("127.0.0.1", p.ports[port]) + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, body
}

// eventually polls what another process brings about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(time.Minute); !holds(); {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// TestDemo: what the README says, from the first command to the last, with two replicas and Prometheus.
func TestDemo(t *testing.T) {
	p := start(t, "observe", "", "up", "--build", "--wait")
	printed := p.must("exec", "-T", "idp", "demo", "requests")
	setup := strings.Join(exported.FindAllString(printed, -1), "\n")
	shown := pasted.FindAllStringSubmatch(printed, -1)
	if len(shown) < 10 {
		t.Fatalf("%d commands", len(shown))
	}
	requests := func(t *testing.T) {
		for _, m := range shown {
			if got := status(t, setup+"\n"+m[3]); got != m[1] {
				t.Errorf("got %s, promised %s (%s)", got, m[1], m[2])
			}
		}
	}
	requests(t)
	t.Run("rights", func(t *testing.T) { rights(t, p) })
	t.Run("policy", func(t *testing.T) { editPolicy(t, p) })
	t.Run("broken provider", func(t *testing.T) {
		p.must("exec", "-T", "idp", "demo", "provider", "500")
		requests(t) // each of these tokens is in the cache
		p.must("exec", "-T", "idp", "demo", "provider", "up")
	})
	t.Run("replicas", func(t *testing.T) { replicas(t, p) })
	requests(t)
	t.Run("dashboard", func(t *testing.T) { dashboard(t, p) })
}

// rights looks at what runs: users, capabilities, file systems, health, and the size of the image.
func rights(t *testing.T, p *project) {
	const format = `{{.Name}} user={{.Config.User}} readonly={{.HostConfig.ReadonlyRootfs}} drop={{.HostConfig.CapDrop}} add={{.HostConfig.CapAdd}} {{.HostConfig.SecurityOpt}} health={{.State.Health.Status}}`
	for _, id := range strings.Fields(p.must("ps", "--quiet")) {
		out, err := exec.CommandContext(t.Context(), "docker", "inspect", "--format", format, id).Output()
		if err != nil {
			t.Fatal(err)
		}
		good := regexp.MustCompile(` user=[1-9]\d*:\d+ readonly=true drop=\[ALL\] add=\[\] \[no-new-privileges:true\] health=healthy\n$`)
		if !good.Match(out) {
			t.Errorf("%s", out)
		}
	}
	out, err := exec.CommandContext(t.Context(), "docker", "image", "inspect", "--format", "{{.Size}}", "scopeward").Output()
	var size int
	if fmt.Sscan(string(out), &size); err != nil || size == 0 || size >= 45_000_000 {
		t.Errorf("the image has %d bytes, want less than 45 MB: %v", size, err)
	}
}

// editPolicy saves a policy as editors do, in place and by renaming: it is live, and a broken one is not.
func editPolicy(t *testing.T, p *project) {
	const name = "envoy/compose/scopeward/policy.yaml"
	was := read(t, filepath.Join(p.dir, name))
	answers := func(want int) func() bool {
		return func() bool { got, _ := p.get("PORT", "/users"); return got == want }
	}
	p.write(name, strings.Replace(was, "scopes: [read:users]", "public: true", 1))
	eventually(t, "the edited policy is live", answers(http.StatusOK))
	p.write(name, "version: 1\nrules:\n  - match: nonsense\n")
	eventually(t, "the mistake is in the log", func() bool {
		return strings.Contains(p.must("logs", "scopeward"), "policy.yaml:3:")
	})
	if !answers(http.StatusOK)() {
		t.Error("the last good policy is gone")
	}
	p.write(name+".new", was)
	if err := os.Rename(filepath.Join(p.dir, name+".new"), filepath.Join(p.dir, name)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the renamed policy is live", answers(http.StatusUnauthorized))
}
