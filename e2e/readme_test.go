package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"scopeward/internal/testenv/pki"
)

// fenced is a YAML block of the README whose first line names a file.
var fenced = regexp.MustCompile("(?ms)^```yaml\n# (policy|scopeward|envoy)\\.yaml[^\n]*\n(.*?)^```$")

// TestReadme: what the README shows is what the product takes.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := map[string][]string{}
	for _, m := range fenced.FindAllStringSubmatch(string(readme), -1) {
		files[m[1]] = append(files[m[1]], m[2])
	}
	if len(files["policy"]) != 1 || len(files["scopeward"]) != 2 || len(files["envoy"]) != 1 {
		t.Fatalf("the README shows %d policies, %d configurations and %d bootstraps", len(files["policy"]), len(files["scopeward"]), len(files["envoy"]))
	}
	for name, text := range map[string]string{"policy.yaml": files["policy"][0], "partner.secret": "secret", "next.yaml": files["policy"][0], "short.yaml": files["scopeward"][0], "full.yaml": files["scopeward"][1]} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ca := pki.NewCA(t, "corporation")
	serverPair(t, ca).Write(t, dir, "tls")
	pki.Write(t, filepath.Join(dir, "ca.crt"), ca.PEM)
	pki.Write(t, filepath.Join(dir, "corp-ca.crt"), ca.PEM)
	for _, config := range []string{"short.yaml", "full.yaml"} {
		if out := run(t, "check", "--config", filepath.Join(dir, config)); !strings.Contains(out, "All is well: 4 rules.") {
			t.Errorf("check of the README's %s says: %s", config, out)
		}
	}
	minimal, err := os.ReadFile("../envoy/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(minimal), "\n"+files["envoy"][0]) {
		t.Error("the README's bootstrap is not that of envoy/minimal.yaml, which the other tests run")
	}
}

var transportSocket = regexp.MustCompile("(?ms)^```yaml\n(transport_socket:\n.*?)^```$")

// readmeTLS is the transport socket that the README shows, with its files in a
// folder.
func readmeTLS(t *testing.T, dir string) func(map[string]any) {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := transportSocket.FindSubmatch(readme)
	if m == nil {
		t.Fatal("the README shows no transport socket")
	}
	text := strings.ReplaceAll(string(m[1]), "filename: ", "filename: "+dir+"/")
	return func(cluster map[string]any) {
		if err := yaml.Unmarshal([]byte(text), &cluster); err != nil {
			t.Error(err)
		}
	}
}
