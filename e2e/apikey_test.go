package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAPIKeyEdits: a key counts from the reading of the file that has it to that of the
// file that lacks it, whatever was answered before; a broken file changes nothing.
func TestAPIKeyEdits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "keys.yaml")
	command := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), built.scopeward, append([]string{"apikey"}, append(args, "--file", file)...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	first := command("new", "--id", "first", "--scope", "read:users")
	s := start(t, "jwks", map[string]any{
		"providers":  []any{map[string]any{"name": "keys", "validation": "api_keys", "api_keys": map[string]any{"file": file}}},
		"rate_limit": map[string]any{"count": "off"},
	})
	s.want(t, "/users", first, 200)
	answers := func(key string, want int) func() bool {
		return func() bool { status, _ := s.status(t, "/users", key); return status == want }
	}

	second := command("new", "--id", "second", "--scope", "read:users")
	eventually(t, "the new key counts", answers(second, 200))
	command("revoke", "--id", "first")
	eventually(t, "the revoked key is refused", answers(first, 401))
	s.want(t, "/users", second, 200)

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, file, "keys:", "kees:")
	eventually(t, "the mistake is said at its place", func() bool { return strings.Contains(s.stderr.String(), "keys.yaml:4:1: ") })
	s.want(t, "/users", second, 200)
	replace(t, file, "kees:", "keys:")
	again := command("new", "--id", "again", "--scope", "read:users")
	eventually(t, "the mended file counts", answers(again, 200))
	for _, key := range []string{first, second, again} {
		if strings.Contains(s.stdout.String()+s.stderr.String()+string(text), key) {
			t.Error("a key shows in the log, the audit or the file")
		}
	}
}
