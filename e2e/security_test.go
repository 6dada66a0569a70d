package e2e

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityTable: each test that SECURITY.md names exists, and each row names one.
func TestSecurityTable(t *testing.T) {
	var source strings.Builder
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(root, path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Za-z0-9]+)`")
	_, table, found := strings.Cut(string(page), "## How each is tested")
	rows, tests := 0, false
	for line := range strings.Lines(table) {
		switch {
		case !strings.HasPrefix(line, "|"): // the end of a table
			tests = false
			continue
		case strings.HasSuffix(line, "| tests |\n"):
			tests = true
			continue
		case !tests || strings.HasPrefix(line, "|-"):
			continue
		}
		rows++
		names := name.FindAllStringSubmatch(line, -1)
		if len(names) == 0 {
			t.Errorf("no test is named in: %s", line)
		}
		for _, n := range names {
			if !strings.Contains(source.String(), "\nfunc "+n[1]+"(") {
				t.Errorf("there is no %s", n[1])
			}
		}
	}
	if !found || rows < 30 {
		t.Errorf("the table has %d rows", rows)
	}
}
