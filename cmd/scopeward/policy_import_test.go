package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestImportPublicDocuments: the policies made from real documents pass check,
// their own tests, and drift.
func TestImportPublicDocuments(t *testing.T) {
	for _, name := range []string{"asana.yaml", "spotify.yml", "adyen.json"} {
		t.Run(name, func(t *testing.T) {
			document := filepath.Join("..", "..", "policy", "openapi", "testdata", name)
			made := filepath.Join(t.TempDir(), "policy.yaml")
			var policy, out bytes.Buffer
			if status := run([]string{"policy", "import", document}, &policy, &out); status != 0 {
				t.Fatalf("import: status %d: %s", status, &out)
			}
			if err := os.WriteFile(made, policy.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{
				{"check", "--policy", made},
				{"policy", "test", "--require-tests", made},
				{"policy", "drift", document, "--policy", made},
			} {
				out.Reset()
				if status := run(args, &out, &out); status != 0 {
					t.Errorf("%v: status %d: %s", args, status, &out)
				}
			}
		})
	}
}
