package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scopeward/internal/testenv/tokentest"
)

// TestOutage: while every provider is down, in one way after the other, those who are in
// and those whose tokens can be verified without it go on, beyond cache.ttl by
// cache.max_stale; others get 503 with Retry-After, never 401; nothing of it lasts.
func TestOutage(t *testing.T) {
	t.Parallel()
	length := lasting(t, "OUTAGE", 2*time.Second)
	all := startFaulty(t, tokentest.New(t), map[string]any{"cache": map[string]any{"ttl": "1s", "max_stale": "1h"}}, func(string) []string { return []string{""} })
	exp := time.Now().Add(length + time.Hour).Unix()
	ways := providerFaults("")
	outage := []http.HandlerFunc{ways["closes the connection"], ways["500"], ways["429"], ways["is cut off"], ways["hangs"]}

	var requests, unavailable atomic.Int64
	ask := func(t *testing.T, f *faulty, token string, want int) {
		status, header := f.status(t, "/users", token)
		requests.Add(1)
		if status == 503 {
			unavailable.Add(1)
		}
		if status != want || status == 503 && header.Get("Retry-After") == "" {
			t.Errorf("%s: got %d with Retry-After %q, want %d", f.mode, status, header.Get("Retry-After"), want)
		}
	}
	mint := func(f *faulty, sub string) string {
		return f.idp.Mint(map[string]any{"iss": f.issuer, "sub": sub, "exp": exp}, nil)
	}
	known := map[string]string{}
	for _, f := range all {
		token := mint(f, "known")
		known[f.mode] = token
		eventually(t, "who comes first is let in", func() bool { status, _ := f.status(t, "/users", token); return status == 200 })
	}
	var any *faulty
	for _, f := range all {
		any = f
		f.idp.Handle(f.path, outage[0])
	}
	var done atomic.Bool
	var clients sync.WaitGroup
	for _, f := range all {
		want := 503
		if f.mode == "jwks" {
			want = 200
		}
		clients.Go(func() {
			for n := 0; !done.Load(); n++ {
				ask(t, f, known[f.mode], 200)
				ask(t, f, mint(f, fmt.Sprint("user", n)), want)
				ask(t, f, f.path+"-garbage", 401)
				time.Sleep(40 * time.Millisecond)
			}
		})
	}
	tb := newTable(t)
	const steps = 20
	for step := range steps {
		for _, f := range all {
			f.idp.Handle(f.path, outage[step%len(outage)])
		}
		time.Sleep(length / steps)
		tb.row(requests.Load(), unavailable.Load(), any.usage(t))
	}
	done.Store(true)
	clients.Wait()
	if unavailable.Load() < 5 {
		t.Errorf("%d of %d requests were told that the provider is down: that is too few to show anything", unavailable.Load(), requests.Load())
	}
	for _, f := range all {
		f.idp.Handle(f.path, f.well)
		token := mint(f, "afterwards")
		eventually(t, "who is new is let in once the provider is well", func() bool { status, _ := f.status(t, "/users", token); return status == 200 })
		ask(t, f, known[f.mode], 200)
	}
}
