package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// TestBlockedLogsBlockNoAnswer: standard output and standard error that nobody reads,
// such as of a full disk or of a log collector that hangs, cost lines, which are counted,
// but no answer, no reload, and not the end of the process.
func TestBlockedLogsBlockNoAnswer(t *testing.T) {
	t.Parallel()
	idp, dir := tokentest.New(t), t.TempDir()
	idp.Opaque("token", map[string]any{"sub": "alice", "scope": "read:users"})
	// The addresses are known before it says so.
	socket, admin := filepath.Join(dir, "authz.sock"), freeAddress(t)
	config := corpus.Configure(t, dir, corpus.OpaqueProfile, idp, map[string]any{
		"listen": map[string]any{"grpc": "unix://" + socket, "admin": admin},
	}, map[string]string{"policy.yaml": usersPolicy})
	reader, blocked, err := os.Pipe() // which nobody reads
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer blocked.Close()
	child := exec.Command(built.scopeward, "serve", "--config", config)
	child.Stdout, child.Stderr = blocked, blocked
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	defer func() { _ = child.Process.Kill() }()

	s := &system{idp: idp, dir: dir, scopeward: &scopeward{admin: admin}}
	eventually(t, "it is ready", func() bool { return s.get("/readyz", 200) == nil })
	client := authv3.NewAuthorizationClient(dial(t, "unix://"+socket))
	ask := func(path string, want int32) {
		t.Helper()
		start := time.Now()
		response, err := client.Check(t.Context(), check(path, "token"))
		if got := response.GetDeniedResponse().GetStatus().GetCode(); err != nil || int32(got) != want {
			t.Fatalf("%s got %v, %v", path, got, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %v", path, took)
		}
	}
	ask("/users", 0)
	long := "/" + strings.Repeat("x", 50_000)
	for range 120 { // more than is kept
		ask(long, 403)
	}
	eventually(t, "lost events are counted", func() bool { return s.metric(t, "scopeward_audit_dropped_total") > 0 })

	policy := filepath.Join(dir, "policies", "policy.yaml")
	for i := range 20 { // each is said in the log
		if err := os.WriteFile(policy, fmt.Appendf(nil, "broken: %d", i), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := child.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(policy, []byte(strings.Replace(usersPolicy, "read:users", "admin", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an edit is live", func() bool {
		response, err := client.Check(t.Context(), check("/users", "token"))
		return err == nil && response.GetDeniedResponse().GetStatus().GetCode() == 403
	})
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(15 * time.Second):
		t.Error("it did not end")
	}
}

// freeAddress is one where nothing listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
