//go:build h2spec

package transport

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// TestConformance runs h2spec, which $H2SPEC names (make test-transport installs it), on the
// path of a Check and on another one. It passes in full.
func TestConformance(t *testing.T) {
	program := os.Getenv("H2SPEC")
	if program == "" {
		t.Fatal("H2SPEC must name the program h2spec; make test-transport installs it")
	}
	address, _ := startNative(t, newGate())
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", authv3.Authorization_Check_FullMethodName} {
		out, err := exec.CommandContext(t.Context(), program, "-h", host, "-p", port, "-P", path).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "145 passed, 0 skipped, 0 failed") {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
	}
}
