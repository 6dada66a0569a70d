package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"scopeward/internal/envoyrun"
	"scopeward/internal/process"
)

// identities fills Scopeward's cache with so many identities, asks again for some, and says what memory that takes and how
// long the collector stops the process. The tokens are ES256, which are signed a hundred times as fast as RS256.
func identities(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "scopeward-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	key, config, err := ellipticWorkload(dir, s.identities)
	if err != nil {
		return err
	}
	port, err := envoyrun.FreePort()
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	binary, err := buildScopeward(ctx, dir)
	if err != nil {
		return err
	}
	var log bytes.Buffer
	command := []string{binary, "serve", "--config", config, "--listen", address, "--admin", ""}
	if s.serverCPU >= 0 {
		command = append([]string{"taskset", "-c", strconv.Itoa(s.serverCPU)}, command...)
	}
	server, err := process.Start(process.Options{Path: command[0], Args: command[1:],
		Env: append(os.Environ(), "GODEBUG=gctrace=1"), Stderr: &log})
	if err != nil {
		return err
	}
	defer server.Kill()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		return err
	}
	defer conn.Close()
	client, kept := authv3.NewAuthorizationClient(conn), make([]string, s.identities/100+1)
	for _, pass := range []struct {
		name   string
		checks int
		token  func(i int) (string, error)
	}{
		{"first sight", s.identities, func(i int) (string, error) {
			raw, err := claims(i, jwt.SigningMethodES256).SignedString(key)
			if i%100 == 0 {
				kept[i/100] = raw
			}
			return raw, err
		}},
		{"one in a hundred again and again", s.identities / 2, func(i int) (string, error) { return kept[i%max(1, s.identities/100)], nil }},
	} {
		if err := askAll(ctx, client, pass.checks, pass.token); err != nil {
			return errors.Join(err, server.Err())
		}
		rss, err := residentMiB(server.Pid())
		if err != nil {
			return err
		}
		fmt.Printf("%d identities, %s: resident %.0f MiB, %.0f B each\n", s.identities, pass.name, rss, rss*(1<<20)/float64(s.identities))
	}
	if err := server.Stop(); err != nil {
		return err
	}
	pauses := gcPauses(log.String())
	if len(pauses) == 0 {
		return errors.New("the collector left no trace")
	}
	slices.Sort(pauses)
	fmt.Printf("%d pauses of the collector: p50 %v, p99 %v, longest %v\n", len(pauses), pauses[len(pauses)/2], pauses[len(pauses)*99/100], pauses[len(pauses)-1])
	return nil
}

// ellipticWorkload makes an ES256 key and a configuration for it.
func ellipticWorkload(dir string, entries int) (key *ecdsa.PrivateKey, config string, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, "", err
	}
	point, err := key.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		return nil, "", err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	jwks, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "kid": "bench", "use": "sig", "alg": "ES256", "x": b64(point[1:33]), "y": b64(point[33:]),
	}}})
	if err != nil {
		return nil, "", err
	}
	config = filepath.Join(dir, "scopeward.yaml")
	return key, config, errors.Join(
		os.WriteFile(filepath.Join(dir, "jwks.json"), jwks, 0o600),
		os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(policyText), 0o600),
		os.WriteFile(config, fmt.Appendf(nil, `providers:
  - {name: bench, issuer: %s, audiences: [%s], algorithms: [ES256], jwks: {file: jwks.json}}
cache: {ttl: 4h, max_entries: %d}
rate_limit: {count: "off"}
headers: {x-auth-subject: identity.subject, x-auth-scopes: identity.scopes}
policy: [policy.yaml]
`, issuer, audience, entries+entries/4), 0o600))
}

// askAll makes so many checks; all must be allowed.
func askAll(ctx context.Context, client authv3.AuthorizationClient, checks int, token func(int) (string, error)) error {
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range 16 * runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for i := int(next.Add(1)) - 1; i < checks; i = int(next.Add(1)) - 1 {
				raw, err := token(i)
				if err != nil {
					return err
				}
				if err := ask(ctx, client, raw); err != nil {
					return fmt.Errorf("token %d: %w", i, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// ask asks about GET /users, as Envoy does, which must be allowed.
func ask(ctx context.Context, client authv3.AuthorizationClient, token string) error {
	response, err := client.Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
		Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Host: "api.example", Path: "/users", Headers: map[string]string{"authorization": "Bearer " + token}},
	}}})
	if err != nil {
		return err
	}
	if response.GetOkResponse() == nil {
		return fmt.Errorf("a good token was denied: %s", response.GetDeniedResponse().GetBody())
	}
	return nil
}

// traceClock is the wall-clock part of a line of GODEBUG=gctrace=1: the first and the last of its three times are pauses.
var traceClock = regexp.MustCompile(`(?m)^gc \d+ @.*?: ([\d.]+)\+[\d.]+\+([\d.]+) ms clock`)

func gcPauses(trace string) []time.Duration {
	var pauses []time.Duration
	for _, m := range traceClock.FindAllStringSubmatch(trace, -1) {
		for _, text := range m[1:] {
			if ms, err := strconv.ParseFloat(text, 64); err == nil {
				pauses = append(pauses, time.Duration(ms*float64(time.Millisecond)))
			}
		}
	}
	return pauses
}
