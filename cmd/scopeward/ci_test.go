package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v4"
)

// ciCommands reads the files in policy/ci: the shell commands of the steps of a
// workflow and of the hooks of pre-commit, by name.
func ciCommands(t *testing.T) map[string]string {
	t.Helper()
	commands := map[string]string{}
	var workflow struct {
		On   map[string]any `yaml:"on"`
		Jobs map[string]struct {
			Steps []struct{ Name, Uses, Run string }
		}
	}
	readYAML(t, "../../policy/ci/github-actions.yaml", &workflow)
	for _, job := range workflow.Jobs {
		for _, step := range job.Steps {
			switch {
			case step.Run != "":
				commands["github-"+step.Name] = step.Run
			case step.Uses == "":
				t.Errorf("step %q does nothing", step.Name)
			}
		}
	}
	if workflow.On["pull_request"] == nil {
		t.Error("the workflow is not for pull requests")
	}
	var hooks struct {
		Repos []struct {
			Repo  string
			Hooks []struct{ ID, Language, Entry, Files string }
		}
	}
	readYAML(t, "../../policy/ci/pre-commit-config.yaml", &hooks)
	for _, repo := range hooks.Repos {
		for _, h := range repo.Hooks {
			commands["pre-commit-"+h.ID] = h.Entry
			if files, err := regexp.Compile(h.Files); err != nil || !files.MatchString("policies/a.yaml") || h.Language != "system" {
				t.Errorf("hook %s: files %q, language %q", h.ID, h.Files, h.Language)
			}
		}
	}
	return commands
}

func readYAML(t *testing.T, file string, v any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// TestCICommandsParse holds each command line against our commands and flags.
func TestCICommandsParse(t *testing.T) {
	used := map[string]int{}
	line := regexp.MustCompile(`(?m)^\s*(scopeward [^|>\n]*)`)
	for name, script := range ciCommands(t) {
		for _, m := range line.FindAllStringSubmatch(script, -1) {
			words := strings.Fields(strings.ReplaceAll(m[1], `"`, ""))
			cmd, args, err := newRoot().Find(words[1:])
			if err == nil {
				err = cmd.ParseFlags(args)
			}
			if err == nil {
				err = cmd.ValidateArgs(cmd.Flags().Args())
			}
			if err != nil || !cmd.HasParent() {
				t.Errorf("%s: %s: %v", name, m[1], err)
				continue
			}
			used[cmd.CommandPath()]++
		}
	}
	for _, path := range []string{"scopeward check", "scopeward policy test", "scopeward policy lint", "scopeward policy diff"} {
		if used[path] != 2 {
			t.Errorf("%q is in %d of the files, not in both", path, used[path])
		}
	}
}

// TestCICommandsRun runs them, as GitHub and pre-commit would.
func TestCICommandsRun(t *testing.T) {
	commands := ciCommands(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/ci",
		Setup: func(env *testscript.Env) error {
			dir := t.TempDir()
			env.Setenv("CI", dir)
			for name, script := range commands {
				if err := os.WriteFile(filepath.Join(dir, name+".sh"), []byte(script), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
	})
}
