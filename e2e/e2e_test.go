// Package e2e shows what Scopeward does through a real Envoy.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"scopeward/internal/envoyrun"
	"scopeward/internal/process"
)

// binaries are what the tests run: the product, as `go build` makes it, and Envoy.
type binaries struct{ scopeward, envoy string }

// built is filled by TestMain, before any test, and read only after that.
var built binaries

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "scopeward-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built.scopeward = filepath.Join(dir, "scopeward")
	build := exec.Command("go", "build", fmt.Sprintf("-race=%t", !longForm()), "-o", built.scopeward, "scopeward/cmd/scopeward")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "scopeward can't be built: %v\n%s", err, out)
		return 1
	}
	if built.envoy, err = envoyrun.Find(context.Background(), os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// scopeward is a running product.
type scopeward struct {
	*process.Process
	grpc, admin    string // host:port
	stdout, stderr *process.Output
}

var listening = regexp.MustCompile(`msg=listening (grpc|admin)=(\S+)`)

// serve runs the product until the test ends. Its configuration must ask for
// log format text.
func serve(t *testing.T, args ...string) *scopeward {
	t.Helper()
	return serveIn(t, nil, args...)
}

// serveIn runs the product with more in its environment, and waits until it is ready.
func serveIn(t *testing.T, environment []string, args ...string) *scopeward {
	t.Helper()
	s := launch(t, environment, args...)
	if err := s.Ready(20*time.Second, func() error { return s.get("/readyz", http.StatusOK) }); err != nil {
		t.Fatal(err)
	}
	return s
}

// launch runs the product, and waits until it listens.
func launch(t *testing.T, environment []string, args ...string) *scopeward {
	t.Helper()
	s := &scopeward{stdout: &process.Output{}, stderr: &process.Output{}}
	child, err := process.Start(process.Options{
		Path: built.scopeward, Args: append([]string{"serve"}, args...), Stdout: s.stdout, Stderr: s.stderr,
		// The race detector would hold each process for a second at its end.
		Env: append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), environment...),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Process = child
	t.Cleanup(func() {
		if err := child.Stop(); err != nil {
			t.Error(err)
		}
		if code := child.ExitCode(); code != 0 && !t.Failed() {
			t.Errorf("scopeward ended with status %d:\n%s", code, child.Tail())
		}
		if t.Failed() {
			t.Logf("scopeward's log:\n%s", s.stderr)
		}
	})
	err = child.Ready(20*time.Second, func() error {
		for _, m := range listening.FindAllStringSubmatch(s.stderr.String(), -1) {
			switch m[1] {
			case "grpc":
				s.grpc = m[2]
			case "admin":
				s.admin = m[2]
			}
		}
		if s.admin == "" {
			return fmt.Errorf("it does not listen yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// get asks the admin listener, and wants a status.
func (s *scopeward) get(path string, status int) error {
	res, err := http.Get("http://" + s.admin + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != status {
		err = fmt.Errorf("%s answered %s: %s", path, res.Status, body)
	}
	return err
}

// upstream remembers the headers of each request by a header that the tests add.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string]http.Header
}

// stepHeader tells the upstream which step a request belongs to.
const stepHeader = "X-Step"

func newUpstream(t *testing.T) *upstream {
	u := &upstream{seen: map[string]http.Header{}}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		seen := r.Header.Clone()
		seen.Set(":path", r.RequestURI)
		u.seen[r.Header.Get(stepHeader)] = seen
		u.mu.Unlock()
		fmt.Fprintln(w, "upstream")
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) headers(step string) http.Header {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen[step]
}

// target is a listener of Envoy's and the Scopeward behind it.
type target struct {
	name, authz, policy string
	cluster             func(map[string]any) // changes the authorization cluster; optional
	manager             func(map[string]any) // changes the HTTP connection manager; optional
	listener            func(map[string]any) // changes the listener; optional
	more                []any                // clusters that these changes need; optional
}

// startEnvoy runs one Envoy with a listener for each target, and returns the
// listeners' addresses by name.
func startEnvoy(t *testing.T, upstream string, targets []target) map[string]string {
	t.Helper()
	_, addresses := runEnvoy(t, upstream, targets)
	return addresses
}

// runEnvoy is startEnvoy, and gives the process as well.
func runEnvoy(t *testing.T, upstream string, targets []target) (*envoyrun.Process, map[string]string) {
	t.Helper()
	config, err := combine(upstream, targets)
	if err != nil {
		t.Fatal(err)
	}
	p, err := envoyrun.Start(t.Context(), envoyrun.Options{Path: built.envoy, Config: config, Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	addresses := map[string]string{}
	for _, target := range targets {
		if addresses[target.name], err = p.Address(t.Context(), target.name); err != nil {
			t.Fatal(err)
		}
	}
	return p, addresses
}

// combine makes one bootstrap of envoy/minimal.yaml for each target.
func combine(upstream string, targets []target) ([]byte, error) {
	var all map[string]any
	var listeners, clusters []any
	for _, target := range targets {
		b := envoyrun.Local(upstream, target.authz)
		b.Policy = target.policy
		text, err := b.YAML()
		if err != nil {
			return nil, err
		}
		// Each target has clusters of its own.
		text = bytes.ReplaceAll(text, []byte("cluster_name: "), []byte("cluster_name: "+target.name+"-"))
		text = bytes.ReplaceAll(text, []byte("cluster: "), []byte("cluster: "+target.name+"-"))
		var doc map[string]any
		if err := yaml.Unmarshal(text, &doc); err != nil {
			return nil, err
		}
		resources := doc["static_resources"].(map[string]any)
		if target.cluster != nil {
			target.cluster(resources["clusters"].([]any)[1].(map[string]any))
		}
		for _, l := range resources["listeners"].([]any) {
			if target.manager != nil {
				chain := l.(map[string]any)["filter_chains"].([]any)[0].(map[string]any)
				target.manager(chain["filters"].([]any)[0].(map[string]any)["typed_config"].(map[string]any))
			}
			if target.listener != nil {
				target.listener(l.(map[string]any))
			}
			l.(map[string]any)["name"] = target.name
			listeners = append(listeners, l)
		}
		for _, c := range resources["clusters"].([]any) {
			cluster := c.(map[string]any)
			cluster["name"] = target.name + "-" + cluster["name"].(string)
			clusters = append(clusters, c)
		}
		clusters = append(clusters, target.more...)
		all = doc
	}
	all["node"] = map[string]any{"id": "e2e", "cluster": "e2e"} // certificates from files ask for it
	all["static_resources"] = map[string]any{"listeners": listeners, "clusters": clusters}
	return yaml.Marshal(all)
}

// endpoints are those of a cluster, on ports of this machine.
func endpoints(ports ...int) []any {
	var list []any
	for _, port := range ports {
		list = append(list, map[string]any{"endpoint": map[string]any{"address": map[string]any{
			"socket_address": map[string]any{"address": "127.0.0.1", "port_value": port},
		}}})
	}
	return []any{map[string]any{"lb_endpoints": list}}
}

// exchange sends a request as it stands, byte for byte, and reads the answer.
func exchange(t *testing.T, address string, wire []byte) (*http.Response, []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(wire); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(string(wire), " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %q: %v", bytes.SplitN(wire, []byte("\r\n"), 2)[0], err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, body
}

// testLog shows what a process writes with the test that runs it.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Logf("%s", bytes.TrimRight(b, "\n"))
	}
	return len(b), nil
}

// run runs the product until it ends, and gives what it wrote.
func run(t *testing.T, args ...string) string {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), built.scopeward, args...).CombinedOutput()
	return string(out)
}
