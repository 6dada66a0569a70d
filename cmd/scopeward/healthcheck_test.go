package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// serveHealth answers with a status on an address until the test ends; without
// one it is a gRPC server that knows no health.
func serveHealth(t *testing.T, network, address string, status healthv1.HealthCheckResponse_ServingStatus) string {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	if status != healthv1.HealthCheckResponse_UNKNOWN {
		h := health.NewServer()
		h.SetServingStatus("", status)
		healthv1.RegisterHealthServer(g, h)
	}
	go g.Serve(listener)
	t.Cleanup(g.Stop)
	return listener.Addr().String()
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := func(name, format string, args ...any) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	port := func(address string) string { return address[strings.LastIndex(address, ":"):] }

	serving := serveHealth(t, "tcp", "127.0.0.1:0", healthv1.HealthCheckResponse_SERVING)
	everywhere := serveHealth(t, "tcp4", "0.0.0.0:0", healthv1.HealthCheckResponse_SERVING)
	starting := serveHealth(t, "tcp", "127.0.0.1:0", healthv1.HealthCheckResponse_NOT_SERVING)
	other := serveHealth(t, "tcp", "127.0.0.1:0", healthv1.HealthCheckResponse_UNKNOWN)
	socket := "unix://" + serveHealth(t, "unix", filepath.Join(dir, "s"), healthv1.HealthCheckResponse_SERVING)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	for name, test := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"an address":    {[]string{"--addr", serving}, 0, "SERVING"},
		"a Unix socket": {[]string{"--addr", socket}, 0, "SERVING"},
		"a configuration": {
			[]string{"--config", config("good", "listen: {grpc: %q}\nproviders: [{name: a}]\n", serving)}, 0, "SERVING",
		},
		"a mistake elsewhere in the configuration": {
			[]string{"--config", config("broken", "listen: {grpc: %q}\nproviders: [{name: a}]\nnonsense: true\n", serving)}, 0, "SERVING",
		},
		"the address wins over the configuration": {
			[]string{"--config", config("stopped", "listen: {grpc: %q}\nproviders: [{name: a}]\n", closed.Addr()), "--addr", serving}, 0, "SERVING",
		},
		"all interfaces, IPv4":      {[]string{"--addr", "0.0.0.0" + port(everywhere)}, 0, "SERVING"},
		"all interfaces, no host":   {[]string{"--addr", port(everywhere)}, 0, "SERVING"},
		"not serving":               {[]string{"--addr", starting}, 1, "is NOT_SERVING: it is starting or ending; /readyz"},
		"nobody there":              {[]string{"--addr", closed.Addr().String()}, 1, "connection refused; is scopeward serve running, and is this its listen.grpc?"},
		"no socket there":           {[]string{"--addr", "unix://" + dir + "/nobody"}, 1, "no such file or directory; is scopeward serve running"},
		"no answer":                 {[]string{"--addr", silent.Addr().String(), "--timeout", "300ms"}, 1, "did not answer within 300ms"},
		"another service":           {[]string{"--addr", other}, 1, "is no Scopeward"},
		"no YAML":                   {[]string{"--config", config("junk", "listen: {")}, 1, "junk:"},
		"an address that is none":   {[]string{"--addr", "nonsense"}, 2, `"nonsense" is not host:port`},
		"two slashes":               {[]string{"--addr", "unix://run/s"}, 2, "three slashes"},
		"no port that is known":     {[]string{"--config", config("any", "listen: {grpc: 127.0.0.1:0}\nproviders: [{name: a}]\n")}, 2, "by --addr"},
		"a configuration's mistake": {[]string{"--config", config("none", "listen: {grpc: nonsense}\nproviders: [{name: a}]\n")}, 1, "none:1:16: listen.grpc:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr strings.Builder
			exit := run(append([]string{"healthcheck"}, test.args...), &stdout, &stderr)
			if exit != test.exit || !strings.Contains(stdout.String()+stderr.String(), test.says) {
				t.Errorf("exit status %d, want %d with %q; it says:\n%s%s", exit, test.exit, test.says, &stdout, &stderr)
			}
		})
	}
}
