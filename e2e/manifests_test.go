package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"scopeward/internal/testenv/pki"
)

// kustomizationFile has, beside its folder's manifests, what kubectl makes of them.
const kustomizationFile = "kustomization.yaml"

// kustomization is all that ours say: another key is a mistake, or belongs here.
type kustomization struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Namespace  string
	Resources  []string // files, and folders with a kustomization
	Components []string
	Patches    []struct {
		Path   string
		Target struct{ Kind, Name string }
	}
	ConfigMapGenerator []generator `yaml:"configMapGenerator"`
	Images             []struct {
		Name    string
		NewName string `yaml:"newName"`
		NewTag  string `yaml:"newTag"`
	}
}

type generator struct {
	Name, Behavior, Namespace string
	Files, Envs               []string
	Options                   struct {
		DisableNameSuffixHash bool `yaml:"disableNameSuffixHash"`
		Labels                map[string]string
	}
}

// files are the paths that it names, folders with a slash at the end.
func (k *kustomization) files() (paths []string) {
	for _, name := range slices.Concat(k.Resources, k.Components) {
		if filepath.Ext(name) != ".yaml" {
			name += "/"
		}
		paths = append(paths, name)
	}
	for _, p := range k.Patches {
		paths = append(paths, p.Path)
	}
	for _, g := range k.ConfigMapGenerator {
		paths = append(append(paths, g.Files...), g.Envs...)
	}
	return paths
}

// merges tells whether a patch is a part of an object, and not a list of operations.
func merges(t *testing.T, file string) bool {
	return !bytes.HasPrefix(withoutComments(t, file), []byte("-"))
}

func withoutComments(t *testing.T, file string) []byte {
	t.Helper()
	var kept [][]byte
	for line := range bytes.Lines(readFile(t, file)) {
		if !bytes.HasPrefix(line, []byte("#")) {
			kept = append(kept, line)
		}
	}
	return bytes.Join(kept, nil)
}

func readFile(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// kustomizations reads all of them, by folder.
func kustomizations(t *testing.T) map[string]*kustomization {
	t.Helper()
	found := map[string]*kustomization{}
	for _, file := range filesBelow(t, "../envoy/kubernetes") {
		if filepath.Base(file) != kustomizationFile {
			continue
		}
		k := &kustomization{}
		decode(t, file, k)
		found[filepath.Dir(file)] = k
	}
	return found
}

// decode reads a YAML file into a value that has a field for each of its keys.
func decode(t *testing.T, file string, v any) {
	t.Helper()
	if err := yaml.Load(readFile(t, file), v, yaml.WithKnownFields(true)); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func filesBelow(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatal(dir, err)
	}
	return files
}

// TestKustomizations: what they name is there, and what is there they name.
func TestKustomizations(t *testing.T) {
	t.Parallel()
	named := map[string]bool{}
	for dir, k := range kustomizations(t) {
		if want := map[bool]string{true: "Component", false: "Kustomization"}[strings.Contains(dir, "/components/")]; k.Kind != want {
			t.Errorf("%s has kind %q, want %s", dir, k.Kind, want)
		}
		for _, name := range k.files() {
			path := filepath.Join(dir, name)
			if strings.HasSuffix(name, "/") {
				path = filepath.Join(path, kustomizationFile)
			} else if filepath.Dir(path) != dir {
				t.Errorf("%s names %s outside its folder, which kustomize refuses", dir, name)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s names %s: %v", dir, name, err)
			}
			named[path] = true
		}
		if strings.Contains(dir, "/overlays/") {
			named[filepath.Join(dir, kustomizationFile)] = true
		}
	}
	for _, file := range filesBelow(t, "../envoy/kubernetes") {
		if !named[file] {
			t.Errorf("no kustomization names %s", file)
		}
	}
}

// TestKubernetesConfigurations: the product takes what the ConfigMaps carry, where
// the volumes put it.
func TestKubernetesConfigurations(t *testing.T) {
	t.Parallel()
	base := "../envoy/kubernetes/base"
	for dir, k := range kustomizations(t) {
		for _, g := range k.ConfigMapGenerator {
			if !slices.Contains(g.Files, "scopeward.yaml") {
				continue
			}
			t.Run(filepath.Base(dir), func(t *testing.T) {
				t.Parallel()
				if k := kustomizations(t)[base]; !k.ConfigMapGenerator[0].Options.DisableNameSuffixHash {
					t.Error("with a hash in the ConfigMap's name an edit never reaches a running pod")
				}
				checkInPod(t, filepath.Join(dir, "scopeward.yaml"), filepath.Join(base, "policy.yaml"), filepath.Join(base, "provider.env"))
			})
		}
	}
}

func checkInPod(t *testing.T, config, policy, environment string) {
	t.Helper()
	etc := t.TempDir()
	for _, folder := range []string{"config", "secrets", "tls"} {
		if err := os.Mkdir(filepath.Join(etc, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string][]byte{
		"config/scopeward.yaml": readFile(t, config), "config/policy.yaml": readFile(t, policy), "secrets/introspection": []byte("secret"),
		"secrets/redis.url": []byte("redis://127.0.0.1:6379"), "secrets/cache.key": []byte(strings.Repeat("key ", 10)),
	} {
		if err := os.WriteFile(filepath.Join(etc, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ca := pki.NewCA(t, "internal")
	serverPair(t, ca).Write(t, filepath.Join(etc, "tls"), "tls")
	pki.Write(t, filepath.Join(etc, "tls", "ca.crt"), ca.PEM)
	cmd := exec.CommandContext(t.Context(), built.scopeward, "check", "--config", filepath.Join(etc, "config", "scopeward.yaml"))
	cmd.Env = append(os.Environ(), strings.Fields(string(readFile(t, environment)))...)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "All is well: 4 rules.") {
		t.Errorf("check says: %s (%v)", out, err)
	}
}
