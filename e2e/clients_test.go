//go:build clients

package e2e

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/pki"
	"scopeward/internal/testenv/tokentest"
)

// program returns what an environment variable names; make test-transport sets it.
func program(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s is not set: make test-transport installs what it names", variable)
	}
	return path
}

// TestClients asks with gRPC clients of other makers, over TCP, a Unix socket and TLS:
// one call at a time, many at once, cancelled, and with a deadline that is over.
func TestClients(t *testing.T) {
	idp, dir, ca := tokentest.New(t), t.TempDir(), pki.NewCA(t, "corporation")
	serverPair(t, ca).Write(t, dir, "tls")
	authority := filepath.Join(dir, "ca.crt")
	pki.Write(t, authority, ca.PEM)
	message, err := proto.Marshal(check("/users", idp.Mint(nil, nil)))
	if err != nil {
		t.Fatal(err)
	}
	request := filepath.Join(dir, "request.bin")
	pki.Write(t, request, message)
	socket := filepath.Join(dir, "authz.sock")
	listeners := map[string]map[string]any{
		"tcp":  {"grpc": "127.0.0.1:0"},
		"unix": {"grpc": "unix://" + socket},
		"tls":  {"grpc": "127.0.0.1:0", "tls": map[string]any{"cert": "tls.crt", "key": "tls.key"}},
	}
	python, node, grpcurl := program(t, "GRPC_PYTHON"), program(t, "GRPC_NODE_MODULES"), program(t, "GRPCURL")
	for name, listen := range listeners {
		t.Run(name, func(t *testing.T) {
			listen["admin"] = "127.0.0.1:0"
			config := corpus.Configure(t, dir, "jwks", idp, map[string]any{"listen": listen}, map[string]string{"policy.yaml": usersPolicy})
			s := serve(t, "--config", config, "--reflection")
			address, trust := s.grpc, "-"
			switch name {
			case "unix":
				address = "unix:" + socket
			case "tls":
				trust = authority
			}
			t.Run("grpcio", func(t *testing.T) {
				judge(t, exec.CommandContext(t.Context(), python, "testdata/clients/client.py", address, trust, request))
			})
			t.Run("node", func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), "node", "testdata/clients/client.js", address, trust, request)
				cmd.Env = append(os.Environ(), "NODE_PATH="+node)
				judge(t, cmd)
			})
			t.Run("grpcurl", func(t *testing.T) { askByReflection(t, grpcurl, name, s.grpc, socket, authority) })
			if name == "tcp" {
				t.Run("h2load", func(t *testing.T) { askByLoad(t, s.grpc, message) })
			}
		})
	}
}

// judge runs a client, and checks what it counted.
func judge(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var report strings.Builder
	cmd.Stderr = &report
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, report.String())
	}
	var got struct {
		Counts  map[string]int
		Replies []string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := map[string]int{"unary OK": 20, "concurrent OK": 500, "metadata OK": 1, "unimplemented UNIMPLEMENTED": 1, "deadline DEADLINE_EXCEEDED": 1, "after OK": 20}
	for kind, n := range want {
		if got.Counts[kind] != n {
			t.Errorf("%s: %d, want %d; all: %v", kind, got.Counts[kind], n, got.Counts)
		}
	}
	if len(got.Replies) == 0 {
		t.Error("no reply")
	}
	for _, text := range got.Replies {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		var reply authv3.CheckResponse
		if err := proto.Unmarshal(data, &reply); err != nil {
			t.Fatal(err)
		}
		if reply.GetStatus().GetCode() != 0 || reply.GetOkResponse() == nil {
			t.Errorf("the reply denies: %v", &reply)
		}
	}
}

// askByReflection has grpcurl list the services and make a call, which the server describes.
func askByReflection(t *testing.T, grpcurl, name, address, socket, authority string) {
	t.Helper()
	arguments := []string{"-plaintext", "-max-time", "10"}
	switch name {
	case "tls":
		arguments = []string{"-cacert", authority, "-authority", serviceName, "-max-time", "10"}
	case "unix":
		arguments, address = append(arguments, "-unix"), socket
	}
	out, err := exec.CommandContext(t.Context(), grpcurl, append(arguments, address, "list")...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "envoy.service.auth.v3.Authorization") {
		t.Errorf("list: %v\n%s", err, out)
	}
	call := append(arguments, "-d", `{"attributes":{"request":{"http":{"method":"GET","path":"/users","host":"api.example.com"}}}}`,
		address, "envoy.service.auth.v3.Authorization/Check")
	out, err = exec.CommandContext(t.Context(), grpcurl, call...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "missing_token") {
		t.Errorf("Check without a token: %v\n%s", err, out)
	}
}

// askByLoad has h2load send the call many times; each gets 200 and a message.
func askByLoad(t *testing.T, address string, message []byte) {
	t.Helper()
	body := filepath.Join(t.TempDir(), "body")
	pki.Write(t, body, append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...))
	out, err := exec.CommandContext(t.Context(), "h2load", "-n", "20000", "-c", "8", "-m", "32", "-d", body,
		"-H", "content-type: application/grpc", "-H", "te: trailers",
		fmt.Sprintf("http://%s%s", address, authv3.Authorization_Check_FullMethodName)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "20000 succeeded, 0 failed, 0 errored") {
		t.Errorf("h2load (apt-get install nghttp2-client): %v\n%s", err, out)
	}
}
