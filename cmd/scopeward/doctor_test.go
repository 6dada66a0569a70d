package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"scopeward/internal/envoyrun"
)

// TestDoctorAsksEnvoy asks a real Envoy, and what is no admin interface of it.
func TestDoctorAsksEnvoy(t *testing.T) {
	path, err := envoyrun.Find(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	config, err := envoyrun.Local("127.0.0.1:1", "127.0.0.1:1").YAML()
	if err != nil {
		t.Fatal(err)
	}
	good := startEnvoy(t, path, config)
	bad := startEnvoy(t, path, bytes.ReplaceAll(config, []byte("failure_mode_allow: false"), []byte("failure_mode_allow: true")))
	closed := startEnvoy(t, path, bytes.Replace(config, []byte("admin:\n"), []byte("admin:\n    allow_paths: [{prefix: /ready}, {prefix: /listeners}]\n"), 1))
	clients, err := good.Address(t.Context(), "public")
	if err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(t.TempDir(), "dump.json")
	dump, err := bad.Admin(t.Context(), "/config_dump")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(saved, dump, 0o600); err != nil {
		t.Fatal(err)
	}
	const found = "high: failure-mode-allow ("
	for _, c := range []struct {
		name, target string
		status       int
		stdout       string
		stderr       string
	}{
		{"good", good.AdminURL(), 0, "", "0 findings. Looked at 1 listener, 1 route and 1 ext_authz filter that asks scopeward."},
		{"host and port", strings.TrimPrefix(good.AdminURL(), "http://"), 0, "", "0 findings."},
		{"slash", good.AdminURL() + "/", 0, "", "0 findings."},
		{"whole", good.AdminURL() + "/config_dump?include_eds", 0, "", "0 findings."},
		{"bad", bad.AdminURL(), 1, found + bad.AdminURL() + ", listener public)\n    at   configs[2].static_listeners[0].listener.filter_chains[0].filters[0].typed_config.http_filters[1].typed_config.failure_mode_allow\n", "1 finding."},
		{"saved", saved, 1, found + saved + ", listener public)", "1 finding."},
		{"a part", good.AdminURL() + "/config_dump?resource=dynamic_listeners", 1, "", "that is not Envoy's admin interface: it is"},
		{"allow_paths", closed.AdminURL(), 1, "", "is Envoy's admin interface, but its admin.allow_paths leaves out /config_dump"},
		{"a listener for clients", "http://" + clients, 1, "", "answers 503 Service Unavailable to /config_dump: that is a listener of Envoy for clients, and not its admin interface; Envoy's bootstrap says its address"},
		{"TLS", strings.Replace(good.AdminURL(), "http:", "https:", 1), 1, "", "speaks no TLS: write http://"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := run([]string{"doctor", c.target}, &stdout, &stderr)
			if status != c.status || !strings.HasPrefix(stdout.String(), c.stdout) || c.stdout == "" && stdout.Len() > 0 || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("exit status %d, want %d\n%s\n%s", status, c.status, stdout.String(), stderr.String())
			}
		})
	}
}

func startEnvoy(t *testing.T, path string, config []byte) *envoyrun.Process {
	t.Helper()
	p, err := envoyrun.Start(t.Context(), envoyrun.Options{Path: path, Config: config, Concurrency: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop() })
	return p
}

// TestDoctorAsksOthers: an address where something else answers, or nobody.
func TestDoctorAsksOthers(t *testing.T) {
	serve := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	answer := func(body string) string {
		return serve(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(body)) })
	}
	overTLS := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(overTLS.Close)
	redirect := serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) })
	other, err := json.Marshal(map[string]any{"configs": []any{map[string]any{"name": "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	const not = "that is not Envoy's admin interface"
	for _, c := range []struct{ name, target, want string }{
		{"HTML", answer("<!DOCTYPE html><title>Welcome</title>"), "answers, but " + not},
		{"other JSON", answer(string(other)), "answers, but " + not},
		{"nothing", answer(""), "answers, but " + not + ": it is empty"},
		{"404", serve(http.NotFound), "answers 404 Not Found to /config_dump: " + not},
		{"a redirect", redirect, "answers 302 Found to /config_dump: " + not},
		{"gRPC", "http://" + grpcServer(t), "answers, but not in HTTP/1.1: it is a gRPC port (Scopeward's own?) or one with TLS"},
		{"TLS", strings.Replace(overTLS.URL, "https:", "http:", 1), "answers 400 Bad Request to /config_dump: " + not},
		{"a certificate that nobody knows", overTLS.URL, "certificate"},
		{"one that hangs up", "http://" + acceptor(t, func(c net.Conn) { c.Close() }), "; Envoy's bootstrap says its address"},
		{"one that says nothing", "http://" + acceptor(t, func(net.Conn) {}), "does not answer; is the address right, and reachable from here? Envoy's bootstrap says its address"},
		{"nobody", "unix://" + filepath.Join(t.TempDir(), "admin.sock"), "there is no such socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			command := newRoot()
			command.SetArgs([]string{"doctor", c.target})
			var out bytes.Buffer
			command.SetOut(&out)
			command.SetErr(&out)
			err := command.ExecuteContext(ctx)
			if err == nil || !strings.HasPrefix(err.Error(), c.target) || !strings.Contains(err.Error(), c.want) || out.Len() > 0 {
				t.Errorf("got %v, want %q\n%s", err, c.want, out.String())
			}
		})
	}
}

// grpcServer serves gRPC and nothing else.
func grpcServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	go server.Serve(l)
	t.Cleanup(server.Stop)
	return l.Addr().String()
}

// acceptor does something with each connection.
func acceptor(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			do(c)
		}
	}()
	return l.Addr().String()
}

// TestDoctorPage checks that docs/doctor.md shows what is printed.
func TestDoctorPage(t *testing.T) {
	bootstrap := string(readFile(t, "../../envoy/minimal.yaml"))
	_, want, ok := strings.Cut(string(readFile(t, "../../docs/doctor.md")), "```console\n$ scopeward doctor -\n")
	want, _, _ = strings.Cut(want, "```")
	if !ok {
		t.Fatal("the page shows no findings")
	}
	broken := strings.NewReplacer("failure_mode_allow: false", "failure_mode_allow: true", "127.0.0.1, port_value: 9191", "scopeward, port_value: 9191").Replace(bootstrap)
	command := newRoot()
	var stdout bytes.Buffer
	command.SetArgs([]string{"doctor", "-"})
	command.SetIn(strings.NewReader(broken))
	command.SetOut(&stdout)
	command.SetErr(io.Discard)
	if err := command.Execute(); !errors.Is(err, errReported) || stdout.String() != want {
		t.Errorf("%v\ngot\n%swant\n%s", err, stdout.String(), want)
	}
}
