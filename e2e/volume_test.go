package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// volume is a secret or ConfigMap as Kubernetes mounts it: a swap of a symlink to a
// folder changes all files at once.
type volume struct {
	dir   string
	swaps int
}

func newVolume(t *testing.T, dir string, files map[string][]byte) *volume {
	t.Helper()
	v := &volume{dir: dir}
	v.swap(t, files)
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func (v *volume) swap(t *testing.T, files map[string][]byte) {
	t.Helper()
	v.swaps++
	version := fmt.Sprintf("..v%d", v.swaps)
	if err := os.MkdirAll(filepath.Join(v.dir, version), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(v.dir, version, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(v.dir, "..data_tmp")
	if err := os.Symlink(version, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link, filepath.Join(v.dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if v.swaps > 1 {
		if err := os.RemoveAll(filepath.Join(v.dir, fmt.Sprintf("..v%d", v.swaps-1))); err != nil {
			t.Fatal(err)
		}
	}
}
