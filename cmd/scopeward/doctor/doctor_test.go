package doctor

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"scopeward/envoy"
)

// examine gives the findings in a configuration as "name at place".
func examine(t *testing.T, data []byte, o Options) (found []string) {
	t.Helper()
	config, err := Parse(data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	report, err := config.Examine(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		t.Logf("%s %s at %s:%d:%d (%q %q %q %q)\n%s\n%s", f.Severity, f.Name, f.Where, f.Line, f.Column, f.Listener, f.VirtualHost, f.Route, f.Cluster, f.Why, f.Fix)
		found = append(found, f.Name+" at "+f.Where)
	}
	return found
}

// TestFindings: each broken configuration has its one finding.
func TestFindings(t *testing.T) {
	shown := map[string]bool{}
	for _, f := range fixtures(t, "testdata/findings.yaml") {
		shown[f.Finding] = true
		t.Run(f.title(), func(t *testing.T) {
			got := examine(t, f.bootstrap(t, false), Options(f.Options))
			if want := []string{f.Finding + " at " + f.where(t)}; !slices.Equal(got, want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), want[0])
			}
		})
	}
	for _, c := range Documentation() {
		if !shown[c.Name] {
			t.Errorf("no case shows %s", c.Name)
		}
	}
}

// TestGood: nothing is found where nothing is wrong.
func TestGood(t *testing.T) {
	for _, f := range fixtures(t, "testdata/good.yaml") {
		t.Run(f.title(), func(t *testing.T) {
			for _, found := range examine(t, f.bootstrap(t, false), Options(f.Options)) {
				t.Error(found)
			}
		})
	}
}

// TestOurBootstraps: they are how it should be.
func TestOurBootstraps(t *testing.T) {
	files, err := filepath.Glob("../../../envoy/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range examine(t, data, Options{}) {
				t.Error(found)
			}
		})
	}
}

// TestInEnvoy: all cases are such that Envoy takes, and what is found in its own
// dump of them is the same.
func TestInEnvoy(t *testing.T) {
	path, err := envoy.Find(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(fixtures(t, "testdata/findings.yaml"), fixtures(t, "testdata/good.yaml")...) {
		t.Run(f.title(), func(t *testing.T) {
			t.Parallel()
			bootstrap := f.bootstrap(t, true)
			if f.Validate {
				validate(t, path, bootstrap)
				return
			}
			got := examine(t, dump(t, path, bootstrap), Options(f.Options))
			switch {
			case f.Finding == "" && len(got) > 0:
				t.Errorf("got %q, want none", got)
			case f.Finding != "" && (len(got) != 1 || !strings.HasPrefix(got[0], f.Finding+" at ")):
				t.Errorf("got %q, want one %s", got, f.Finding)
			}
		})
	}
}

// validate has Envoy check a bootstrap.
func validate(t *testing.T, path string, bootstrap []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(file, bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), path, "--mode", "validate", "--config-path", file, "--log-level", "error").CombinedOutput(); err != nil {
		t.Fatalf("Envoy refuses it: %v\n%s\n%s", err, out, bootstrap)
	}
}

// dump runs Envoy and gives what its admin interface says.
func dump(t *testing.T, path string, bootstrap []byte) []byte {
	t.Helper()
	p, err := envoy.Start(t.Context(), envoy.Options{Path: path, Config: bootstrap, Concurrency: 1})
	if err != nil {
		t.Fatalf("%v\n%s", err, bootstrap)
	}
	defer p.Stop()
	data, err := p.Admin(t.Context(), "/config_dump")
	if err != nil {
		t.Fatal(err)
	}
	return data
}
