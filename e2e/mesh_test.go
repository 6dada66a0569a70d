//go:build mesh

package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"scopeward/internal/process"
)

// The mesh is one for these tests alone: they change its policies and change them back.
const meshHelp = `make test-mesh needs an Istio and an Envoy Gateway that have read envoy/istio and envoy/gateway, and reach Scopeward and the upstream on this machine
(at $MESH_AUTHZ, by default 127.0.0.1:9191, and $MESH_UPSTREAM, 127.0.0.1:8000; both ports must be free, for the tests listen there). Set
  MESH_ISTIO_INGRESS_URL, MESH_ISTIO_SIDECAR_URL, MESH_GATEWAY_URL        where requests go in, as in http://127.0.0.1:18080
  MESH_ISTIO_INGRESS_ADMIN, MESH_ISTIO_SIDECAR_ADMIN, MESH_GATEWAY_ADMIN  those Envoys' admin interfaces, as kubectl port-forward gives them
  KUBECONFIG                                                              of the API server that Istio reads; and kubectl on the path`

// door is a way into the mesh.
type door struct {
	name, url, admin string
	doctor           []string          // what differs from the defaults of scopeward doctor
	differs          map[string]string // another status than the demo says, by path
}

func doors(t *testing.T) []door {
	t.Helper()
	// No mutual TLS is set up in a mesh for tests.
	plain := []string{"--ignore", "plaintext-authz"}
	return []door{
		{"ingress gateway", meshVariable(t, "MESH_ISTIO_INGRESS_URL"), meshVariable(t, "MESH_ISTIO_INGRESS_ADMIN"), plain, nil},
		// Its policy says that an ingress gateway stands before it.
		{"sidecar", meshVariable(t, "MESH_ISTIO_SIDECAR_URL"), meshVariable(t, "MESH_ISTIO_SIDECAR_ADMIN"), append(plain, "--trusted-hops", "1"), nil},
		// Envoy Gateway resolves /../ first, and forwards what it has asked about.
		{"envoy gateway", meshVariable(t, "MESH_GATEWAY_URL"), meshVariable(t, "MESH_GATEWAY_ADMIN"), plain, map[string]string{"/public/../users": "200"}},
	}
}

func meshVariable(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("$%s is not set.\n%s", name, meshHelp)
	}
	return strings.TrimRight(value, "/")
}

// kubectl runs it against the mesh's API server.
func kubectl(t *testing.T, input []byte, args ...string) (string, error) {
	t.Helper()
	meshVariable(t, "KUBECONFIG")
	cmd := exec.CommandContext(t.Context(), "kubectl", args...)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func mustKubectl(t *testing.T, input []byte, args ...string) string {
	t.Helper()
	out, err := kubectl(t, input, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, meshHelp)
	}
	return out
}

// promise is a line of the demo to paste: the status that it says, the path and the command.
type promise struct{ status, path, command string }

var policyPath = regexp.MustCompile(`/\S+/policy\.yaml`)

var promised = regexp.MustCompile(`(?m)^# (\d{3}): .*\n(curl .* \$API(/\S*))$`)

// setup finds the lines that set the variables of the others.
var setup = regexp.MustCompile(`(?m)^(?:export |\. ).*$`)

// meshDemo is a demo behind the mesh: what it promises, what a shell reads before, and the folder of its files.
type meshDemo struct {
	setup, dir string
	promises   []promise
}

func startMeshDemo(t *testing.T, url string) (d meshDemo) {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "scopeward/cmd/demo", "scopeward/cmd/scopeward")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	shown := &process.Output{}
	p, err := process.Start(process.Options{Path: filepath.Join(dir, "demo"), Stdout: shown, Stderr: shown, Args: []string{"--through", url,
		"--authz", cmp.Or(os.Getenv("MESH_AUTHZ"), "127.0.0.1:9191"), "--upstream", cmp.Or(os.Getenv("MESH_UPSTREAM"), "127.0.0.1:8000")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	err = p.Ready(time.Minute, func() error {
		if !strings.Contains(shown.String(), "Ctrl-C ends everything") {
			return fmt.Errorf("the demo is not ready")
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, shown, meshHelp)
	}
	for _, m := range promised.FindAllStringSubmatch(shown.String(), -1) {
		d.promises = append(d.promises, promise{m[1], m[3], m[2]})
	}
	d.setup = strings.Join(setup.FindAllString(shown.String(), -1), "\n")
	d.dir = filepath.Dir(policyPath.FindString(shown.String()))
	if len(d.promises) < 10 || d.dir == "." {
		t.Fatalf("the demo shows %d requests, and its policy in %s:\n%s", len(d.promises), d.dir, shown)
	}
	return d
}

// at is a command of the demo for another URL than the demo's.
func (d meshDemo) at(url, command string) string { return d.setup + "\nAPI=" + url + "\n" + command }

// paste runs a command of the demo in a shell, and gives the HTTP status.
func paste(t *testing.T, command string) (status, answer string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "bash", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, command, out)
	}
	_, rest, _ := strings.Cut(string(out), " ")
	return rest[:min(3, len(rest))], string(out)
}

// ask sends a GET, as a client that says who it is.
func ask(t *testing.T, url, host string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("X-Auth-Subject", "intruder")
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(data)
}

// TestMesh: what the demo shows is so through each door, and without Scopeward nobody passes.
func TestMesh(t *testing.T) {
	all := doors(t)
	t.Run("asks", func(t *testing.T) {
		demo := startMeshDemo(t, all[0].url)
		for _, d := range all {
			t.Run(d.name, func(t *testing.T) { throughDoor(t, d, demo) })
		}
		t.Run("named policy", func(t *testing.T) { namedPolicy(t, all[0]) })
		t.Run("missing provider", func(t *testing.T) { missingProvider(t, all[0]) })
		t.Run("trusted hops", func(t *testing.T) { trustedHops(t, all[1], demo) })
	})
	for _, d := range all {
		if status, body := ask(t, d.url+"/public/hello", ""); status != http.StatusServiceUnavailable {
			t.Errorf("%s: without Scopeward a request gets %d %s, want 503", d.name, status, body)
		}
	}
}

func throughDoor(t *testing.T, d door, demo meshDemo) {
	for _, p := range demo.promises {
		want := cmp.Or(d.differs[p.path], p.status)
		command := demo.at(d.url, p.command)
		eventually(t, "the mesh is ready again", func() bool { // a connection that it lost takes it a moment
			status, _ := paste(t, command)
			return status == want || status != "503"
		})
		if status, answer := paste(t, command); status != want {
			t.Errorf("got %s, want %s\n%s\n%s", status, want, command, answer)
		}
	}
	if status, body := ask(t, d.url+"/public/hello", ""); status != http.StatusOK || strings.Contains(body, "intruder") {
		t.Errorf("a client's own identity header passed: %d %s", status, body)
	}
	cmd := exec.CommandContext(t.Context(), built.scopeward, append([]string{"doctor", d.admin}, d.doctor...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("scopeward doctor %s: %v\n%s", d.admin, err, out)
	}
}

// namedPolicy: the requests for one host name a policy, which the demo does not have, so they are denied.
func namedPolicy(t *testing.T, ingress door) {
	const host = "orders.example.com"
	var list struct{ Items []map[string]any }
	services := mustKubectl(t, nil, "-n", "istio-system", "get", "virtualservices.networking.istio.io", "-o", "json")
	if err := json.Unmarshal([]byte(services), &list); err != nil || len(list.Items) == 0 {
		t.Fatalf("istio-system has no VirtualService for the ingress gateway (%v)\n%s", err, services)
	}
	service := list.Items[0]
	service["metadata"] = map[string]any{"name": "orders", "namespace": "istio-system"}
	service["spec"].(map[string]any)["hosts"] = []string{host}
	text, err := json.Marshal(service)
	if err != nil {
		t.Fatal(err)
	}
	defer kubectl(t, text, "delete", "--ignore-not-found", "-f", "-")
	mustKubectl(t, text, "apply", "-f", "-")
	eventually(t, "the policy of "+host+" counts", func() bool {
		status, body := ask(t, ingress.url+"/public/hello", host)
		return status == http.StatusForbidden && strings.Contains(body, `"code":"access_denied"`)
	})
	if status, body := ask(t, ingress.url+"/public/hello", "other.example.com"); status != http.StatusOK {
		t.Errorf("another host gets %d %s", status, body)
	}
}

// missingProvider: a policy with a provider that the mesh does not have denies all.
func missingProvider(t *testing.T, ingress door) {
	provider := func(name string) {
		patch := fmt.Sprintf(`{"spec": {"provider": {"name": %q}}}`, name)
		mustKubectl(t, nil, "-n", "istio-system", "patch", "authorizationpolicies.security.istio.io", "scopeward", "--type=merge", "--patch", patch)
	}
	defer provider("scopeward")
	provider("misspelt")
	eventually(t, "all are denied", func() bool {
		status, body := ask(t, ingress.url+"/public/hello", "")
		return status == http.StatusForbidden && strings.Contains(body, "RBAC")
	})
	provider("scopeward")
	eventually(t, "Scopeward is asked again", func() bool {
		status, _ := ask(t, ingress.url+"/public/hello", "")
		return status == http.StatusOK
	})
}

// trustedHops: at a sidecar the client is whom the gateway in front has added to X-Forwarded-For, with trusted_hops: 1. It
// leaves the demo with another policy.
func trustedHops(t *testing.T, sidecar door, demo meshDemo) {
	const client, liar = "203.0.113.9", "198.51.100.6"
	config := filepath.Join(demo.dir, "scopeward.yaml")
	for name, text := range map[string]string{
		"scopeward.yaml": string(readFile(t, config)) + "rate_limit: {trusted_hops: 1}\n",
		"policy.yaml":    fmt.Sprintf("version: 1\nrules:\n  - match: GET /users\n    when: request.client_ip == %q\n", client),
	} {
		if err := os.WriteFile(filepath.Join(demo.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	from := func(addresses string) (status string) {
		command := demo.at(sidecar.url, demo.promises[0].command)
		status, _ = paste(t, strings.Replace(command, "curl ", "curl -H 'X-Forwarded-For: "+addresses+"' ", 1))
		return status
	}
	eventually(t, "the address that a client chose does not count", func() bool { return from(client+", "+liar) == "403" })
	if status := from(liar + ", " + client); status != "200" {
		t.Errorf("the client whom the gateway named gets %s", status)
	}
}

// TestMeshAPIServer: a real API server takes all manifests as kubectl renders them, and the pod into a restricted namespace.
func TestMeshAPIServer(t *testing.T) {
	installDefinitions(t)
	for _, file := range []string{"namespace.yaml", "serviceaccount.yaml"} {
		mustKubectl(t, nil, "apply", "-n", "scopeward", "-f", "../envoy/kubernetes/base/"+file)
	}
	for dir, k := range kustomizations(t) {
		if k.Kind == "Component" {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			rendered := []byte(mustKubectl(t, nil, "kustomize", dir))
			if out, err := kubectl(t, rendered, "apply", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
				t.Error(out, err)
			}
			admitPod(t, rendered)
		})
	}
	for _, dir := range []string{"istio", "gateway"} {
		for _, file := range filesBelow(t, "../envoy/"+dir) {
			if filepath.Base(file) == "meshconfig.yaml" {
				continue
			}
			if out, err := kubectl(t, nil, "apply", "--dry-run=server", "--validate=strict", "-f", file); err != nil {
				t.Error(out, err)
			}
		}
	}
}

// TestMeshRenderedManifests: the file for those without kustomize is what kustomize makes.
func TestMeshRenderedManifests(t *testing.T) {
	file, err := os.ReadFile("../envoy/istio/scopeward.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if rendered := mustKubectl(t, nil, "kustomize", "../envoy/kubernetes/overlays/istio"); !strings.HasSuffix(string(file), "\n"+rendered) {
		t.Error("envoy/istio/scopeward.yaml is not what envoy/kubernetes/overlays/istio makes: run make manifests")
	}
}

// installDefinitions makes the kinds known that the API server lacks, until the test ends.
func installDefinitions(t *testing.T) {
	crds := map[string]json.RawMessage{}
	readJSON(t, "testdata/kubernetes/crds.json", &crds)
	for name, crd := range crds {
		if _, err := kubectl(t, nil, "get", "crd", name); err == nil {
			continue
		}
		mustKubectl(t, crd, "create", "-f", "-")
		t.Cleanup(func() { exec.Command("kubectl", "delete", "--wait=false", "crd", name).Run() })
		eventually(t, name+" is established", func() bool {
			status, err := kubectl(t, nil, "get", "crd", name, "-o", `jsonpath={.status.conditions[?(@.type=="Established")].status}`)
			return err == nil && status == "True"
		})
	}
}

// admitPod asks for the pod of a rendered Deployment, and for one that may be root.
func admitPod(t *testing.T, rendered []byte) {
	t.Helper()
	var objects []map[string]any
	if err := yaml.Load(rendered, &objects, yaml.WithAllDocuments()); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o["kind"] != "Deployment" {
			continue
		}
		pod := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "scopeward", "namespace": "scopeward"}, "spec": field(o, "spec.template.spec")}
		create := func() (string, error) {
			text, err := json.Marshal(pod)
			if err != nil {
				t.Fatal(err)
			}
			return kubectl(t, text, "create", "--dry-run=server", "-f", "-")
		}
		// With defaults, which an API server fills in, and matchLabelKeys, for which a pod needs a ReplicaSet.
		delete(pod["spec"].(map[string]any), "topologySpreadConstraints")
		if out, err := create(); err != nil {
			t.Errorf("the pod is refused: %s %v", out, err)
		}
		delete(field(pod, "spec.securityContext").(map[string]any), "runAsNonRoot")
		if out, err := create(); err == nil || !strings.Contains(err.Error(), "restricted") {
			t.Errorf("a pod that may be root is taken: %s %v", out, err)
		}
		return
	}
	t.Error("there is no Deployment")
}
