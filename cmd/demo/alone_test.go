package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"scopeward/internal/envoyrun"
)

// startAlone runs a command of the demo until the test ends, and returns when it is up.
func startAlone(t *testing.T, up func() error, run func(context.Context, []string) error, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, args) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(20 * time.Second); up() != nil; {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatal(up())
		}
	}
}

func freeAddress(t *testing.T, host string) string {
	t.Helper()
	port, err := envoyrun.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s:%d", host, port)
}

// TestAlone: the identity provider and the upstream as containers run them, reached by another name than the address that they listen on.
func TestAlone(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DEMO_DIR", dir)
	t.Setenv("DEMO_BASE", "http://gateway.example:8080")
	t.Setenv("DEMO_CLIENT_SECRET", "the secret of the client")
	listen := freeAddress(t, "127.0.0.1")
	url := "http://localhost" + strings.TrimPrefix(listen, "127.0.0.1")
	discovery := url + "/keys/.well-known/openid-configuration"
	up := func() error {
		_, err := os.Stat(filepath.Join(dir, controlFile))
		return err
	}
	startAlone(t, up, idpCommand, "--listen", listen, "--url", url)
	if secret, err := os.ReadFile(filepath.Join(dir, secretFile)); err != nil || string(secret) != "the secret of the client\n" {
		t.Errorf("the client secret is %q, %v", secret, err)
	}

	var out bytes.Buffer
	if err := requestsCommand(t.Context(), nil, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	shown := commands(t, lines)
	if want := len(requests()); len(shown) != want {
		t.Errorf("%d commands, want %d", len(shown), want)
	}
	_, token, _ := strings.Cut(lines[0], " TOKEN=")
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil || claims.Issuer != url+"/keys" {
		t.Errorf("the token's issuer is %q, %v", claims.Issuer, err)
	}
	if !strings.HasPrefix(lines[0], "export API=http://gateway.example:8080 ") || !strings.HasSuffix(shown[0].command, " $API/users") {
		t.Errorf("the command asks elsewhere: %s", shown[0].command)
	}

	if err := providerCommand(t.Context(), []string{"500"}, &out); err != nil {
		t.Fatal(err)
	}
	if err := command(t.Context(), []string{"healthcheck", discovery}); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("the broken provider is healthy: %v", err)
	}
}

func TestUpstreamAlone(t *testing.T) {
	listen := freeAddress(t, "127.0.0.1")
	startAlone(t, func() error { return ready(t.Context(), "http://"+listen+"/") }, upstreamCommand, "--listen", listen)
	res, err := http.Get("http://" + listen + "/users?a=b")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil || !strings.Contains(body.String(), `"path": "/users?a=b"`) {
		t.Errorf("got %s, %v", &body, err)
	}
}

func TestRequestsNeedAProvider(t *testing.T) {
	err := requestsCommand(t.Context(), []string{"--dir", t.TempDir()}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "no identity provider runs") {
		t.Errorf("got %v", err)
	}
}
