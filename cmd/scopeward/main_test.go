package main

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelp: each command says what it does, and has examples that call it.
func TestHelp(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: what it does is %q", cmd.CommandPath(), cmd.Short)
		}
		if !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s has no example of itself: %s", cmd.CommandPath(), cmd.Example)
		}
		for _, below := range cmd.Commands() {
			visit(below)
		}
	}
	visit(newRoot())
}

// TestCompletion asks what a shell does: 4 is "no files", 0 "files".
func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"serve|":                    ":4\n",
		"serve|--listen|":           ":4\n",
		"serve|--config|":           ":0\n",
		"schema|":                   "policy\nconfig\naudit\n:4\n",
		"check|--output|":           "text\njson\n:4\n",
		"policy|diff|--output|":     "text\njson\nmarkdown\n:4\n",
		"policy|diff|":              ":0\n",
		"audit|":                    ":0\n",
		"token|inspect|--audience|": ":4\n",
		"token|inspect|--output|":   "text\njson\n:4\n",
		"policy|explain|--policy|":  ":0\n",
	} {
		var stdout, stderr strings.Builder
		if status := run(append([]string{"__completeNoDesc"}, strings.Split(line, "|")...), &stdout, &stderr); status != 0 || stdout.String() != want {
			t.Errorf("%s gives %q (status %d), want %q: %s", line, stdout.String(), status, want, stderr.String())
		}
	}
}

func TestVersionSaysOfWhatItIsBuilt(t *testing.T) {
	var stdout, stderr strings.Builder
	if status := run([]string{"version", "--output", "json"}, &stdout, &stderr); status != 0 {
		t.Fatal(stderr.String())
	}
	var got build
	if err := json.Unmarshal([]byte(stdout.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != version() || got.Go != runtime.Version() || got.Platform != runtime.GOOS+"/"+runtime.GOARCH || got.Dependencies < 20 {
		t.Errorf("%+v", got)
	}
	var text strings.Builder
	b := build{Version: "v1.2.3", Commit: "0123abcd", CommitTime: "2026-11-01T10:00:00Z", Modified: true, Go: "go1.26.8", Platform: "linux/amd64", Dependencies: 1}
	if err := b.print(&text, "text"); err != nil {
		t.Fatal(err)
	}
	if want := "scopeward v1.2.3 (go1.26.8, linux/amd64)\ncommit 0123abcd of 2026-11-01T10:00:00Z, and changes that were not committed\n1 module\n"; text.String() != want {
		t.Errorf("%q", text.String())
	}
}
