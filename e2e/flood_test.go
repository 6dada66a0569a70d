package e2e

import (
	"encoding/base64"
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

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// TestFlood: a flood of distinct tokens that are worth nothing leaves memory bounded, here
// by 64 MiB, and those who are in are served. A quarter of them each has keys that nobody
// knows, a wrong signature, no form at all, and a length of 100 kB; the third are opaque.
func TestFlood(t *testing.T) {
	t.Parallel()
	number := 2000
	if text := os.Getenv("FLOOD"); text != "" {
		var err error
		if number, err = strconv.Atoi(text); err != nil {
			t.Fatalf("FLOOD is no number of tokens: %q; say FLOOD=5000000", text)
		}
	}
	idp := tokentest.New(t)
	s := &system{idp: idp, scopeward: serveIn(t, []string{"GOMEMLIMIT=56MiB"}, "--config", corpus.Configure(t, t.TempDir(), "jwks", idp,
		map[string]any{"rate_limit": map[string]any{"count": "off"}, "cache": map[string]any{"max_entries": 10_000}}, map[string]string{"policy.yaml": usersPolicy}))}
	client := authv3.NewAuthorizationClient(dial(t, s.grpc))
	status := func(token string) int32 {
		response, err := client.Check(t.Context(), check("/users", token))
		if err != nil {
			t.Error(err)
		}
		return int32(response.GetDeniedResponse().GetStatus().GetCode())
	}
	known := idp.Mint(nil, nil)
	parts := strings.Split(known, ".")
	garbage := func(n int) string {
		switch n % 200 {
		case 0:
			return strings.Repeat("x", 100_000) + strconv.Itoa(n)
		default:
		}
		switch n % 3 {
		case 0:
			header := fmt.Appendf(nil, `{"alg":"RS256","kid":"unknown-%d"}`, n)
			return base64.RawURLEncoding.EncodeToString(header) + "." + parts[1] + "." + parts[2]
		case 1:
			signature := fmt.Sprintf("%08d", n)
			return parts[0] + "." + parts[1] + "." + signature + parts[2][8:]
		default:
			return fmt.Sprint("garbage-", n)
		}
	}
	served := func() time.Duration {
		start := time.Now()
		if got := status(known); got != 0 {
			t.Errorf("who is in got %d", got)
		}
		return time.Since(start)
	}
	latency := func(times []time.Duration) string {
		slices.Sort(times)
		return fmt.Sprintf("half within %v, 99 of 100 within %v", times[len(times)/2].Round(time.Microsecond), times[len(times)*99/100].Round(time.Microsecond))
	}
	var before, during []time.Duration
	for range 200 {
		before = append(before, served())
	}
	fetches := idp.Requests(tokentest.KeysPath)
	begin := time.Now()

	var next, refused, unavailable atomic.Int64
	var flood sync.WaitGroup
	for range 16 {
		flood.Go(func() {
			for n := next.Add(1); n <= int64(number); n = next.Add(1) {
				switch got := status(garbage(int(n))); got {
				case 401:
					refused.Add(1)
				case 503:
					unavailable.Add(1)
				default:
					t.Errorf("garbage got %d", got)
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { flood.Wait(); close(over) }()
	tb, most := newTable(t), usage{}
	for at := time.Now(); ; {
		select {
		case <-over:
		case <-time.After(5 * time.Millisecond):
			during = append(during, served())
			if every := time.Duration(number) * time.Second / 200_000; time.Since(at) > max(every, time.Second) {
				u := s.usage(t)
				tb.row(next.Load(), unavailable.Load(), u)
				most.resident, at = max(most.resident, u.resident), time.Now()
			}
			continue
		}
		break
	}
	after := s.usage(t)
	t.Logf("%d tokens in %v: %d got 401, %d got 503; at most %.0f MiB, at the end %.0f MiB, %.0f goroutines; who is in: %s; before: %s",
		number, time.Since(begin).Round(time.Second), refused.Load(), unavailable.Load(), most.resident, after.resident, after.goroutines, latency(during), latency(before))
	if n := idp.Requests(tokentest.KeysPath) - fetches; n > 2+int(time.Since(begin)/(10*time.Second)) {
		t.Errorf("the keys were fetched %d times in %v", n, time.Since(begin))
	}
	if longForm() && max(most.resident, after.resident) > 80 { // with the program itself, which the limit leaves out
		t.Errorf("the process took %.0f MiB", max(most.resident, after.resident))
	}
}
