package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPolicyReadme follows policy/README.md: it writes the files whose first line
// is their name, and compares what the commands print with what stands there.
func TestPolicyReadme(t *testing.T) {
	readme, err := os.ReadFile("../../policy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	commands := 0
	for i, block := range strings.Split(string(readme), "```") {
		language, text, _ := strings.Cut(block, "\n")
		if i%2 == 0 {
			continue
		}
		first, rest, _ := strings.Cut(text, "\n")
		switch language {
		case "yaml":
			if err := os.WriteFile(strings.TrimPrefix(first, "# "), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		case "console":
			commands++
			var out bytes.Buffer
			words := strings.Fields(strings.TrimPrefix(first, "$ "))
			if status := run(words[1:], &out, &out); status == 2 {
				t.Errorf("%s: exit status 2", first)
			}
			if diff := cmp.Diff(rest, out.String()); diff != "" {
				t.Errorf("%s prints something else (-README +now):\n%s", first, diff)
			}
		default:
			t.Errorf("nobody follows a block of %q", language)
		}
	}
	if commands < 5 {
		t.Errorf("%d commands", commands)
	}
}

// TestPolicyReadmeNamesAllExamples so that none is left out.
func TestPolicyReadmeNamesAllExamples(t *testing.T) {
	readme, err := os.ReadFile("../../policy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../policy/examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if name := filepath.Base(f); !bytes.Contains(readme, []byte("("+"examples/"+name+")")) {
			t.Errorf("%s is not named", name)
		}
	}
}
