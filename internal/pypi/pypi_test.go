package pypi

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func script(t *testing.T, body string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "python3")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestInstallSaysWhatIsMissing(t *testing.T) {
	nothing := Program{Name: "Nothing", Package: "nothing", Version: "1", Binary: "bin/nothing", Variable: "NOTHING",
		Check: func(context.Context, string) error { return nil }}
	for _, c := range []struct{ name, python, want string }{
		{"no python3", "", "apt install python3 python3-venv"},
		{"no venv", "echo ensurepip is not available; exit 1", "apt install python3-venv"},
		{"pip fails", `mkdir -p "$3/bin"; printf '#!/bin/sh\necho no route to host; exit 1\n' > "$3/bin/python"; chmod +x "$3/bin/python"`, "is PyPI reachable"},
		{"no binary", `mkdir -p "$3/bin"; printf '#!/bin/sh\n' > "$3/bin/python"; chmod +x "$3/bin/python"`, "has no binary of Nothing for this system"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bin := t.TempDir()
			t.Setenv("PATH", bin+":/usr/bin:/bin")
			if c.python == "" {
				t.Setenv("PATH", bin)
			} else if err := os.Rename(script(t, c.python), filepath.Join(bin, "python3")); err != nil {
				t.Fatal(err)
			}
			cache := t.TempDir()
			_, err := nothing.install(t.Context(), cache, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an error with %q", err, c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(cache, "*.new-*")); left != nil {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
