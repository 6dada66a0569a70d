package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/golang-jwt/jwt/v5"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// TestCrowd checks that a crowd of distinct valid tokens, each with some 2.5 kB of claims,
// leaves memory bounded by what a container of 256 MiB has, and that known users keep their
// latency. CROWD says how many tokens; by default a number that takes a second.
func TestCrowd(t *testing.T) {
	t.Parallel()
	number := 2000
	if text := os.Getenv("CROWD"); text != "" {
		var err error
		if number, err = strconv.Atoi(text); err != nil {
			t.Fatalf("CROWD is no number of tokens: %q; say CROWD=1000000", text)
		}
	}
	idp := tokentest.New(t)
	idp.RotateTo("ES256")
	provider := map[string]any{
		"name": "idp", "issuer": idp.URL, "audiences": []string{tokentest.Audience}, "algorithms": []string{"ES256"},
	}
	config := corpus.Configure(t, t.TempDir(), "jwks", idp,
		map[string]any{"providers": []any{provider}, "cache": map[string]any{"ttl": "1h"}, "audit": map[string]any{"to": "off"}},
		map[string]string{"policy.yaml": usersPolicy})
	// What the process sets itself in a container of 256 MiB.
	s := &system{idp: idp, scopeward: serveIn(t, []string{"GOMEMLIMIT=230MiB"}, "--config", config)}
	client := authv3.NewAuthorizationClient(dial(t, s.grpc))
	passes := func(token string) time.Duration {
		start := time.Now()
		response, err := client.Check(t.Context(), check("/users", token))
		if err != nil || response.GetDeniedResponse() != nil {
			t.Errorf("a valid token got %v, %v", response.GetDeniedResponse(), err)
		}
		return time.Since(start)
	}
	kid, key := idp.Signer()
	groups := make([]string, 60)
	for i := range groups {
		groups[i] = fmt.Sprintf("group-%02d-%s", i, strings.Repeat("x", 30))
	}
	mint := func(n int64) string {
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims(idp.Claims(map[string]any{
			"sub": fmt.Sprint("user-", n), "scope": "read:users", "groups": groups,
		})))
		token.Header["kid"] = kid
		raw, err := token.SignedString(key)
		if err != nil {
			t.Error(err)
		}
		return raw
	}
	known := mint(0)
	var before, during []time.Duration
	for range 200 {
		before = append(before, passes(known))
	}
	begin := time.Now()
	var next atomic.Int64
	var crowd sync.WaitGroup
	for range 8 {
		crowd.Go(func() {
			for n := next.Add(1); n <= int64(number) && !t.Failed(); n = next.Add(1) {
				passes(mint(n))
			}
		})
	}
	over := make(chan struct{})
	go func() { crowd.Wait(); close(over) }()
	tb, most := newTable(t), usage{}
	for at := time.Now(); ; {
		select {
		case <-over:
		case <-time.After(5 * time.Millisecond):
			during = append(during, passes(known))
			if time.Since(at) > max(time.Duration(number)*time.Second/50_000, time.Second) {
				u := s.usage(t)
				tb.row(next.Load(), 0, u)
				most.resident, at = max(most.resident, u.resident), time.Now()
			}
			continue
		}
		break
	}
	after := s.usage(t)
	most.resident = max(most.resident, after.resident)
	slices.Sort(before)
	slices.Sort(during)
	t.Logf("%d tokens in %v: at most %.0f MiB; known users: half within %v, 99 of 100 within %v; before: %v and %v", number,
		time.Since(begin).Round(time.Second), most.resident, during[len(during)/2], during[len(during)*99/100], before[100], before[198])
	if most.resident > 256 {
		t.Errorf("the process took %.0f MiB", most.resident)
	}
}
