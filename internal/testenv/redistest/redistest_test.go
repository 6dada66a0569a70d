package redistest

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bare leaves nothing on the path and nothing in the cache folder. It returns the
// only folder of the path.
func bare(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	t.Setenv("REDIS_SERVER", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // os.UserCacheDir on Linux
	t.Setenv("HOME", t.TempDir())           // and elsewhere
	return bin
}

func server(t *testing.T, dir, says string) string {
	t.Helper()
	path := filepath.Join(dir, "redis-server")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+says+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	t.Run("on the path", func(t *testing.T) {
		want := server(t, bare(t), "")
		if got, err := Find(t.Context(), io.Discard); err != nil || got != want {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("named", func(t *testing.T) {
		bare(t)
		want := server(t, t.TempDir(), "Redis server v=7.0.15 sha=0")
		t.Setenv("REDIS_SERVER", want)
		if got, err := Find(t.Context(), io.Discard); err != nil || got != want {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("named, and no good", func(t *testing.T) {
		bare(t)
		for says, want := range map[string]string{"Redis server v=5.0.14": "too old", "hello": "is no redis-server"} {
			t.Setenv("REDIS_SERVER", server(t, t.TempDir(), says))
			if _, err := Find(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v", says, err)
			}
		}
	})
	t.Run("nowhere, and no Python", func(t *testing.T) {
		bare(t)
		if _, err := Find(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "apt install redis-server") {
			t.Errorf("it is not said how to get one: %v", err)
		}
	})
	t.Run("installed", func(t *testing.T) {
		path := os.Getenv("PATH")
		bare(t)
		t.Setenv("PATH", path)
		if _, err := packaged().Find(t.Context(), os.Stderr); err != nil {
			t.Error(err)
		}
	})
}
